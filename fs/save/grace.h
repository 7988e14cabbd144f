/*
 * What is put off for a moment, because the next system call of an editor may undo it.
 *
 * - Removals. Unlinking a config, or renaming it to a backup name, is usually the first half of a
 *   save. The name is hidden at once; the server's copy is removed only when the name has not come
 *   back within GRACE_MS. A config that was renamed to a private name is never removed at all: its
 *   name shows again, because what lies in memory only must not be the last copy.
 * - A close while a child of the closing process has the file open too is not the last one; what
 *   was written is saved GRACE_MS later, in case that child goes on for long.
 * - New names that look like temp files (name_extends()) are saved GRACE_MS after their last close,
 *   unless they are renamed or removed first.
 * - Emptied configs, which can't be stored, read as empty for GRACE_EMPTY_MS.
 *
 * A few threads do what is due, so that one that waits for a server does not hold up the others.
 * Everything is guarded by tree->lock; functions want it unless they say otherwise.
 */
#ifndef NACOSFS_FS_SAVE_GRACE_H
#define NACOSFS_FS_SAVE_GRACE_H

#include <stdbool.h>

#include "fs/save/saver.h"
#include "model/place.h"
#include "model/version.h"
#include "util/call.h"

/*
 * Test builds (NACOSFS_CHECKED) take another one from NACOSFS_GRACE_MS; all that is put off is
 * scaled with it.
 */
#define GRACE_MS 1500

/* How long an emptied config reads as empty before the server's content shows again. */
#define GRACE_EMPTY_MS 30000

/* Makes the thing, without starting its threads. No lock. 0 or -ENOMEM. */
int grace_new(struct saver *saver);

/* Starts the threads. No lock. 0 or a negative errno. */
int grace_start(struct saver *saver) UNLOCKED;

/*
 * Stops the threads, then does at once what users asked for: removals and deferred saves. No lock.
 */
void grace_stop(struct saver *saver) UNLOCKED;
void grace_free(struct saver *saver) LOCKED;

/*
 * Hides the name that the node has now; remove: and removes the config when the grace is over. base
 * is what the server has. Call it before the node is unlinked or moved. uid: on whose behalf. 0 or
 * -ENOMEM.
 */
int grace_hide(struct saver *saver, struct node *node, struct version *base, bool remove, uid_t uid) LOCKED;

/* Is the name of that place hidden? */
bool grace_hides(const struct saver *saver, const struct place *place) LOCKED;

/*
 * The name comes back: nothing is removed any more. ret_base is what the server has there, counted
 * for the caller, ret_mode the mode of the config that had the name. A removal that is under way is
 * waited for, giving up the lock. -ENOENT when the name is not hidden (any more), -ETIMEDOUT,
 * -EINTR.
 */
int grace_take_back(struct saver *saver, struct place *place, struct call *call, struct version **ret_base,
		    mode_t *ret_mode) LOCKED;

/* What the server has under a hidden name, counted for the caller; NULL when it is not hidden. */
struct version *grace_base(const struct saver *saver, const struct place *place) LOCKED;

/*
 * Does the removals below a directory now (gives up the lock meanwhile). 0 or the first error; what
 * failed shows again.
 */
int grace_finish_below(struct saver *saver, struct place *directory, struct call *call) LOCKED;

/* How many names are hidden, to be removed or shown again. */
size_t grace_count_removals(const struct saver *saver) LOCKED;

/* Saves the node's draft after the grace. Calling it again starts the grace anew. */
void grace_save_later(struct saver *saver, struct node *node) LOCKED;

/*
 * Saves the node's draft after the grace although somebody has it open: a child of who closed it,
 * which will close it too and save more, but nobody knows when.
 */
void grace_save_open(struct saver *saver, struct node *node) LOCKED;

/* Lets the node's empty draft stay for GRACE_EMPTY_MS. */
void grace_keep_empty(struct saver *saver, struct node *node) LOCKED;

#endif
