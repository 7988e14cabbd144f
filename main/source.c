#include "main/source.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/cleanup.h"
#include "util/text.h"

#define HOST_NAME_LIMIT 253 /* of DNS */

/* The arguments of "%.*s". Sources come from a command line: sizes are far below INT_MAX. */
#define PRINTED(text, size) (int)(size), (text)

#define refuse(call, ...) call_fail((call), -EINVAL, "source: " __VA_ARGS__)

static bool has_control_character(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return true;
	return false;
}

bool source_is_name(const char *name, size_t size)
{
	bool is_dot = size == 1 && name[0] == '.';
	bool is_dot_dot = size == 2 && name[0] == '.' && name[1] == '.';

	return size > 0 && !is_dot && !is_dot_dot && !memchr(name, '/', size) &&
	       !has_control_character(name, size);
}

static bool is_digit(char byte)
{
	return byte >= '0' && byte <= '9';
}

static int parse_port(const char *text, size_t size, struct call *call, unsigned *ret_port)
{
	unsigned port = 0;
	bool good = size > 0 && size <= 5;

	for (size_t i = 0; good && i < size; i++) {
		good = is_digit(text[i]);
		port = port * 10 + (unsigned)(text[i] - '0');
	}
	if (!good || port < 1 || port > 65535)
		return refuse(call, "port \"%.*s\" is not one of 1 to 65535", PRINTED(text, size));
	*ret_port = port;
	return 0;
}

static int check_host_name(const char *name, size_t size, struct call *call)
{
	if (size == 0)
		return refuse(call, "a host is missing: write nacos://HOST[:PORT],HOST[:PORT]");
	if (size > HOST_NAME_LIMIT)
		return refuse(call, "a host name has more than %d characters", HOST_NAME_LIMIT);
	for (size_t i = 0; i < size; i++) {
		char lower = name[i] | 0x20;

		if ((lower < 'a' || lower > 'z') && !is_digit(name[i]) && !strchr("-._", name[i]))
			return refuse(call, "\"%.*s\" is not a host: write a name or an address",
				      PRINTED(name, size));
	}
	return 0;
}

static int check_ipv6(const char *address, struct call *call)
{
	struct in6_addr parsed;

	if (inet_pton(AF_INET6, address, &parsed) != 1)
		return refuse(call, "[%s] is not an IPv6 address", address);
	return 0;
}

/*
 * HOST, HOST:PORT, [IPV6] or [IPV6]:PORT. What it allocated belongs to the caller even when it
 * fails.
 */
static int parse_host(const char *text, size_t size, struct call *call, struct nacos_host *host)
{
	bool bracketed = size > 0 && text[0] == '[';
	const char *end = text + size;
	const char *name = bracketed ? text + 1 : text;
	const char *name_end = memchr(name, bracketed ? ']' : ':', (size_t)(end - name));
	const char *rest = NULL;
	int error = 0;

	if (bracketed && !name_end)
		return refuse(call, "\"%.*s\" lacks a ']': write [IPV6]:PORT", PRINTED(text, size));
	if (!name_end)
		name_end = end;
	rest = bracketed ? name_end + 1 : name_end;
	if (!bracketed && rest < end && memchr(rest + 1, ':', (size_t)(end - rest - 1)))
		return refuse(call, "\"%.*s\": write an IPv6 address in brackets: [IPV6]:PORT",
			      PRINTED(text, size));
	if (rest < end && *rest != ':')
		return refuse(call, "\"%.*s\": only :PORT can follow the ']'", PRINTED(text, size));

	host->name = strndup(name, (size_t)(name_end - name));
	if (!host->name)
		return call_fail(call, -ENOMEM, "out of memory");
	host->port = SOURCE_DEFAULT_PORT;
	if (bracketed)
		error = check_ipv6(host->name, call);
	else
		error = check_host_name(name, (size_t)(name_end - name), call);
	if (!error && rest < end)
		error = parse_port(rest + 1, (size_t)(end - rest - 1), call, &host->port);
	return error;
}

