/* What is told of what is watched, whoever hears of it from the server: nacos/grpc/watch.h, nacos/poll/poll.h. */
#ifndef NACOSFS_NACOS_WATCH_H
#define NACOSFS_NACOS_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "nacos/config.h"

struct nacos_watch_events {
	/*
	 * The server's text is probably not that of the MD5 held: fetch it. Changes that come
	 * faster than this is called are reported once.
	 */
	void (*changed)(void *arg, const struct nacos_key *key);

	/*
	 * The server does not let this account watch the config (2.2 and older want a right on the
	 * whole namespace): its changes will not be told, from now on. Asked again with each
	 * comparison.
	 */
	void (*refused)(void *arg, const struct nacos_key *key);

	/* In a watched namespace, a config was created (or is there), or deleted. */
	void (*named)(void *arg, const struct nacos_key *key, bool exists);

	/*
	 * From now on (error 0) all that appears or vanishes in the namespace is told; what did so
	 * before is not: compare the names once. Or it is not:
	 *
	 * -EOPNOTSUPP  the server has no such watch (before 3.0)
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

struct nacos_watch_counts {
	size_t watched; /* by callers */
	size_t waiting; /* the server does not know of them yet */
	size_t refused;
};

#endif
