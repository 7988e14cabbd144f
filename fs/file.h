/*
 * Requests about files: OPEN, READ, WRITE, FLUSH, FSYNC, RELEASE, FALLOCATE, READLINK.
 */
#ifndef NACOSFS_FS_FILE_H
#define NACOSFS_FS_FILE_H

#include "fs/door.h"

int file_open(struct request *request) LOCKED;
int file_read(struct request *request) LOCKED;
int file_write(struct request *request) LOCKED;
int file_flush(struct request *request) LOCKED;
int file_fsync(struct request *request) LOCKED;
int file_release(struct request *request) LOCKED;
int file_allocate(struct request *request) LOCKED;
int file_readlink(struct request *request) LOCKED;

/*
 * Opens a node that is held, as request->info says, for OPEN and CREATE: fills in request->info.
 * Gives the lock up.
 */
int file_open_node(struct request *request, struct held *node) LOCKED;

#endif
