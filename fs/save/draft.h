/*
 * Writing: handles of open files, and the draft that all local writers of a config share.
 *
 * A reader holds one version from open to close. A writer's first change makes the config's draft: the bytes of the
 * version that it started from, plus what is written. Readers go on seeing the last version; writers see the draft. A
 * commit puts the draft into the store, on condition that the config is still at the draft's base.
 *
 *	draft_change (each write, truncate) -> draft_commit (last close, fsync, rename) -> draft_close (release)
 *
 * Rules that keep promises:
 * - A handle whose write or commit failed stays failed: its fsync and close return the same error, and nothing it did is
 *   published later. (An empty draft is not a failure of that kind: it may still get content.)
 * - A writer that is killed by a signal has written half a file: its changes are dropped.
 * - The draft's base is the version of the open. What others here saved since then counts as read (they share the file,
 *   as on any filesystem); what came from the server does not.
 *
 * All functions want tree->lock; draft_commit() gives it up while it asks the store.
 */
#ifndef NACOSFS_FS_SAVE_DRAFT_H
#define NACOSFS_FS_SAVE_DRAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "fs/filesystem.h"
#include "fs/node/tree.h"
#include "model/version.h"
#include "util/buffer.h"
#include "util/call.h"

/* How long an emptied config reads as empty before the server's content shows again. */
#define DRAFT_EMPTY_MS 30000

struct draft {
	struct buffer content;
	struct version *base; /* NULL: the server has no such config */
	bool blind; /* what the server has can't be read, so it can't be compared with either */
	struct timespec modified; /* time of the last write, or as set by utimens */
	struct writer writer; /* of the last change */
	mode_t mode_before; /* of the node when the draft was made: shows again when nothing comes of it */
};

/* An open file. */
struct handle {
	struct node *node; /* held */
	struct handle *next_writer; /* of the node */
	struct handle *next_open, *previous_open; /* of the filesystem */
	int flags; /* of open */
	bool may_write;
	bool blind; /* opened to be written anew by somebody who may not read it */
	bool is_cached; /* read through the page cache: reads return the current version, not that of the open */
	struct version *version; /* what reads return; NULL: there was none */
	unsigned remote_changes; /* of the node, when version was taken */
	uint64_t last_change; /* number of this handle's last change to the draft; 0: none */
	int error; /* of a failed write or commit; returned from then on */
	bool abandoned; /* the writer was killed */
	struct writer writer; /* who opened it */
};

/* Starts a handle; version may be NULL. Holds node and version. NULL without memory. */
struct handle *handle_new(struct filesystem *filesystem, struct node *node, int flags,
			  struct version *version, const struct writer *writer);

/* Ends it: the draft goes with the last writer unless it waits for content. */
void handle_free(struct filesystem *filesystem, struct handle *handle);

/*
 * Ends all that are left when the connection is gone: the kernel does not release what was open then, and there may be
 * secrets in it. Nothing is saved.
 */
void handle_free_all(struct filesystem *filesystem);

/*
 * The handle failed and stays failed. What it wrote must not go out with another writer's save: unless somebody else has
 * changes in it, the draft is dropped.
 */
void handle_fail(struct handle *handle, int error);

/* Has this handle changed what was not committed yet? */
bool handle_is_dirty(const struct handle *handle);

/*
 * What content a new reader of a config gets where version is what the server has (NULL: nothing): the version, or, where the server has none
 * or the config was emptied here, a copy of the draft. Counted for the caller.
 */
int draft_version_for_reader(struct node *node, struct version *version, struct version **ret_version);

/* Does the process (or one that it descends from) have the config open for writing, so that it should see its draft? */
bool draft_is_visible_to(const struct node *node, pid_t process);

/* Has the draft changes that are not committed? */
bool draft_is_dirty(const struct node *node);

/* Is there a draft with nothing in it that a server would store? */
bool draft_is_blank(const struct node *node);

/* Makes a draft of a config that does not exist yet, or that was just taken away to be written anew (base). */
int draft_start(struct node *node, struct version *base);

/* Makes sure that the config has a draft that the handle may change, and counts a change. 0 or -ENOMEM. */
int draft_change(struct handle *handle);

/* Changes the draft without a handle (truncate by path): base is the current version. */
int draft_change_directly(struct node *node, struct version *base, const struct writer *writer);

/* Drops the draft: the server's content shows again. */
void draft_drop(struct node *node);

/*
 * Saves the draft, if it has changes. A text that can't be saved is kept (unsaved.h).
 *
 * 0              the server has exactly those bytes, or there was nothing to save, or the config was removed meanwhile
 * -EINVAL        empty: it stays as it is for DRAFT_EMPTY_MS
 * other errors as of store_put(); the draft stays until its writers are gone
 */
int draft_commit(struct filesystem *filesystem, struct node *node, struct call *call);

/* What the store has instead, for a save that conflicts; best effort. Without the lock. */
void draft_load_theirs(struct filesystem *filesystem, struct place *place, const struct version *base,
		       const struct call *call, struct version **ret_theirs);

/* Keeps the text of all drafts that were not saved when the program ends. */
void draft_keep_all(struct filesystem *filesystem);

/*
 * The node shows a version that was just saved as its content, with the time of the draft. For commits that did not go through
 * draft_commit().
 */
void draft_show_committed(struct node *node, struct version *version, struct timespec modified);

#endif
