/*
 * FUSE handlers that make files: a new config, one that comes back after it was unlinked or renamed away a moment ago, or
 * a scratch file.
 */
#ifndef NACOSFS_FS_CREATE_H
#define NACOSFS_FS_CREATE_H

#include "fs/request.h"

void create_create(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode,
		   struct fuse_file_info *info);
void create_mknod(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode, dev_t device);
void create_symlink(fuse_req_t fuse, const char *target, fuse_ino_t parent, const char *name);

#endif
