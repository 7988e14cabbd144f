/*
 * The inside of a struct notify, for notify.c (what is told to the kernel, and by the store) and notify_fetch.c (the queue of
 * what is to be fetched, and the thread). Nobody else includes this. Everything is guarded by tree->lock.
 */
#ifndef NACOSFS_FS_FOLLOW_NOTIFY_PRIVATE_H
#define NACOSFS_FS_FOLLOW_NOTIFY_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/node/absent.h"
#include "fs/follow/notify.h"
#include "util/thread.h"

/* What is to be raised once the kernel has forgotten what it knew; bits of node->wake. */
enum { WAKE_CONTENT = 1, WAKE_ATTRIBUTES = 2 };

/* A config that is to be fetched. */
struct notice {
	struct place_entry place_entry; /* first */
	struct notice *next; /* in the queue, or among the delayed ones */
	enum { NOTICE_READY, NOTICE_RUNNING, NOTICE_DELAYED } state;
	bool again; /* told once more while it ran */
	unsigned attempts;
	int64_t due_ms; /* of delayed ones */
};

struct watched_namespace {
	struct place_entry place_entry; /* first */
	bool watched;
};

struct notify {
	pthread_cond_t woken;
	struct thread thread;
	atomic_bool stopping;
	atomic_uint events;
	bool live;

	struct node *first_noticed, **last_noticed; /* held; what the kernel is to forget */
	struct notice *first, **last;
	struct notice *delayed;
	struct table notices; /* all, by place */
	bool compare_all;
	int64_t compare_due_ms; /* the names that are not told of */
	bool compare_now; /* some directory's names are due */

	struct table namespaces; /* struct watched_namespace by place */
	struct absent_names absent;
	struct notify_status counts;
};

/* Makes the kernel forget the node's attributes, and then raises what wake says. */
void notify_notice(struct filesystem *filesystem, struct node *node, unsigned wake);

/* Does so with the first that was noticed. Gives up the lock. */
void notify_run_noticed(struct filesystem *filesystem);

/* Can anybody watch it? Who does, has looked up the directory at least. */
bool notify_is_within_sight(const struct node *node);

/* Calls visit for each node (of a namespace, unless NULL). It must not free any. */
void notify_visit_nodes(struct filesystem *filesystem, const struct place *namespace,
			void (*visit)(struct filesystem *filesystem, struct node *node));

/* What is known of the names of all directories may be wrong; and of those that the kernel believes to be absent. */
void notify_doubt_all_names(struct filesystem *filesystem);

/* The thread. */
void *notify_run(void *filesystem);

/* Frees what is queued. */
void notify_free_notices(struct notify *notify);

#endif
