/*
 * An open file. A reader's holds one version from open to close. A writer's first change makes the
 * config's draft (fs/node/draft.h), which all writers share.
 *
 *	handle_new -> handle_change (before each write, truncate) -> (a save) -> closing_end (closing.h)
 *
 * Rules that keep promises:
 * - A handle whose write or save failed stays failed: its fsync and close return the same error,
 *   and nothing it did is published later. (An empty draft is not a failure of that kind: it may
 *   still get content.)
 * - A writer that is killed by a signal has written half a file: its changes are dropped.
 * - The draft's base is the version of the open. What others here saved since then counts as read
 *   (they share the file, as on any filesystem); what came from the server does not.
 *
 * All functions want tree->lock, and none gives it up.
 */
#ifndef NACOSFS_FS_SAVE_HANDLE_H
#define NACOSFS_FS_SAVE_HANDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/save/saver.h"
#include "model/version.h"

struct handle {
	struct node *node; /* held */
	struct handle *next_writer; /* of the node */
	struct handle *next_open, *previous_open; /* of the saver */
	int flags; /* of open */
	bool may_write;
	bool blind; /* opened to be written anew by somebody who may not read it */
	/* read through the page cache: reads return the current version, not that of the open */
	bool is_cached;
	bool abandoned; /* the writer was killed */
	struct version *version; /* what reads return; NULL: there was none */
	unsigned remote_changes; /* of the node, when version was taken */
	uint64_t last_change; /* number of this handle's last change to the draft; 0: none */
	int error; /* of a failed write or save; returned from then on */
	struct writer writer; /* who opened it */
};

/* Starts a handle; version may be NULL. Holds node and version. NULL without memory. */
struct handle *handle_new(struct saver *saver, struct node *node, int flags, struct version *version,
			  const struct writer *writer) LOCKED;

/* Takes it from the node's writers, if it is one of them. */
void handle_stop_writing(struct handle *handle) LOCKED;

/* Frees it, and nothing else: for closing.h. */
void handle_free(struct saver *saver, struct handle *handle) LOCKED;

/*
 * Something is about to be written by the handle: makes the draft, from what the handle has read,
 * where there is none, and counts the change. 0 or -ENOMEM.
 */
int handle_change(struct tree *tree, struct handle *handle) LOCKED;

/* Has this handle changed what was not saved yet? */
bool handle_is_dirty(const struct handle *handle) LOCKED;

/*
 * The handle failed and stays failed. What it wrote must not go out with another writer's save:
 * unless somebody else has changes in it, the draft is dropped.
 */
void handle_fail(struct handle *handle, int error) LOCKED;

/* All writers of the node go on from that version, as if they had read it. */
void handle_refresh_writers(struct node *node, struct version *version) LOCKED;

/*
 * Who has it open for writing, but for one handle (NULL: all): up to count processes; returns how
 * many.
 */
size_t handle_list_writers(const struct node *node, const struct handle *except, pid_t *processes,
			   size_t count) LOCKED;

#endif
