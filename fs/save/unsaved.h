/*
 * The text of saves that failed, so that nothing that a user wrote is lost: .nacosfs/unsaved/ has a directory for each,
 * named by time and config, with
 *
 *	yours    what was to be saved
 *	base     what it was made from; absent for a new config
 *	theirs   what the server has instead, where that is why it failed
 *	why      the reason, and which config it is
 *
 * They belong to the user who wrote it, who can read and remove them (and root); `cp yours` over the config saves it again. When a save
 * with the same text succeeds later, the kept one goes.
 *
 * Bounded: beyond UNSAVED_COUNT_LIMIT saves or UNSAVED_SIZE_LIMIT bytes the oldest go, which the log tells.
 *
 * With a cache directory each is also kept there, in the same form, and read back at the next start. What belongs to a
 * "cipher-" config, or may come from one, is kept in memory only: it is a secret in clear.
 *
 * All functions want tree->lock; files are written with it held, as failures are rare and the files small.
 */
#ifndef NACOSFS_FS_SAVE_UNSAVED_H
#define NACOSFS_FS_SAVE_UNSAVED_H

#include <stddef.h>
#include <sys/types.h>

#include "fs/filesystem.h"
#include "model/place.h"
#include "model/version.h"

#define UNSAVED_COUNT_LIMIT 200
#define UNSAVED_SIZE_LIMIT ((size_t)64 << 20)

/* A save that failed. */
struct unsaved {
	struct place *place;
	const void *yours;
	size_t size;
	const struct version *base, *theirs; /* NULL: none */
	const struct buffer_memory *memory; /* that the texts must be in; not NULL: and not on the disk */
	uid_t uid; /* of the writer */
	gid_t gid;
	const char *reason;
};

/*
 * Makes .nacosfs/unsaved (control_init() first) and fills it from directory (created where it is not there; NULL: kept in memory only). The string
 * must outlive the filesystem. 0 or -ENOMEM; trouble with the directory is logged, and nothing is kept on disk then. No lock.
 */
int unsaved_init(struct filesystem *filesystem, const char *directory);
void unsaved_free(struct filesystem *filesystem);

/* Keeps it. Never fails silently: what can't be kept is logged as lost. The same text of the same config is kept once. */
void unsaved_keep(struct filesystem *filesystem, const struct unsaved *unsaved);

/* The text was saved after all. */
void unsaved_forget(struct filesystem *filesystem, struct place *place, const void *data, size_t size);

/* A node below .nacosfs/unsaved was removed by its owner: its copy on disk goes too. */
void unsaved_node_removed(struct filesystem *filesystem, const struct node *node);

/* How many there are. */
size_t unsaved_count(const struct filesystem *filesystem);

#endif
