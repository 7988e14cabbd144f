#include "fs/follow/touch_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/cleanup.h"

/*
 * Nothing but what is mounted there may be touched: not what is mounted upon it, not where a link
 * leads.
 */
#define RESOLVE_INSIDE (RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS)

#define DENIED_ATTEMPTS 5

struct toucher {
	char mountpoint[PATH_MAX];
	dev_t device;
};

static const struct timespec only_modified[] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };
static const struct timespec both_times[] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_NOW } };

static int open_inside(int directory, const char *path, int flags)
{
	const struct open_how how = { .flags = (unsigned)(flags | O_CLOEXEC), .resolve = RESOLVE_INSIDE };
	long descriptor = syscall(SYS_openat2, directory, path, &how, sizeof(how));

	return descriptor < 0 ? -errno : (int)descriptor;
}

/*
 * The root of the mount. Opened for each command: while it is open, the mount is busy. copy: of a
 * private copy of the mount, which may be written to where the mount itself was made read-only;
 * this needs a privilege.
 */
static int open_root(const struct toucher *toucher, bool copy)
{
	struct stat stat;
	int root = copy ? (int)syscall(SYS_open_tree, AT_FDCWD, toucher->mountpoint,
				       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC) :
			  open(toucher->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return -errno;
	const struct mount_attr writable = { .attr_clr = MOUNT_ATTR_RDONLY };
	if (copy)
		syscall(SYS_mount_setattr, root, "", AT_EMPTY_PATH, &writable, sizeof(writable));
	int error = fstat(root, &stat) ? -errno : 0;
	/* The mount may be gone, or something else be mounted upon it. */
	if (!error && toucher->device && stat.st_dev != toucher->device)
		error = -ENOTCONN;
	if (error)
		close(root);
	return error ? error : root;
}

static int say_hello(struct toucher *toucher, const struct touch_command *command)
{
	struct stat stat;

	strcpy(toucher->mountpoint, command->directory);
	cleanup_close int root = open_root(toucher, false);
	if (root < 0)
		return root;
	if (fstat(root, &stat))
		return -errno;
	toucher->device = stat.st_dev;
	return fstatat(root, command->name, &stat, 0) && errno == ENOENT ? 0 : -EIO;
}

static int touch_content(int directory, const char *name)
{
	cleanup_close int file = open_inside(directory, name, O_WRONLY | O_NONBLOCK);

	if (file >= 0)
		return futimens(file, only_modified) ? -errno : 0;
	return utimensat(directory, name, only_modified, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

static int create_file(int directory, const char *name)
{
	cleanup_close int file = open_inside(directory, name, O_WRONLY | O_CREAT | O_EXCL);

	return file < 0 ? file : 0;
}

static int run_inside(int root, const struct touch_command *command)
{
	cleanup_close int opened = *command->directory ?
					   open_inside(root, command->directory, O_PATH | O_DIRECTORY) :
					   -1;
	int directory = *command->directory ? opened : root;
	int result = 0;

	if (directory < 0)
		return directory;
	switch ((enum touch_kind)command->kind) {
	case TOUCH_CONTENT:
		return touch_content(directory, command->name);
	case TOUCH_ATTRIBUTES:
		result = utimensat(directory, command->name, both_times, AT_SYMLINK_NOFOLLOW);
		break;
	case TOUCH_CREATED:
	case TOUCH_FORGET_ABSENT:
		return create_file(directory, command->name);
	case TOUCH_CREATED_DIRECTORY:
		result = mkdirat(directory, command->name, 0);
		break;
	case TOUCH_REMOVED:
		result = unlinkat(directory, command->name, 0);
		break;
	case TOUCH_REMOVED_DIRECTORY:
		result = unlinkat(directory, command->name, AT_REMOVEDIR);
		break;
	case TOUCH_HELLO:
		return -EINVAL;
	}
	return result ? -errno : 0;
}

static int run_command(struct toucher *toucher, const struct touch_command *command)
{
	if (command->kind == TOUCH_HELLO)
		return say_hello(toucher, command);
	cleanup_close int root = open_root(toucher, false);
	int error = root < 0 ? root : run_inside(root, command);
	/*
	 * To a user's toucher files show writable when it asks; who else asks in between makes the
	 * kernel see the true mode.
	 */
	for (int i = 0; error == -EACCES && i < DENIED_ATTEMPTS; i++)
		error = run_inside(root, command);
	if (error != -EROFS)
		return error;
	cleanup_close int copy = open_root(toucher, true);
	return copy < 0 ? error : run_inside(copy, command);
}

int touch_child_run(int socket)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1 };
	struct toucher toucher = { 0 };
	struct touch_command command;

	/*
	 * It ends with the daemon, which says so by closing the socket; signals are meant for that.
	 */
	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		signal(ignored[i], SIG_IGN);
	prctl(PR_SET_NAME, TOUCHER_NAME);
	umask(0);
	if (chdir("/"))
		return 1;
	while (recv(socket, &command, sizeof(command), 0) == (ssize_t)sizeof(command)) {
		int32_t answer = run_command(&toucher, &command);
		if (send(socket, &answer, sizeof(answer), MSG_NOSIGNAL) != (ssize_t)sizeof(answer))
			break;
	}
	return 0;
}
