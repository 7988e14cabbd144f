#include "nacos/generation.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "util/text.h"

#define DATA_ID_UNITS 255
#define GROUP_UNITS 128
#define NAMESPACE_UNITS 128
#define CHECKED_NAMESPACE_UNITS 64

/*
 * What 1.4 and 2.x have in common. The listing of a group differs: 1.4 derives the right that is
 * needed from the group only when a dataId is named too, so it is asked for all ("*") dataIds of
 * the group. That is a LIKE search, in which '_' and '%' of the group's own name are wildcards and
 * the namespace is matched the same way.
 */
#define V1_API                                                                            \
	.wrapped = false,                                                                 \
	.lists_contents = true,                                                           \
	.get_hides_busy = false,                                                          \
	.public_id = "",                                                                  \
	.namespace_parameter = "tenant",                                                  \
	.group_parameter = "group",                                                       \
	.tags_parameter = "config_tags",                                                  \
	.user_parameter = "src_user",                                                     \
	.create_parameter = "customNamespaceId",                                          \
	.login = { "POST", "/v1/auth/login", NULL },                                      \
	.get = { "GET", "/v1/cs/configs", NULL },                                         \
	.detail = { "GET", "/v1/cs/configs", "show=all" },                                \
	.publish = { "POST", "/v1/cs/configs", NULL },                                    \
	.remove = { "DELETE", "/v1/cs/configs", NULL },                                   \
	.list = { "GET", "/v1/cs/configs", "search=accurate&dataId=&group=" },            \
	.namespaces = { "GET", "/v1/console/namespaces", NULL },                          \
	.namespace_create = { "POST", "/v1/console/namespaces", NULL },                   \
	.namespace_remove = { "DELETE", "/v1/console/namespaces", NULL },                 \
	.users = { "GET", "/v1/auth/users", "search=accurate" },                          \
	.roles = { "GET", "/v1/auth/roles", "search=accurate" },                          \
	.permissions = { "GET", "/v1/auth/permissions", "search=accurate" }

static const struct nacos_generation generation_1 = {
	.name = "1.4",
	.group_list = { "GET", "/v1/cs/configs", "search=blur&dataId=*" },
	V1_API,
};

static const struct nacos_generation generation_2 = {
	.name = "2.x",
	.group_list = { "GET", "/v1/cs/configs", "search=accurate&dataId=" },
	V1_API,
};

/*
 * 2.x understands the search that 1.4 needs, so it is what works with a server of unknown version.
 */
static const struct nacos_generation generation_managed = {
	.name = "1.4 or 2.x",
	.group_list = { "GET", "/v1/cs/configs", "search=blur&dataId=*" },
	V1_API,
};

static const struct nacos_generation generation_3 = {
	.name = "3.x",
	.wrapped = true,
	.lists_contents = false,
	.get_hides_busy = true,
	.public_id = "public",
	.namespace_parameter = "namespaceId",
	.group_parameter = "groupName",
	.tags_parameter = "configTags",
	.user_parameter = "srcUser",
	.create_parameter = "namespaceId",
	.login = { "POST", "/v3/auth/user/login", NULL },
	.get = { "GET", "/v3/client/cs/config", NULL },
	.detail = { "GET", "/v3/admin/cs/config", NULL },
	.publish = { "POST", "/v3/admin/cs/config", NULL },
	.remove = { "DELETE", "/v3/admin/cs/config", NULL },
	.list = { "GET", "/v3/admin/cs/config/list", "search=accurate&dataId=&groupName=" },
	.group_list = { "GET", "/v3/admin/cs/config/list", "search=accurate&dataId=" },
	.namespaces = { "GET", "/v3/admin/core/namespace/list", NULL },
	.namespace_create = { "POST", "/v3/admin/core/namespace", NULL },
	.namespace_remove = { "DELETE", "/v3/admin/core/namespace", NULL },
	.users = { "GET", "/v3/auth/user/list", "search=accurate" },
	.roles = { "GET", "/v3/auth/role/list", "search=accurate" },
	.permissions = { "GET", "/v3/auth/permission/list", "search=accurate" },
	.console_namespaces = { "GET", "/v3/console/core/namespace/list", NULL },
};

/*
 * Reads the digits at *text and moves it behind them. False when there are none, or too many to
 * mean anything.
 */
static bool read_number(const char **text, int *ret_number)
{
	const char *digit = *text;
	int number = 0;

	for (; *digit >= '0' && *digit <= '9'; digit++) {
		if (number > 99999)
			return false;
		number = number * 10 + (*digit - '0');
	}
	if (digit == *text)
		return false;
	*text = digit;
	*ret_number = number;
	return true;
}

static bool is_at_least(const struct nacos_features *features, int major, int minor, int patch)
{
	if (features->major != major)
		return features->major > major;
	if (features->minor != minor)
		return features->minor > minor;
	return features->patch >= patch;
}

