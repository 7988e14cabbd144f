/*
 * A mutex that clang knows (util/annotations.h). Otherwise what pthread_mutex_t is.
 *
 *	mutex_init (or = MUTEX_INIT) -> { mutex_lock -> mutex_unlock } -> mutex_destroy
 *
 * Conditions are pthread's; waiting on one gives the lock up meanwhile, and call_wait() takes &mutex->pthread.
 */
#ifndef NACOSFS_UTIL_MUTEX_H
#define NACOSFS_UTIL_MUTEX_H

#include <pthread.h>

#include "util/annotations.h"

struct CAPABILITY("mutex") mutex {
	pthread_mutex_t pthread;
};

#define MUTEX_INIT { PTHREAD_MUTEX_INITIALIZER }

static inline void mutex_init(struct mutex *mutex)
{
	pthread_mutex_init(&mutex->pthread, NULL);
}

static inline void mutex_destroy(struct mutex *mutex)
{
	pthread_mutex_destroy(&mutex->pthread);
}

static inline void mutex_lock(struct mutex *mutex) ACQUIRE(mutex) NO_LOCK_ANALYSIS
{
	pthread_mutex_lock(&mutex->pthread);
}

static inline void mutex_unlock(struct mutex *mutex) RELEASE(mutex) NO_LOCK_ANALYSIS
{
	pthread_mutex_unlock(&mutex->pthread);
}

/* Waits for the condition; until, on the clock of clock_init_condition(), may be NULL. Returns what pthread does. */
static inline int mutex_wait(struct mutex *mutex, pthread_cond_t *condition, const struct timespec *until) REQUIRES(mutex)
{
	return until ? pthread_cond_timedwait(condition, &mutex->pthread, until) :
		       pthread_cond_wait(condition, &mutex->pthread);
}

#endif
