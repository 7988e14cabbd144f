/*
 * RENAME: the save of an editor that writes a temp file, the first half of one that makes a backup,
 * or a move.
 */
#ifndef NACOSFS_FS_RENAME_H
#define NACOSFS_FS_RENAME_H

#include "fs/door.h"

int rename_node(struct request *request) LOCKED;

#endif
