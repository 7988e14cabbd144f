/* crypto/secret and crypto/secret_buffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/secret.h"
#include "crypto/secret_buffer.h"

#define LIMIT ((size_t)1 << 20)

static int start(void **state)
{
	struct call call;

	(void)state;
	call_start(&call, 1000);
	return secret_init(LIMIT, &call);
}

static int stop(void **state)
{
	(void)state;
	secret_shutdown();
	return 0;
}

static size_t used_now(void)
{
	struct secret_statistics statistics;

	secret_statistics(&statistics);
	return statistics.used;
}

static bool is_zero(const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (bytes[i])
			return false;
	}
	return true;
}

static void frees_are_wiped(void **state)
{
	static const size_t sizes[] = { 1, 31, 32, 33, 1000, 70000, 400000 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *memory = secret_alloc(sizes[i]), *behind = secret_alloc(1);

		assert_true(is_zero(memory, sizes[i]));
		assert_int_equal((uintptr_t)memory % 16, 0);
		memset(memory, 'S', sizes[i]);
		secret_free(memory);
		/* The first bytes may hold the allocator's links; they are the only ones. */
		for (size_t k = 0; k + 1 < sizes[i]; k++)
			assert_false(memory[k] == 'S' && memory[k + 1] == 'S');
		assert_true(sizes[i] <= 16 || is_zero(memory + 16, sizes[i] - 16));
		secret_free(behind);
	}
	assert_int_equal(used_now(), 0);
}

static void realloc_wipes_what_it_leaves(void **state)
{
	char *memory = secret_alloc(4000), *blocker = secret_alloc(1), *moved, *shrunk;

	(void)state;
	memset(memory, 'S', 4000);
	moved = secret_realloc(memory, 8000);
	assert_ptr_not_equal(moved, memory);
	assert_true(is_zero(memory + 16, 4000 - 16));
	assert_int_equal(moved[3999], 'S');
	assert_true(is_zero(moved + 4000, 4000));
	shrunk = secret_realloc(moved, 10);
	assert_ptr_equal(shrunk, moved);
	/* What was cut off is a free block, a header and links, and zeros. */
	assert_true(is_zero(moved + 10, 20));
	assert_true(is_zero(moved + 128, 4000 - 128));
	/* Grows again into what it gave up, which is zero. */
	moved = secret_realloc(shrunk, 3000);
	assert_ptr_equal(moved, shrunk);
	assert_int_equal(moved[9], 'S');
	assert_true(is_zero(moved + 10, 2990));
	secret_free(moved);
	secret_free(blocker);
	assert_int_equal(used_now(), 0);
}

static void the_cap_holds(void **state)
{
	struct secret_statistics before, after;
	char *half = secret_alloc(LIMIT / 2), *memory;

	(void)state;
	secret_statistics(&before);
	assert_null(secret_alloc(LIMIT / 2));
	assert_null(secret_alloc(SIZE_MAX));
	assert_null(secret_alloc(SIZE_MAX - 40));
	assert_null(secret_realloc(half, LIMIT));
	secret_statistics(&after);
	assert_int_equal(after.refused, before.refused + 4);
	assert_int_equal(after.used, before.used);
	assert_int_equal(after.limit, LIMIT);
	secret_free(half);
	/* All of it is one piece again. */
	memory = secret_alloc(LIMIT - 64);
	assert_non_null(memory);
	secret_free(memory);
	assert_int_equal(used_now(), 0);
}

/* Random sizes and orders, each block filled with a byte of its own that must stay. */
static void blocks_do_not_overlap(void **state)
{
	struct piece {
		unsigned char *memory;
		size_t size;
	} pieces[200] = { { NULL, 0 } };

	(void)state;
	srandom(1);
	for (int round = 0; round < 20000; round++) {
		size_t i = (size_t)random() % 200, size = (size_t)random() % (random() % 10 ? 300 : 9000);
		struct piece *piece = &pieces[i];
		unsigned char *memory;

		for (size_t k = 0; k < piece->size; k++)
			assert_int_equal(piece->memory[k], i);
		if (random() % 3 == 0) {
			secret_free(piece->memory);
			piece->memory = NULL;
			piece->size = 0;
			continue;
		}
		memory = secret_realloc(piece->memory, size);
		if (!memory)
			continue;
		for (size_t k = 0; k < size; k++)
			assert_int_equal(memory[k], k < piece->size ? i : 0);
		memset(memory, (int)i, size);
		piece->memory = memory;
		piece->size = size;
	}
	for (size_t i = 0; i < 200; i++)
		secret_free(pieces[i].memory);
	assert_int_equal(used_now(), 0);
	/* Joined: the largest block there can be fits. */
	void *whole = secret_alloc(LIMIT - 64);
	assert_non_null(whole);
	secret_free(whole);
}

