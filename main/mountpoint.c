#include "main/mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/log.h"
#include "util/mounts.h"

#define DETACH_LIMIT 16 /* crashed mounts on top of each other; more is no accident */

/* The type of the topmost mount on path, "" when nothing is mounted there. */
static int find_mount_type(const char *path, struct call *call, char ret_type[MOUNTS_TYPE_SIZE])
{
	struct mounts_entry mount = { .type = "" };
	int error = mounts_find_at(path, &mount);

	if (error && error != -ENOENT)
		return call_fail(call, error, "/proc/self/mountinfo can't be read: %s", strerror(-error));
	memcpy(ret_type, mount.type, sizeof(mount.type));
	return 0;
}

/* fusermount3 is set-user-id root, and removes what its caller has mounted. */
static bool detach_as_user(const char *path)
{
	char *arguments[] = { "fusermount3", "-u", "-z", "--", (char *)path, NULL };
	posix_spawn_file_actions_t actions;
	bool spawned = false;
	int status = 0;
	pid_t pid = 0;

	if (posix_spawn_file_actions_init(&actions))
		return false;
	/* Its complaint would be a second line beside ours. */
	if (!posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0))
		spawned = !posix_spawnp(&pid, arguments[0], &actions, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (!spawned)
		return false;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int detach_crashed(const char *path, struct call *call)
{
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) &&
	    (errno != EPERM || !detach_as_user(path)))
		return call_fail(call, -ENOTCONN,
				 "%s: a crashed nacosfs is in the way: run umount -l %s as root",
				 path, path);
	log_warning("%s: removed the mount that a crashed nacosfs had left", path);
	return 0;
}

/*
 * The type of file at path. Not stat(): that of a crashed mount may be answered from the cache of
 * the kernel for as long as the attributes of its root were declared good.
 */
static int ask_file_type(const char *path, mode_t *ret_type)
{
	struct statx status;

	if (statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_TYPE, &status))
		return -errno;
	*ret_type = status.stx_mode & S_IFMT;
	return 0;
}

/* Says what to do about a path that can't be reached; mount_type as find_mount_type() says. */
static int fail_unreachable(const char *path, const char *mount_type, int error, struct call *call)
{
	if (error == -ENOENT)
		return call_fail(call, error, "%s does not exist: run mkdir -p %s first", path,
				 path);
	if (error == -ENOTCONN && mount_type[0])
		return call_fail(call, error, "%s: a crashed %s is in the way: run umount -l %s",
				 path, mount_type, path);
	return call_fail(call, error, "%s can't be mounted on: %s", path, strerror(-error));
}

/* The type of file at path, after what a crashed nacosfs left there is gone. */
static int find_living(const char *path, struct call *call, mode_t *ret_type)
{
	for (int i = 0; i < DETACH_LIMIT; i++) {
		char mount_type[MOUNTS_TYPE_SIZE];
		bool is_ours = false;
		int error = find_mount_type(path, call, mount_type);

		if (error)
			return error;
		is_ours = !strcmp(mount_type, MOUNTPOINT_TYPE);
		error = ask_file_type(path, ret_type);
		/* A living one may fail too, but otherwise: EACCES without allow_other. */
		if (is_ours && error != -ENOTCONN)
			return call_fail(call, -EBUSY,
					 "%s: a nacosfs is mounted there: run umount %s", path,
					 path);
		if (!error)
			return 0;
		if (!is_ours)
			return fail_unreachable(path, mount_type, error, call);
		error = detach_crashed(path, call);
		if (error)
			return error;
	}
	return call_fail(call, -ENOTCONN, "%s: too many crashed mounts on top of each other", path);
}

static int check_empty(const char *path, struct call *call)
{
	DIR *directory = opendir(path);
	struct dirent *entry = NULL;
	int error = 0;

	if (!directory)
		return call_fail(call, -errno, "%s can't be read: %s", path, strerror(errno));
	do {
		errno = 0;
		entry = readdir(directory);
	} while (entry && (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")));
	if (entry)
		error = call_fail(call, -ENOTEMPTY,
				  "%s is not empty, and the mount would hide what is in it: "
				  "move that away, or choose an empty directory",
				  path);
	else if (errno)
		error = call_fail(call, -errno, "%s can't be read: %s", path, strerror(errno));
	closedir(directory);
	return error;
}

int mountpoint_prepare(const char *path, struct call *call)
{
	mode_t type = 0;
	int error = find_living(path, call, &type);

	if (error)
		return error;
	if (!S_ISDIR(type))
		return call_fail(call, -ENOTDIR,
				 "%s is not a directory: choose an empty directory to mount on",
				 path);
	return check_empty(path, call);
}
