/*
 * All requests that the kernel may send: which handler each has, and what it asks, on its way to
 * the door (fs/door.h).
 */
#ifndef NACOSFS_FS_OPERATIONS_H
#define NACOSFS_FS_OPERATIONS_H

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>

/* For fuse_session_new(), with the filesystem as user data. */
extern const struct fuse_lowlevel_ops operations_table;

/*
 * Blocks SIGUSR1 in this thread and those that it starts: one of its own waits for it, and logs how
 * many requests of each kind there were, for tests and benchmarks. Before the loop.
 */
void operations_block_count_signal(void);

#endif