static void *hammer(void *arg)
{
	(void)arg;
	for (int round = 0; round < 5000; round++) {
		char *memory = secret_alloc((size_t)round % 500 + 1);

		if (!memory || memory[0])
			return (void *)1;
		memory[0] = 'S';
		secret_free(memory);
	}
	return NULL;
}

static void threads_share_it(void **state)
{
	pthread_t threads[4];
	void *result;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, NULL), 0);
	for (size_t i = 0; i < 4; i++) {
		pthread_join(threads[i], &result);
		assert_null(result);
	}
	assert_int_equal(used_now(), 0);
}

/* The kilobytes that /proc/self/smaps says of the mapping that memory is in. */
static void read_mapping(const void *memory, const char *field, char ret_line[256])
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long first, last;
	bool inside = false;
	char line[256];

	assert_non_null(file);
	ret_line[0] = '\0';
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &first, &last) == 2 && strchr(line, '-') < strchr(line, ' '))
			inside = (unsigned long)memory >= first && (unsigned long)memory < last;
		else if (inside && strncmp(line, field, strlen(field)) == 0)
			strcpy(ret_line, line + strlen(field));
	}
	fclose(file);
}

static void it_is_locked_and_not_dumped(void **state)
{
	char *memory = secret_alloc(100000);
	struct rlimit limit;
	char line[256];

	(void)state;
	memset(memory, 1, 100000);
	read_mapping(memory, "VmFlags:", line);
	assert_non_null(strstr(line, " lo")); /* locked */
	assert_non_null(strstr(line, " dd")); /* don't dump */
	read_mapping(memory, "Locked:", line);
	assert_true(atol(line) >= 97);
	assert_int_equal(prctl(PR_GET_DUMPABLE), 0);
	assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
	assert_int_equal(limit.rlim_max, 0);
	secret_free(memory);
}

/* Runs body in a child; the signal that ended it, or minus its exit status. */
static int run_child(int (*body)(void))
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		signal(SIGABRT, SIG_DFL); /* cmocka has handlers of its own */
		signal(SIGSEGV, SIG_DFL);
		(void)!freopen("/dev/null", "w", stderr);
		_exit(body());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static int look_after_fork(void)
{
	struct secret_statistics statistics;
	char *memory = secret_alloc(100), line[256];

	secret_statistics(&statistics);
	if (!statistics.locked || !memory)
		return 1;
	memory[0] = 1;
	read_mapping(memory, "VmFlags:", line);
	return strstr(line, " lo") ? 0 : 2;
}

static int free_twice(void)
{
	void *memory = secret_alloc(10);

	secret_free(memory);
	secret_free(memory);
	return 0;
}

static int overrun(void)
{
	char *memory = secret_alloc(32), *behind = secret_alloc(32);

	memset(memory, 'x', 40);
	secret_free(memory);
	secret_free(behind);
	return 0;
}

static int free_foreign(void)
{
	static char memory[128];

	secret_free(memory + 64);
	return 0;
}

static int touch_guard(void)
{
	char *memory = secret_alloc(LIMIT - 64);

	memory[LIMIT] = 1;
	return 0;
}

/* Not enough, and no right to raise it: as any user who mounts. */
static int too_small_a_limit(void)
{
	const struct rlimit limit = { 64 * 1024, 64 * 1024 };
	struct call call;

	secret_shutdown();
	call_start(&call, 1000);
	if (geteuid() == 0 && (setrlimit(RLIMIT_MEMLOCK, &limit) < 0 || setuid(65534) < 0))
		return 1;
	if (secret_init(LIMIT, &call) != -EPERM || !strstr(call.reason, "RLIMIT_MEMLOCK is 64 KiB"))
		return 2;
	if (secret_alloc(1))
		return 3;
	return secret_init(32 * 1024, &call) == 0 && secret_alloc(100) ? 0 : 4;
}

