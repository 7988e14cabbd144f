/*
 * Fetching what may have changed elsewhere, and comparing what nobody tells of: what a worker does
 * until it is told to stop (wake_stop()). Several may run at once.
 */
#ifndef NACOSFS_FS_FOLLOW_FETCH_H
#define NACOSFS_FS_FOLLOW_FETCH_H

#include "fs/save/saver.h"

void fetch_run(struct saver *saver) UNLOCKED;

#endif
