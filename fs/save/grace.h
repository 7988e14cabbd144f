/*
 * What is put off for a moment, because the next system call of an editor may undo it.
 *
 * - Removals. Unlinking a config, or renaming it to a backup name, is usually the first half of a save. The name is hidden at
 *   once; the server's copy is removed only when the name has not come back within GRACE_MS. A config that was renamed to a
 *   scratch name is never removed at all: its name shows again, because what lies in memory only must not be the last copy.
 * - A close while a child of the closing process has the file open too is not the last one; what was written is saved
 *   GRACE_MS later, in case that child goes on for long.
 * - New names that look like temp files (name_extends()) are saved GRACE_MS after their last close, unless they are renamed
 *   or removed first.
 * - Emptied configs, which can't be stored, read as empty for DRAFT_EMPTY_MS.
 *
 * A thread of its own does what is due. Everything is guarded by tree->lock; functions want it held unless they say otherwise.
 */
#ifndef NACOSFS_FS_SAVE_GRACE_H
#define NACOSFS_FS_SAVE_GRACE_H

#include <stdbool.h>

#include "fs/filesystem.h"
#include "fs/node/tree.h"
#include "model/version.h"
#include "util/call.h"

#define GRACE_MS 1500

/* Makes the thing, without starting its thread. No lock. 0 or -ENOMEM. */
int grace_new(struct filesystem *filesystem);

/* Starts the thread. No lock. */
int grace_start(struct filesystem *filesystem);

/*
 * Stops the thread, then does at once what users asked for: removals and deferred saves. No lock.
 */
void grace_stop(struct filesystem *filesystem);
void grace_free(struct filesystem *filesystem);

/*
 * Hides the name that node has now; remove: and removes the config when the grace is over. base is held. Call it before
 * node is unlinked or moved. uid: on whose behalf. 0 or -ENOMEM.
 */
int grace_hide(struct filesystem *filesystem, struct node *node, struct version *base, bool remove, uid_t uid);

/* Is the name hidden? */
bool grace_hides(const struct filesystem *filesystem, const struct node *parent, const char *name);

/*
 * The name comes back: nothing is removed any more. ret_base is what the server has there, counted for the caller, ret_mode
 * the mode of the config that had the name. A removal that is under way is waited for, giving up the lock. -ENOENT when
 * the name is not hidden (any more), -ETIMEDOUT, -EINTR.
 */
int grace_take_back(struct filesystem *filesystem, struct node *parent, const char *name, struct call *call,
		    struct version **ret_base, mode_t *ret_mode);

/* What the server has under a hidden name, counted for the caller; NULL when it is not hidden. */
struct version *grace_base(const struct filesystem *filesystem, const struct node *parent, const char *name);

/*
 * Does the removals below a directory now (gives up the lock meanwhile). 0 or the first error; what failed shows again.
 */
int grace_finish_below(struct filesystem *filesystem, struct node *directory, struct call *call);

/* How many names are hidden, to be removed or shown again. */
size_t grace_count_removals(const struct filesystem *filesystem);

/* Saves the node's draft after the grace. Calling it again starts the grace anew. */
void grace_save_later(struct filesystem *filesystem, struct node *node);

/*
 * Saves the node's draft after the grace although somebody has it open: a child of who closed it, which will close it too and
 * save more, but nobody knows when.
 */
void grace_save_open(struct filesystem *filesystem, struct node *node);

/* Lets the node's empty draft stay for DRAFT_EMPTY_MS. */
void grace_keep_empty(struct filesystem *filesystem, struct node *node);

#endif
