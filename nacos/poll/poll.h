/*
 * What feeds the set of what is watched (nacos/watch.h) over the HTTP long poll (POST /v1/cs/configs/listener): for servers
 * without gRPC (1.4), and where its port is blocked. 3.x has that API too, unless its operator switched it off.
 *
 * A server holds a request that lists configs with the MD5s that the caller has (a "hold") for up to 30 s, and answers as
 * soon as one of them changes. A hold does not say that it has begun, and misses what changes between its own comparison
 * and its registration; so each is followed by a comparison that is answered at once (a "check"), after which the configs
 * in it are watched. A hold takes up to 3000 configs, of all namespaces: what decides about a request is the right on what
 * its URL names (measured on 1.4.1, 2.2.4 and 3.1.0). No config is put into a hold before the server has confirmed, in a
 * request of its own, that this account may watch it, its group, or its namespace. That is asked again every 3 minutes.
 *
 * A config that was noted as changed is out of the holds, and so not watched, until its caller tells an MD5: another one, and
 * it is compared at once; the same one (the fetch found what was there before), and it is after a second, doubling to 30 s.
 * If the caller says nothing, it is compared again after 3 minutes.
 *
 * There is no watch for names over HTTP: where gRPC does not feed the set as well, each namespace gets one event names_watched
 * with -EOPNOTSUPP, and another one when the server is back after an outage.
 *
 * Threads: one that asks the small things, and one for each hold under way (1 or 2, at most 16, which is 48,000 configs;
 * what is beyond that is not watched). The lock is that of the set. A request under way ends within 100 ms of
 * nacos_poll_free().
 *
 *	nacos_client_connect, nacos_watch_new -> nacos_poll_new -> nacos_poll_start (not before a fork)
 *	-> nacos_poll_free -> nacos_watch_free, nacos_client_free
 */
#ifndef NACOSFS_NACOS_POLL_POLL_H
#define NACOSFS_NACOS_POLL_POLL_H

#include "nacos/http/client.h"
#include "nacos/watch.h"

struct nacos_poll;

/* Makes one, which has all that is wanted; nothing is sent. 0 or -ENOMEM. */
int nacos_poll_new(struct nacos_client *client, struct nacos_watch *set, struct nacos_poll **ret_poll);

/* Starts the threads (with all signals blocked). 0 or -EAGAIN. */
int nacos_poll_start(struct nacos_poll *poll);

/* NULL is fine. */
void nacos_poll_free(struct nacos_poll *poll);

#endif
