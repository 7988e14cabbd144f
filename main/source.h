/*
 * SOURCE, the first word of a mount: which servers, and which part of what they hold.
 *
 *	nacos://HOST[:PORT][,HOST[:PORT]...][/NAMESPACE[/GROUP]]
 *
 * https:// in place of nacos:// speaks TLS to the HTTP API.
 *
 * A source owns its strings; all zeros is an empty one, which can be released.
 *
 *	source_parse -> use -> source_release
 */
#ifndef NACOSFS_MAIN_SOURCE_H
#define NACOSFS_MAIN_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "nacos/http/client.h"
#include "util/call.h"

#define SOURCE_DEFAULT_PORT 8848

struct source {
	struct nacos_host *hosts; /* in the order given; any may be down */
	size_t host_count; /* 1 or more */
	bool https;
	char *namespace_id; /* NULL: all namespaces */
	char *group; /* NULL: all groups; never set without namespace_id */
};

/*
 * Parses text. -EINVAL with a reason that says what to write instead, or -ENOMEM. The reason never
 * repeats a text that may hold a password (USER:PASSWORD@HOST, which is refused).
 */
int source_parse(const char *text, struct call *call, struct source *ret_source);

void source_release(struct source *source);
#define cleanup_source __attribute__((cleanup(source_release)))

/*
 * Can size bytes be the id of a namespace or the name of a group, as far as a file system cares?
 * Not when they are empty, "." or "..", or hold '/' or a control character. What else Nacos refuses
 * differs between its versions, and is left to the server.
 */
bool source_is_name(const char *name, size_t size);

#endif
