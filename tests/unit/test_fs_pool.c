/* The threads that may wait: how they are shared out, in which order jobs run, and their end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "fs/pool.h"

#define LIMIT 8
#define JOBS_MAX 256

/* What runs waits here until it is let go; and what ran is noted. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool held; /* jobs wait */
	size_t running, running_max, ran_count;
	int ran[JOBS_MAX];
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

struct job {
	struct pool_job job; /* first */
	int number;
	bool waits;
};

static void run_job(struct pool_job *pool_job)
{
	struct job *job = (struct job *)pool_job;

	pthread_mutex_lock(&gate.lock);
	gate.ran[gate.ran_count++] = job->number;
	gate.running++;
	if (gate.running > gate.running_max)
		gate.running_max = gate.running;
	pthread_cond_broadcast(&gate.changed);
	while (job->waits && gate.held)
		pthread_cond_wait(&gate.changed, &gate.lock);
	gate.running--;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
	free(job);
}

static void submit(struct pool *pool, uid_t uid, int number, bool waits)
{
	struct job *job = malloc(sizeof(*job));

	*job = (struct job){ .job = { .run = run_job, .uid = uid }, .number = number, .waits = waits };
	pool_submit(pool, &job->job);
}

static void let_go(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.held = false;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

/* Waits until so many have begun to run. */
static void wait_for_ran(size_t count)
{
	struct timespec until;
	int error = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 10;
	pthread_mutex_lock(&gate.lock);
	while (gate.ran_count < count && !error)
		error = pthread_cond_timedwait(&gate.changed, &gate.lock, &until);
	size_t ran = gate.ran_count;
	pthread_mutex_unlock(&gate.lock);
	assert_true(ran >= count);
}

static size_t count_waiting(struct pool *pool)
{
	size_t waiting, running;

	pool_count(pool, &waiting, &running);
	return waiting;
}

static int set_up(void **state)
{
	*state = pool_new(LIMIT);
	gate.held = true;
	gate.running = gate.running_max = gate.ran_count = 0;
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	let_go();
	pool_stop(*state);
	pool_free(*state);
	return 0;
}

static void test_a_user_has_half_of_what_is_free(void **state)
{
	struct pool *pool = *state;
	size_t waiting, running;

	for (int i = 0; i < 20; i++)
		submit(pool, 1, i, true);
	wait_for_ran(LIMIT / 2);
	pool_count(pool, &waiting, &running);
	assert_int_equal(running, 4);
	assert_int_equal(waiting, 16);
	for (int i = 0; i < 20; i++)
		submit(pool, 2, 100 + i, true);
	wait_for_ran(4 + 2);
	for (int i = 0; i < 20; i++)
		submit(pool, 3, 200 + i, true);
	wait_for_ran(4 + 2 + 1);
	pool_count(pool, &waiting, &running);
	assert_int_equal(running, 7);
	/* There is one for whoever comes next. */
	submit(pool, 4, 300, true);
	wait_for_ran(8);
	let_go();
	wait_for_ran(61);
	assert_true(gate.running_max <= LIMIT);
}

static void test_root_has_all(void **state)
{
	struct pool *pool = *state;

	for (int i = 0; i < 20; i++)
		submit(pool, 0, i, true);
	wait_for_ran(LIMIT);
	assert_int_equal(count_waiting(pool), 20 - LIMIT);
}

/* With one thread, the order is that of the turns, and of each user's jobs. */
static void test_users_take_turns(void **state)
{
	static const int expected[] = { 0, 100, 200, 1, 101, 201, 2, 102, 202 };
	struct pool *pool = pool_new(1);

	(void)state;
	submit(pool, 9, -1, true); /* keeps the thread until all are there */
	wait_for_ran(1);
	for (int i = 0; i < 3; i++)
		submit(pool, 1, i, false);
	for (int i = 0; i < 3; i++)
		submit(pool, 2, 100 + i, false);
	for (int i = 0; i < 3; i++)
		submit(pool, 3, 200 + i, false);
	assert_int_equal(count_waiting(pool), 9);
	let_go();
	wait_for_ran(10);
	for (size_t i = 0; i < 9; i++)
		assert_int_equal(gate.ran[i + 1], expected[i]);
	pool_stop(pool);
	pool_free(pool);
}

static void *let_go_soon(void *arg)
{
	struct pool *pool = arg;

	while (!pool_is_stopping(pool))
		sched_yield();
	let_go();
	return NULL;
}

static void test_stop_runs_all_that_waits(void **state)
{
	struct pool *pool = pool_new(LIMIT);
	pthread_t thread;

	(void)state;
	for (int i = 0; i < 50; i++)
		submit(pool, 1, i, true);
	assert_false(pool_is_stopping(pool));
	assert_int_equal(pthread_create(&thread, NULL, let_go_soon, pool), 0);
	pool_stop(pool);
	pthread_join(thread, NULL);
	assert_int_equal(gate.ran_count, 50);
	assert_int_equal(gate.running, 0);
	pool_free(pool);
}

static void test_one_that_was_not_used_ends(void **state)
{
	struct pool *pool = pool_new(LIMIT);

	(void)state;
	pool_stop(pool);
	pool_free(pool);
	pool_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_user_has_half_of_what_is_free, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_root_has_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_users_take_turns, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stop_runs_all_that_waits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_that_was_not_used_ends, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
