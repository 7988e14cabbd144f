/*
 * The directory .nacosfs at the root of the mount: what the daemon tells of itself. Reachable by name and not listed, so that
 * grep -r and backups don't trip on it.
 *
 *	status     JSON: the server, what waits to be done, what could not be saved
 *	unsaved/   the text of saves that failed (unsaved.h)
 *
 * Its directories and files are scratch nodes, but for status, whose text is made when it is opened. Functions want tree->lock unless they
 * say otherwise.
 */
#ifndef NACOSFS_FS_STATUS_H
#define NACOSFS_FS_STATUS_H

#include "fs/filesystem.h"
#include "fs/node/tree.h"
#include "model/version.h"

#define CONTROL_NAME ".nacosfs"

/* Makes the directory. No lock. 0 or -ENOMEM. */
int control_init(struct filesystem *filesystem);

/* The text of status as it is now, counted for the caller. 0 or -ENOMEM. */
int control_read_status(struct filesystem *filesystem, struct version **ret_version);

#endif
