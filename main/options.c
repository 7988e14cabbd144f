#include "main/options.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "main/source.h"
#include "util/buffer.h"
#include "util/cleanup.h"
#include "util/file.h"

#define CONFIG_FILE_LIMIT (1024 * 1024)
#define HELP_COLUMN 26 /* where the explanations in --help begin */
#define HELP_WIDTH 80
#define LARGEST_ID (UINT_MAX - 1) /* the one above means "no such user" to the kernel */
#define refuse(call, ...) call_fail((call), -EINVAL, __VA_ARGS__)
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

enum option_kind {
	OPTION_FLAG, /* bool; has no value */
	OPTION_TEXT, /* char * */
	OPTION_PATH, /* char *, made absolute */
	OPTION_PATH_OR_NONE, /* the same; the word "none" makes it NULL */
	OPTION_URL, /* char * */
	OPTION_LIST, /* struct options_list of names, separated by ':' */
	OPTION_SECONDS, /* unsigned, from 1 to the entry's maximum */
	OPTION_MASK, /* mode_t, octal */
	OPTION_USER, /* uid_t, from a name or a number */
	OPTION_GROUP, /* gid_t, from a name or a number */
	OPTION_CHOICE, /* enum; the argument lists its names in order, separated by '|' */
};

struct option_entry {
	const char *name;
	enum option_kind kind;
	size_t offset; /* of the field in struct mount_options */
	const char *argument; /* as --help and the manual call it; NULL for a flag */
	const char *default_text; /* NULL: all zeros, or see options_set_defaults() */
	unsigned maximum; /* of OPTION_SECONDS */
	const char *help; /* a sentence without its full stop */
};

#define FIELD(name) offsetof(struct mount_options, name)

