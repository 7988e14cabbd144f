#include "util/thread.h"

#include <signal.h>

int thread_start(struct thread *thread, void *(*run)(void *arg), void *arg)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&thread->id, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	thread->is_started = !error;
	return -error;
}

void thread_join(struct thread *thread)
{
	if (thread->is_started)
		pthread_join(thread->id, NULL);
	thread->is_started = false;
}
