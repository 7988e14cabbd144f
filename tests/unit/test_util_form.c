#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "util/form.h"

static void test_fields(void **state)
{
	cleanup_buffer struct buffer form = BUFFER_INIT;

	(void)state;
	assert_int_equal(form_append(&form, "dataId", "a b&c=d+\xe4\xb8\xad%/?#"), 0);
	assert_string_equal(form.data, "dataId=a%20b%26c%3Dd%2B%E4%B8%AD%25%2F%3F%23");
	assert_int_equal(form_append(&form, "empty", ""), 0);
	assert_int_equal(form_append_number(&form, "pageNo", -12), 0);
	assert_string_equal(form.data, "dataId=a%20b%26c%3Dd%2B%E4%B8%AD%25%2F%3F%23&empty=&pageNo=-12");
	assert_int_equal(form.size, strlen(form.data));
	buffer_clear(&form);
	assert_int_equal(form_append_bytes(&form, "b&d", "\0\xff", 2), 0);
	assert_string_equal(form.data, "b%26d=%00%FF");
	assert_int_equal(form_append_bytes(&form, "none", NULL, 0), 0);
	assert_string_equal(form.data, "b%26d=%00%FF&none=");
}

static void test_numbers(void **state)
{
	cleanup_buffer struct buffer form = BUFFER_INIT;
	char expected[64];

	(void)state;
	snprintf(expected, sizeof(expected), "n=%ld", LONG_MIN);
	assert_int_equal(form_append_number(&form, "n", LONG_MIN), 0);
	assert_string_equal(form.data, expected);
}

static void test_every_byte(void **state)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";

	(void)state;
	for (int i = 0; i < 256; i++) {
		cleanup_buffer struct buffer form = BUFFER_INIT;
		char byte = (char)i, expected[8];

		if (byte && strchr(plain, byte))
			snprintf(expected, sizeof(expected), "x=%c", byte);
		else
			snprintf(expected, sizeof(expected), "x=%%%02X", i);
		assert_int_equal(form_append_bytes(&form, "x", &byte, 1), 0);
		assert_string_equal(form.data, expected);
		assert_int_equal(form_encoded_size(&byte, 1), strlen(expected) - 2);
	}
	assert_int_equal(form_encoded_size(NULL, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_every_byte),
	};

	return cmocka_run_group_tests_name("util/form", tests, NULL, NULL);
}
