/*
 * How the filesystem begins and ends.
 *
 *	terms filled in -> lifetime_init -> operations_table in a session -> lifetime_stop (when the loop has ended, before the
 *	unmount) -> lifetime_release (after it)
 */
#ifndef NACOSFS_FS_LIFETIME_H
#define NACOSFS_FS_LIFETIME_H

#include "fs/filesystem.h"

/*
 * Makes all but the terms, and .nacosfs; kept texts are in that directory (NULL: in memory only). 0
 * or -ENOMEM. The store's events are set here. lifetime_release() it also after a failure.
 */
int lifetime_init(struct filesystem *filesystem, const char *kept_directory) UNLOCKED;

/* Ends all threads; what was put off is done before. */
void lifetime_stop(struct filesystem *filesystem) UNLOCKED;

void lifetime_release(struct filesystem *filesystem) UNLOCKED;

#endif
