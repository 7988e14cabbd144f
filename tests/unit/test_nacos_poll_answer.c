/* The answer of the HTTP listener. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "nacos/poll/answer.h"

static int read_all(const char *text, char *ret_names, size_t size)
{
	cleanup_buffer struct buffer body = BUFFER_INIT;
	struct place *place;
	size_t offset = 0, length = 0;
	int found;

	assert_int_equal(buffer_append_text(&body, text), 0);
	ret_names[0] = '\0';
	while ((found = nacos_poll_answer_next(&body, &offset, &place)) > 0) {
		char name[PLACE_TEXT_SIZE];

		length += (size_t)snprintf(ret_names + length, size - length, "[%s]",
					   place_format(place, name, sizeof(name)));
		place_drop(place);
	}
	return found;
}

static void test_answers(void **state)
{
	static const char *const bad[] = { "a", "a%02G", "a%02G%01b", "%02G%01", "a%02%01", "a%01", "a%2",
					   "a%02G%02n%02x%01", "a%02G\n%01", "%00%02G%01", "\x80%02G%01", "{}" };
	char names[256];

	(void)state;
	assert_int_equal(read_all("", names, sizeof(names)), 0);
	assert_int_equal(read_all("\r\n", names, sizeof(names)), 0);
	assert_int_equal(read_all("a%02G%01b.yaml%02G%02dev%01\n", names, sizeof(names)), 0);
	assert_string_equal(names, "[public/G/a][dev/G/b.yaml]");
	assert_int_equal(read_all("%E4%B8%AD+x%02G%02public%01", names, sizeof(names)), 0);
	assert_string_equal(names, "[public/G/\xe4\xb8\xad x]");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(read_all(bad[i], names, sizeof(names)), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests_name("nacos/poll: answers", tests, NULL, NULL);
}
