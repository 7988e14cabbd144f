/*
 * What /proc says of the process behind a request. Nothing here takes a lock; all of it costs some file reads (10 to
 * 100 µs) and is asked only where a save or an interrupt depends on it.
 */
#ifndef NACOSFS_FS_PROCESS_H
#define NACOSFS_FS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The process that a thread belongs to; the thread's own number when /proc does not tell. */
pid_t process_of_thread(pid_t thread);

/* Is it process, or a child of it, a child's child, ...? */
bool process_descends_from(pid_t process, pid_t ancestor);

/*
 * How many descriptors of that process, open for writing, are of the file with this inode number and name? (Of the path
 * only the last part counts: bind mounts and other mount namespaces change the rest.) Negative errno when /proc may not
 * be read, or the process is gone.
 */
int process_count_writers(pid_t process, uint64_t inode, const char *name);

/*
 * Has a child of the process, or a child's child, such a descriptor? Looks at 64 processes at most. False where the kernel
 * does not tell of children (CONFIG_PROC_CHILDREN).
 */
bool process_has_writers_below(pid_t process, uint64_t inode, const char *name);

/* Is the process being ended by a signal just now? What it was writing is then half a file. */
bool process_is_killed(pid_t thread);

/*
 * Is a signal waiting for the thread that should end a slow call: one that ends the process, or SIGINT, SIGTERM, SIGHUP or
 * SIGQUIT whatever is done with it? Not for what programs get all the time and expect no EINTR from (SIGCHLD, SIGWINCH,
 * SIGURG, timers).
 */
bool process_wants_interrupt(pid_t thread);

#endif
