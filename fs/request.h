/*
 * What every FUSE handler needs around its work: the filesystem, who asks, a call with a deadline that the asking process can
 * interrupt, and the answer of an error.
 */
#ifndef NACOSFS_FS_REQUEST_H
#define NACOSFS_FS_REQUEST_H

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/filesystem.h"
#include "util/call.h"

/* How long the kernel may believe an entry or attributes without asking, in seconds, while nothing tells us of changes. */
#define KERNEL_CACHE_S 1.0

struct request {
	fuse_req_t fuse;
	struct filesystem *filesystem;
	pid_t thread; /* of the caller */
	uid_t uid;
	gid_t gid;
	unsigned events; /* how many the store had told of when it started (notify.h) */
	struct call call;
};

/* Starts a request that may take the mount's timeout; or, where a directory waits for it, the shorter one. */
void request_start(struct request *request, fuse_req_t fuse);
void request_start_in_directory(struct request *request, fuse_req_t fuse);

/*
 * As request_start(), for a listing: it may take many times as long as long as the server goes on answering; the timeout is that
 * of each page.
 */
void request_start_listing(struct request *request, fuse_req_t fuse);

/* Makes it one that may take as long as a listing. */
void request_extend_for_listing(struct request *request);

/* A request that nobody made: the daemon asks the store by itself. interrupted(arg) ends it. It can't be answered. */
void request_start_in_background(struct request *request, struct filesystem *filesystem, int64_t timeout_ms,
				 bool (*interrupted)(void *arg), void *arg);

static inline struct tree *request_tree(const struct request *request)
{
	return &request->filesystem->tree;
}

/* All groups of who asks, to be freed; their count. Negative: uid is another one, or /proc does not tell. As call->find_groups. */
int request_find_groups(void *request, uid_t uid, gid_t **ret_groups);

/* Who asks, as a writer. Reads /proc. */
struct writer request_writer(const struct request *request);

void request_lock(const struct request *request);
void request_unlock(const struct request *request);

/* Answers with an error (0 or negative), mapped to what programs know. */
void request_reply_error(const struct request *request, int error);

#endif
