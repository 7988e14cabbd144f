#include "util/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/mounts.h"
#include "util/wait.h"

#define PF_EXITING 0x4 /* include/linux/sched.h; field 9 of /proc/PID/stat */
#define MAX_ANCESTORS 32

/* For wait_check(): /proc waits for locks of the process that is looked at. */
#define ANOTHER_PROCESS "what /proc says of a process"

/* Reads a small file of /proc into text, NUL-terminated. */
static bool read_proc(pid_t thread, const char *file, char *text, size_t size)
{
	char path[64];

	wait_check(ANOTHER_PROCESS);
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)thread, file);
	cleanup_close int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0)
		return false;
	ssize_t length = read(descriptor, text, size - 1);
	if (length <= 0)
		return false;
	text[length] = '\0';
	return true;
}

/* The number behind "\nname:" in a file of "name: value" lines, read in that base. */
static bool find_number(const char *text, const char *name, int base, uint64_t *ret_value)
{
	size_t length = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, length) || line[length] != ':')
			continue;
		*ret_value = strtoull(line + length + 1, NULL, base);
		return true;
	}
	return false;
}

pid_t process_of_thread(pid_t thread)
{
	char text[4096];
	uint64_t process;

	if (!read_proc(thread, "status", text, sizeof(text)) || !find_number(text, "Tgid", 10, &process))
		return thread;
	return (pid_t)process;
}

bool process_descends_from(pid_t process, pid_t ancestor)
{
	char text[4096];
	uint64_t parent;

	for (int i = 0; i < MAX_ANCESTORS && process > 1; i++) {
		if (process == ancestor)
			return true;
		if (!read_proc(process, "status", text, sizeof(text)) ||
		    !find_number(text, "PPid", 10, &parent))
			return false;
		process = (pid_t)parent;
	}
	return false;
}

enum process_phase {
	PHASE_RUNS,
	PHASE_EXECS, /* between its old program and the new one */
	PHASE_EXITS, /* or is gone */
};

/*
 * A process that exits has given up its memory before it closes its files. One that execs has new memory by then, with no
 * program in it yet, and holds the lock that most of its files in /proc wait for; `status` has none.
 */
static enum process_phase find_phase(pid_t thread)
{
	char text[4096];
	uint64_t size, program;

	if (!read_proc(thread, "status", text, sizeof(text)) || !find_number(text, "VmSize", 10, &size))
		return PHASE_EXITS;
	return find_number(text, "VmExe", 10, &program) && !program ? PHASE_EXECS : PHASE_RUNS;
}

static bool link_is_named(int directory, const char *descriptor, const char *name)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(directory, descriptor, target, sizeof(target) - 1);

	if (length < 0)
		return false;
	target[length] = '\0';
	const char *slash = strrchr(target, '/');
	return slash && !strcmp(slash + 1, name);
}

/* Is the mount of that number, in the process's mount namespace, one of this device? What is not known may be. */
static bool mount_is_on(pid_t process, uint64_t number, const char *device)
{
	struct mounts_entry mount;

	return mounts_find_number(process, number, &mount) || !strcmp(mount.device, device);
}

static bool is_writer_of(pid_t process, const char *descriptor, const struct process_file *file)
{
	char path[64], text[1024];
	uint64_t flags = 0, number;

	snprintf(path, sizeof(path), "fdinfo/%.20s", descriptor);
	if (!read_proc(process, path, text, sizeof(text)) || !find_number(text, "flags", 8, &flags))
		return false;
	if ((flags & O_ACCMODE) == O_RDONLY)
		return false;
	/* Kernels before 5.14 do not tell the inode: the name must do. */
	if (find_number(text, "ino", 10, &number) && number != file->inode)
		return false;
	/* Another mount of ours may have a file of the same number and name. */
	return !*file->device || !find_number(text, "mnt_id", 10, &number) ||
	       mount_is_on(process, number, file->device);
}

