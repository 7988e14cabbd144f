/*
 * The directory .nacosfs at the root of the mount: what the daemon tells of itself. Reachable by
 * name and not listed, so that grep -r and backups don't trip on it.
 *
 *	status     JSON: the server, what waits to be done, what could not be saved
 *	unsaved/   the text of saves that failed (fs/save/kept.h)
 *
 * Its directories and files are private nodes, but for status, whose text is made when it is
 * opened.
 */
#ifndef NACOSFS_FS_STATUS_H
#define NACOSFS_FS_STATUS_H

#include "fs/filesystem.h"
#include "model/version.h"

/*
 * Makes the directory with status in it, counted for nobody. With the lock, before requests. 0 or
 * -ENOMEM.
 */
int status_init(struct filesystem *filesystem, struct node **ret_directory) LOCKED;

/* The text of status as it is now, counted for the caller. With the lock. 0 or -ENOMEM. */
int status_read(struct filesystem *filesystem, struct version **ret_version) LOCKED;

#endif
