/*
 * Waking programs that watch files: what somebody else changed is raised as real inotify events
 * inside the mount, by a process of ours that makes system calls there (touch_child.h). It is
 * started again when it dies.
 *
 * A thread hands it one thing after the other from the wake queue (fs/node/wake.h). It may have to
 * wait there for others, as any program: for who has the directory or the file locked in the
 * kernel. Nothing of ours waits for it.
 *
 * Its requests are known by who makes them: its pid, which nobody else can have while it is our
 * child and not reaped, and only while it is doing something, with what that is about. They are
 * answered from memory (fs/touch_answer.h).
 *
 *	toucher_start -> toucher_stop (when the loop has ended, before the unmount) -> toucher_end (after it)
 */
#ifndef NACOSFS_FS_FOLLOW_TOUCHER_H
#define NACOSFS_FS_FOLLOW_TOUCHER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "fs/node/tree.h"
#include "util/thread.h"

#define TOUCHER_NONCE_SIZE 48

struct toucher {
	struct tree *tree;
	struct thread thread;
	atomic_int socket; /* to the process; -1: none */
	atomic_int child; /* its pid here; 0: none */
	/* the thread id that its requests carry; 0: not known, or it does nothing */
	atomic_int caller;
	bool stopping; /* what follows is guarded by the tree's lock */
	bool complained;
	int caller_known; /* what caller is while it does something */
	char nonce[TOUCHER_NONCE_SIZE]; /* the name that it looks up first; "" when that is over */
};

/* Starts the thread, and that the process. No lock. 0 or a negative errno. */
int toucher_start(struct toucher *toucher, struct tree *tree) UNLOCKED;

/* Ends the thread; wake_stop() was called. No lock. */
void toucher_stop(struct toucher *toucher) UNLOCKED;

/* Ends the process. No lock. */
void toucher_end(struct toucher *toucher) UNLOCKED;

/* Its process; 0: there is none. No lock. */
pid_t toucher_process(const struct toucher *toucher);

/* Might it be the toucher who asks? No lock. */
bool toucher_may_ask(const struct toucher *toucher, pid_t thread);

/*
 * Is it doing something that is about this node, so that it is the toucher who asks? With the lock.
 */
bool toucher_is_at(const struct toucher *toucher, const struct node *node) LOCKED;

/*
 * If this is the name that it looks up in the root so that it gets known: notes who asks, and true.
 * With the lock.
 */
bool toucher_meets(struct toucher *toucher, pid_t thread, const char *name) LOCKED;

/* Is it waiting to be met? No lock; a true may be outdated. */
bool toucher_is_unknown(const struct toucher *toucher);

#endif