static const struct option_entry option_table[] = {
	{ "config", OPTION_PATH, FIELD(config_file), "FILE", NULL, 0,
	  "Read options from FILE: NAME = VALUE lines (NAME alone for a flag) and # comments" },
	{ "username", OPTION_TEXT, FIELD(username), "NAME", NULL, 0,
	  "Log in to Nacos as NAME; needs password_file" },
	{ "password_file", OPTION_PATH, FIELD(password_file), "FILE", NULL, 0,
	  "Read the password from FILE, which group and others must not be able to read" },
	{ "access_key_file", OPTION_PATH, FIELD(access_key_file), "FILE", NULL, 0,
	  "For managed Nacos: sign requests with the access key in FILE: accessKey=, secretKey= and "
	  "perhaps securityToken= lines" },
	{ "ram_role", OPTION_TEXT, FIELD(ram_role), "NAME", NULL, 0,
	  "For managed Nacos: sign requests with rotating credentials of this role, from the ECS metadata "
	  "service" },
	{ "region", OPTION_TEXT, FIELD(region), "REGION", NULL, 0,
	  "Sign for this region only (signature version 4)" },
	/* in the order of enum transport_kind */
	{ "transport", OPTION_CHOICE, FIELD(transport), "auto|grpc|http", "auto", 0,
	  "How configs are read, written and watched: auto uses gRPC (at HOST:PORT+1000) where the server has it" },
	{ "tls", OPTION_FLAG, FIELD(grpc_tls), NULL, NULL, 0,
	  "Speak TLS to the gRPC port, though SOURCE begins with nacos:// (https:// is for both ports); nothing falls "
	  "back to HTTP then" },
	{ "tls_ca", OPTION_PATH, FIELD(tls_ca_file), "FILE", NULL, 0,
	  "With https or tls, trust the certificate authorities in FILE (PEM), not the system's" },
	{ "tls_cert", OPTION_PATH, FIELD(tls_cert_file), "FILE", NULL, 0,
	  "With https or tls, show the server the client certificate in FILE (PEM); needs tls_key" },
	{ "tls_key", OPTION_PATH, FIELD(tls_key_file), "FILE", NULL, 0,
	  "The private key of that certificate (PEM)" },
	{ "console", OPTION_URL, FIELD(console_url), "URL", NULL, 0,
	  "Address of a 3.x console, where it is not http://HOST:8080" },
	{ "namespaces", OPTION_LIST, FIELD(namespaces), "A:B:C", NULL, 0,
	  "Show these namespaces when the server will not list them" },
	{ "ro", OPTION_FLAG, FIELD(read_only), NULL, NULL, 0,
	  "Read-only" },
	{ "kernel_cache", OPTION_FLAG, FIELD(kernel_cache), NULL, NULL, 0,
	  "Keep configs that are not encrypted in the kernel's page cache: faster, and they can be mapped shared, but who reads "
	  "across a change may see parts of both versions" },
	{ "noxattr", OPTION_FLAG, FIELD(no_xattr), NULL, NULL, 0,
	  "No extended attributes: a faster ls -l of very large groups" },
	{ "allow_other", OPTION_FLAG, FIELD(allow_other), NULL, NULL, 0,
	  "Let other users in, as far as the modes allow (always on when root mounts)" },
	{ "uid", OPTION_USER, FIELD(uid), "USER", NULL, 0,
	  "Owner of what is shown, a name or a number (default: who mounts)" },
	{ "gid", OPTION_GROUP, FIELD(gid), "GROUP", NULL, 0,
	  "Group of what is shown, a name or a number (default: that of who mounts)" },
	{ "umask", OPTION_MASK, FIELD(umask), "MASK", "0027", 0,
	  "Permission bits to take away from what is shown, octal" },
	/* in the order of enum rights_mode */
	{ "rights", OPTION_CHOICE, FIELD(rights), "self|rbac|off", "self", 0,
	  "How the modes are found: self, what the account may do; rbac, what Nacos's users and roles may do, for the "
	  "local users and groups of their names (needs an admin account); off, everything is shown as if it were allowed" },
	{ "usermap", OPTION_PATH, FIELD(usermap_file), "FILE", NULL, 0,
	  "For rights=rbac: NACOS USER = LOCAL USER lines, where the names differ" },
	{ "rolemap", OPTION_PATH, FIELD(rolemap_file), "FILE", NULL, 0,
	  "For rights=rbac: NACOS ROLE = LOCAL GROUP lines, where the names differ" },
	/* in the order of enum identity_kind */
	{ "identity", OPTION_CHOICE, FIELD(identity), "mount|caller|caller_or_mount", "mount", 0,
	  "With whose login the server is asked: the mount's, or that of each local user; of users without one, the owner and "
	  "the group have what the mount's may do, others nothing, or what umask= leaves them" },
	{ "identities", OPTION_PATH, FIELD(identities_directory), "DIR", NULL, 0,
	  "Logins of local users: a file DIR/USER for each, with the lines username= and password=, which belongs to root and "
	  "nobody else can read" },
	/* in the order of enum key_service_kind */
	{ "kms", OPTION_CHOICE, FIELD(key_service), "none|keyring|kms_v1|kms_v3", "none", 0,
	  "Where the data keys of configs named cipher-... come from: a keyring, or Alibaba Cloud's key "
	  "service at its shared gateway (kms_v1) or as a dedicated instance (kms_v3)" },
	{ "kms_endpoint", OPTION_TEXT, FIELD(kms_endpoint), "HOST[:PORT]", NULL, 0,
	  "Where the key service is, if not at the shared gateway of kms_region" },
	{ "kms_region", OPTION_TEXT, FIELD(kms_region), "REGION", NULL, 0,
	  "Region of the shared gateway" },
	{ "kms_key_id", OPTION_TEXT, FIELD(kms_key_id), "KEY", NULL, 0,
	  "Which key encrypts (at the shared gateway alias/acs/mse, if none is named); without one, "
	  "encrypted configs can only be read" },
	{ "kms_access_key_file", OPTION_PATH, FIELD(kms_access_key_file), "FILE", NULL, 0,
	  "For kms_v1: as access_key_file, where the key service has another one" },
	{ "kms_ram_role", OPTION_TEXT, FIELD(kms_ram_role), "NAME", NULL, 0,
	  "For kms_v1: as ram_role, where the key service has another one" },
	{ "kms_client_key_file", OPTION_PATH, FIELD(kms_client_key_file), "FILE", NULL, 0,
	  "For kms_v3: the client key (JSON with KeyId and PrivateKeyData)" },
	{ "kms_password_file", OPTION_PATH, FIELD(kms_password_file), "FILE", NULL, 0,
	  "For kms_v3: the password of the client key" },
	{ "kms_ca", OPTION_PATH, FIELD(kms_ca_file), "FILE", NULL, 0,
	  "Trust the certificate authorities in FILE (PEM) for the key service, not the system's" },
	{ "keyring", OPTION_PATH, FIELD(keyring_file), "FILE", NULL, 0,
	  "The keyring for kms=keyring, made with nacosfs --new-keyring FILE" },
	{ "cache_dir", OPTION_PATH_OR_NONE, FIELD(cache_directory), "DIR|none", NULL, 0,
	  "Keep the text of saves that failed in DIR too, where it survives a restart (default: "
	  "/var/cache/nacosfs for root, otherwise none)" },
	{ "timeout", OPTION_SECONDS, FIELD(timeout_seconds), "SECONDS", "10", 3600,
	  "Deadline of a file operation that has to ask a server (saves: 3 s more for each MiB)" },
	{ "refresh", OPTION_SECONDS, FIELD(refresh_seconds), "SECONDS", "30", 86400,
	  "How often listings are compared with the server" },
	/* in the order of enum log_level */
	{ "log", OPTION_CHOICE, FIELD(log_level), "error|warning|info|debug", "info", 0,
	  "The least important messages to log" },
};

