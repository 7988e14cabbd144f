/*
 * What is mounted where, as /proc/PID/mountinfo tells it. The only module that knows libmount, which undoes the escapes of
 * blanks and the like in paths.
 *
 * Reads all of the file each time, which can be thousands of lines; not with a lock held.
 */
#ifndef NACOSFS_UTIL_MOUNTS_H
#define NACOSFS_UTIL_MOUNTS_H

#include <stdint.h>
#include <sys/types.h>

#define MOUNTS_DEVICE_SIZE 24
#define MOUNTS_TYPE_SIZE 64

struct mounts_entry {
	char device[MOUNTS_DEVICE_SIZE]; /* "MAJOR:MINOR" of the filesystem */
	char type[MOUNTS_TYPE_SIZE]; /* "ext4", "fuse.nacosfs"; cut when it is longer */
};

/* The topmost mount at exactly that path, in our own mount namespace. 0, -ENOENT: none, or the errno of reading the file. */
int mounts_find_at(const char *path, struct mounts_entry *ret_entry);

/* The mount of that number (mnt_id), in the mount namespace of the process. As above. */
int mounts_find_number(pid_t process, uint64_t number, struct mounts_entry *ret_entry);

#endif
