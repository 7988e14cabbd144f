/* The lines of a login file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nacos/http/login.h"

static const char *find(const char *text, size_t size, const char *key)
{
	static char found[64];
	cleanup_buffer struct buffer buffer = BUFFER_INIT;
	const char *value = NULL;
	size_t value_size = 0;

	assert_int_equal(buffer_append(&buffer, text, size), 0);
	if (!nacos_login_find_line(&buffer, key, &value, &value_size))
		return NULL;
	assert_true(value_size > 0 && value_size < sizeof(found));
	memcpy(found, value, value_size);
	found[value_size] = '\0';
	return found;
}

static void test_one_line_is_found(void **state)
{
	static const char text[] = "username=alice\npassword=a=b c\n";

	(void)state;
	assert_string_equal(find(text, sizeof(text) - 1, "username"), "alice");
	assert_string_equal(find(text, sizeof(text) - 1, "password"), "a=b c");
	assert_string_equal(find(text, sizeof(text) - 2, "password"), "a=b c");
	assert_string_equal(find("password=x", 10, "password"), "x");
}

static void test_none_and_several_are_refused(void **state)
{
	static const char *const texts[] = {
		"", "\n\n", "password=", "password=\n", "password", "Password=x\n", " password=x\n", "xpassword=x\n",
		"password =x\n", "password=x\npassword=y\n", "password=x\nusername=z\npassword=x",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_null(find(texts[i], strlen(texts[i]), "password"));
	/* A NUL ends nothing. */
	assert_null(find("a\0\npassword=x\npassword=y", 24, "password"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_line_is_found),
		cmocka_unit_test(test_none_and_several_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