/* An enum without negative values is an unsigned int to gcc: set_choice() relies on it. */
_Static_assert(sizeof(enum transport_kind) == sizeof(unsigned), "OPTION_CHOICE stores an unsigned");
_Static_assert(sizeof(enum identity_kind) == sizeof(unsigned), "OPTION_CHOICE stores an unsigned");
_Static_assert(sizeof(enum log_level) == sizeof(unsigned), "OPTION_CHOICE stores an unsigned");

/* What people try to pass a secret by value with. */
static const char *const secret_names[] = {
	"access_key", "access_token", "accessKey", "accessToken", "pass", "passwd", "password",
	"pwd", "secret", "secret_key", "secretKey", "security_token", "securityToken", "token",
};

static int fail_no_memory(struct call *call)
{
	return call_fail(call, -ENOMEM, "out of memory");
}

bool options_name_is_one_of(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

void options_list_release(struct options_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	memset(list, 0, sizeof(*list));
}
#define cleanup_list __attribute__((cleanup(options_list_release)))

int options_list_append(struct options_list *list, const char *text, size_t size, struct call *call)
{
	char **items = reallocarray(list->items, list->count + 1, sizeof(*items));
	char *item = NULL;

	if (!items)
		return fail_no_memory(call);
	list->items = items;
	item = strndup(text, size);
	if (!item)
		return fail_no_memory(call);
	items[list->count++] = item;
	return 0;
}

static bool list_has(const struct options_list *list, const char *text, size_t size)
{
	for (size_t i = 0; i < list->count; i++)
		if (strlen(list->items[i]) == size && !memcmp(list->items[i], text, size))
			return true;
	return false;
}

/* Digits only: no sign, no blanks, no 0x, which strtoul() would all take. */
static bool parse_number(const char *text, unsigned base, unsigned maximum, unsigned *ret_number)
{
	unsigned long long number = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text >= (char)('0' + base))
			return false;
		number = number * base + (unsigned)(*text - '0');
		if (number > maximum)
			return false;
	}
	*ret_number = (unsigned)number;
	return true;
}

int options_replace_text(char **field, char *text, struct call *call)
{
	if (!text)
		return fail_no_memory(call);
	free(*field);
	*field = text;
	return 0;
}

/* directory NULL: the current one. */
int options_make_absolute(const char *path, const char *directory, struct call *call, char **field)
{
	cleanup_free char *current = NULL;
	char *absolute = NULL;

	if (path[0] == '/')
		return options_replace_text(field, strdup(path), call);
	if (!directory) {
		current = getcwd(NULL, 0);
		if (!current)
			return call_fail(call, -errno, "%s: write a path that begins with '/': %s",
					 path, strerror(errno));
		directory = current;
	}
	if (asprintf(&absolute, "%s/%s", directory, path) < 0)
		return fail_no_memory(call);
	return options_replace_text(field, absolute, call);
}

