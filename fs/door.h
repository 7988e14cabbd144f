/*
 * The one door that all requests of the kernel come through: who asks, is it the toucher, the lock,
 * the nodes looked up and held, the handler, the answer. A handler is a function of a request:
 *
 *	static int handle(struct request *request)      with the lock; request->node is held as long as the request lives
 *	{
 *		...
 *		request->answer.kind = ANSWER_ATTRIBUTES;   what is sent when it returns 0
 *		return 0;                                   or a negative errno, which is sent
 *	}
 *
 * Threads that receive requests never wait. A handler of DOOR_TRY runs there first with a call that
 * may not wait (call.from_memory): when it says -EWOULDBLOCK it is run once more, from its
 * beginning, on a thread of the pool that may wait. So until it has asked the store for the first
 * time it changes nothing that a second run would not change again. DOOR_MEMORY never needs to
 * wait, DOOR_WAIT always may.
 */
#ifndef NACOSFS_FS_DOOR_H
#define NACOSFS_FS_DOOR_H

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdint.h>

#include "fs/filesystem.h"
#include "fs/node/access.h"
#include "fs/save/handle.h"
#include "fs/pool.h"
#include "util/buffer.h"
#include "util/call.h"

struct request;

enum door_way { DOOR_MEMORY, DOOR_TRY, DOOR_WAIT };

/*
 * How long a request may take: the mount's timeout; half of it where a directory waits for it; or
 * the timeout for each page.
 */
enum door_time { DOOR_TIME, DOOR_TIME_IN_DIRECTORY, DOOR_TIME_OF_LISTING };

/* What else is to be known of a kind of requests. */
enum {
	DOOR_ASKS_GROUPS = 1, /* what the caller may do can depend on all of his groups */
	DOOR_SAVES = 2, /* it goes on to its end when the mount ends */
};

struct request_kind {
	const char *name;
	int (*handle)(struct request *request);
	/* when it is the toucher who asks; NULL: as for everybody */
	int (*handle_toucher)(struct request *request);
	enum door_way way;
	enum door_time time;
	unsigned flags; /* DOOR_... */
	atomic_ulong count;
};

enum answer_kind {
	ANSWER_DONE,
	/* entry; with ino 0: there is no such name, as an answer that the kernel keeps */
	ANSWER_ENTRY,
	ANSWER_CREATED, /* entry and open file */
	ANSWER_ATTRIBUTES, /* entry.attr, entry.attr_timeout */
	ANSWER_OPENED, /* request->info */
	ANSWER_OPENED_DIRECTORY,
	ANSWER_BYTES, /* bytes; or of version from offset, at most size */
	ANSWER_WRITTEN, /* size */
	ANSWER_LENGTH, /* size: of an extended attribute */
	ANSWER_TARGET, /* bytes: of a link */
	ANSWER_ROOM,
};

struct answer {
	enum answer_kind kind;
	struct fuse_entry_param entry;
	struct buffer bytes; /* wiped */
	struct version *version; /* counted */
	size_t size;
	off_t offset;
	/* the kernel is to forget the attributes that it has before it gets the answer */
	bool forget_first;
	bool drop_pages; /* the kernel is to drop its pages of the node afterwards */
	uint64_t *given; /* the nodes whose attributes are in it, beside entry; to be freed */
	size_t given_count;
};

/*
 * The pids and the groups of the caller are as the kernel knows them in the mount's pid namespace.
 */
struct request {
	struct pool_job job; /* first */
	struct request_kind *kind;
	fuse_req_t fuse;
	struct filesystem *filesystem;
	pid_t thread; /* of the caller */
	struct asker asker;
	bool is_toucher;
	bool is_copy; /* on a thread that may wait: what it points to is its own */
	unsigned events; /* how many the store had told of when it started (fs/node/wake.h) */
	struct call call;

	/* What is asked, as far as its kind has it. */
	uint64_t id, new_parent_id; /* 0: none */
	const char *name, *new_name;
	const char *value; /* of an extended attribute, or to be written */
	size_t size;
	off_t offset;
	mode_t mode;
	int to_set;
	unsigned flags;
	struct stat attributes;
	struct fuse_file_info info;
	bool has_info;

	/* While it runs. */
	struct held node, new_parent; /* of id and new_parent_id */
	struct held others[3]; /* request_hold() */
	size_t other_count;
	gid_t *groups;

	struct answer answer;
};

/*
 * Begins: what the kernel asks, filled in but for what the door knows. name, new_name, value are
 * the caller's.
 */
void door_enter(struct request *request) UNLOCKED;

/* As the kernel forgets nodes. */
void door_forget(struct filesystem *filesystem, uint64_t id, uint64_t count) UNLOCKED;

static inline struct tree *request_tree(const struct request *request)
{
	return &request->filesystem->tree;
}

static inline const struct terms *request_terms(const struct request *request)
{
	return &request->filesystem->terms;
}

/*
 * The open file of the request; NULL for a file that the toucher has open, or where there is none.
 */
static inline struct handle *request_handle(const struct request *request)
{
	return request->has_info ? (struct handle *)(uintptr_t)request->info.fh : NULL;
}

/* Holds one more node as long as the request lives. */
struct held *request_hold(struct request *request, struct node *node) LOCKED;

/* Who asks, as a writer. Reads /proc: gives the lock up; only where the request may wait. */
struct writer request_writer(struct request *request) LOCKED;

/* Is it one who writes to the node? 0 and the answer, or -EWOULDBLOCK. Gives the lock up. */
int request_is_writer(struct request *request, struct held *node, bool *ret_is_writer) LOCKED;

/* Makes it one that may take as long as a listing. */
void request_extend_for_listing(struct request *request);

/*
 * Fills in the answer: the node as an entry, whose lookup is counted; or its attributes. as_writer:
 * who asks writes to it.
 */
void request_answer_entry(struct request *request, struct node *node, bool as_writer) LOCKED;
void request_answer_attributes(struct request *request, struct node *node, bool as_writer) LOCKED;

/*
 * May who asks do that at the place? As access_check(), with his groups where the request may wait.
 */
int request_check(struct request *request, struct place *place, unsigned rights) LOCKED;

/* As request_check() for writing, and then the store. Gives the lock up. */
int request_check_write(struct request *request, struct place *place) LOCKED;

#endif
