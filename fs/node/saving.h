/*
 * Places at which something is under way: a config that is being saved, moved or removed. Whoever
 * wants to begin another such thing there waits for its end (fs/save/save.h); what comes from
 * elsewhere meanwhile is shown, but nothing is unlinked.
 *
 * By place, not by node: what is being saved may have no node here. All functions want tree->lock.
 */
#ifndef NACOSFS_FS_NODE_SAVING_H
#define NACOSFS_FS_NODE_SAVING_H

#include <stdbool.h>

#include "fs/node/tree.h"
#include "model/place.h"

/* Of a tree. 0 or -ENOMEM. */
int saving_new(struct saving **ret_saving);
void saving_free(struct saving *saving);

bool saving_is_marked(const struct tree *tree, const struct place *place) LOCKED;

/* Marks a place that is not marked. 0 or -ENOMEM. */
int saving_mark(struct tree *tree, struct place *place) LOCKED;

/* Takes the mark away, and wakes who waits for that. */
void saving_unmark(struct tree *tree, struct place *place) LOCKED;

#endif
