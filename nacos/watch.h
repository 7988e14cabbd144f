/*
 * The set of what is watched on one cluster: configs, each with the MD5 of the text that the caller has ("" for "there is
 * none": its creation is told), and namespaces in which names come and go.
 *
 * Feeders ask the server about what is in the set, and note what they hear: nacos/grpc/grpc.h over gRPC, nacos/poll/poll.h
 * over HTTP long polls. The set stays the same whichever of them is there; while both are (one is being relieved by the
 * other), a change is told if either would tell it.
 *
 * A server compares: what differs from the MD5 held is reported as changed, then and at every later change. The caller, when
 * it has fetched or published another text, tells its MD5 with another nacos_watch_add(). A node of a server compares with its
 * own memory, which lags a second or so behind a publish: a config may be reported that is only not yet what the caller
 * published. It is the caller who must not take an older text for a newer one then.
 *
 *	nacos_watch_new -> nacos_watch_set_events -> nacos_watch_start (starts a thread: not before a fork)
 *	-> feeders come and go; calls from any thread -> nacos_watch_stop -> the last feeder goes -> nacos_watch_free
 *
 * Events come from one thread, one at a time, without a lock. They may call anything here but nacos_watch_stop() and
 * nacos_watch_free(), and should be short: the next event waits for them. Feeders do not.
 *
 * One lock guards the set and what its feeders know. It is not held while anything waits or an event is told; only that of the
 * places (model/place.h) is taken with it.
 */
#ifndef NACOSFS_NACOS_WATCH_H
#define NACOSFS_NACOS_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/place.h"

struct nacos_watch;

/* A place is lent: who keeps it holds it. */
struct nacos_watch_events {
	/*
	 * The server's text is probably not that of the MD5 held: fetch it. Changes that come
	 * faster than this is called are reported once.
	 */
	void (*changed)(void *arg, struct place *place);

	/*
	 * The server does not let this account watch the config (over gRPC, 2.2 and older want a right on the
	 * whole namespace): its changes will not be told, from now on. Asked again with each
	 * comparison.
	 */
	void (*refused)(void *arg, struct place *place);

	/* In a watched namespace, a config was created (or is there), or deleted. */
	void (*named)(void *arg, struct place *place, bool exists);

	/*
	 * From now on (error 0) all that appears or vanishes in the namespace is told; what did so
	 * before is not: compare the names once. Or it is not:
	 *
	 * -EOPNOTSUPP  the server has no such watch (before 3.0, and over HTTP)
	 * -EACCES      it wants the right to read all of "public", whichever namespace is asked for
	 * -EDQUOT      it watches so many patterns already, for all its clients together
	 * -E2BIG       the namespace has more configs than it watches by pattern: some are told
	 * -EIO and others  no answer; asked again soon
	 *
	 * Also after each lost connection, as soon as there is another one.
	 */
	void (*names_watched)(void *arg, const char *namespace_id, int error);

	/*
	 * true: the server knows of all that is watched (but what was refused), and a change will
	 * be told at once. false: it won't, from now on: the connection was lost, or the server does
	 * not take what is to be watched.
	 */
	void (*live)(void *arg, bool live);
};

/* Makes an empty one. 0 or -ENOMEM. */
int nacos_watch_new(struct nacos_watch **ret_watch);

/* Who is told; before the start. Not copied; each of the functions may be NULL. */
void nacos_watch_set_events(struct nacos_watch *watch, const struct nacos_watch_events *events, void *arg);

/* 0 or -EAGAIN. */
int nacos_watch_start(struct nacos_watch *watch);

/* No more events, and nobody waits for anything any more. May be called again. */
void nacos_watch_stop(struct nacos_watch *watch);

/* When no feeder is there any more. NULL is fine. */
void nacos_watch_free(struct nacos_watch *watch);

/* Watches the config, or tells another MD5 of it. 0 or -ENOMEM. */
int nacos_watch_add(struct nacos_watch *watch, struct place *place, const char *md5);

/* Does nothing when it is not watched. An event about it may still be under way. */
void nacos_watch_remove(struct nacos_watch *watch, const struct place *place);

/*
 * Would a change of it be told, as far as is known now: at once, or, if the server was not told of it yet, as soon as it
 * is, a moment from now? When this turns false, live() or refused() says so, or it was reported as changed.
 */
bool nacos_watch_tells(struct nacos_watch *watch, const struct place *place);

/* Watches the names in a namespace; there are few of these. 0 or -ENOMEM. */
int nacos_watch_add_names(struct nacos_watch *watch, const char *namespace_id);
void nacos_watch_remove_names(struct nacos_watch *watch, const char *namespace_id);

struct nacos_watch_counts {
	size_t watched; /* by callers */
	size_t waiting; /* the server does not know of them yet */
	size_t refused;
};

/* Goes through all of them. */
void nacos_watch_count(struct nacos_watch *watch, struct nacos_watch_counts *ret_counts);

/* Who tells of changes. */
enum nacos_watch_way { NACOS_WATCH_GRPC, NACOS_WATCH_POLL };
#define NACOS_WATCH_WAYS 2

/* As events.live() says, or will in a moment. */
bool nacos_watch_is_live(struct nacos_watch *watch);

/*
 * Waits until that feeder is live, or is not, or until that time (clock_monotonic_ms(); INT64_MAX: never), or until the set is
 * stopped. Is it so?
 */
bool nacos_watch_wait(struct nacos_watch *watch, enum nacos_watch_way way, bool live, int64_t until_ms);
bool nacos_watch_is_stopped(const struct nacos_watch *watch);

#endif
