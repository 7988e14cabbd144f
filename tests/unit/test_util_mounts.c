#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/mounts.h"
#include "util/process.h"

/* All that mountinfo escapes, and what looks like an escape. */
#define NAME "a b\tc\nd\\e\\040f#g"

static char directory[] = "/tmp/nacosfs-mounts-XXXXXX";
static char path[sizeof(directory) + sizeof(NAME)];
static bool may_mount; /* in a mount namespace of our own, which ends with us */

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/%s", directory, NAME);
	if (mkdir(path, 0700))
		return -1;
	may_mount = (!unshare(CLONE_NEWNS) || !unshare(CLONE_NEWUSER | CLONE_NEWNS)) &&
		    !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) && !mount("one", path, "tmpfs", 0, NULL) &&
		    !mount("two", path, "tmpfs", 0, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	while (!umount2(path, MNT_DETACH))
		;
	rmdir(path);
	return rmdir(directory);
}

static void format_device(const char *of, char ret_device[MOUNTS_DEVICE_SIZE])
{
	struct stat status;

	assert_int_equal(stat(of, &status), 0);
	snprintf(ret_device, MOUNTS_DEVICE_SIZE, "%u:%u", major(status.st_dev), minor(status.st_dev));
}

static void test_topmost_mount_at_a_path_with_blanks(void **state)
{
	char device[MOUNTS_DEVICE_SIZE];
	struct mounts_entry mount;

	(void)state;
	if (!may_mount)
		skip();
	assert_int_equal(mounts_find_at(path, &mount), 0);
	assert_string_equal(mount.type, "tmpfs");
	format_device(path, device);
	assert_string_equal(mount.device, device);

	process_find_device(path, device);
	assert_string_equal(mount.device, device);
}

static void test_what_is_not_mounted(void **state)
{
	struct mounts_entry mount = { .type = "untouched" };
	char device[PROCESS_DEVICE_SIZE] = "0:1";

	(void)state;
	assert_int_equal(mounts_find_at(directory, &mount), -ENOENT);
	assert_int_equal(mounts_find_number(getpid(), 1u << 30, &mount), -ENOENT);
	assert_int_equal(mounts_find_number(1 << 30, 1, &mount), -ENOENT);
	assert_string_equal(mount.type, "untouched");
	process_find_device(directory, device);
	assert_string_equal(device, "");
}

/* A file that is open here is one of its device, and of no other, though number and name were the same. */
static void test_writers_on_a_device(void **state)
{
	char file_path[sizeof(path) + 8], device[PROCESS_DEVICE_SIZE];
	struct stat status;

	(void)state;
	snprintf(file_path, sizeof(file_path), "%s/file", path);
	cleanup_close int descriptor = open(file_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_true(descriptor >= 0);
	assert_int_equal(fstat(descriptor, &status), 0);
	format_device(path, device);
	struct process_file file = { .inode = status.st_ino, .name = "file", .device = device };
	int count = process_count_writers(getpid(), &file);
	file.device = "0:0";
	int count_elsewhere = process_count_writers(getpid(), &file);
	unlink(file_path);
	assert_int_equal(count, 1);
	assert_int_equal(count_elsewhere, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_topmost_mount_at_a_path_with_blanks),
		cmocka_unit_test(test_what_is_not_mounted),
		cmocka_unit_test(test_writers_on_a_device),
	};

	return cmocka_run_group_tests_name("util/mounts", tests, set_up, tear_down);
}