static void a_fork_locks_again(void **state)
{
	(void)state;
	assert_int_equal(run_child(look_after_fork), 0);
}

static void misuse_ends_the_program(void **state)
{
	(void)state;
	assert_int_equal(run_child(free_twice), SIGABRT);
	assert_int_equal(run_child(overrun), SIGABRT);
	assert_int_equal(run_child(free_foreign), SIGABRT);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_int_equal(run_child(touch_guard), SIGSEGV);
#else
	assert_int_not_equal(run_child(touch_guard), 0);
#endif
}

static void a_small_limit_is_told(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(run_child(too_small_a_limit), 0);
}

static void only_one_region(void **state)
{
	struct call call;

	(void)state;
	call_start(&call, 1000);
	assert_int_equal(secret_init(LIMIT, &call), -EALREADY);
}

static void openssl_frees_are_wiped(void **state)
{
	char *memory = OPENSSL_malloc(2000);
	const volatile char *after = memory;

	(void)state;
	memset(memory, 'S', 2000);
	memory = OPENSSL_realloc(memory, 100000);
	assert_int_equal(memory[1999], 'S');
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	/* malloc's own links are at the start. */
	for (size_t i = 64; i < 2000; i++)
		assert_int_not_equal(after[i], 'S');
#endif
	(void)after;
	OPENSSL_free(memory);
}

static void buffers_grow_and_wipe(void **state)
{
	struct secret_buffer buffer = SECRET_BUFFER_INIT, other = SECRET_BUFFER_INIT;
	char *data;

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(secret_buffer_append(&buffer, "0123456789", 10), 0);
	assert_int_equal(buffer.size, 10000);
	assert_int_equal(buffer.data[10000], '\0');
	assert_int_equal(secret_buffer_resize(&buffer, 5), 0);
	assert_string_equal(buffer.data, "01234");
	assert_true(is_zero(buffer.data + 5, 9995));
	assert_int_equal(buffer_write(secret_buffer_bytes(&buffer), "ab", 2, 7), 0);
	assert_memory_equal(buffer.data, "01234\0\0ab", 10);
	assert_int_equal(buffer_write(secret_buffer_bytes(&buffer), "x", 1, SIZE_MAX), -ENOMEM);
	secret_buffer_move(&other, &buffer);
	assert_null(buffer.data);
	assert_int_equal(other.size, 9);
	secret_buffer_clear(&other);
	assert_true(is_zero(other.data, 100));
	assert_int_equal(secret_buffer_append_text(&other, "left"), 0);
	assert_int_equal(secret_buffer_append_byte(&other, '!'), 0);
	assert_int_equal(secret_buffer_reserve(&other, 2 * LIMIT), -ENOMEM);
	assert_string_equal(other.data, "left!");
	data = other.data;
	secret_buffer_release(&other);
	assert_true(is_zero(data + 16, 500));
	assert_int_equal(used_now(), 0);
}

static void buffers_read_files(void **state)
{
	struct secret_buffer buffer = SECRET_BUFFER_INIT;
	char path[] = "/tmp/nacosfs-test-XXXXXX";
	int descriptor = mkstemp(path);
	struct call call;

	(void)state;
	call_start(&call, 1000);
	assert_int_equal(write(descriptor, "hush\n", 5), 5);
	close(descriptor);
	assert_int_equal(secret_buffer_read_file(path, &call, &buffer), 0);
	assert_string_equal(buffer.data, "hush");
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(secret_buffer_read_file(path, &call, &buffer), -EACCES);
	assert_int_equal(buffer.size, 4);
	unlink(path);
	secret_buffer_release(&buffer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frees_are_wiped),
		cmocka_unit_test(realloc_wipes_what_it_leaves),
		cmocka_unit_test(the_cap_holds),
		cmocka_unit_test(blocks_do_not_overlap),
		cmocka_unit_test(threads_share_it),
		cmocka_unit_test(it_is_locked_and_not_dumped),
		cmocka_unit_test(a_fork_locks_again),
		cmocka_unit_test(misuse_ends_the_program),
		cmocka_unit_test(a_small_limit_is_told),
		cmocka_unit_test(only_one_region),
		cmocka_unit_test(openssl_frees_are_wiped),
		cmocka_unit_test(buffers_grow_and_wipe),
		cmocka_unit_test(buffers_read_files),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
