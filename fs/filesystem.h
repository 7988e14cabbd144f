/*
 * The mounted filesystem: everything that a request may need, put together. One of these exists;
 * the FUSE handlers get it as their user data. What belongs to each part is guarded as that part
 * says. Its life is in fs/lifetime.h.
 */
#ifndef NACOSFS_FS_FILESYSTEM_H
#define NACOSFS_FS_FILESYSTEM_H

#include "fs/follow/follower.h"
#include "fs/node/terms.h"
#include "fs/node/tree.h"
#include "fs/pool.h"
#include "fs/save/saver.h"

struct snapshot;

struct filesystem {
	struct terms terms;
	struct tree tree;
	struct saver saver;
	struct follower follower;
	struct pool *pool;
	/* all open directories (fs/node/snapshot.h); guarded by the tree's lock */
	struct snapshot *snapshots;
};

#endif
