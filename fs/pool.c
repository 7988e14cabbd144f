#include "fs/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "util/table.h"
#include "util/thread.h"

/* The jobs of one user. */
struct share {
	struct table_link link; /* first; by uid */
	struct share *next; /* in turn; while jobs wait */
	uid_t uid;
	struct pool_job *first, **last;
	size_t running;
};

struct pool {
	size_t limit;
	atomic_bool stopping;

	pthread_mutex_t lock; /* all below */
	pthread_cond_t woken;
	struct thread *threads;
	size_t thread_count, idle;
	struct table shares;
	/* those with jobs that wait, in the order of their turns */
	struct share *turn, **last_turn;
	size_t waiting, running;
};

struct pool *pool_new(size_t thread_limit)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->threads = calloc(thread_limit, sizeof(*pool->threads));
	if (!pool->threads) {
		free(pool);
		return NULL;
	}
	pool->limit = thread_limit;
	pool->last_turn = &pool->turn;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->woken, NULL);
	return pool;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	for (struct table_link *link = table_next(&pool->shares, NULL), *next; link; link = next) {
		next = table_next(&pool->shares, link);
		free(link);
	}
	table_release(&pool->shares);
	pthread_cond_destroy(&pool->woken);
	pthread_mutex_destroy(&pool->lock);
	free(pool->threads);
	free(pool);
}

bool pool_is_stopping(const struct pool *pool)
{
	return atomic_load(&pool->stopping);
}

static bool is_of(const struct table_link *link, const void *uid)
{
	return ((const struct share *)link)->uid == *(const uid_t *)uid;
}

/* NULL without memory. */
static struct share *find_share(struct pool *pool, uid_t uid)
{
	uint64_t hash = table_hash(&uid, sizeof(uid));
	struct share *share = (struct share *)table_find(&pool->shares, hash, is_of, &uid);

	if (share)
		return share;
	share = calloc(1, sizeof(*share));
	if (!share)
		return NULL;
	share->uid = uid;
	share->last = &share->first;
	table_add(&pool->shares, &share->link, hash);
	return share;
}

static void forget_if_idle(struct pool *pool, struct share *share)
{
	if (share->first || share->running)
		return;
	table_remove(&pool->shares, &share->link);
	free(share);
}

static void take_turn(struct pool *pool, struct share *share)
{
	share->next = NULL;
	*pool->last_turn = share;
	pool->last_turn = &share->next;
}

/* May one more of his run? Half of what the others leave free is his, and one at least. */
static bool may_run(const struct pool *pool, const struct share *share)
{
	size_t free_for_him = pool->limit - (pool->running - share->running);

	return !share->uid || !share->running || share->running < free_for_him / 2 || pool_is_stopping(pool);
}

/* The next job that may run; NULL: none. */
static struct pool_job *take_job(struct pool *pool, struct share **ret_share)
{
	struct share **place = &pool->turn;

	while (*place && !may_run(pool, *place))
		place = &(*place)->next;
	struct share *share = *place;
	if (!share)
		return NULL;
	*place = share->next;
	if (!share->next)
		pool->last_turn = place;
	struct pool_job *job = share->first;
	share->first = job->next;
	if (share->first)
		take_turn(pool, share);
	else
		share->last = &share->first;
	share->running++;
	pool->running++;
	pool->waiting--;
	*ret_share = share;
	return job;
}

static void *run(void *arg)
{
	struct pool *pool = arg;
	struct share *share;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct pool_job *job = take_job(pool, &share);

		if (!job && pool_is_stopping(pool))
			break;
		if (!job) {
			pool->idle++;
			pthread_cond_wait(&pool->woken, &pool->lock);
			pool->idle--;
			continue;
		}
		pthread_mutex_unlock(&pool->lock);
		job->run(job);
		pthread_mutex_lock(&pool->lock);
		share->running--;
		pool->running--;
		forget_if_idle(pool, share);
		if (pool->turn)
			/* one who had to wait for his share may run now */
			pthread_cond_signal(&pool->woken);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* With the lock. Is there a thread that will come to it? */
static bool wake_thread(struct pool *pool)
{
	if (pool->idle)
		pthread_cond_signal(&pool->woken);
	if (pool->idle < pool->waiting && pool->thread_count < pool->limit &&
	    !thread_start(&pool->threads[pool->thread_count], run, pool))
		pool->thread_count++;
	return pool->thread_count;
}

void pool_submit(struct pool *pool, struct pool_job *job)
{
	pthread_mutex_lock(&pool->lock);
	struct share *share = find_share(pool, job->uid);
	bool is_queued = share;
	if (share) {
		bool waits = share->first;

		job->next = NULL;
		*share->last = job;
		share->last = &job->next;
		pool->waiting++;
		if (!waits)
			take_turn(pool, share);
		is_queued = wake_thread(pool);
		if (!is_queued) {
			struct share *taken;

			take_job(pool, &taken); /* there is no other */
			taken->running--;
			pool->running--;
			forget_if_idle(pool, taken);
		}
	}
	pthread_mutex_unlock(&pool->lock);
	if (!is_queued)
		job->run(job);
}

void pool_stop(struct pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	atomic_store(&pool->stopping, true);
	pthread_cond_broadcast(&pool->woken);
	pthread_mutex_unlock(&pool->lock);
	for (size_t i = 0; i < pool->thread_count; i++)
		thread_join(&pool->threads[i]);
}

void pool_count(struct pool *pool, size_t *ret_waiting, size_t *ret_running)
{
	pthread_mutex_lock(&pool->lock);
	*ret_waiting = pool->waiting;
	*ret_running = pool->running;
	pthread_mutex_unlock(&pool->lock);
}