static int set_url(const char *name, const char *value, struct call *call, char **field)
{
	size_t size = strlen(value), scheme_size = 0;

	if (!strncmp(value, "http://", 7))
		scheme_size = 7;
	else if (!strncmp(value, "https://", 8))
		scheme_size = 8;
	while (size > scheme_size && value[size - 1] == '/')
		size--;
	/* The value is not repeated: what stands before an '@' may be a password. */
	if (!scheme_size || size == scheme_size || strpbrk(value, "@?# \\") ||
	    strchr("/:", value[scheme_size]))
		return refuse(call,
			      "option \"%s\": write http://HOST:PORT or https://HOST:PORT, "
			      "without user, '?' and '#'",
			      name);
	return options_replace_text(field, strndup(value, size), call);
}

static int set_list(const char *name, const char *value, struct call *call,
		    struct options_list *field)
{
	cleanup_list struct options_list list = { 0 };
	const char *item = value;

	for (;;) {
		size_t size = strcspn(item, ":");
		int error = 0;

		if (!source_is_name(item, size))
			return refuse(call, "option \"%s\": \"%.*s\" can't be a name: write A:B:C",
				      name, (int)size, item);
		if (list_has(&list, item, size))
			return refuse(call, "option \"%s\" names \"%.*s\" twice", name, (int)size,
				      item);
		error = options_list_append(&list, item, size, call);
		if (error)
			return error;
		if (!item[size])
			break;
		item += size + 1;
	}
	options_list_release(field);
	*field = list;
	memset(&list, 0, sizeof(list));
	return 0;
}

static int set_seconds(const struct option_entry *entry, const char *value, struct call *call,
		       unsigned *field)
{
	unsigned seconds = 0;

	if (!parse_number(value, 10, entry->maximum, &seconds) || seconds < 1)
		return refuse(call,
			      "option \"%s\": \"%s\" is not a whole number of seconds, 1 to %u",
			      entry->name, value, entry->maximum);
	*field = seconds;
	return 0;
}

static int set_mask(const char *name, const char *value, struct call *call, mode_t *field)
{
	if (!parse_number(value, 8, 0777, field))
		return refuse(call, "option \"%s\": \"%s\" is not an octal mask, 0000 to 0777",
			      name, value);
	return 0;
}

static int set_user(const char *name, const char *value, struct call *call, uid_t *field)
{
	const struct passwd *user = NULL;

	if (parse_number(value, 10, LARGEST_ID, field))
		return 0;
	user = getpwnam(value);
	if (!user)
		return refuse(call, "option \"%s\": there is no user \"%s\"", name, value);
	*field = user->pw_uid;
	return 0;
}

static int set_group(const char *name, const char *value, struct call *call, gid_t *field)
{
	const struct group *group = NULL;

	if (parse_number(value, 10, LARGEST_ID, field))
		return 0;
	group = getgrnam(value);
	if (!group)
		return refuse(call, "option \"%s\": there is no group \"%s\"", name, value);
	*field = group->gr_gid;
	return 0;
}

static int set_choice(const struct option_entry *entry, const char *value, struct call *call,
		      unsigned *field)
{
	const char *choice = entry->argument;

	for (unsigned i = 0;; i++) {
		size_t size = strcspn(choice, "|");

		if (strlen(value) == size && !memcmp(value, choice, size)) {
			*field = i;
			return 0;
		}
		if (!choice[size])
			break;
		choice += size + 1;
	}
	return refuse(call, "option \"%s\": \"%s\" is none of %s", entry->name, value,
		      entry->argument);
}

static int set_entry(const struct option_entry *entry, const struct option_setting *setting,
		     struct call *call, struct mount_options *options)
{
	void *field = (char *)options + entry->offset;

	switch (entry->kind) {
	case OPTION_FLAG:
		*(bool *)field = true;
		return 0;
	case OPTION_TEXT:
		return options_replace_text(field, strdup(setting->value), call);
	case OPTION_PATH:
		return options_make_absolute(setting->value, setting->directory, call, field);
	case OPTION_PATH_OR_NONE:
		if (strcmp(setting->value, "none"))
			return options_make_absolute(setting->value, setting->directory, call, field);
		free(*(char **)field);
		*(char **)field = NULL;
		return 0;
	case OPTION_URL:
		return set_url(entry->name, setting->value, call, field);
	case OPTION_LIST:
		return set_list(entry->name, setting->value, call, field);
	case OPTION_SECONDS:
		return set_seconds(entry, setting->value, call, field);
	case OPTION_MASK:
		return set_mask(entry->name, setting->value, call, field);
	case OPTION_USER:
		return set_user(entry->name, setting->value, call, field);
	case OPTION_GROUP:
		return set_group(entry->name, setting->value, call, field);
	case OPTION_CHOICE:
		return set_choice(entry, setting->value, call, field);
	}
	abort(); /* a new kind must be added above */
}

