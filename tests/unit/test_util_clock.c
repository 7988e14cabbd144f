#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "util/clock.h"

static void test_monotonic_goes_on(void **state)
{
	struct timespec pause = { .tv_nsec = 5 * 1000 * 1000 };
	int64_t before_ms = clock_monotonic_ms();

	(void)state;
	nanosleep(&pause, NULL);
	assert_true(clock_monotonic_ms() > before_ms);
}

static void test_now_is_the_time_of_day(void **state)
{
	struct timespec now = clock_now();

	(void)state;
	assert_true(now.tv_sec >= time(NULL) - 1 && now.tv_sec <= time(NULL) + 1);
	assert_in_range(now.tv_nsec, 0, 999999999);
}

static void test_milliseconds_there_and_back(void **state)
{
	static const int64_t times_ms[] = { 0, 1, 999, 1000, 1700000000123, -1, -999, -1000, -1001 };

	(void)state;
	for (size_t i = 0; i < sizeof(times_ms) / sizeof(times_ms[0]); i++) {
		struct timespec time = clock_from_ms(times_ms[i]);

		assert_in_range(time.tv_nsec, 0, 999999999);
		assert_true(clock_to_ms(time) == times_ms[i]);
	}
	assert_true(clock_to_ms((struct timespec){ .tv_sec = 1, .tv_nsec = 1999999 }) == 1001);
}

static void test_huge_times_are_clamped(void **state)
{
	(void)state;
	assert_true(clock_to_ms((struct timespec){ .tv_sec = INT64_MAX }) == INT64_MAX);
	assert_true(clock_to_ms((struct timespec){ .tv_sec = INT64_MIN }) == INT64_MIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_monotonic_goes_on),
		cmocka_unit_test(test_now_is_the_time_of_day),
		cmocka_unit_test(test_milliseconds_there_and_back),
		cmocka_unit_test(test_huge_times_are_clamped),
	};

	return cmocka_run_group_tests_name("util/clock", tests, NULL, NULL);
}
