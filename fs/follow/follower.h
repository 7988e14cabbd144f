/*
 * What others did, on its way to the kernel: the workers that empty the wake queue
 * (fs/node/wake.h).
 *
 *	follower_start (in the INIT request: after the program went to the background) -> follower_stop (when the loop has
 *	ended, before the unmount) -> follower_end (after it)
 *
 * Some threads fetch what may have changed; one makes the kernel forget what it knew (tell.c),
 * which waits for nobody; one hands what is to be raised to the toucher (toucher.c). No FUSE
 * handler calls into the kernel: they queue.
 */
#ifndef NACOSFS_FS_FOLLOW_FOLLOWER_H
#define NACOSFS_FS_FOLLOW_FOLLOWER_H

#include "fs/follow/toucher.h"
#include "fs/save/saver.h"
#include "util/thread.h"

struct fuse_session;

#define FOLLOWER_FETCHERS 4

struct follower {
	struct saver *saver;
	struct fuse_session *session; /* not owned; set before the start */
	struct thread fetchers[FOLLOWER_FETCHERS];
	struct thread teller;
	struct toucher toucher;
};

/* Starts all workers; what can't be started is logged, and its work not done. No lock. */
void follower_start(struct follower *follower) UNLOCKED;

/* Ends them; what they are fetching is interrupted. No lock. */
void follower_stop(struct follower *follower) UNLOCKED;

/* Ends the toucher's process. No lock. */
void follower_end(struct follower *follower) UNLOCKED;

#endif
