/*
 * A thread that does what there is to do, and waits until there is more: one loop for all who work
 * in the background.
 *
 * What it works on is its owner's, and guarded by a lock of its owner's, which several workers may
 * share. work(arg) is called with that lock held, may give it up meanwhile, and says until when
 * there is nothing to do. What wakes the worker while it works is not lost: work() is called again.
 * The lock is given up between the calls.
 *
 *	worker_init(&worker, &lock) -> worker_start -> worker_wake, whenever there may be something to do
 *	-> worker_stop -> worker_release
 *
 * All signals are blocked in it (util/thread.h).
 */
#ifndef NACOSFS_UTIL_WORKER_H
#define NACOSFS_UTIL_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/thread.h"

/*
 * What work() returns: the time (clock_monotonic_ms()) at which it is to be called though nobody
 * wakes it, or one of these.
 */
#define WORKER_AT_ONCE INT64_MIN
#define WORKER_WHEN_WOKEN INT64_MAX

struct worker {
	struct thread thread;
	pthread_mutex_t *lock;
	pthread_cond_t woken; /* on the monotonic clock */
	bool is_woken; /* since work() was called last */
	atomic_bool stop;
	int64_t (*work)(void *arg);
	void *arg;
};

/* Nothing runs yet. The lock must live longer. */
void worker_init(struct worker *worker, pthread_mutex_t *lock);

/*
 * Starts the thread, which begins with a call of work(). 0 or -EAGAIN. The lock may be held, or
 * not.
 */
int worker_start(struct worker *worker, int64_t (*work)(void *arg), void *arg);

/* With the lock held: there may be something to do. Does no harm to one that was not started. */
void worker_wake(struct worker *worker);

/* Shall work() come to an end? For what it waits for without the lock; needs none. */
bool worker_is_stopped(const struct worker *worker);

/*
 * Without the lock: says that it is to end, and waits until it has: work() is not called any more.
 * Does nothing when it was not started. worker_tell_to_stop() only says it, of several that end
 * side by side; with or without the lock.
 */
void worker_tell_to_stop(struct worker *worker);
void worker_stop(struct worker *worker);

/* Of one that is stopped or was never started. */
void worker_release(struct worker *worker);

#endif
