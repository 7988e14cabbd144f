/*
 * A thread that works in the background until it is told to end.
 *
 * All zeros is one that was not started. Who has told the thread to end calls thread_join(), which
 * may be called again.
 */
#ifndef NACOSFS_UTIL_THREAD_H
#define NACOSFS_UTIL_THREAD_H

#include <pthread.h>
#include <stdbool.h>

struct thread {
	pthread_t id; /* if is_started */
	bool is_started;
};

/*
 * Starts it with all signals blocked: they are for the threads that expect them. It also makes a
 * broken pipe, which libssl knows no way around, an error like any other. 0 or -EAGAIN.
 */
int thread_start(struct thread *thread, void *(*run)(void *arg), void *arg);

/* Waits for its end; does nothing when it was not started. */
void thread_join(struct thread *thread);

#endif