int nacos_features_from_version(const char *version, struct nacos_features *ret_features)
{
	struct nacos_features features = { 0 };

	if (!version || !read_number(&version, &features.major) || *version++ != '.' ||
	    !read_number(&version, &features.minor))
		return -EBADMSG;
	if (*version == '.') {
		version++;
		read_number(&version, &features.patch);
	}

	if (features.major >= 3)
		features.generation = &generation_3;
	else if (features.major == 2)
		features.generation = &generation_2;
	else
		features.generation = &generation_1;
	features.has_cas = is_at_least(&features, 2, 3, 1);
	features.get_has_time = is_at_least(&features, 2, 3, 0);
	features.carries_data_key = is_at_least(&features, 2, 3, 0);
	features.checks_names = is_at_least(&features, 2, 3, 0);
	*ret_features = features;
	return 0;
}

void nacos_features_assume_managed(struct nacos_features *ret_features)
{
	*ret_features = (struct nacos_features){ .generation = &generation_managed };
}

/* Reads one code point of valid UTF-8 and moves *text behind it. */
static uint32_t next_code_point(const unsigned char **text)
{
	const unsigned char *byte = *text;
	uint32_t point = *byte++;
	int more = point >= 0xf0 ? 3 : point >= 0xe0 ? 2 : point >= 0xc0 ? 1 : 0;

	if (more)
		point &= 0x3f >> more;
	while (more-- > 0)
		point = point << 6 | (*byte++ & 0x3f);
	*text = byte;
	return point;
}

static bool is_ascii_letter_or_digit(uint32_t point)
{
	return (point >= '0' && point <= '9') || (point >= 'A' && point <= 'Z') ||
	       (point >= 'a' && point <= 'z');
}

/*
 * About Java's Character.isLetterOrDigit(char): all letters pass, and so do some symbols of rare
 * blocks, which costs no more than one refused request. Nothing past U+FFFF does, because the
 * servers look at each half of a surrogate pair.
 */
static bool may_be_letter(uint32_t point)
{
	static const struct {
		uint32_t first, last;
	} others[] = {
		{ 0x0000, 0x00a9 }, { 0x00ab, 0x00b4 }, { 0x00b6, 0x00b9 }, { 0x00bb, 0x00bf },
		{ 0x00d7, 0x00d7 }, { 0x00f7, 0x00f7 }, { 0x1680, 0x1680 }, { 0x2000, 0x206f },
		{ 0x20a0, 0x20cf }, { 0x2190, 0x2bff }, { 0x2e00, 0x2e7f }, { 0x3000, 0x3004 },
		{ 0x3007, 0x3030 }, { 0xd800, 0xf8ff }, { 0xfe00, 0xfe6f }, { 0xfeff, 0xff0f },
		{ 0xff1a, 0xff20 }, { 0xff3b, 0xff40 }, { 0xff5b, 0xff65 }, { 0xffe0, UINT32_MAX },
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (point <= others[i].last)
			return point < others[i].first;
	}
	return false;
}

/*
 * Is every character a letter, a digit or one of marks? Empty names and "." and ".." are no names.
 */
static bool is_name(const struct nacos_features *features, const char *name, size_t size,
		    const char *marks, size_t max_units)
{
	const unsigned char *next = (const unsigned char *)name;
	const unsigned char *end = next + size;

	if (size == 0 || !text_is_utf8(name, size) || text_utf16_length(name, size) > max_units)
		return false;
	if ((size == 1 && name[0] == '.') || (size == 2 && name[0] == '.' && name[1] == '.'))
		return false;
	while (next < end) {
		uint32_t point = next_code_point(&next);

		if (is_ascii_letter_or_digit(point) || (point < 0x80 && strchr(marks, (int)point)))
			continue;
		if (features->checks_names || !may_be_letter(point))
			return false;
	}
	return true;
}

bool nacos_data_id_is_possible(const struct nacos_features *features, const char *data_id)
{
	size_t size = strlen(data_id), units = DATA_ID_UNITS;

	if (!features->checks_names) {
		/* They check the trimmed name and store the other one. */
		for (; *data_id == ' ' && units > 0; data_id++, units--)
			size--;
		for (; size > 0 && data_id[size - 1] == ' ' && units > 0; units--)
			size--;
	}
	return is_name(features, data_id, size, "_-.:", units);
}

bool nacos_group_is_possible(const struct nacos_features *features, const char *group)
{
	return is_name(features, group, strlen(group), "_-.:", GROUP_UNITS);
}

bool nacos_namespace_is_possible(const struct nacos_features *features, const char *namespace_id)
{
	return is_name(features, namespace_id, strlen(namespace_id),
		       features->checks_names ? "_-" : "_-.:",
		       features->checks_names ? CHECKED_NAMESPACE_UNITS : NAMESPACE_UNITS);
}

const char *nacos_generation_namespace_id(const struct nacos_generation *generation, const char *namespace_id)
{
	if (namespace_id[0] == '\0' || strcmp(namespace_id, "public") == 0)
		return generation->public_id;
	return namespace_id;
}
