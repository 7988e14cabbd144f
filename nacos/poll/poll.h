/*
 * The watch of nacos/grpc/watch.h, with the same events, over the HTTP long poll (POST /v1/cs/configs/listener): for
 * servers without gRPC (1.4), and where its port is blocked. 3.x has that API too, unless its operator switched it off.
 *
 * A server holds a request that lists configs with the MD5s that the caller has (a "hold") for up to 30 s, and answers as
 * soon as one of them changes. A hold does not say that it has begun, and misses what changes between its own comparison
 * and its registration; so each is followed by a comparison that is answered at once (a "check"), after which the configs
 * in it are watched. A hold takes up to 3000 configs, of all namespaces: what decides about a request is the right on what
 * its URL names (measured on 1.4.1, 2.2.4 and 3.1.0). No config is put into a hold before the server has confirmed, in a
 * request of its own, that this account may watch it, its group, or its namespace. That is asked again every 3 minutes.
 *
 * A config that was reported is out of the holds, and so not watched, until its caller tells an MD5 with another
 * nacos_poll_watch(): another one, and it is compared at once; the same one (the fetch found what was there before), and
 * it is after a second, doubling to 30 s. If the caller says nothing, it is compared again after 3 minutes.
 *
 * Threads: one that reports and asks the small things, and one for each hold under way (1 or 2, at most 16, which is
 * 48,000 configs; what is beyond that is not watched). One lock; it is not held while anything waits or an event is told.
 * A request under way ends within 100 ms of nacos_poll_watch_free().
 *
 *	nacos_client_connect -> nacos_poll_watch_new -> nacos_poll_watch_start (not before a fork)
 *	-> the rest, from any thread -> nacos_poll_watch_free -> nacos_client_free
 *
 * Events come from one thread, one at a time, and may call anything here but nacos_poll_watch_free().
 */
#ifndef NACOSFS_NACOS_POLL_POLL_H
#define NACOSFS_NACOS_POLL_POLL_H

#include <stdbool.h>

#include "nacos/config.h"
#include "nacos/http/client.h"
#include "nacos/watch.h"

struct nacos_poll_watch;

/* Makes one; events are copied, nothing is sent. 0 or -ENOMEM. */
int nacos_poll_watch_new(struct nacos_client *client, const struct nacos_watch_events *events, void *arg,
			 struct nacos_poll_watch **ret_watch);

/* Starts the threads (with all signals blocked). 0 or -EAGAIN. */
int nacos_poll_watch_start(struct nacos_poll_watch *watch);
void nacos_poll_watch_free(struct nacos_poll_watch *watch);

/* Watches the config, or tells another MD5 of it ("": there is none). 0 or -ENOMEM. */
int nacos_poll_watch(struct nacos_poll_watch *watch, const struct nacos_key *key, const char *md5);

/* Does nothing when it is not watched. An event about it may still be under way. */
void nacos_poll_unwatch(struct nacos_poll_watch *watch, const struct nacos_key *key);

/* Would a change of it be told at once, as far as is known now? */
bool nacos_poll_is_watched(struct nacos_poll_watch *watch, const struct nacos_key *key);

/*
 * There is no watch for names over HTTP: each namespace gets one event names_watched with -EOPNOTSUPP, and another one
 * when the server is back after an outage. 0 or -ENOMEM.
 */
int nacos_poll_watch_names(struct nacos_poll_watch *watch, const char *namespace_id);
void nacos_poll_unwatch_names(struct nacos_poll_watch *watch, const char *namespace_id);

void nacos_poll_get_watch_counts(struct nacos_poll_watch *watch, struct nacos_watch_counts *ret_counts);

#endif
