/*
 * UNLINK.
 */
#ifndef NACOSFS_FS_REMOVE_H
#define NACOSFS_FS_REMOVE_H

#include "fs/door.h"

int remove_file(struct request *request) LOCKED;

#endif
