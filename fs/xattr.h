/*
 * Requests about extended attributes: what Nacos tells of a config beside its content, as
 * user.nacos.*.
 *
 *	user.nacos.md5    of the stored text
 *	user.nacos.type   yaml, json, ...
 *	user.nacos.encrypted  the format in which it is stored encrypted; absent when it is not
 *	user.nacos.error  why the last save or read failed; absent when it did not
 *
 * With -o noxattr all are refused with ENOSYS, which makes the kernel stop asking: `ls -l` asks for
 * two a file.
 */
#ifndef NACOSFS_FS_XATTR_H
#define NACOSFS_FS_XATTR_H

#include "fs/door.h"

int xattr_set(struct request *request) LOCKED;
int xattr_get(struct request *request) LOCKED;
int xattr_list(struct request *request) LOCKED;

#endif
