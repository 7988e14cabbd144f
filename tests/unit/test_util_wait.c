#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/buffer.h"
#include "util/call.h"
#include "util/clock.h"
#include "util/file.h"
#include "util/http.h"
#include "util/log.h"
#include "util/process.h"
#include "util/user.h"
#include "util/wait.h"

#ifndef NACOSFS_CHECKED
#error "the unit tests are built with -DNACOSFS_CHECKED: make unit"
#endif

static char output[1024];

/* Does that abort? What it says on standard error is in output then. In a process of its own, as it ends. */
static bool aborts(void (*act)(void))
{
	int ends[2], status;
	size_t size = 0;
	ssize_t count;

	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		const struct rlimit none = { 0, 0 };
		setrlimit(RLIMIT_CORE, &none);
		dup2(ends[1], STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		act();
		_exit(0);
	}
	assert_true(child > 0);
	close(ends[1]);
	while ((count = read(ends[0], output + size, sizeof(output) - 1 - size)) > 0)
		size += (size_t)count;
	output[size] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status))
		assert_int_equal(WTERMSIG(status), SIGABRT);
	return WIFSIGNALED(status);
}

static void wait_while_forbidden(void)
{
	wait_forbid();
	wait_check("the moon");
}

static void wait_after_all_was_allowed(void)
{
	wait_check("the moon");
	wait_forbid();
	wait_forbid();
	wait_allow();
	wait_allow();
	wait_check("the moon");
}

static void wait_with_one_reason_left(void)
{
	wait_forbid();
	wait_forbid();
	wait_allow();
	wait_check("the moon");
}

/* As in a program that runs: what the log has queued must be said before the end. */
static void wait_while_forbidden_with_log(void)
{
	log_start();
	log_info("a line before");
	wait_while_forbidden();
}

static void allow_what_was_not_forbidden(void)
{
	wait_allow();
}

static void test_reasons_are_counted(void **state)
{
	(void)state;
	assert_false(aborts(wait_after_all_was_allowed));
	assert_string_equal(output, "");
	assert_true(aborts(wait_while_forbidden));
	assert_non_null(strstr(output, "would wait for the moon\n"));
	assert_true(aborts(wait_while_forbidden_with_log));
	assert_string_equal(output, "nacosfs: a line before\n"
				    "nacosfs: error: a bug: a thread that may not wait would wait for the moon\n");
	assert_true(aborts(wait_with_one_reason_left));
	assert_true(aborts(allow_what_was_not_forbidden));
}

static void *check_in_thread(void *arg)
{
	wait_check("the moon");
	return arg;
}

static void wait_in_another_thread(void)
{
	pthread_t thread;

	wait_forbid();
	if (pthread_create(&thread, NULL, check_in_thread, NULL) || pthread_join(thread, NULL))
		_exit(0);
}

static void test_each_thread_has_its_own(void **state)
{
	(void)state;
	assert_false(aborts(wait_in_another_thread));
}

/* ---- the doors ---- */

static void read_file(void)
{
	struct buffer content = BUFFER_INIT;
	struct call call;

	call_start(&call, 1000);
	file_read_whole("/dev/null", 10, &call, &content);
}

static void read_secret(void)
{
	struct buffer content = BUFFER_INIT;
	struct call call;

	call_start(&call, 1000);
	file_read_secret("/dev/null", &call, &content);
}

static void request(void)
{
	const struct http_client_options options = { .user_agent = "test" };
	const struct http_request request = { .method = "GET", .url = "http://127.0.0.1:1/", .answer_limit = 1 };
	struct http_answer answer;
	struct http_client *client;
	struct call call;

	call_start(&call, 1000);
	if (!http_client_new(&options, &client))
		http_request(client, &request, &call, &answer, NULL);
}

static void read_status(void)
{
	process_of_thread(getpid());
}

static void count_writers(void)
{
	const struct process_file file = { .inode = 1, .name = "x", .device = "" };

	process_count_writers(getpid(), &file);
}

static void list_descendants(void)
{
	pid_t list[PROCESS_DESCENDANTS_MAX];

	process_list_descendants(getpid(), list);
}

static void find_device(void)
{
	char device[PROCESS_DEVICE_SIZE];

	process_find_device("/", device);
}

static void format_user(void)
{
	char name[USER_NAME_SIZE];

	user_format_name(0, name);
}

static void find_user(void)
{
	uid_t uid;

	user_find("root", &uid);
}

static void sleep_shortly(void)
{
	struct call call;

	call_start(&call, 1000);
	call_sleep(&call, 1);
}

static void wait_for_condition(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t condition;
	struct call call;

	clock_init_condition(&condition);
	call_start(&call, 1);
	pthread_mutex_lock(&lock);
	call_wait(&call, &condition, &lock);
	pthread_mutex_unlock(&lock);
}

static void (*const doors[])(void) = {
	read_file, read_secret, request, read_status, count_writers, list_descendants, find_device,
	format_user, find_user, sleep_shortly, wait_for_condition,
};

static size_t door; /* that which go_through_door() takes */

static void go_through_door(void)
{
	doors[door]();
}

static void go_through_door_while_forbidden(void)
{
	wait_forbid();
	doors[door]();
}

static void test_doors(void **state)
{
	(void)state;
	for (door = 0; door < sizeof(doors) / sizeof(doors[0]); door++) {
		if (aborts(go_through_door))
			fail_msg("door %zu refuses who may wait: %s", door, output);
		if (!aborts(go_through_door_while_forbidden))
			fail_msg("door %zu lets one wait who may not", door);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reasons_are_counted),
		cmocka_unit_test(test_each_thread_has_its_own),
		cmocka_unit_test(test_doors),
	};

	return cmocka_run_group_tests_name("util/wait", tests, NULL, NULL);
}
