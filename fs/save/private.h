/*
 * The content of private files: in memory, bounded, never published. A write that fails marks the
 * file, so that a half-written temp file can't be renamed onto a config (busybox sed ignores both
 * errors and tries).
 *
 * All functions want tree->lock, and none gives it up.
 */
#ifndef NACOSFS_FS_SAVE_PRIVATE_H
#define NACOSFS_FS_SAVE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "fs/node/tree.h"

/* What a private file may hold, and all of them together. Beyond: EFBIG, ENOSPC. */
#define PRIVATE_FILE_LIMIT ((size_t)32 << 20)
#define PRIVATE_TOTAL_LIMIT ((size_t)256 << 20)
#define PRIVATE_COUNT_LIMIT 65536

/* Makes a private node that belongs to that user. NULL without memory or beyond the count. */
struct node *private_add(struct tree *tree, struct node *parent, const char *name, enum node_kind kind, mode_t mode,
			 uid_t uid, gid_t gid) LOCKED;

/* 0, -EFBIG, -ENOSPC or -ENOMEM. append: at the end, whatever the offset. */
int private_write(struct tree *tree, struct node *node, const void *data, size_t size, off_t offset,
		  bool append) LOCKED;
int private_resize(struct tree *tree, struct node *node, size_t size) LOCKED;

/*
 * A config that was renamed to a private name becomes a private file with that content. 0 or
 * -ENOMEM.
 */
int private_from_config(struct tree *tree, struct node *node, const void *data, size_t size) LOCKED;

#endif