static int parse_hosts(const char *text, size_t size, struct call *call, struct source *source)
{
	const char *end = text + size;
	size_t count = 1;

	for (size_t i = 0; i < size; i++)
		count += text[i] == ',';
	source->hosts = calloc(count, sizeof(*source->hosts));
	if (!source->hosts)
		return call_fail(call, -ENOMEM, "out of memory");
	for (; source->host_count < count; source->host_count++) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		const char *host_end = comma ? comma : end;
		struct nacos_host host = { 0 };
		int error = parse_host(text, (size_t)(host_end - text), call, &host);

		if (error) {
			free(host.name);
			return error;
		}
		source->hosts[source->host_count] = host;
		if (comma)
			text = comma + 1;
	}
	return 0;
}

/* One part of the path, up to a '/' or the end of the text. */
static int parse_name(const char *text, const char *what, struct call *call, char **ret_name,
		      const char **ret_rest)
{
	size_t size = strcspn(text, "/");
	char *name = NULL;

	if (size == 0)
		return refuse(call, "the %s is empty: write nacos://HOST/NAMESPACE/GROUP", what);
	if (!source_is_name(text, size))
		return refuse(call, "\"%.*s\" can't be the name of a %s", PRINTED(text, size),
			      what);
	name = strndup(text, size);
	if (!name)
		return call_fail(call, -ENOMEM, "out of memory");
	*ret_name = name;
	*ret_rest = text[size] == '/' ? text + size + 1 : text + size;
	return 0;
}

/* What follows the '/' behind the hosts. */
static int parse_path(const char *path, struct call *call, struct source *source)
{
	int error = 0;

	if (*path)
		error = parse_name(path, "namespace", call, &source->namespace_id, &path);
	if (!error && *path)
		error = parse_name(path, "group", call, &source->group, &path);
	if (!error && *path)
		error = refuse(call, "nothing can follow the group: "
				     "write nacos://HOST/NAMESPACE/GROUP");
	return error;
}

/* What is wrong wherever it stands. Passwords first: from then on, reasons may quote the text. */
static int check_text(const char *text, struct call *call)
{
	if (strchr(text, '@'))
		return refuse(call, "a user or password can't stand in it ('@'): "
				    "use -o username=NAME,password_file=FILE");
	if (has_control_character(text, strlen(text)) || !text_is_utf8(text, strlen(text)))
		return refuse(call, "remove the control character, or write it in UTF-8");
	if (strchr(text, '?') || strchr(text, '#'))
		return refuse(call, "'?' and '#' have no meaning in it: "
				    "use -o NAME=VALUE for options");
	return 0;
}

static int parse_scheme(const char *text, struct call *call, bool *ret_https, const char **ret_rest)
{
	static const struct {
		const char *prefix;
		bool https;
	} schemes[] = { { "nacos://", false }, { "https://", true } };

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t size = strlen(schemes[i].prefix);

		if (strncasecmp(text, schemes[i].prefix, size))
			continue;
		*ret_https = schemes[i].https;
		*ret_rest = text + size;
		return 0;
	}
	return refuse(call, "it must begin with nacos:// or https://: "
			    "write nacos://HOST[:PORT][,HOST[:PORT]...][/NAMESPACE[/GROUP]]");
}

int source_parse(const char *text, struct call *call, struct source *ret_source)
{
	cleanup_source struct source source = { 0 };
	const char *hosts = NULL;
	size_t hosts_size = 0;
	int error = check_text(text, call);

	if (!error)
		error = parse_scheme(text, call, &source.https, &hosts);
	if (error)
		return error;
	hosts_size = strcspn(hosts, "/");
	error = parse_hosts(hosts, hosts_size, call, &source);
	if (!error && hosts[hosts_size] == '/')
		error = parse_path(hosts + hosts_size + 1, call, &source);
	if (error)
		return error;
	*ret_source = source;
	memset(&source, 0, sizeof(source));
	return 0;
}

void source_release(struct source *source)
{
	for (size_t i = 0; i < source->host_count; i++)
		free(source->hosts[i].name);
	free(source->hosts);
	free(source->namespace_id);
	free(source->group);
	memset(source, 0, sizeof(*source));
}
