#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/log.h"

static char output[8192];

/* Between these two, standard error goes to a pipe, whose content output has afterwards. */
static int saved_stderr, pipe_ends[2];

static void capture_start(void)
{
	assert_int_equal(pipe(pipe_ends), 0);
	saved_stderr = dup(STDERR_FILENO);
	dup2(pipe_ends[1], STDERR_FILENO);
	close(pipe_ends[1]);
}

static void capture_end(void)
{
	size_t size = 0;
	ssize_t count;

	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	while ((count = read(pipe_ends[0], output + size, sizeof(output) - 1 - size)) > 0)
		size += (size_t)count;
	output[size] = '\0';
	close(pipe_ends[0]);
}

static void test_levels(void **state)
{
	(void)state;
	capture_start();
	log_set_level(LOG_LEVEL_INFO);
	log_error("lost %d", 1);
	log_warning("odd");
	log_info("mounted %s", "/mnt");
	log_debug("GET");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("GET");
	log_set_level(LOG_LEVEL_ERROR);
	log_warning("not said");
	log_set_level(LOG_LEVEL_INFO);
	capture_end();
	assert_string_equal(output, "nacosfs: error: lost 1\nnacosfs: warning: odd\nnacosfs: mounted /mnt\n"
				    "nacosfs: debug: GET\n");
}

static void test_no_forged_lines(void **state)
{
	(void)state;
	capture_start();
	log_info("a\nnacosfs: error: b\r\x1b[2J\x7f\xc2\x9b \xc2\xa9 \xe4\xb8\xad");
	capture_end();
	assert_string_equal(output, "nacosfs: a?nacosfs: error: b??[2J??? \xc2\xa9 \xe4\xb8\xad\n");
}

static void test_long_lines_are_cut(void **state)
{
	char text[4000];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	capture_start();
	log_info("%s", text);
	capture_end();
	assert_in_range(strlen(output), 1000, 1024);
	assert_ptr_equal(strchr(output, '\n'), output + strlen(output) - 1);
}

static void test_errno_is_kept(void **state)
{
	(void)state;
	capture_start();
	close(STDERR_FILENO); /* makes the write fail */
	errno = EDOM;
	log_info("unheard");
	assert_int_equal(errno, EDOM);
	capture_end();
	assert_string_equal(output, "");
}

/* Nothing may listen to syslog here; the lines must at least not go to standard error any more. Last: no way back. */
static void test_syslog(void **state)
{
	(void)state;
	capture_start();
	log_to_syslog();
	log_info("100%% to syslog");
	capture_end();
	assert_string_equal(output, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_no_forged_lines),
		cmocka_unit_test(test_long_lines_are_cut),
		cmocka_unit_test(test_errno_is_kept),
		cmocka_unit_test(test_syslog),
	};

	return cmocka_run_group_tests_name("util/log", tests, NULL, NULL);
}
