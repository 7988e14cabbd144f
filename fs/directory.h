/*
 * FUSE handlers of directories and names.
 */
#ifndef NACOSFS_FS_DIRECTORY_H
#define NACOSFS_FS_DIRECTORY_H

#include "fs/request.h"

void directory_lookup(fuse_req_t fuse, fuse_ino_t parent, const char *name);
void directory_forget(fuse_req_t fuse, fuse_ino_t id, uint64_t count);
void directory_forget_many(fuse_req_t fuse, size_t count, struct fuse_forget_data *forgets);
void directory_open(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info);
void directory_read(fuse_req_t fuse, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info);
void directory_read_plus(fuse_req_t fuse, fuse_ino_t id, size_t size, off_t offset,
			 struct fuse_file_info *info);
void directory_release(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info);
void directory_mkdir(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode);
void directory_rmdir(fuse_req_t fuse, fuse_ino_t parent, const char *name);

/* Ends all open directories that are left when the connection is gone. With the lock. */
void directory_free_all(struct filesystem *filesystem);

/*
 * Makes sure that the names of a directory that the store knows are among its children, as far as the store tells. With
 * the lock, which is given up meanwhile. Used at the start of the program too, where request->fuse is NULL.
 */
int directory_load(struct request *request, struct node *directory);

/*
 * Is a child that a listing does not have really gone? It is unlinked then: -ENOENT. With the lock, given up meanwhile;
 * node is held.
 */
int directory_verify(struct request *request, struct node *node);

/* Can a name from the server stand in a directory? */
bool directory_name_fits(const char *name);

#endif
