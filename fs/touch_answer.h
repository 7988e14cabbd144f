/*
 * The FUSE handlers of all kinds of requests that the toucher makes (touch.h). When it is the toucher who asks, they answer
 * from memory, change nothing and wait for nobody; everybody else's requests they hand to the handler of that kind.
 */
#ifndef NACOSFS_FS_TOUCH_ANSWER_H
#define NACOSFS_FS_TOUCH_ANSWER_H

#include "fs/request.h"

void touch_answer_lookup(fuse_req_t fuse, fuse_ino_t parent_id, const char *name);
void touch_answer_getattr(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info);
void touch_answer_setattr(fuse_req_t fuse, fuse_ino_t id, struct stat *stat, int to_set, struct fuse_file_info *info);
void touch_answer_open(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info);
void touch_answer_create(fuse_req_t fuse, fuse_ino_t parent_id, const char *name, mode_t mode,
			 struct fuse_file_info *info);
void touch_answer_mkdir(fuse_req_t fuse, fuse_ino_t parent_id, const char *name, mode_t mode);
void touch_answer_unlink(fuse_req_t fuse, fuse_ino_t parent_id, const char *name);
void touch_answer_rmdir(fuse_req_t fuse, fuse_ino_t parent_id, const char *name);
void touch_answer_flush(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info);
void touch_answer_release(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info);

#endif
