#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/clock.h"

#include "util/log.h"

static char output[1 << 18];

/* Between these two, standard error goes to a pipe, whose content output has afterwards. */
static int saved_stderr, pipe_ends[2];

static void capture_start(void)
{
	assert_int_equal(pipe(pipe_ends), 0);
	saved_stderr = dup(STDERR_FILENO);
	dup2(pipe_ends[1], STDERR_FILENO);
	close(pipe_ends[1]);
}

static void restore_stderr(void)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
}

static void capture_end(void)
{
	size_t size = 0;
	ssize_t count;

	restore_stderr();
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

/* The next line of output, without its end, from *place on; NULL: none. */
static char *next_line(char **place)
{
	char *line = *place, *end = strchr(line, '\n');

	if (!end)
		return NULL;
	*end = '\0';
	*place = end + 1;
	return line;
}

/* Before any thread is started here: it forks. */
static void test_exit_writes_what_is_queued(void **state)
{
	int status;

	(void)state;
	capture_start();
	pid_t child = fork();
	if (child == 0) {
		if (log_start())
			_exit(1);
		for (int i = 0; i < 100; i++)
			log_info("%d", i);
		exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	capture_end();
	assert_int_equal(status, 0);
	char *place = output, *line;
	for (int i = 0; i < 100; i++) {
		char expected[32];
		snprintf(expected, sizeof(expected), "nacosfs: %d", i);
		line = next_line(&place);
		assert_non_null(line);
		assert_string_equal(line, expected);
	}
	assert_string_equal(place, "");
}

static void test_start_and_stop(void **state)
{
	(void)state;
	capture_start();
	log_stop();
	log_flush();
	log_info("before");
	assert_int_equal(log_start(), 0);
	assert_int_equal(log_start(), 0);
	errno = EDOM;
	log_warning("by the writer");
	assert_int_equal(errno, EDOM);
	log_flush();
	log_stop();
	log_stop();
	log_info("after");
	assert_int_equal(log_start(), 0);
	log_info("again");
	log_stop();
	capture_end();
	assert_string_equal(output, "nacosfs: before\nnacosfs: warning: by the writer\nnacosfs: after\n"
				    "nacosfs: again\n");
}

#define WRITERS 4
#define LINES_EACH 200 /* all of them fit into the queue */

static void *write_some(void *arg)
{
	for (int i = 0; i < LINES_EACH; i++)
		log_info("%c%d", *(char *)arg, i);
	return NULL;
}

/* Each thread's lines come whole and in its order. */
static void test_many_threads(void **state)
{
	char letters[WRITERS] = "abcd", *place = output, *line;
	pthread_t threads[WRITERS];
	int next[WRITERS] = { 0 };

	(void)state;
	capture_start();
	assert_int_equal(log_start(), 0);
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_some, &letters[i]), 0);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	log_stop();
	capture_end();
	while ((line = next_line(&place))) {
		char expected[32];
		int writer = line[strlen("nacosfs: ")] - 'a';
		assert_in_range(writer, 0, WRITERS - 1);
		snprintf(expected, sizeof(expected), "nacosfs: %c%d", letters[writer], next[writer]++);
		assert_string_equal(line, expected);
	}
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(next[i], LINES_EACH);
}

/* Makes the pipe that is standard error too full for one more line; returns how many bytes are in it. */
static size_t fill_pipe(void)
{
	int flags = fcntl(STDERR_FILENO, F_GETFL);
	size_t size = 0;

	fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
	while (write(STDERR_FILENO, "x", 1) == 1)
		size++;
	fcntl(STDERR_FILENO, F_SETFL, flags);
	return size;
}

static size_t filled;

/* Reads what fills the pipe, and then all up to a line that ends with text. */
static void *read_until(void *text)
{
	size_t length = strlen(text), size = 0;

	for (size_t i = 0; i < filled; i++)
		if (read(pipe_ends[0], output, 1) != 1)
			return NULL;
	output[0] = '\0';
	while (size < length + 1 || memcmp(output + size - length - 1, text, length)) {
		ssize_t count = read(pipe_ends[0], output + size, sizeof(output) - 1 - size);
		if (count <= 0)
			break;
		size += (size_t)count;
		output[size] = '\0';
	}
	return NULL;
}

#define TOO_MANY (LOG_QUEUE_LINES + 500)

/* Nobody waits for a pipe that nobody reads, the end for a second only; and who reads it later sees what is missing. */
static void test_pipe_that_nobody_reads(void **state)
{
	char *place = output, *line;
	int64_t start_ms, logged_ms, stopped_ms;
	pthread_t reader;
	int count = 0, next = 0;

	(void)state;
	capture_start();
	filled = fill_pipe();
	start_ms = clock_monotonic_ms();
	assert_int_equal(log_start(), 0);
	for (int i = 0; i < TOO_MANY; i++)
		log_info("%d", i);
	logged_ms = clock_monotonic_ms();
	log_stop();
	stopped_ms = clock_monotonic_ms();
	log_error("does not wait after that either");

	assert_int_equal(pthread_create(&reader, NULL, read_until, "the last"), 0);
	assert_int_equal(log_start(), 0);
	/* The queue is full until the reader has begun. */
	log_flush();
	log_info("the last");
	pthread_join(reader, NULL);
	log_stop();
	restore_stderr();
	close(pipe_ends[0]);

	/* Only now, as a complaint would have gone to that pipe. */
	assert_in_range(logged_ms - start_ms, 0, LOG_FLUSH_MS / 2);
	assert_in_range(stopped_ms - logged_ms, LOG_FLUSH_MS - 50, 4 * LOG_FLUSH_MS);
	/* How many follow each other from 0 on, and how many are missing where the log says so. */
	while ((line = next_line(&place)) && !strstr(line, "the last")) {
		int number;
		if (sscanf(line, "nacosfs: warning: %d lines of this log are missing here", &number) == 1)
			next += number;
		else if (sscanf(line, "nacosfs: %d", &number) == 1)
			assert_int_equal(number, next++);
		else
			assert_string_equal(line, "nacosfs: error: does not wait after that either");
		count++;
	}
	assert_non_null(line);
	/* The one that was not numbered is missing too, unless the writer made room for it. */
	assert_in_range(next, TOO_MANY, TOO_MANY + 1);
	assert_in_range(count, LOG_QUEUE_LINES + 1, LOG_QUEUE_LINES + 3);
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
		cmocka_unit_test(test_exit_writes_what_is_queued),
		cmocka_unit_test(test_start_and_stop),
		cmocka_unit_test(test_many_threads),
		cmocka_unit_test(test_pipe_that_nobody_reads),
		cmocka_unit_test(test_syslog),
	};

	return cmocka_run_group_tests_name("util/log", tests, NULL, NULL);
}
