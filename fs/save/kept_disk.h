/*
 * The copies of kept texts on the disk: a directory of this user's alone, with a directory for each
 * record and a file for each text. Only for kept.h. Everything here waits for the disk: never with
 * the tree's lock. One lock of its own orders what is written and removed.
 */
#ifndef NACOSFS_FS_SAVE_KEPT_DISK_H
#define NACOSFS_FS_SAVE_KEPT_DISK_H

#include <stddef.h>

#include "fs/node/lock.h"
#include "util/buffer.h"

struct kept_disk;

/* The files of a record, in the order in which they are shown. */
enum kept_file { KEPT_WHY, KEPT_THEIRS, KEPT_BASE, KEPT_YOURS, KEPT_FILE_COUNT };
extern const char *const kept_file_names[KEPT_FILE_COUNT];

struct kept_bytes {
	const void *data; /* NULL: there is no such file */
	size_t size;
};

/*
 * Opens the directory, created where it is not there; only one of this user's, closed to others.
 * NULL after a line in the log: nothing is kept on the disk.
 */
struct kept_disk *kept_disk_open(const char *path) UNLOCKED;
void kept_disk_close(struct kept_disk *disk) UNLOCKED;

/*
 * Writes a record, and syncs it. One that is not whole is taken away again. 0 or a negative errno.
 */
int kept_disk_write(struct kept_disk *disk, const char *record,
		    const struct kept_bytes files[KEPT_FILE_COUNT]) UNLOCKED;

/* Removes one file of a record, or (KEPT_FILE_COUNT) all of it. */
void kept_disk_remove(struct kept_disk *disk, const char *record, enum kept_file file) UNLOCKED;

/*
 * Reads one file of a record, of at most limit bytes. 0 or a negative errno; -ENOENT: there is
 * none.
 */
int kept_disk_read(struct kept_disk *disk, const char *record, enum kept_file file, size_t limit,
		   struct buffer *ret_content) UNLOCKED;

/* The names of the records, oldest first; to be freed, each. The count, 0 on failure. */
size_t kept_disk_list(struct kept_disk *disk, char ***ret_records) UNLOCKED;

#endif
