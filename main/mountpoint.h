/*
 * The directory that nacosfs is to be mounted on: made ready, or refused in words, before anything
 * is mounted.
 */
#ifndef NACOSFS_MAIN_MOUNTPOINT_H
#define NACOSFS_MAIN_MOUNTPOINT_H

#include "util/call.h"

/* As /proc/mounts shows a mount of ours: the subtype to mount with, and the whole type. */
#define MOUNTPOINT_SUBTYPE "nacosfs"
#define MOUNTPOINT_TYPE "fuse." MOUNTPOINT_SUBTYPE

/*
 * Makes sure that path (absolute, as command_line_parse() made it) is an empty directory with no
 * living nacosfs on it. What a crashed nacosfs left mounted there is removed, with a line in the
 * log; a crashed mount of another file system is left alone.
 *
 * -ENOENT, -ENOTDIR, -ENOTEMPTY   as they say
 * -EBUSY      a nacosfs is mounted there
 * -ENOTCONN   a crashed mount is there that is not ours, or that this user may not remove
 * -ENOMEM, or the errno of the system call that failed
 *
 * The reason says what to do. Waits only where the file system that path is on hangs.
 */
int mountpoint_prepare(const char *path, struct call *call);

#endif
