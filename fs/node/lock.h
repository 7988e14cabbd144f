/*
 * The tree's lock: one lock for all nodes and what hangs on them, held for moments only.
 *
 * Whoever holds it may not wait: not for a store, a file, /proc, the log, or the kernel (util/wait.h asserts it in test builds).
 * Who has to wait gives it up meanwhile (fs/save/ask.h is the only way to a store), or waits for a change of what it guards:
 * lock_wait() and lock_sleep() give it up by themselves. After each of these everything may be otherwise: only what is held
 * (struct held, fs/node/tree.h) is sure to be there.
 */
#ifndef NACOSFS_FS_NODE_LOCK_H
#define NACOSFS_FS_NODE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/call.h"

struct lock {
	pthread_mutex_t mutex; /* of lock.c alone */
	pthread_cond_t changed; /* a state that somebody may wait for is another one */
	pthread_t holder; /* if is_held */
	bool is_held;
	unsigned long rounds; /* how often it was taken, for measurements */
};

void lock_init(struct lock *lock);
void lock_destroy(struct lock *lock);

void lock_take(struct lock *lock);
void lock_give(struct lock *lock);

/* Aborts unless this thread holds it. */
void lock_assert_held(const struct lock *lock);

/* Waits for a lock_broadcast() for a slice of the call at most; 0, -ETIMEDOUT, -EINTR, or -EWOULDBLOCK where the call may not wait. */
int lock_wait(struct lock *lock, struct call *call);
void lock_broadcast(struct lock *lock);

/* Waits for the condition of a worker (clock_init_condition()), until a moment of clock_monotonic_ms() at the latest; INT64_MAX: for ever. */
void lock_sleep(struct lock *lock, pthread_cond_t *woken, int64_t until_ms);

#endif
