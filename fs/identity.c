#include "fs/identity.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/stack.h"
#include "nacos/login.h"
#include "util/buffer.h"
#include "util/cleanup.h"
#include "util/user.h"

/* What tells one state of a file from another. */
struct file_state {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified, changed;
};

/* What is open for one user. */
struct user_stack {
	struct stack stack;
	char *path; /* of his file */
	char *username;
	struct file_state file;
};

static int read_state(const char *path, struct file_state *ret_state)
{
	struct stat stat;

	if (lstat(path, &stat))
		return -errno;
	memset(ret_state, 0, sizeof(*ret_state));
	ret_state->device = stat.st_dev;
	ret_state->inode = stat.st_ino;
	ret_state->size = stat.st_size;
	ret_state->modified = stat.st_mtim;
	ret_state->changed = stat.st_ctim;
	return 0;
}

static void user_stack_free(struct user_stack *user)
{
	stack_close(&user->stack);
	free(user->path);
	free(user->username);
	free(user);
}

static int find_file(const char *directory, uid_t uid, char **ret_path)
{
	cleanup_buffer struct buffer path = BUFFER_INIT;
	char name[USER_NAME_SIZE];

	user_format_name(uid, name);
	if (strchr(name, '/') || name[0] == '.')
		return -ENOENT;
	if (buffer_append_format(&path, "%s/%s", directory, name))
		return -ENOMEM;
	*ret_path = strdup(path.data);
	return *ret_path ? 0 : -ENOMEM;
}

static int open_user(const struct command_line *command_line, struct call *call, struct user_stack *user)
{
	/* Before it is read: a change while it is read is seen as one later. */
	int error = read_state(user->path, &user->file);

	if (error)
		return call_fail(call, error, "%s: %s", user->path, strerror(-error));
	error = nacos_login_read_name(user->path, call, &user->username);
	if (error)
		return error == -ENOENT ? -EACCES : error;
	const struct stack_options options = {
		.command_line = command_line,
		.username = user->username,
		.login_file = user->path,
		.rights_off = true,
		.fresh_ms = 0,
	};
	error = stack_open(&options, call, &user->stack);
	if (error)
		return error == -ENOENT ? -EIO : error;
	stack_start(&user->stack);
	return 0;
}

static int source_open(void *arg, uid_t uid, struct call *call, void **ret_stack, struct store **ret_top)
{
	const struct command_line *command_line = arg;
	struct user_stack *user = calloc(1, sizeof(*user));

	if (!user)
		return -ENOMEM;
	int error = find_file(command_line->options.identities_directory, uid, &user->path);
	if (!error)
		error = open_user(command_line, call, user);
	if (error) {
		user_stack_free(user);
		return error;
	}
	*ret_stack = user;
	*ret_top = user->stack.top;
	return 0;
}

static bool source_is_current(void *arg, void *stack)
{
	const struct user_stack *user = stack;
	struct file_state now;

	(void)arg;
	return !read_state(user->path, &now) && !memcmp(&now, &user->file, sizeof(now));
}

static void source_close(void *arg, void *stack)
{
	(void)arg;
	user_stack_free(stack);
}

int identity_check_directory(const char *directory, struct call *call)
{
	struct stat stat_of;

	if (stat(directory, &stat_of))
		return call_fail(call, -errno, "%s: %s", directory, strerror(errno));
	if (!S_ISDIR(stat_of.st_mode))
		return call_fail(call, -ENOTDIR, "%s: not a directory", directory);
	if ((stat_of.st_uid != 0 && stat_of.st_uid != geteuid()) || stat_of.st_mode & 0022)
		return call_fail(call, -EACCES, "%s: must belong to root, and nobody else may write to it", directory);
	return 0;
}

struct identity_source identity_source_of(const struct command_line *command_line)
{
	return (struct identity_source){
		.open = source_open,
		.is_current = source_is_current,
		.close = source_close,
		.arg = (void *)(uintptr_t)command_line,
	};
}
