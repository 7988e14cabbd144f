#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "util/buffer.h"

static void test_append(void **state)
{
	cleanup_buffer struct buffer buffer = BUFFER_INIT;

	(void)state;
	assert_int_equal(buffer_append(&buffer, NULL, 0), 0);
	assert_string_equal(buffer.data, "");
	assert_int_equal(buffer_append_text(&buffer, "one"), 0);
	assert_int_equal(buffer_append_byte(&buffer, ' '), 0);
	assert_int_equal(buffer_append_format(&buffer, "%d %s", 2, "three"), 0);
	assert_string_equal(buffer.data, "one 2 three");
	assert_int_equal(buffer.size, strlen("one 2 three"));
	assert_int_equal(buffer_append(&buffer, "\0x", 2), 0);
	assert_int_equal(buffer.size, strlen("one 2 three") + 2);
	assert_int_equal(buffer.data[buffer.size], '\0');
}

static void test_growth_keeps_the_bytes(void **state)
{
	cleanup_buffer struct buffer buffer = BUFFER_INIT;
	size_t growths = 0;

	(void)state;
	for (size_t i = 0; i < 100000; i++) {
		size_t allocated = buffer.allocated;

		assert_int_equal(buffer_append_byte(&buffer, (char)('a' + i % 26)), 0);
		growths += buffer.allocated != allocated;
	}
	assert_int_equal(buffer.size, 100000);
	for (size_t i = 0; i < buffer.size; i++)
		assert_int_equal(buffer.data[i], 'a' + i % 26);
	assert_in_range(growths, 1, 30);
}

static void test_format_longer_than_the_room(void **state)
{
	cleanup_buffer struct buffer buffer = BUFFER_INIT;

	(void)state;
	assert_int_equal(buffer_append_text(&buffer, "x"), 0);
	assert_int_equal(buffer_append_format(&buffer, "%1000d", 7), 0);
	assert_int_equal(buffer.size, 1001);
	assert_int_equal(buffer.data[1000], '7');
}

static void test_impossible_sizes(void **state)
{
	cleanup_buffer struct buffer buffer = BUFFER_INIT;

	(void)state;
	assert_int_equal(buffer_append_text(&buffer, "kept"), 0);
	assert_int_equal(buffer_reserve(&buffer, SIZE_MAX), -ENOMEM);
	assert_int_equal(buffer_reserve(&buffer, SIZE_MAX - 4), -ENOMEM);
	assert_int_equal(buffer_reserve(&buffer, PTRDIFF_MAX), -ENOMEM);
	assert_int_equal(buffer_resize(&buffer, SIZE_MAX), -ENOMEM);
	assert_int_equal(buffer_write(&buffer, "x", 1, SIZE_MAX), -ENOMEM);
	assert_int_equal(buffer_write(&buffer, "x", 1, SIZE_MAX - 1), -ENOMEM);
	assert_string_equal(buffer.data, "kept");
	assert_int_equal(buffer.size, 4);
}

static void test_write(void **state)
{
	cleanup_buffer struct buffer buffer = BUFFER_INIT;

	(void)state;
	assert_int_equal(buffer_write(&buffer, NULL, 0, 100), 0);
	assert_int_equal(buffer.size, 0);
	assert_int_equal(buffer_write(&buffer, "abc", 3, 2), 0);
	assert_int_equal(buffer.size, 5);
	assert_memory_equal(buffer.data, "\0\0abc", 6);
	assert_int_equal(buffer_write(&buffer, "XY", 2, 1), 0);
	assert_memory_equal(buffer.data, "\0XYbc", 6);
	assert_int_equal(buffer_write(&buffer, "12", 2, 4), 0);
	assert_memory_equal(buffer.data, "\0XYb12", 7);
	assert_int_equal(buffer.size, 6);
}

static void test_resize_grows_with_zeros(void **state)
{
	cleanup_buffer struct buffer buffer = BUFFER_INIT;

	(void)state;
	assert_int_equal(buffer_resize(&buffer, 0), 0);
	assert_int_equal(buffer_append_text(&buffer, "abcdef"), 0);
	assert_int_equal(buffer_resize(&buffer, 2), 0);
	assert_string_equal(buffer.data, "ab");
	/* what was cut must not come back */
	assert_int_equal(buffer_resize(&buffer, 6), 0);
	assert_memory_equal(buffer.data, "ab\0\0\0\0", 7);
}

static void test_clear_release_wipe_move(void **state)
{
	cleanup_buffer struct buffer buffer = BUFFER_INIT;
	cleanup_buffer_wipe struct buffer other = BUFFER_INIT;
	const char *data;

	(void)state;
	buffer_clear(&buffer);
	buffer_release(&buffer);
	buffer_wipe(&buffer);
	assert_null(buffer.data);

	assert_int_equal(buffer_append_text(&buffer, "text"), 0);
	data = buffer.data;
	buffer_clear(&buffer);
	assert_ptr_equal(buffer.data, data);
	assert_string_equal(buffer.data, "");
	assert_int_equal(buffer.size, 0);

	assert_int_equal(buffer_append_text(&other, "moved"), 0);
	buffer_move(&buffer, &other); /* buffer is empty, but owns memory */
	assert_string_equal(buffer.data, "moved");
	assert_null(other.data);
	assert_int_equal(other.size, 0);
	assert_int_equal(buffer_append_text(&other, "again"), 0);

	buffer_wipe(&buffer);
	assert_null(buffer.data);
	assert_int_equal(buffer.allocated, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_growth_keeps_the_bytes),
		cmocka_unit_test(test_format_longer_than_the_room),
		cmocka_unit_test(test_impossible_sizes),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_resize_grows_with_zeros),
		cmocka_unit_test(test_clear_release_wipe_move),
	};

	return cmocka_run_group_tests_name("util/buffer", tests, NULL, NULL);
}
