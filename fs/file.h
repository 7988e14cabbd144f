/*
 * FUSE handlers of files: configs, whose content comes from versions and drafts, and scratch files, whose content is here.
 */
#ifndef NACOSFS_FS_FILE_H
#define NACOSFS_FS_FILE_H

#include "fs/request.h"

void file_getattr(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info);
void file_setattr(fuse_req_t fuse, fuse_ino_t id, struct stat *stat, int to_set, struct fuse_file_info *info);
void file_fallocate(fuse_req_t fuse, fuse_ino_t id, int mode, off_t offset, off_t length,
		    struct fuse_file_info *info);
void file_readlink(fuse_req_t fuse, fuse_ino_t id);
void file_open(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info);
void file_read(fuse_req_t fuse, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info);
void file_write(fuse_req_t fuse, fuse_ino_t id, const char *data, size_t size, off_t offset,
		struct fuse_file_info *info);
void file_flush(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info);
void file_fsync(fuse_req_t fuse, fuse_ino_t id, int data_only, struct fuse_file_info *info);
void file_release(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info);

/* Opens a node that is held, with the lock (given up meanwhile): fills info. Part of open and of create. */
int file_open_node(struct request *request, struct node *node, struct fuse_file_info *info);

#endif
