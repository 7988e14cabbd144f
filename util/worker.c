#include "util/worker.h"

#include <time.h>

#include "util/clock.h"

void worker_init(struct worker *worker, pthread_mutex_t *lock)
{
	*worker = (struct worker){ .lock = lock };
	clock_init_condition(&worker->woken);
	atomic_init(&worker->stop, false);
}

/* With the lock held: until there is something to do. */
static void wait_until(struct worker *worker, int64_t due_ms)
{
	while (!worker->is_woken && !worker_is_stopped(worker)) {
		if (due_ms == WORKER_WHEN_WOKEN) {
			pthread_cond_wait(&worker->woken, worker->lock);
			continue;
		}
		if (clock_monotonic_ms() >= due_ms)
			return;
		struct timespec due = clock_from_ms(due_ms);
		pthread_cond_timedwait(&worker->woken, worker->lock, &due);
	}
}

static void *run(void *arg)
{
	struct worker *worker = arg;

	pthread_mutex_lock(worker->lock);
	while (!worker_is_stopped(worker)) {
		worker->is_woken = false;
		int64_t due_ms = worker->work(worker->arg);
		/* However busy it is, others have their turn. */
		pthread_mutex_unlock(worker->lock);
		pthread_mutex_lock(worker->lock);
		wait_until(worker, due_ms);
	}
	pthread_mutex_unlock(worker->lock);
	return NULL;
}

int worker_start(struct worker *worker, int64_t (*work)(void *arg), void *arg)
{
	worker->work = work;
	worker->arg = arg;
	return thread_start(&worker->thread, run, worker);
}

void worker_wake(struct worker *worker)
{
	worker->is_woken = true;
	pthread_cond_signal(&worker->woken);
}

bool worker_is_stopped(const struct worker *worker)
{
	return atomic_load(&worker->stop);
}

void worker_tell_to_stop(struct worker *worker)
{
	atomic_store(&worker->stop, true);
}

void worker_stop(struct worker *worker)
{
	worker_tell_to_stop(worker);
	/* It either has seen that, or waits already. */
	pthread_mutex_lock(worker->lock);
	worker_wake(worker);
	pthread_mutex_unlock(worker->lock);
	thread_join(&worker->thread);
}

void worker_release(struct worker *worker)
{
	pthread_cond_destroy(&worker->woken);
}
