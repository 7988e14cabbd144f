/*
 * An open directory: the names that it had when it was read from its beginning, so that who reads
 * on meets each of them once.
 *
 * All functions want tree->lock.
 */
#ifndef NACOSFS_FS_NODE_SNAPSHOT_H
#define NACOSFS_FS_NODE_SNAPSHOT_H

#include "fs/node/tree.h"

struct snapshot {
	struct node **nodes; /* held */
	size_t count;
	uint64_t parent_id; /* what ".." is */
	struct snapshot *next, *previous; /* in the list of all */
};

/* Starts one, without names, in a list of them. NULL without memory. */
struct snapshot *snapshot_new(struct snapshot **list) LOCKED;

/* Takes the names that a directory has now, but for hidden ones. 0 or -ENOMEM. */
int snapshot_take(struct tree *tree, struct snapshot *snapshot, struct node *directory) LOCKED;

/* Ends it, or all. */
void snapshot_end(struct tree *tree, struct snapshot **list, struct snapshot *snapshot) LOCKED;
void snapshot_end_all(struct tree *tree, struct snapshot **list) LOCKED;

#endif
