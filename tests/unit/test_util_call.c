#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "util/call.h"
#include "util/clock.h"

static bool flag_is_set(void *arg)
{
	return *(bool *)arg;
}

static void test_deadline(void **state)
{
	struct call call;

	(void)state;
	call_start(&call, 10000);
	assert_int_equal(call_check(&call), 0);
	assert_string_equal(call.reason, "");
	assert_in_range(call_left_ms(&call), 9000, 10000);
	assert_int_equal(call_slice_ms(&call), CALL_SLICE_MS);

	call_start(&call, 40);
	assert_in_range(call_slice_ms(&call), 1, 40);

	call_start(&call, 0);
	assert_int_equal(call_check(&call), -ETIMEDOUT);
	assert_string_equal(call.reason, "no answer in time");
	assert_int_equal(call_left_ms(&call), 0);
	assert_int_equal(call_slice_ms(&call), 0);

	call_start(&call, INT64_MAX);
	assert_int_equal(call_check(&call), 0);
}

static void test_interrupt_comes_before_deadline(void **state)
{
	bool flag = false;
	struct call call;

	(void)state;
	call_start(&call, 10000);
	call.interrupted = flag_is_set;
	call.interrupted_arg = &flag;
	assert_int_equal(call_check(&call), 0);
	flag = true;
	assert_int_equal(call_check(&call), -EINTR);
	assert_string_equal(call.reason, "interrupted");
	call.deadline_ms = 0;
	assert_int_equal(call_check(&call), -EINTR);
}

static void test_part_ends_with_whole(void **state)
{
	struct call whole, part;
	bool flag = false;

	(void)state;
	call_start(&whole, 1000);
	whole.interrupted = flag_is_set;
	whole.interrupted_arg = &flag;
	call_start_part(&part, &whole, 100000);
	assert_true(part.deadline_ms == whole.deadline_ms);
	call_start_part(&part, &whole, 10);
	assert_true(part.deadline_ms < whole.deadline_ms);
	flag = true;
	assert_int_equal(call_check(&part), -EINTR);
	assert_string_equal(whole.reason, "");
}

static void test_sleep(void **state)
{
	bool flag = true;
	int64_t before_ms;
	struct call call;

	(void)state;
	call_start(&call, 10000);
	before_ms = clock_monotonic_ms();
	assert_int_equal(call_sleep(&call, 150), 0);
	assert_in_range(clock_monotonic_ms() - before_ms, 149, 1000);
	assert_int_equal(call_sleep(&call, 0), 0);
	assert_int_equal(call_sleep(&call, -5), 0);

	call_start(&call, 50);
	before_ms = clock_monotonic_ms();
	assert_int_equal(call_sleep(&call, 5000), -ETIMEDOUT);
	assert_in_range(clock_monotonic_ms() - before_ms, 49, 1000);

	call_start(&call, 10000);
	call.interrupted = flag_is_set;
	call.interrupted_arg = &flag;
	assert_int_equal(call_sleep(&call, INT64_MAX), -EINTR);
}

static void test_fail_writes_the_reason(void **state)
{
	char quoted[CALL_REASON_SIZE];
	struct call call;

	(void)state;
	call_start(&call, 0);
	assert_int_equal(call_fail(&call, -EIO, "%s is %d", "it", 7), -EIO);
	assert_string_equal(call.reason, "it is 7");
	/* an argument may be the reason itself */
	assert_int_equal(call_fail(&call, -EPERM, "so: %s", call.reason), -EPERM);
	assert_string_equal(call.reason, "so: it is 7");
	call_fail(&call, -EIO, "two\nlines \x1b[31mred\x7f");
	assert_string_equal(call.reason, "two?lines ?[31mred?");

	/* cut between characters: 254 bytes and one of three that does not fit */
	memset(quoted, 'a', sizeof(quoted));
	quoted[CALL_REASON_SIZE - 2] = '\0';
	call_fail(&call, -EIO, "%s\xe4\xb8\xad", quoted);
	assert_string_equal(call.reason, quoted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_interrupt_comes_before_deadline),
		cmocka_unit_test(test_part_ends_with_whole),
		cmocka_unit_test(test_sleep),
		cmocka_unit_test(test_fail_writes_the_reason),
	};

	return cmocka_run_group_tests_name("util/call", tests, NULL, NULL);
}