int process_count_writers(pid_t process, const struct process_file *file)
{
	char path[64];
	int count = 0;

	if (find_phase(process) == PHASE_EXECS)
		return -EBUSY;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)process);
	DIR *directory = opendir(path);
	if (!directory)
		return -errno;
	for (struct dirent *entry; (entry = readdir(directory));)
		if (entry->d_name[0] != '.' && link_is_named(dirfd(directory), entry->d_name, file->name) &&
		    is_writer_of(process, entry->d_name, file))
			count++;
	closedir(directory);
	return count;
}

/* Appends the children of all threads of a process to the list of count processes; returns the new count. */
static size_t append_children(pid_t process, pid_t *list, size_t count, size_t limit)
{
	char path[64], file[300], text[4096];

	wait_check(ANOTHER_PROCESS);
	snprintf(path, sizeof(path), "/proc/%d/task", (int)process);
	DIR *threads = opendir(path);
	if (!threads)
		return count;
	for (struct dirent *entry; (entry = readdir(threads));) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "task/%.200s/children", entry->d_name);
		if (!read_proc(process, file, text, sizeof(text)))
			continue;
		for (char *number = text, *end; count < limit; number = end) {
			long child = strtol(number, &end, 10);
			if (end == number)
				break;
			list[count++] = (pid_t)child;
		}
	}
	closedir(threads);
	return count;
}

size_t process_list_descendants(pid_t process, pid_t list[PROCESS_DESCENDANTS_MAX])
{
	size_t count = append_children(process, list, 0, PROCESS_DESCENDANTS_MAX);

	for (size_t i = 0; i < count; i++)
		count = append_children(list[i], list, count, PROCESS_DESCENDANTS_MAX);
	return count;
}

void process_find_device(const char *path, char ret_device[PROCESS_DEVICE_SIZE])
{
	struct mounts_entry mount = { .device = "" };

	mounts_find_at(path, &mount);
	memcpy(ret_device, mount.device, PROCESS_DEVICE_SIZE);
}

/* Field number of /proc/PID/stat, counted from 1; fields behind the program's name, which may hold blanks and ')'. */
static bool read_stat_field(pid_t thread, int number, uint64_t *ret_value)
{
	char text[4096];

	if (!read_proc(thread, "stat", text, sizeof(text)))
		return false;
	const char *field = strrchr(text, ')');
	for (int i = 2; field && i < number; i++)
		field = strchr(field + 1, ' ');
	if (!field)
		return false;
	*ret_value = strtoull(field + 1, NULL, 10);
	return true;
}

bool process_is_killed(pid_t thread)
{
	uint64_t flags, exit_code;

	return find_phase(thread) == PHASE_EXITS && read_stat_field(thread, 9, &flags) && (flags & PF_EXITING) &&
	       read_stat_field(thread, 52, &exit_code) && (exit_code & 0x7f);
}

static uint64_t bit_of(int signal_number)
{
	return UINT64_C(1) << (signal_number - 1);
}

bool process_wants_interrupt(pid_t thread)
{
	char text[4096];
	uint64_t own = 0, shared = 0, blocked = 0, ignored = 0, caught = 0;

	if (!read_proc(thread, "status", text, sizeof(text)))
		return true; /* it is gone */
	find_number(text, "SigPnd", 16, &own);
	find_number(text, "ShdPnd", 16, &shared);
	find_number(text, "SigBlk", 16, &blocked);
	find_number(text, "SigIgn", 16, &ignored);
	find_number(text, "SigCgt", 16, &caught);

	uint64_t asking = bit_of(SIGKILL) | bit_of(SIGINT) | bit_of(SIGTERM) | bit_of(SIGHUP) | bit_of(SIGQUIT);
	uint64_t harmless = bit_of(SIGCHLD) | bit_of(SIGWINCH) | bit_of(SIGURG) | bit_of(SIGCONT) |
			    bit_of(SIGSTOP) | bit_of(SIGTSTP) | bit_of(SIGTTIN) | bit_of(SIGTTOU);
	uint64_t waiting = (own | shared) & ~blocked & ~ignored;
	return waiting & (asking | (~caught & ~harmless));
}
