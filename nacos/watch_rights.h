/*
 * What a server has said about watching whole namespaces and groups, so that it is asked once: it checks the right on what a
 * request says it is about, which may be wider than one config.
 *
 * Belongs to a feeder of the set (nacos/watch.h), and is guarded as it is. All zeros is an empty one.
 */
#ifndef NACOSFS_NACOS_WATCH_RIGHTS_H
#define NACOSFS_NACOS_WATCH_RIGHTS_H

#include <stdbool.h>

#include "model/place.h"
#include "util/table.h"

/* How a request says what it is about, from wide to narrow. */
enum nacos_watch_scope {
	NACOS_WATCH_NAMESPACE,
	NACOS_WATCH_GROUP,
	NACOS_WATCH_CONFIG,
	NACOS_WATCH_NOTHING, /* there is no way */
};

enum nacos_watch_right {
	NACOS_WATCH_UNKNOWN,
	NACOS_WATCH_GRANTED,
	NACOS_WATCH_REFUSED,
};

struct nacos_watch_rights {
	struct table known;
};

/* What is known of the whole namespace of that config, or of its group. */
enum nacos_watch_right nacos_watch_rights_find(const struct nacos_watch_rights *rights, const struct place *config,
					       enum nacos_watch_scope scope);

/* Remembers an answer about one of them. Without memory it is asked for again. */
void nacos_watch_rights_keep(struct nacos_watch_rights *rights, const struct place *config,
			     enum nacos_watch_scope scope, bool is_granted);

void nacos_watch_rights_forget(struct nacos_watch_rights *rights);

#endif