/* Finds the entry of a setting and makes sure that it has a value where it must. */
static int find_entry(const struct option_setting *setting, struct call *call,
		      const struct option_entry **ret_entry)
{
	const char *name = setting->name;

	for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
		const struct option_entry *entry = &option_table[i];

		if (strcmp(name, entry->name))
			continue;
		if (entry->kind == OPTION_FLAG && setting->value)
			return refuse(call, "option \"%s\" takes no value", name);
		if (entry->kind != OPTION_FLAG && (!setting->value || !*setting->value))
			return refuse(call, "option \"%s\" needs a value: %s=%s", name, name,
				      entry->argument);
		for (const char *byte = setting->value; byte && *byte; byte++)
			if ((unsigned char)*byte < 0x20 || *byte == 0x7f)
				return refuse(call, "option \"%s\" has a control character", name);
		*ret_entry = entry;
		return 0;
	}
	if (options_name_is_one_of(name, secret_names, ARRAY_SIZE(secret_names)))
		return refuse(call,
			      "option \"%s\" is refused: others could read the secret here, put it "
			      "into a file of its own (password_file=FILE for the login)",
			      name);
	return refuse(call, "unknown option \"%s\" (nacosfs --help lists them)", name);
}

int options_set(const struct option_setting *setting, struct call *call,
		      struct mount_options *options)
{
	const struct option_entry *entry = NULL;
	int error = find_entry(setting, call, &entry);

	if (error)
		return error;
	return set_entry(entry, setting, call, options);
}

int options_set_defaults(struct call *call, struct mount_options *options)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
		const struct option_entry *entry = &option_table[i];
		struct option_setting setting = { .name = entry->name, .value = entry->default_text };
		int error = setting.value ? set_entry(entry, &setting, call, options) : 0;

		if (error)
			return error;
	}
	if (geteuid() == 0) {
		options->cache_directory = strdup("/var/cache/nacosfs");
		if (!options->cache_directory)
			return fail_no_memory(call);
	}
	options->allow_other = geteuid() == 0;
	options->uid = getuid();
	options->gid = getgid();
	return 0;
}

void options_release(struct mount_options *options)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
		const struct option_entry *entry = &option_table[i];
		void *field = (char *)options + entry->offset;

		if (entry->kind == OPTION_LIST)
			options_list_release(field);
		if (entry->kind == OPTION_TEXT || entry->kind == OPTION_PATH ||
		    entry->kind == OPTION_PATH_OR_NONE || entry->kind == OPTION_URL)
			free(*(char **)field);
	}
	memset(options, 0, sizeof(*options));
}

/* The config file. */

static char *trim(char *text)
{
	char *end = NULL;

	text += strspn(text, " \t\r");
	end = text + strlen(text);
	while (end > text && strchr(" \t\r", end[-1]))
		end--;
	*end = '\0';
	return text;
}

/* given has a place for each entry of the table: whether a line before this one has set it. */
static int apply_config_line(char *line, const char *directory, bool *given, struct call *call,
			     struct mount_options *options)
{
	const struct option_entry *entry = NULL;
	struct option_setting setting = { .directory = directory };
	char *name = trim(line);
	char *equals = strchr(name, '=');
	int error = 0;

	if (!*name || *name == '#')
		return 0;
	if (equals) {
		*equals = '\0';
		setting.value = trim(equals + 1);
	}
	setting.name = trim(name);
	error = find_entry(&setting, call, &entry);
	if (error)
		return error;
	if (entry->offset == FIELD(config_file))
		return refuse(call, "a config file can't name another one");
	if (given[entry - option_table])
		return refuse(call, "option \"%s\" stands here for the second time", setting.name);
	given[entry - option_table] = true;
	return set_entry(entry, &setting, call, options);
}

