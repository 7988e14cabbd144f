/*
 * Requests that make files: CREATE, MKNOD, SYMLINK. A new config, one that comes back after it was
 * unlinked or renamed away a moment ago, or a private file.
 */
#ifndef NACOSFS_FS_CREATE_H
#define NACOSFS_FS_CREATE_H

#include "fs/door.h"

int create_open(struct request *request) LOCKED;
int create_node(struct request *request) LOCKED;
int create_link(struct request *request) LOCKED;

#endif
