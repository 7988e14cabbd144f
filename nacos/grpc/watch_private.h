/*
 * The inside of a struct nacos_watch, for watch.c (the set, and what is noted in it by other
 * threads) and listen.c (the thread that talks to the server and to the caller). Nobody else
 * includes this.
 *
 * Everything is under the lock, but what never changes. Entries are freed only where `busy` is not
 * set: the thread uses those of the batch that it is sending without the lock.
 */
#ifndef NACOSFS_NACOS_GRPC_WATCH_PRIVATE_H
#define NACOSFS_NACOS_GRPC_WATCH_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nacos/grpc/grpc_private.h"
#include "nacos/grpc/watch.h"
#include "nacos/key_table.h"

struct nacos_watch_entry {
	struct nacos_key_node node; /* first; the texts follow the entry */
	char md5[HASH_MD5_HEX_SIZE];
	bool wanted; /* false: the server is to be told that it is not any more; then it is freed */
	bool busy; /* in the batch that is being sent */
	bool refused;
	uint64_t told_epoch; /* the epoch in which the server was told last; 0: never */

	/* The entries that the server must be told about. */
	bool pending;
	struct nacos_watch_entry *pending_next, **pending_link;

	/* The entries to report. */
	bool changed;
	struct nacos_watch_entry *changed_next, **changed_link;
};

/* What the thread found out about rights since the last comparison, so that it asks once. */
struct nacos_watch_limit {
	struct nacos_watch_limit *next;
	char *namespace_id;
	char *group; /* NULL: the namespace as a whole is refused */
};

struct nacos_watch_names {
	struct nacos_watch_names *next;
	char *namespace_id;
	bool wanted;
	bool tried; /* since the last comparison */
	bool told; /* the server has it, in this epoch */
	bool reported; /* how it went with that, in this epoch */
	bool repeat; /* that report, because names were lost */
	int error;
};

/* A name that appeared or vanished. */
struct nacos_watch_name {
	struct nacos_watch_name *next;
	bool exists;
	struct nacos_key key; /* the texts follow */
};

struct nacos_watch {
	struct nacos_grpc *grpc;
	struct nacos_watch_events events;
	void *arg;
	struct thread thread;
	atomic_bool stop; /* looked at under the lock of struct nacos_grpc, too */

	pthread_mutex_t lock;
	pthread_cond_t changed; /* there is something to do; on the monotonic clock */

	struct nacos_key_table table;

	struct nacos_watch_entry *pending, **pending_end;
	size_t pending_count, busy_count, wanted_count, refused_count;
	struct nacos_watch_entry *reports, **reports_end;
	struct nacos_watch_name *names, **names_end; /* to report */
	size_t name_count;
	bool names_lost; /* more came than are kept, or were not told: all names must be compared */
	struct nacos_watch_names *namespaces;
	struct nacos_watch_limit *limits;

	uint64_t epoch; /* of the connection; 0: there is none */
	bool can_narrow, has_fuzzy_watch; /* of its server */
	uint64_t seen_epoch; /* the last one that the thread has begun with */
	int64_t compare_at_ms;
	int64_t retry_at_ms; /* after a failure */
	unsigned failures; /* in a row */
	bool live; /* as reported */
};

/*
 * All with the lock held. Putting an entry into a list twice, or taking it out of none, is no harm.
 */
void nacos_watch_set_pending(struct nacos_watch *watch, struct nacos_watch_entry *entry);
void nacos_watch_take_pending(struct nacos_watch *watch, struct nacos_watch_entry *entry);
void nacos_watch_set_changed(struct nacos_watch *watch, struct nacos_watch_entry *entry);
void nacos_watch_take_changed(struct nacos_watch *watch, struct nacos_watch_entry *entry);
void nacos_watch_set_refused(struct nacos_watch *watch, struct nacos_watch_entry *entry,
			     bool refused);
struct nacos_watch_entry *nacos_watch_find(struct nacos_watch *watch, const struct nacos_key *key);

/* Frees it; not while it is busy. */
void nacos_watch_remove(struct nacos_watch *watch, struct nacos_watch_entry *entry);

/* A copy of a name, with its texts, to be freed with free(). NULL: no memory. */
struct nacos_watch_name *nacos_watch_name_new(const struct nacos_key *key, bool exists);

/* The namespace as callers call it, of one as servers do (NULL and "": the public one). */
const char *nacos_watch_own_namespace(const char *namespace_id);

/* Forgets what is known about rights. */
void nacos_watch_forget_limits(struct nacos_watch *watch);

/* The thread: listen.c. */
void *nacos_watch_run(void *arg);

#endif
