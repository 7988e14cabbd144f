#include "fs/node/lock.h"

#include <errno.h>
#include <stdlib.h>

#include "util/clock.h"
#include "util/wait.h"

void lock_init(struct lock *lock)
{
	pthread_mutex_init(&lock->mutex, NULL);
	clock_init_condition(&lock->changed);
	lock->is_held = false;
	lock->rounds = 0;
}

void lock_destroy(struct lock *lock)
{
	pthread_cond_destroy(&lock->changed);
	pthread_mutex_destroy(&lock->mutex);
}

static void note_taken(struct lock *lock)
{
	lock->holder = pthread_self();
	lock->is_held = true;
	wait_forbid();
}

static void note_given(struct lock *lock)
{
	lock->is_held = false;
	wait_allow();
}

void lock_take(struct lock *lock) NO_LOCK_ANALYSIS
{
	pthread_mutex_lock(&lock->mutex);
	lock->rounds++;
	note_taken(lock);
}

void lock_give(struct lock *lock) NO_LOCK_ANALYSIS
{
	note_given(lock);
	pthread_mutex_unlock(&lock->mutex);
}

void lock_assert_held(const struct lock *lock) NO_LOCK_ANALYSIS
{
	if (!lock->is_held || !pthread_equal(lock->holder, pthread_self()))
		abort();
}

/*
 * Whether the caller was interrupted only /proc can tell, so that is asked without the lock: after
 * the wait, not before.
 */
int lock_wait(struct lock *lock, struct call *call)
{
	if (call->from_memory)
		return -EWOULDBLOCK;
	lock_sleep(lock, &lock->changed, clock_monotonic_ms() + call_slice_ms(call));
	lock_give(lock);
	int error = call_check(call);
	lock_take(lock);
	return error;
}

void lock_broadcast(struct lock *lock)
{
	pthread_cond_broadcast(&lock->changed);
}

void lock_sleep(struct lock *lock, pthread_cond_t *woken, int64_t until_ms)
{
	struct timespec until = clock_from_ms(until_ms);

	note_given(lock);
	if (until_ms == INT64_MAX)
		pthread_cond_wait(woken, &lock->mutex);
	else
		pthread_cond_timedwait(woken, &lock->mutex, &until);
	note_taken(lock);
}
