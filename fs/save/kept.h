/*
 * The text of saves that failed, so that nothing that a user wrote is lost: .nacosfs/unsaved/ has a
 * directory for each, named by time and config, with
 *
 *	yours    what was to be saved
 *	base     what it was made from; absent for a new config
 *	theirs   what the server has instead, where that is why it failed
 *	why      the reason, and which config it is
 *
 * They belong to the user who wrote it, who can read and remove them (and root); `cp yours` over
 * the config saves it again. When a save with the same text succeeds later, the kept one goes.
 *
 * Bounded: beyond KEPT_COUNT_LIMIT saves or KEPT_SIZE_LIMIT bytes the oldest go, which the log
 * tells.
 *
 * With a cache directory each is also kept there, in the same form, and read back at the next
 * start. What belongs to a "cipher-" config, or may come from one, is kept in memory only: it is a
 * secret in clear.
 *
 * All functions but the first two want tree->lock. The disk is never waited for with it:
 * kept_keep() and kept_sync() give it up meanwhile.
 */
#ifndef NACOSFS_FS_SAVE_KEPT_H
#define NACOSFS_FS_SAVE_KEPT_H

#include <stddef.h>
#include <sys/types.h>

#include "fs/save/saver.h"
#include "model/place.h"
#include "model/version.h"

#define KEPT_COUNT_LIMIT 200
#define KEPT_SIZE_LIMIT ((size_t)64 << 20)

/* A save that failed. */
struct kept_text {
	struct place *place;
	const void *yours;
	size_t size;
	const struct version *base, *theirs; /* NULL: none */
	/* that the texts must be in; not NULL: and not on the disk */
	const struct buffer_memory *memory;
	uid_t uid; /* of the writer */
	gid_t gid;
	const char *reason;
};

/*
 * Makes unsaved/ in control (.nacosfs) and fills it from the directory on disk, created where it is
 * not there; NULL: kept in memory only. 0 or -ENOMEM; trouble with the directory is logged, and
 * nothing is kept on disk then. Before requests come; without the lock.
 */
int kept_init(struct saver *saver, struct node *control, const char *directory) UNLOCKED;

/* Without the lock. */
void kept_free(struct saver *saver) UNLOCKED;

/*
 * Keeps it: in memory at once, on the disk when this returns. Never fails silently: what can't be
 * kept is logged as lost. The same text of the same config is kept once. Gives the lock up; what
 * text points to must live on.
 */
void kept_keep(struct saver *saver, const struct kept_text *text) LOCKED;

/* The text was saved after all. kept_sync() soon. */
void kept_forget(struct saver *saver, struct place *place, const void *data, size_t size) LOCKED;

/*
 * A node below .nacosfs/unsaved is removed by its owner: its copy on disk goes too. Before it is
 * unlinked; kept_sync() soon.
 */
void kept_node_removed(struct saver *saver, const struct node *node) LOCKED;

/* Removes from the disk what was forgotten. Gives the lock up if there is any. */
void kept_sync(struct saver *saver) LOCKED;

/* How many there are. */
size_t kept_count(const struct saver *saver) LOCKED;

#endif
