/*
 * Which configs a server tells us about when they change, and, on 3.x, which namespaces it tells us
 * about when configs appear or vanish in them.
 *
 * A config is watched with the MD5 of what the caller has ("" for "there is none": its creation is
 * told). The server compares: what differs is reported as changed, then and at every later change.
 * On each new connection, and every 3 minutes in case a push was lost, everything is compared again
 * with the MD5s held then, so nothing is missed, only late; nacos_grpc_is_watched() says whether it
 * would be late. The caller, when it has fetched or published another text, tells its MD5 with
 * another nacos_grpc_watch(), which costs no request.
 *
 * A node of a server compares with its own memory, which lags a second or so behind a publish: a
 * config may be reported that is only not yet what the caller published. It is the caller who must
 * not take an older text for a newer one then.
 *
 * All of this is only for a struct nacos_grpc that was given events.
 *
 * Events come from the thread of the watch, one at a time, without a lock. They may call anything
 * here and in nacos/grpc/grpc.h but nacos_grpc_free(), and should be short: the next event, and telling
 * the server about what is watched, wait for them.
 */
#ifndef NACOSFS_NACOS_GRPC_WATCH_H
#define NACOSFS_NACOS_GRPC_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "nacos/config.h"
#include "nacos/grpc/grpc.h"
#include "nacos/watch.h"

/* Watches the config, or tells another MD5 of it. 0 or -ENOMEM. */
int nacos_grpc_watch(struct nacos_grpc *grpc, const struct nacos_key *key, const char *md5);

/* Does nothing when it is not watched. An event about it may still be under way. */
void nacos_grpc_unwatch(struct nacos_grpc *grpc, const struct nacos_key *key);

/*
 * Would a change of it be told, as far as is known now: at once, or, if the server was not told of it yet, as soon as it
 * is, a moment from now? When this turns false, live() or refused() says so.
 */
bool nacos_grpc_is_watched(struct nacos_grpc *grpc, const struct nacos_key *key);

/* Watches the names in a namespace; there are few of these. 0 or -ENOMEM. */
int nacos_grpc_watch_names(struct nacos_grpc *grpc, const char *namespace_id);
void nacos_grpc_unwatch_names(struct nacos_grpc *grpc, const char *namespace_id);

/* Calls function for each config that is watched, with the lock of the watch held: it must not call anything here. */
void nacos_grpc_each_watched(struct nacos_grpc *grpc,
			     void (*function)(void *arg, const struct nacos_key *key, const char *md5), void *arg);

void nacos_grpc_get_watch_counts(struct nacos_grpc *grpc, struct nacos_watch_counts *ret_counts);

#endif
