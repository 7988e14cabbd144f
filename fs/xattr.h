/*
 * FUSE handlers of extended attributes: what Nacos tells of a config beside its content, as user.nacos.*.
 *
 *	user.nacos.md5    of the stored text
 *	user.nacos.type   yaml, json, ...
 *	user.nacos.encrypted  the format in which it is stored encrypted; absent when it is not
 *	user.nacos.error  why the last save or read failed; absent when it did not
 *
 * With -o noxattr all are refused with ENOSYS, which makes the kernel stop asking: `ls -l` asks for two a file.
 */
#ifndef NACOSFS_FS_XATTR_H
#define NACOSFS_FS_XATTR_H

#include "fs/request.h"

void xattr_set(fuse_req_t fuse, fuse_ino_t id, const char *name, const char *value, size_t size, int flags);
void xattr_get(fuse_req_t fuse, fuse_ino_t id, const char *name, size_t size);
void xattr_list(fuse_req_t fuse, fuse_ino_t id, size_t size);

#endif
