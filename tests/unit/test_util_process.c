#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/process.h"

/* What process_is_killed() says of a child that ended so (a signal, or 0 for exit(3)), and was not yet waited for. */
static bool is_killed_after(int signal_number)
{
	const struct rlimit none = { 0, 0 };
	siginfo_t info;
	pid_t child = fork();

	if (child == 0) {
		setrlimit(RLIMIT_CORE, &none);
		if (!signal_number)
			_exit(3);
		signal(signal_number, SIG_DFL);
		raise(signal_number);
		_exit(0);
	}
	assert_true(child > 0);
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(info.si_code == CLD_EXITED, signal_number == 0);
	bool is_killed = process_is_killed(child);
	waitpid(child, NULL, 0);
	return is_killed;
}

/* Whatever the signal was: a program that crashes has written half a file, as one that is killed. */
static void test_who_dies_of_a_signal_is_killed(void **state)
{
	static const int signals[] = { SIGKILL, SIGTERM, SIGINT, SIGSEGV, SIGABRT, SIGBUS, SIGPIPE, SIGFPE };

	(void)state;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (!is_killed_after(signals[i]))
			fail_msg("one that dies of signal %d is taken for one that ends well", signals[i]);
}

static void test_who_exits_or_lives_is_not_killed(void **state)
{
	(void)state;
	assert_false(is_killed_after(0));
	assert_false(process_is_killed(getpid()));
}

static void test_family(void **state)
{
	pid_t list[PROCESS_DESCENDANTS_MAX];
	int ends[2];
	char byte;

	(void)state;
	assert_int_equal(process_of_thread(getpid()), getpid());
	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		close(ends[1]);
		_exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
	}
	close(ends[0]);
	bool is_ours = process_descends_from(child, getpid()), is_its = process_descends_from(getpid(), child);
	size_t count = process_list_descendants(getpid(), list);
	close(ends[1]);
	waitpid(child, NULL, 0);
	assert_true(is_ours);
	assert_false(is_its);
	assert_in_range(count, 0, 1); /* 0 where the kernel does not tell */
	if (count)
		assert_int_equal(list[0], child);
}

static void test_writers_are_counted(void **state)
{
	char path[] = "/tmp/nacosfs-process-XXXXXX";
	cleanup_close int writer = mkstemp(path);
	struct stat status;

	(void)state;
	assert_true(writer >= 0);
	cleanup_close int reader = open(path, O_RDONLY | O_CLOEXEC);
	cleanup_close int copy = dup(writer);
	unlink(path);
	assert_int_equal(fstat(writer, &status), 0);
	/* It is unlinked, and its link ends with " (deleted)". */
	char *name = strrchr(path, '/') + 1, deleted[64];
	snprintf(deleted, sizeof(deleted), "%s (deleted)", name);
	struct process_file file = { .inode = status.st_ino, .name = deleted, .device = "" };
	assert_int_equal(process_count_writers(getpid(), &file), 2);
	file.inode++;
	assert_int_equal(process_count_writers(getpid(), &file), 0);
	assert_true(process_count_writers(1 << 30, &file) < 0);
}

static void test_waiting_signals(void **state)
{
	sigset_t all, before;

	(void)state;
	assert_false(process_wants_interrupt(getpid()));
	/* One that waits because it is blocked does not ask for anything yet. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	raise(SIGUSR1);
	bool wants = process_wants_interrupt(getpid());
	signal(SIGUSR1, SIG_IGN); /* drops it */
	sigprocmask(SIG_SETMASK, &before, NULL);
	signal(SIGUSR1, SIG_DFL);
	assert_false(wants);
	assert_true(process_wants_interrupt(1 << 30));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_dies_of_a_signal_is_killed),
		cmocka_unit_test(test_who_exits_or_lives_is_not_killed),
		cmocka_unit_test(test_family),
		cmocka_unit_test(test_writers_are_counted),
		cmocka_unit_test(test_waiting_signals),
	};

	return cmocka_run_group_tests_name("util/process", tests, NULL, NULL);
}
