#include "main/login_directory.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "main/account.h"
#include "nacos/http/login.h"
#include "util/buffer.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/user.h"

/* A local user may be made after his file: names are looked up anew that often, though the directory is the same. */
#define NAMES_FRESH_MS 10000

/* A file, and the local user of its name. */
struct login_file {
	char *path;
	uid_t uid;
};

struct login_directory {
	const struct command_line *command_line;
	const char *path;
	struct timespec changed; /* of the directory, when its names were read */
	int64_t names_until_ms; /* when they are read again although it did not change */
	struct login_file *files;
	size_t count;
	char **reported; /* names that are no local users, which was logged */
	size_t reported_count;
};

/* What is open for one user. */
struct login {
	struct account account;
	char *username;
};

/* -------------------------------------------------------------- the directory */

static int check_directory(const char *path, struct call *call, struct timespec *ret_changed)
{
	struct stat stat_of;

	if (stat(path, &stat_of))
		return call_fail(call, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISDIR(stat_of.st_mode))
		return call_fail(call, -ENOTDIR, "%s: not a directory", path);
	if ((stat_of.st_uid != 0 && stat_of.st_uid != geteuid()) || stat_of.st_mode & 0022)
		return call_fail(call, -EACCES, "%s: must belong to root, and nobody else may write to it", path);
	*ret_changed = stat_of.st_ctim;
	return 0;
}

static void forget_files(struct login_directory *directory)
{
	for (size_t i = 0; i < directory->count; i++)
		free(directory->files[i].path);
	free(directory->files);
	directory->files = NULL;
	directory->count = 0;
	directory->names_until_ms = 0;
}

static void report_stranger(struct login_directory *directory, const char *name)
{
	for (size_t i = 0; i < directory->reported_count; i++)
		if (!strcmp(directory->reported[i], name))
			return;
	char **reported = reallocarray(directory->reported, directory->reported_count + 1, sizeof(*reported));
	if (!reported)
		return;
	directory->reported = reported;
	reported[directory->reported_count] = strdup(name);
	if (reported[directory->reported_count])
		directory->reported_count++;
	log_warning("%s/%s: there is no local user of that name", directory->path, name);
}

static bool has_user(const struct login_directory *directory, uid_t uid)
{
	for (size_t i = 0; i < directory->count; i++)
		if (directory->files[i].uid == uid)
			return true;
	return false;
}

static int add_file(struct login_directory *directory, const char *name)
{
	size_t length = strlen(name);
	uid_t uid;

	if (name[0] == '.' || name[length - 1] == '~')
		return 0;
	if (!user_find(name, &uid)) {
		report_stranger(directory, name);
		return 0;
	}
	if (has_user(directory, uid))
		return 0; /* another name of his */
	struct login_file *files = reallocarray(directory->files, directory->count + 1, sizeof(*files));
	if (!files)
		return -ENOMEM;
	directory->files = files;
	struct login_file *file = &files[directory->count];
	file->uid = uid;
	if (asprintf(&file->path, "%s/%s", directory->path, name) < 0)
		return -ENOMEM;
	directory->count++;
	return 0;
}

static int read_names(struct login_directory *directory, struct call *call)
{
	DIR *stream = opendir(directory->path);
	int error = 0;

	forget_files(directory);
	if (!stream)
		return call_fail(call, -errno, "%s: %s", directory->path, strerror(errno));
	for (struct dirent *entry; !error && (entry = readdir(stream));)
		error = add_file(directory, entry->d_name);
	closedir(stream);
	if (error)
		return call_fail(call, error, "%s: out of memory", directory->path);
	directory->names_until_ms = clock_monotonic_ms() + NAMES_FRESH_MS;
	return 0;
}

static uint64_t mix(uint64_t state, uint64_t value)
{
	return (state ^ value) * 1099511628211U; /* FNV-1a, by words */
}

/* Tells one state of a file from another; never 0. */
static uint64_t state_of(const struct stat *stat)
{
	uint64_t state = 14695981039346656037U;

	state = mix(state, stat->st_dev);
	state = mix(state, stat->st_ino);
	state = mix(state, (uint64_t)stat->st_size);
	state = mix(state, (uint64_t)stat->st_mtim.tv_sec);
	state = mix(state, (uint64_t)stat->st_mtim.tv_nsec);
	state = mix(state, (uint64_t)stat->st_ctim.tv_sec);
	state = mix(state, (uint64_t)stat->st_ctim.tv_nsec);
	return state ? state : 1;
}

static int source_list(void *arg, struct call *call, struct identity_login **ret_logins, size_t *ret_count)
{
	struct login_directory *directory = arg;
	struct timespec changed;
	int error = check_directory(directory->path, call, &changed);

	if (!error && (memcmp(&changed, &directory->changed, sizeof(changed)) != 0 ||
		       clock_monotonic_ms() >= directory->names_until_ms))
		error = read_names(directory, call);
	if (error)
		return error;
	directory->changed = changed;
	struct identity_login *logins = calloc(directory->count + 1, sizeof(*logins));
	if (!logins)
		return call_fail(call, -ENOMEM, "%s: out of memory", directory->path);
	size_t count = 0;
	for (size_t i = 0; i < directory->count; i++) {
		struct stat stat_of;
		if (!stat(directory->files[i].path, &stat_of))
			logins[count++] = (struct identity_login){ directory->files[i].uid, state_of(&stat_of) };
	}
	*ret_logins = logins;
	*ret_count = count;
	return 0;
}

int login_directory_open(const struct command_line *command_line, struct call *call,
			    struct login_directory **ret_directory)
{
	struct timespec changed;
	int error = check_directory(command_line->options.identities_directory, call, &changed);

	if (error)
		return error;
	struct login_directory *directory = calloc(1, sizeof(*directory));
	if (!directory)
		return -ENOMEM;
	directory->command_line = command_line;
	directory->path = command_line->options.identities_directory;
	*ret_directory = directory;
	return 0;
}

void login_directory_close(struct login_directory *directory)
{
	if (!directory)
		return;
	forget_files(directory);
	for (size_t i = 0; i < directory->reported_count; i++)
		free(directory->reported[i]);
	free(directory->reported);
	free(directory);
}

/* ------------------------------------------------------------------ the logins */

static void login_free(struct login *user)
{
	account_close(&user->account);
	free(user->username);
	free(user);
}

static int open_user(const struct command_line *command_line, const char *path, struct call *call,
		     struct login *user)
{
	int error = nacos_login_read_name(path, call, &user->username);

	if (error)
		return error;
	const struct account_options options = {
		.command_line = command_line,
		.username = user->username,
		.login_file = path,
		.is_for_caller = true,
	};
	return account_open(&options, call, &user->account);
}

static int source_open(void *arg, uid_t uid, struct call *call, struct identity_account *ret_account)
{
	const struct login_directory *directory = arg;
	size_t i = 0;

	while (i < directory->count && directory->files[i].uid != uid)
		i++;
	if (i == directory->count)
		return call_fail(call, -ENOENT, "there is no file of his any more");
	struct login *user = calloc(1, sizeof(*user));
	if (!user)
		return call_fail(call, -ENOMEM, "out of memory");
	int error = open_user(directory->command_line, directory->files[i].path, call, user);
	if (error) {
		login_free(user);
		return error;
	}
	*ret_account = (struct identity_account){ user->account.bottom, user };
	return 0;
}

static void source_close(void *arg, struct identity_account *account)
{
	(void)arg;
	login_free(account->owner);
}

struct identity_source login_directory_source(struct login_directory *directory)
{
	return (struct identity_source){ source_list, source_open, source_close, directory };
}
