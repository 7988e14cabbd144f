/*
 * What writes: the open files, what is put off, and the texts that could not be saved, of one tree.
 * Guarded by tree->lock.
 */
#ifndef NACOSFS_FS_SAVE_SAVER_H
#define NACOSFS_FS_SAVE_SAVER_H

#include "fs/node/tree.h"

struct grace;
struct handle;
struct kept_list;

struct saver {
	struct tree *tree;
	struct handle *handles; /* all open files (handle.h) */
	struct grace *grace; /* grace.h */
	struct kept_list *kept; /* kept.h */
};

#endif
