/*
 * The tree's lock: one lock for all nodes and what hangs on them, held for moments only.
 *
 * Whoever holds it may not wait: not for a store, a file, /proc, the log, or the kernel
 * (util/wait.h asserts it in test builds). Who has to wait gives it up meanwhile (fs/save/ask.h is
 * the only way to a store), or waits for a change of what it guards: lock_wait() and lock_sleep()
 * give it up by themselves. After each of these everything may be otherwise: only what is held
 * (struct held, fs/node/tree.h) is sure to be there.
 *
 * A function that is called with it says LOCKED, also where it gives it up meanwhile; one that must
 * not be called with it, UNLOCKED. clang checks that (`make locks`), but for calls through
 * pointers. It can't tell that tree->lock and saver->tree->lock are one, so this is about a role,
 * which is no object.
 */
#ifndef NACOSFS_FS_NODE_LOCK_H
#define NACOSFS_FS_NODE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/annotations.h"
#include "util/call.h"

/* For the annotations only: never defined. */
extern struct CAPABILITY("the tree's lock") lock_role tree_lock_role;
#define LOCKED REQUIRES(&tree_lock_role)
#define UNLOCKED EXCLUDES(&tree_lock_role)

struct lock {
	pthread_mutex_t mutex; /* of lock.c alone */
	pthread_cond_t changed; /* a state that somebody may wait for is another one */
	pthread_t holder; /* if is_held */
	bool is_held;
	unsigned long rounds; /* how often it was taken, for measurements */
};

void lock_init(struct lock *lock);
void lock_destroy(struct lock *lock);

void lock_take(struct lock *lock) ACQUIRE(&tree_lock_role);
void lock_give(struct lock *lock) RELEASE(&tree_lock_role);

/* Aborts unless this thread holds it. */
void lock_assert_held(const struct lock *lock) ASSERT_HELD(&tree_lock_role);

/*
 * Waits for a lock_broadcast() for a slice of the call at most; 0, -ETIMEDOUT, -EINTR, or
 * -EWOULDBLOCK where the call may not wait.
 */
int lock_wait(struct lock *lock, struct call *call) LOCKED;
void lock_broadcast(struct lock *lock) LOCKED;

/*
 * Waits for the condition of a worker (clock_init_condition()), until a moment of
 * clock_monotonic_ms() at the latest; INT64_MAX: for ever.
 */
void lock_sleep(struct lock *lock, pthread_cond_t *woken, int64_t until_ms) LOCKED;

#endif
