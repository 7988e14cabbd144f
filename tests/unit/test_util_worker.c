/* The background worker: when it works, what wakes it, how it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/clock.h"
#include "util/worker.h"

#define TIMEOUT_MS 5000

struct job {
	pthread_mutex_t lock;
	struct worker worker;
	unsigned calls;
	int64_t pause_ms; /* until the next; -1: when woken */
	bool is_slow; /* works until it is told to stop or may go on */
	atomic_bool may_go_on;
};

static int64_t work(void *arg)
{
	struct job *job = arg;

	job->calls++;
	if (job->is_slow) {
		pthread_mutex_unlock(&job->lock);
		while (!atomic_load(&job->may_go_on) && !worker_is_stopped(&job->worker))
			usleep(1000);
		pthread_mutex_lock(&job->lock);
	}
	return job->pause_ms < 0 ? WORKER_WHEN_WOKEN : clock_monotonic_ms() + job->pause_ms;
}

static void begin(struct job *job)
{
	pthread_mutex_init(&job->lock, NULL);
	worker_init(&job->worker, &job->lock);
	atomic_init(&job->may_go_on, false);
}

static void end(struct job *job)
{
	worker_stop(&job->worker);
	worker_release(&job->worker);
	pthread_mutex_destroy(&job->lock);
}

static unsigned count_calls(struct job *job)
{
	pthread_mutex_lock(&job->lock);
	unsigned calls = job->calls;
	pthread_mutex_unlock(&job->lock);
	return calls;
}

static bool wait_for_calls(struct job *job, unsigned calls)
{
	int64_t end_ms = clock_monotonic_ms() + TIMEOUT_MS;

	while (count_calls(job) < calls && clock_monotonic_ms() < end_ms)
		usleep(1000);
	return count_calls(job) >= calls;
}

static void wake(struct job *job)
{
	pthread_mutex_lock(&job->lock);
	worker_wake(&job->worker);
	pthread_mutex_unlock(&job->lock);
}

static void test_it_works_once_and_when_woken(void **state)
{
	struct job job = { .pause_ms = -1 };

	(void)state;
	begin(&job);
	wake(&job);
	assert_int_equal(worker_start(&job.worker, work, &job), 0);
	assert_true(wait_for_calls(&job, 1));
	usleep(20000);
	assert_int_equal(count_calls(&job), 1);
	wake(&job);
	assert_true(wait_for_calls(&job, 2));
	usleep(20000);
	assert_int_equal(count_calls(&job), 2);
	end(&job);
}

static void test_it_works_when_it_is_due(void **state)
{
	struct job job = { .pause_ms = 5 };
	int64_t begun_ms = clock_monotonic_ms();

	(void)state;
	begin(&job);
	assert_int_equal(worker_start(&job.worker, work, &job), 0);
	assert_true(wait_for_calls(&job, 5));
	assert_true(clock_monotonic_ms() - begun_ms >= 20);
	end(&job);
}

static void test_what_wakes_it_at_work_is_not_lost(void **state)
{
	struct job job = { .pause_ms = -1, .is_slow = true };

	(void)state;
	begin(&job);
	assert_int_equal(worker_start(&job.worker, work, &job), 0);
	assert_true(wait_for_calls(&job, 1));
	wake(&job);
	atomic_store(&job.may_go_on, true);
	assert_true(wait_for_calls(&job, 2));
	end(&job);
}

/* The lock is its owner's, not the worker's. */
static void test_a_busy_one_lets_others_have_the_lock(void **state)
{
	struct job job = { .pause_ms = 0 };

	(void)state;
	begin(&job);
	assert_int_equal(worker_start(&job.worker, work, &job), 0);
	for (unsigned i = 1; i < 20; i++)
		assert_true(wait_for_calls(&job, i));
	end(&job);
}

static void test_it_ends_at_work(void **state)
{
	struct job job = { .pause_ms = 0, .is_slow = true };

	(void)state;
	begin(&job);
	assert_int_equal(worker_start(&job.worker, work, &job), 0);
	assert_true(wait_for_calls(&job, 1));
	end(&job);
	assert_int_equal(job.calls, 1);
}

static void test_one_that_never_began_ends_too(void **state)
{
	struct job job = { .pause_ms = -1 };

	(void)state;
	begin(&job);
	wake(&job);
	end(&job);
	assert_int_equal(job.calls, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_works_once_and_when_woken),
		cmocka_unit_test(test_it_works_when_it_is_due),
		cmocka_unit_test(test_what_wakes_it_at_work_is_not_lost),
		cmocka_unit_test(test_a_busy_one_lets_others_have_the_lock),
		cmocka_unit_test(test_it_ends_at_work),
		cmocka_unit_test(test_one_that_never_began_ends_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