int options_read_file(const char *path, struct call *call, struct mount_options *options)
{
	cleanup_buffer struct buffer content = BUFFER_INIT;
	cleanup_free char *directory = strndup(path, (size_t)(strrchr(path, '/') - path));
	bool given[ARRAY_SIZE(option_table)] = { false };
	char *rest = NULL, *line = NULL;
	size_t number = 0;
	int error = directory ? file_read_whole(path, CONFIG_FILE_LIMIT, call, &content)
			      : fail_no_memory(call);

	if (error)
		return error;
	if (content.size > 0 && memchr(content.data, '\0', content.size))
		return refuse(call, "config file %s is not a text: it holds a NUL", path);
	rest = content.data;
	while ((line = strsep(&rest, "\n"))) {
		number++;
		error = apply_config_line(line, directory, given, call, options);
		if (error)
			return call_fail(call, error, "%s:%zu: %s", path, number, call->reason);
	}
	return 0;
}

/* Help and manual. */

/* Prints text word by word from column on, in lines of HELP_WIDTH; returns the new column. */
static int print_words(FILE *stream, const char *text, int column)
{
	while (*text) {
		int size = (int)strcspn(text, " ");

		if (column > HELP_COLUMN && column + 1 + size > HELP_WIDTH) {
			fprintf(stream, "\n%*s", HELP_COLUMN, "");
			column = HELP_COLUMN;
		}
		if (column > HELP_COLUMN)
			column += fprintf(stream, " ");
		column += fprintf(stream, "%.*s", size, text);
		text += size;
		text += strspn(text, " ");
	}
	return column;
}

/* "(1 to 3600, default 10)", or "" where there is nothing to say. */
static void describe_limits(const struct option_entry *entry, char *ret_text, size_t size)
{
	ret_text[0] = '\0';
	if (entry->maximum)
		snprintf(ret_text, size, "(1 to %u, default %s)", entry->maximum,
			 entry->default_text);
	else if (entry->default_text)
		snprintf(ret_text, size, "(default %s)", entry->default_text);
}

void options_print_help(FILE *stream)
{
	fputs("Usage: nacosfs SOURCE MOUNTPOINT [-o OPTION[,OPTION...]]... [-f] [-d]\n"
	      "       nacosfs --new-keyring FILE | --help | --version\n"
	      "\n"
	      "Mounts a Nacos config centre as plain files. SOURCE is\n"
	      "  nacos://HOST[:PORT][,HOST[:PORT]...][/NAMESPACE[/GROUP]]\n"
	      "or the same with https:// for TLS; the hosts are one cluster.\n"
	      "\n"
	      "  -o OPTION[,OPTION...]   mount options, see below; \"\\,\" is a comma in a value\n"
	      "  -f                      stay in the foreground\n"
	      "  -d                      debug output of libfuse; stays in the foreground\n"
	      "  --new-keyring FILE      make a keyring for kms=keyring, and end\n"
	      "  -h, --help              print this\n"
	      "  -V, --version           print the version\n"
	      "\n"
	      "Mount options:\n",
	      stream);
	for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
		const struct option_entry *entry = &option_table[i];
		char limits[64];
		int column = fprintf(stream, "  %s%s%s", entry->name, entry->argument ? "=" : "",
				     entry->argument ? entry->argument : "");

		if (column + 2 > HELP_COLUMN)
			column = fprintf(stream, "\n") - 1;
		fprintf(stream, "%*s", HELP_COLUMN - column, "");
		describe_limits(entry, limits, sizeof(limits));
		column = print_words(stream, entry->help, HELP_COLUMN);
		print_words(stream, limits, column);
		fputc('\n', stream);
	}
	fputs("\n"
	      "The usual options of mount(8) and fstab(5) are taken too. See nacosfs(8).\n",
	      stream);
}

/*
 * Escapes what roff would take for its own: '\', '-' (which would become a hyphen that shells don't
 * know), and '.' or "'" at the start.
 */
static void print_roff(FILE *stream, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", stream);
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", stream);
		else if (*text == '-')
			fputs("\\-", stream);
		else
			fputc(*text, stream);
	}
}

void options_print_manual(FILE *stream)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
		const struct option_entry *entry = &option_table[i];
		char limits[64];

		fprintf(stream, ".TP\n%s ", entry->argument ? ".BI" : ".B");
		print_roff(stream, entry->name);
		if (entry->argument) {
			fputs("= ", stream);
			print_roff(stream, entry->argument);
		}
		fputc('\n', stream);
		print_roff(stream, entry->help);
		describe_limits(entry, limits, sizeof(limits));
		if (limits[0])
			fprintf(stream, "\n%s", limits);
		fputs(".\n", stream);
	}
}
