#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/buffer.h"
#include "util/file.h"

static char directory[] = "/tmp/nacosfs-test-file-XXXXXX";
static char path[64], link_path[64];

static int make_directory(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/file", directory);
	snprintf(link_path, sizeof(link_path), "%s/link", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path);
	unlink(link_path);
	return rmdir(directory);
}

static void write_file(const char *content, size_t size, mode_t mode)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(content, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void test_read_appends(void **state)
{
	cleanup_buffer struct buffer content = BUFFER_INIT;
	struct call call;

	(void)state;
	call_start(&call, 1000);
	write_file("a\0b\n", 4, 0644);
	assert_int_equal(buffer_append_text(&content, ">"), 0);
	assert_int_equal(file_read_whole(path, 4, &call, &content), 0);
	assert_int_equal(content.size, 5);
	assert_memory_equal(content.data, ">a\0b\n", 6);
	assert_string_equal(call.reason, "");
}

static void test_read_larger_than_a_step(void **state)
{
	cleanup_buffer struct buffer content = BUFFER_INIT;
	static char bytes[10000];
	struct call call;

	(void)state;
	call_start(&call, 1000);
	memset(bytes, 'x', sizeof(bytes));
	write_file(bytes, sizeof(bytes), 0644);
	assert_int_equal(file_read_whole(path, sizeof(bytes), &call, &content), 0);
	assert_int_equal(content.size, sizeof(bytes));
	assert_memory_equal(content.data, bytes, sizeof(bytes));
	buffer_clear(&content);
	assert_int_equal(file_read_whole(path, sizeof(bytes) - 1, &call, &content), -EFBIG);
	assert_int_equal(content.size, 0);
	assert_non_null(strstr(call.reason, path));
	assert_non_null(strstr(call.reason, "larger than 9999 bytes"));
}

static void test_read_failures(void **state)
{
	cleanup_buffer struct buffer content = BUFFER_INIT;
	struct call call;

	(void)state;
	call_start(&call, 1000);
	assert_int_equal(file_read_whole("/nonexistent/x", 10, &call, &content), -ENOENT);
	assert_string_equal(call.reason, "/nonexistent/x: No such file or directory");
	assert_int_equal(file_read_whole("/tmp", 10, &call, &content), -EISDIR);
	assert_null(content.data);
	/* claims to have no bytes */
	assert_int_equal(file_read_whole("/proc/self/stat", 100000, &call, &content), 0);
	assert_true(content.size > 0);
}

static void expect_secret(const char *content, size_t size, const char *secret)
{
	cleanup_buffer_wipe struct buffer read = BUFFER_INIT;
	struct call call;

	call_start(&call, 1000);
	write_file(content, size, 0600);
	assert_int_equal(file_read_secret(path, &call, &read), 0);
	assert_string_equal(read.data, secret);
	assert_int_equal(read.size, strlen(secret));
}

static void test_secret_loses_one_line_end(void **state)
{
	(void)state;
	expect_secret("s3cret", 6, "s3cret");
	expect_secret("s3cret\n", 7, "s3cret");
	expect_secret("s3cret\r\n", 8, "s3cret");
	expect_secret("s3cret\n\n", 8, "s3cret\n");
	expect_secret("s3cret ", 7, "s3cret ");
}

static void test_empty_secret_is_refused(void **state)
{
	cleanup_buffer_wipe struct buffer content = BUFFER_INIT;
	struct call call;

	(void)state;
	call_start(&call, 1000);
	write_file("\n", 1, 0600);
	assert_int_equal(file_read_secret(path, &call, &content), -EACCES);
	assert_non_null(strstr(call.reason, "empty"));
	write_file("", 0, 0600);
	assert_int_equal(file_read_secret(path, &call, &content), -EACCES);
}

static void test_secret_must_be_private(void **state)
{
	static const mode_t open_modes[] = { 0644, 0640, 0620, 0604, 0602, 0666 };
	cleanup_buffer_wipe struct buffer content = BUFFER_INIT;
	struct call call;

	(void)state;
	call_start(&call, 1000);
	for (size_t i = 0; i < sizeof(open_modes) / sizeof(open_modes[0]); i++) {
		write_file("s3cret", 6, open_modes[i]);
		assert_int_equal(file_read_secret(path, &call, &content), -EACCES);
		assert_non_null(strstr(call.reason, "chmod"));
		assert_null(strstr(call.reason, "s3cret"));
	}
	assert_int_equal(file_read_secret(directory, &call, &content), -EACCES);
	assert_non_null(strstr(call.reason, "not a regular file"));
	assert_int_equal(file_read_secret("/nonexistent/x", &call, &content), -ENOENT);
	assert_null(content.data);

	/* a link is followed: what counts is where it leads */
	write_file("s3cret", 6, 0400);
	assert_int_equal(symlink(path, link_path), 0);
	assert_int_equal(file_read_secret(link_path, &call, &content), 0);
	assert_string_equal(content.data, "s3cret");
}

/* Only root can give a file away. */
static void test_secret_of_someone_else(void **state)
{
	cleanup_buffer_wipe struct buffer content = BUFFER_INIT;
	struct call call;

	(void)state;
	if (geteuid() != 0)
		skip();
	call_start(&call, 1000);
	write_file("s3cret", 6, 0600);
	assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
	assert_int_equal(file_read_secret(path, &call, &content), -EACCES);
	assert_non_null(strstr(call.reason, "another user"));
	assert_int_equal(chown(path, 0, (gid_t)-1), 0);
}

static void test_fifo_does_not_block(void **state)
{
	cleanup_buffer struct buffer content = BUFFER_INIT;
	struct call call;

	(void)state;
	call_start(&call, 1000);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(file_read_secret(path, &call, &content), -EACCES);
	assert_int_equal(file_read_whole(path, 10, &call, &content), 0);
	assert_int_equal(content.size, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_appends),
		cmocka_unit_test(test_read_larger_than_a_step),
		cmocka_unit_test(test_read_failures),
		cmocka_unit_test(test_secret_loses_one_line_end),
		cmocka_unit_test(test_empty_secret_is_refused),
		cmocka_unit_test(test_secret_must_be_private),
		cmocka_unit_test(test_secret_of_someone_else),
		cmocka_unit_test(test_fifo_does_not_block),
	};

	return cmocka_run_group_tests_name("util/file", tests, make_directory, remove_directory);
}
