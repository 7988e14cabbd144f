/*
 * What feeds the set of what is watched (nacos/watch.h) over gRPC. The server is told of each config with its MD5, in batches,
 * and, on 3.x, of namespaces in which names come and go; it tells of every change by itself.
 *
 * On each new connection, and every 3 minutes in case a push was lost, everything is compared again with the MD5s held then, so
 * nothing is missed, only late. Another MD5 of what the server has already costs no request.
 *
 * The inside of a struct nacos_grpc_watch, for watch.c (its life, what the connection notes, and the thread), listen.c (what
 * the thread tells the server of configs) and watch_names.c (of names). Nobody else includes this.
 *
 * All is under the lock of the set, but what never changes.
 */
#ifndef NACOSFS_NACOS_GRPC_WATCH_PRIVATE_H
#define NACOSFS_NACOS_GRPC_WATCH_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "nacos/grpc/grpc_private.h"
#include "nacos/watch_private.h"
#include "nacos/watch_rights.h"
#include "util/worker.h"

/*
 * Of an entry of the set. In pending: the server must be told about it; in batch: it is being told, and the part stays where it
 * is though the lock is given up; in none: it knows, or refuses.
 */
struct nacos_grpc_part {
	struct nacos_watch_part part; /* first */
	uint64_t told_epoch; /* the epoch in which the server was told last; 0: never */
};

struct nacos_grpc_watch {
	struct nacos_watch_feeder feeder; /* first */
	struct nacos_grpc *grpc;
	struct worker worker;

	struct nacos_watch_list pending, batch;
	struct nacos_watch_rights rights; /* since the last comparison */

	uint64_t epoch; /* of the connection; 0: there is none */
	bool can_narrow, has_fuzzy_watch; /* of its server */
	uint64_t seen_epoch; /* the last one that the thread has begun with */
	int64_t compare_at_ms;
	int64_t retry_at_ms; /* after a failure */
	unsigned failures; /* in a row */
};

/* All with the lock held. */

/* May the server be told something now? There is a connection, the thread knows of it, and nothing has failed just now. */
bool nacos_grpc_watch_can_tell(const struct nacos_grpc_watch *watch);

/* Nothing is told for a while: longer with each failure. */
void nacos_grpc_watch_delay(struct nacos_grpc_watch *watch);

/* Without the lock: sends a request on the connection of that epoch. Errors as nacos_grpc_request_in_epoch(). */
int nacos_grpc_watch_send(struct nacos_grpc_watch *watch, const char *type, const char *what, const struct buffer *json,
			  uint64_t epoch, struct nacos_grpc_answer *ret_answer);

/* The id of a namespace on the wire, and as callers know it, of one on the wire (which may be NULL). */
const char *nacos_grpc_watch_wire_namespace(const struct nacos_grpc_watch *watch, const char *namespace_id);
const char *nacos_grpc_watch_own_namespace(const char *wire);

/* ---- listen.c, watch_names.c: tell the server something, without the lock meanwhile. False: there is nothing to tell. ---- */

bool nacos_grpc_watch_tell_configs(struct nacos_grpc_watch *watch);
bool nacos_grpc_watch_tell_names(struct nacos_grpc_watch *watch);

#endif
