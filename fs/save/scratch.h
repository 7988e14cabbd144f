/*
 * The content of scratch files: in memory, bounded (filesystem.h), never published. A write that fails marks the node, so
 * that a half-written temp file can't be renamed onto a config (busybox sed ignores both errors and tries).
 *
 * All functions want tree->lock.
 */
#ifndef NACOSFS_FS_SAVE_SCRATCH_H
#define NACOSFS_FS_SAVE_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "fs/filesystem.h"
#include "fs/node/tree.h"

/* Makes a scratch node that belongs to that user. NULL without memory or beyond the count. */
struct node *scratch_add(struct filesystem *filesystem, struct node *parent, const char *name,
			 enum node_kind kind, mode_t mode, uid_t uid, gid_t gid);

/* 0, -EFBIG, -ENOSPC or -ENOMEM. append: at the end, whatever the offset. */
int scratch_write(struct tree *tree, struct node *node, const void *data, size_t size, off_t offset,
		  bool append);
int scratch_resize(struct tree *tree, struct node *node, size_t size);

/* A config that was renamed to a scratch name becomes a scratch file with that content. 0 or -ENOMEM. */
int scratch_from_config(struct tree *tree, struct node *node, const void *data, size_t size);

/* A scratch file becomes the config of that place: it gives up its content. */
void scratch_to_config(struct tree *tree, struct node *node, struct place *place);

#endif
