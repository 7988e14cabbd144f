/*
 * What /proc says of the process behind a request. All of it costs some file reads (10 to 100 µs) and is asked only where
 * a save or an interrupt depends on it.
 *
 * Some files of /proc wait for locks of the process that is looked at, and that process may be waiting for us: one that execs
 * closes its descriptors, so sends FLUSH, with the lock that its stat and its fd need. So nothing here is asked with a lock
 * of ours held, but for what reads only `status`, and nothing else is read of a process that execs.
 */
#ifndef NACOSFS_UTIL_PROCESS_H
#define NACOSFS_UTIL_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/mounts.h"

/* The process that a thread belongs to; the thread's own number when /proc does not tell. */
pid_t process_of_thread(pid_t thread);

/* Is it process, or a child of it, a child's child, ...? */
bool process_descends_from(pid_t process, pid_t ancestor);

/* A file as /proc shows descriptors of it. */
struct process_file {
	uint64_t inode;
	const char *name; /* the last part of its path: bind mounts and mount namespaces change the rest */
	const char *device; /* "MAJOR:MINOR" of the filesystem, as in mountinfo; "": not known */
};

/*
 * How many descriptors of that process, open for writing, are of this file? Negative errno when /proc may not be read, the
 * process is gone, or is in the middle of an exec (-EBUSY).
 */
int process_count_writers(pid_t process, const struct process_file *file);

#define PROCESS_DESCENDANTS_MAX 64

/*
 * Lists children of the process, their children, and so on, up to PROCESS_DESCENDANTS_MAX; returns how many. None where the
 * kernel does not tell of children (CONFIG_PROC_CHILDREN).
 */
size_t process_list_descendants(pid_t process, pid_t list[PROCESS_DESCENDANTS_MAX]);

/* The device of what is mounted at path, as in mountinfo, for struct process_file. "" when it is not found. */
#define PROCESS_DEVICE_SIZE MOUNTS_DEVICE_SIZE
void process_find_device(const char *path, char ret_device[PROCESS_DEVICE_SIZE]);

/* Is the process being ended by a signal just now? What it was writing is then half a file. */
bool process_is_killed(pid_t thread);

/*
 * Is a signal waiting for the thread that should end a slow call: one that ends the process, or SIGINT, SIGTERM, SIGHUP or
 * SIGQUIT whatever is done with it? Not for what programs get all the time and expect no EINTR from (SIGCHLD, SIGWINCH,
 * SIGURG, timers).
 */
bool process_wants_interrupt(pid_t thread);

#endif
