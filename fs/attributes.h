/*
 * GETATTR, SETATTR.
 */
#ifndef NACOSFS_FS_ATTRIBUTES_H
#define NACOSFS_FS_ATTRIBUTES_H

#include "fs/door.h"

int attributes_get(struct request *request) LOCKED;
int attributes_set(struct request *request) LOCKED;

/*
 * Cuts, or lengthens, an open file (handle), or one by its path (handle NULL), which is saved at
 * once. Gives the lock up.
 */
int attributes_set_size(struct request *request, struct handle *handle, off_t size) LOCKED;

#endif
