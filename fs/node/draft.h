/*
 * A draft: what is being written to a config. The bytes of the version that it started from (its
 * base), plus what was written since; all local writers of a config share it. Readers go on seeing
 * the last version. A save (fs/save/save.h) puts it into the store, on condition that the config is
 * still at the base.
 *
 * All functions want tree->lock.
 */
#ifndef NACOSFS_FS_NODE_DRAFT_H
#define NACOSFS_FS_NODE_DRAFT_H

#include <stdbool.h>

#include "fs/node/tree.h"
#include "model/version.h"

/* Begins an empty draft of a config that has none, or one with the base's bytes. 0 or -ENOMEM. */
int draft_start(struct tree *tree, struct node *node, struct version *base) LOCKED;
int draft_start_from(struct tree *tree, struct node *node, struct version *base) LOCKED;

/* Forgets it, and wipes it; does nothing when there is none. */
void draft_drop(struct node *node) LOCKED;

/* As draft_drop(), when nothing comes of it: the mode is what it was before. */
void draft_take_back(struct node *node) LOCKED;

/* Something is about to be changed by that writer: counts the change. */
void draft_note_change(struct node *node, const struct writer *writer) LOCKED;

/* Is there a change that was not saved yet? */
bool draft_is_dirty(const struct node *node) LOCKED;

/* Empty or white space only, which no server stores? False without a draft. */
bool draft_is_blank(const struct node *node) LOCKED;

/*
 * What content a new reader of a config gets where version is what the server has (NULL: nothing):
 * the version, or, where the server has none yet, or the config was emptied here and is left so, a
 * copy of the draft. Counted for the caller; NULL: nothing. 0 or -ENOMEM.
 */
int draft_version_for_reader(const struct node *node, struct version *version,
			     struct version **ret_version) LOCKED;

#endif
