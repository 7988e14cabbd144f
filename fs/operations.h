/*
 * The table of FUSE handlers, and the connection's set-up. Counts the requests of each kind.
 */
#ifndef NACOSFS_FS_OPERATIONS_H
#define NACOSFS_FS_OPERATIONS_H

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>


extern const struct fuse_lowlevel_ops operations_table;

/*
 * Makes SIGUSR1 write a line with the number of requests of each kind to the log. Call it while the process has one
 * thread: all others must not get the signal. The thread that waits for it starts with the connection.
 */
void operations_block_count_signal(void);

#endif
