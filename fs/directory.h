/*
 * Requests about directories: LOOKUP, OPENDIR, READDIR, READDIRPLUS, RELEASEDIR, MKDIR, RMDIR.
 */
#ifndef NACOSFS_FS_DIRECTORY_H
#define NACOSFS_FS_DIRECTORY_H

#include "fs/door.h"

int directory_lookup(struct request *request) LOCKED;
int directory_open(struct request *request) LOCKED;
int directory_read(struct request *request) LOCKED;
int directory_read_plus(struct request *request) LOCKED;
int directory_release(struct request *request) LOCKED;
int directory_make(struct request *request) LOCKED;
int directory_remove(struct request *request) LOCKED;

#endif
