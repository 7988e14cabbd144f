/*
 * One grant of Nacos against one resource, as servers evaluate it.
 *
 * A grant names a resource, NAMESPACE:GROUP:config/DATAID, and is a regular expression: servers replace each "*" by ".*" and
 * want java.util.regex to match the whole of the resource that a request asks for. All other characters that mean something
 * there do so in a grant: "." is any character, "[ab]" a choice; "\*" is any number of dots. (Source:
 * NacosRoleServiceImpl.hasPermission at 1.4.8 and 2.2.4, AbstractCheckedRoleService at 3.0.3.)
 *
 * What is understood: literals, ".", classes with ranges and negation, groups, "|", "?", "+", "{n,m}" and their lazy forms, "^"
 * and "$", \d \w \s (and their opposites) and escaped marks. What servers can't compile either, and what they can but is not
 * understood here (look-around, back references, possessive repetition, nested classes, very long repetitions), grants
 * nothing: nobody gets more than the server would give. Matching takes time proportional to the pattern times the
 * resource, whatever the pattern is.
 *
 * Patterns are immutable once made; safe from any thread.
 */
#ifndef NACOSFS_NACOS_PERMISSION_H
#define NACOSFS_NACOS_PERMISSION_H

#include <stdbool.h>

#include "nacos/generation.h"
#include "util/buffer.h"

struct nacos_pattern;

/* 0; -EINVAL when it grants nothing, as said above; -ENOMEM. */
int nacos_pattern_compile(const char *resource, struct nacos_pattern **ret_pattern);
void nacos_pattern_free(struct nacos_pattern *pattern);

/* Does it match the whole of that resource? */
bool nacos_pattern_matches(const struct nacos_pattern *pattern, const char *resource);

/* Could it match a resource that begins with prefix? */
bool nacos_pattern_matches_below(const struct nacos_pattern *pattern, const char *prefix);

/*
 * Appends the resource that a request for that config asks for. group and data_id NULL: all of them, for which requests have
 * a literal "*". 0 or -ENOMEM.
 */
int nacos_resource_append(const struct nacos_generation *generation, const char *namespace_id, const char *group,
			  const char *data_id, struct buffer *resource);

/* Appends what the resources below a namespace (group NULL) or group have in common. 0 or -ENOMEM. */
int nacos_resource_append_prefix(const struct nacos_generation *generation, const char *namespace_id,
				 const char *group, struct buffer *prefix);

/*
 * What a grant on that stored resource means on this generation: 3.x takes one that begins with ":" for one on the namespace
 * "public". Appends it. 0 or -ENOMEM.
 */
int nacos_resource_append_granted(const struct nacos_generation *generation, const char *resource,
				  struct buffer *granted);

#endif
