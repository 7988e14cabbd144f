/*
 * Waking programs that watch files: what somebody else changed is raised as real inotify events inside the mount, by a
 * process of ours that makes system calls there (touch_child.h). Its requests are known by who makes them, and answered
 * here, from memory: nothing is stored, nobody is asked, and no handler ever waits for it.
 *
 * What is to be raised is queued, at most two things for a name (that it went and came back); a thread hands one after
 * the other to the toucher. It may have to wait there for others, as any program: for who has the directory or the file
 * locked in the kernel.
 *
 *	touch_new -> touch_start (in the INIT request: after the program went to the background) -> touch_queue
 *	-> touch_stop (when the loop has ended, before the unmount) -> touch_free (after it)
 *
 * Everything is guarded by tree->lock; functions want it held unless they say otherwise.
 */
#ifndef NACOSFS_FS_FOLLOW_TOUCH_H
#define NACOSFS_FS_FOLLOW_TOUCH_H

#include <stdbool.h>
#include <stddef.h>

#include "fs/filesystem.h"
#include "fs/request.h"
#include "fs/follow/touch_child.h"
#include "fs/node/tree.h"

struct touch_counts {
	size_t queued;
	unsigned long done, failed;
};

/* Makes the thing. No lock. 0 or -ENOMEM. */
int touch_new(struct filesystem *filesystem);

/* Starts the toucher and the thread. No lock. 0, or a negative errno: then no events are raised. */
int touch_start(struct filesystem *filesystem);

/* Ends the thread; what is queued is dropped. No lock. */
void touch_stop(struct filesystem *filesystem);
void touch_free(struct filesystem *filesystem);

/* Is there a toucher that gets through to the mount? */
bool touch_works(const struct filesystem *filesystem);

/*
 * Queues an event about a name in a directory. node is what has the name, or had it (TOUCH_REMOVED); NULL for
 * TOUCH_FORGET_ABSENT. What is queued for the name already is merged with it. Does nothing where there is no toucher.
 */
void touch_queue(struct filesystem *filesystem, enum touch_kind kind, struct node *parent, const char *name,
		 struct node *node);

/* The toucher's process; 0: there is none. */
pid_t touch_process(const struct filesystem *filesystem);

void touch_count(const struct filesystem *filesystem, struct touch_counts *ret_counts);

/* Is it the toucher who asks? No lock. */
bool touch_asks(const struct request *request);

/* What the toucher is doing with that name; NULL: nothing. Valid while the lock is held. */
struct touch_item {
	struct touch_item *next; /* in the queue */
	struct touch_item *next_by_name; /* in the bucket */
	enum touch_kind kind;
	struct node *parent; /* held */
	char *name;
	struct node *node; /* held; NULL: none */
};
const struct touch_item *touch_current(const struct filesystem *filesystem, const struct node *parent,
				       const char *name);

/* If this is the name that the toucher looks up so that it gets known: notes who asks, and true. */
bool touch_meets(struct filesystem *filesystem, const struct request *request, const char *name);

#endif
