/*
 * The inside of the wake queue, for wake.c (what happened, what the kernel forgets), wake_fetch.c
 * and wake_touch.c (the queues of these). Nobody else includes this.
 */
#ifndef NACOSFS_FS_NODE_WAKE_PRIVATE_H
#define NACOSFS_FS_NODE_WAKE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/node/absent.h"
#include "fs/node/wake.h"

/* What is to be raised once the kernel has forgotten what it knew; bits of node->wake. */
enum { WAKE_CONTENT = 1, WAKE_ATTRIBUTES = 2 };

struct watched_namespace {
	struct watched_namespace *next;
	struct place *place;
	bool watched;
};

struct wake {
	atomic_uint events;
	atomic_bool stopping;
	bool live;
	struct watched_namespace *namespaces;
	struct absent_names absent;
	struct wake_counts counts;

	pthread_cond_t tell_woken;
	struct node *first_told, **last_told; /* held; what the kernel is to forget */

	pthread_cond_t fetch_woken;
	struct table fetches; /* all, by place */
	struct wake_fetch *first, **last; /* that can be taken */
	struct wake_fetch *delayed;
	bool compare_all, compare_names; /* is to be done */
	bool is_comparing; /* by one at a time */
	int64_t compare_due_ms; /* when the names that are not told of are due */

	pthread_cond_t touch_woken;
	bool touches;
	struct table touch_names; /* those in the queue */
	struct wake_touch *first_touch, **last_touch;
	struct wake_touch *current_touch;
};

/* ---- wake_fetch.c */

void wake_init_fetches(struct wake *wake);
void wake_clear_fetches(struct wake *wake) LOCKED;

/* ---- wake_touch.c */

void wake_init_touches(struct wake *wake);
void wake_clear_touches(struct tree *tree) LOCKED;

/*
 * Queues an event; node: what has the name, or had it (TOUCH_REMOVED). What is queued for the name
 * already is merged with it.
 */
void wake_queue_touch(struct tree *tree, enum touch_kind kind, struct node *parent,
		      const char *name, struct node *node) LOCKED;

#endif
