/*
 * Threads that may wait, for requests that can't be answered from memory: a bounded number of them,
 * shared out among users, so that whatever one of them asks, others are served.
 *
 * A user may have at most half of what the others leave free; the rest of his requests waits for
 * its turn. root is exempt. Users take turns, and each user's requests keep their order.
 *
 * Safe from any thread; submitting never waits. pool_new -> pool_submit ... -> pool_stop ->
 * pool_free.
 */
#ifndef NACOSFS_FS_POOL_H
#define NACOSFS_FS_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "fs/node/lock.h"

struct pool;

/*
 * One thing that is to be done: the beginning of something larger, which is the caller's until
 * run() is called, and run()'s then.
 */
struct pool_job {
	void (*run)(struct pool_job *job);
	uid_t uid;
	struct pool_job *next; /* the pool's */
};

/* Of at most thread_limit threads, each started when it is needed. NULL without memory. */
struct pool *pool_new(size_t thread_limit) UNLOCKED;

/* Runs the job, soon. Where no thread can be started at all it is run at once, here. */
void pool_submit(struct pool *pool, struct pool_job *job) UNLOCKED;

/* Is it to end? What still waits or runs should not take long then. */
bool pool_is_stopping(const struct pool *pool);

/* Runs all that was submitted, and ends the threads. Nothing may be submitted any more. */
void pool_stop(struct pool *pool) UNLOCKED;

/* NULL is fine. */
void pool_free(struct pool *pool) UNLOCKED;

/* How many jobs wait and run, for measurements. */
void pool_count(struct pool *pool, size_t *ret_waiting, size_t *ret_running) UNLOCKED;

#endif
