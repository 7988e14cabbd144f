/*
 * FUSE handlers that give names away: unlink and rename. A rename onto a config is a save; a rename of a config to another
 * config's name publishes first and removes after.
 */
#ifndef NACOSFS_FS_RENAME_H
#define NACOSFS_FS_RENAME_H

#include "fs/request.h"

void rename_unlink(fuse_req_t fuse, fuse_ino_t parent, const char *name);
void rename_rename(fuse_req_t fuse, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		   const char *new_name, unsigned flags);

#endif
