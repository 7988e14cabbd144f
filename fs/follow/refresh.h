/*
 * What the store has now of a node that is held, brought into the tree: the version of a config,
 * and the rights at its place.
 *
 * All functions want tree->lock, and give it up while the store is asked.
 */
#ifndef NACOSFS_FS_FOLLOW_REFRESH_H
#define NACOSFS_FS_FOLLOW_REFRESH_H

#include "fs/node/tree.h"
#include "store/store.h"

/*
 * Asks the store for the current version of a linked config, and shows it. ret_version is counted,
 * NULL where the config exists here only (a draft that was never stored). -ENOENT when it is gone:
 * the node is unlinked then, unless somebody here writes to it. -EACCES makes it unreadable until
 * it was read.
 */
int refresh_config(struct tree *tree, struct call *call, struct held *node, enum version_part part,
		   struct version **ret_version) LOCKED;

/*
 * Makes sure that the rights at a node are known, as far as the server tells in time. 0, -EINTR,
 * -ENOMEM, or -EWOULDBLOCK for a call that may not wait.
 */
int refresh_rights(struct tree *tree, struct call *call, struct held *node) LOCKED;

/*
 * Does a failure to refresh say nothing against showing what was known? So it is in an outage, and
 * of what may not be read (any more).
 */
bool refresh_may_show(const struct node *node, int error) LOCKED;

#endif
