#include "fs/node/names.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* How many characters a temp name has beyond the name of the config, at least. */
#define EXTENSION_MIN 6

static bool is_alphanumeric(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)text[i]) && text[i] != '_')
			return false;
	return true;
}

static bool is_digits(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text);
}

static bool ends_with(const char *name, const char *end)
{
	size_t name_length = strlen(name), end_length = strlen(end);

	return name_length > end_length && !strcmp(name + name_length - end_length, end);
}

/* vim and neovim test whether they may write with 4913, 5036, 5159, ... */
static bool is_vim_probe(const char *name)
{
	size_t length = strlen(name);

	return length >= 3 && length <= 5 && is_digits(name);
}

/* sedXXXXXX of GNU sed, XXrrrrrr of perl, tmprrrrrrrr of Python, tmp.rrrrrr of mktemp. */
static bool is_temp_pattern(const char *name)
{
	size_t length = strlen(name);

	if (length == 9 && !strncmp(name, "sed", 3) && is_alphanumeric(name + 3, 6))
		return true;
	if (length == 8 && !strncmp(name, "XX", 2) && is_alphanumeric(name + 2, 6))
		return true;
	if (!strncmp(name, "tmp.", 4) && length >= 10 && is_alphanumeric(name + 4, length - 4))
		return true;
	return !strncmp(name, "tmp", 3) && strcspn(name + 3, ".") == 8 && is_alphanumeric(name + 3, 8);
}

static bool is_backup_suffix(const char *name)
{
	static const char *const suffixes[] = {
		".tmp",	  ".temp", ".bak",   ".orig",	 ".rej",     ".save",   ".old",	   ".new",
		".part",  ".swp",  ".swo",   ".swn",	 ".swx",     ".augnew", ".augsave", ".rpmnew",
		".rpmsave",
	};

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++)
		if (ends_with(name, suffixes[i]))
			return true;
	return false;
}

/*
 * .tmp-XYZ, .tmp.XYZ, .save.1, .dpkg-new, .ucf-old, .augnew.XYZ and six or more digits behind the
 * last dot.
 */
static bool is_backup_pattern(const char *name)
{
	const char *last_dot = strrchr(name, '.');

	if (strstr(name, ".tmp-") || strstr(name, ".tmp.") || strstr(name, ".augnew."))
		return true;
	if (!last_dot || last_dot == name)
		return false;
	if (!strncmp(last_dot, ".dpkg-", 6) || !strncmp(last_dot, ".ucf-", 5))
		return true;
	if (!is_digits(last_dot + 1))
		return false;
	if (strlen(last_dot + 1) >= 6)
		return true;
	return last_dot - name > 5 && !strncmp(last_dot - 5, ".save", 5);
}

bool name_is_cipher(const char *name)
{
	return !strncmp(name, "cipher-", strlen("cipher-"));
}

bool name_is_of_cipher(const char *name)
{
	return strstr(name, "cipher-");
}

bool name_is_private(const char *name)
{
	size_t length = strlen(name);

	if (!length)
		return false;
	return name[0] == '.' || name[0] == '#' || name[length - 1] == '~' || ends_with(name, ",v") ||
	       is_vim_probe(name) || is_temp_pattern(name) || is_backup_suffix(name) ||
	       is_backup_pattern(name);
}

bool name_is_private_directory(const char *name)
{
	return name[0] == '.';
}

bool name_extends(const char *name, const char *config)
{
	size_t length = strlen(config);

	return !strncmp(name, config, length) && strlen(name) >= length + EXTENSION_MIN;
}

const char *name_type(const char *name)
{
	static const struct {
		const char *extension, *type;
	} types[] = {
		{ "yaml", "yaml" }, { "yml", "yaml" },	 { "properties", "properties" },
		{ "json", "json" }, { "xml", "xml" },	 { "html", "html" },
		{ "htm", "html" },  { "toml", "toml" },
	};
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < sizeof(types) / sizeof(*types); i++)
		if (!strcasecmp(dot + 1, types[i].extension))
			return types[i].type;
	return "text";
}
