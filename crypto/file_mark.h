/*
 * What tells whether a file was changed since it was looked at last: for files of keys that are read again when
 * an admin replaces them.
 */
#ifndef NACOSFS_CRYPTO_FILE_MARK_H
#define NACOSFS_CRYPTO_FILE_MARK_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

struct file_mark {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified, changed;
};

/* A file that can't be looked at has a mark of its own, all zeros. Take the mark before the file is read. */
struct file_mark file_mark_of(const char *path);

bool file_mark_equal(const struct file_mark *a, const struct file_mark *b);

#endif
