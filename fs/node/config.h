/*
 * What belongs to a config of which more is known than a listing tells: what is shown of it, and
 * what is being written to it. Values only: what is done with them is in show.h and draft.h.
 * Guarded by tree->lock, as the node that it belongs to.
 */
#ifndef NACOSFS_FS_NODE_CONFIG_H
#define NACOSFS_FS_NODE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "model/version.h"
#include "util/buffer.h"

/*
 * Who writes: for ownership of what is kept, and for recognising a program that cleans up after its
 * own failure.
 */
struct writer {
	pid_t process; /* 0: nobody in particular */
	uid_t uid;
	gid_t gid;
};

/*
 * What is being written: the bytes of the base, plus what was written since. All local writers of a
 * config share it.
 */
struct draft {
	struct buffer content;
	struct version *base; /* what it was made from; NULL: the server has no such config */
	bool blind; /* what the server has can't be read, so it can't be compared with either */
	struct timespec modified; /* time of the last write, or as set by utimens */
	struct writer writer; /* of the last change */
	/* of the node when the draft was made: shows again when nothing comes of it */
	uint16_t mode_before;
};

struct config {
	struct timespec modified, changed;
	bool unreadable; /* the server refused to let this account read it */
	/* it was seen to be gone while somebody wrote to it, or saved it: wake_look_again() */
	bool look_again;
	bool deferred; /* a new name that looks like a temp file: saved only after a grace */
	uint64_t size; /* of the content that is shown, like md5; valid where md5 is not "" */
	char md5[HASH_MD5_HEX_SIZE];
	/* of the version shown: older ones that come late are not shown any more */
	uint64_t shown_serial;
	unsigned remote_changes; /* how often the content was changed by somebody else */
	int64_t remote_changed_ms; /* when that was last seen, monotonic */
	struct draft *draft; /* NULL: nobody is writing */
	struct version *last_commit; /* what was last saved here, while there are writers */
	/* numbers of the last change to the draft, and of the last saved one */
	uint64_t change_count, committed_change;
	/* whose save of this config failed last; 0: none since the last success */
	pid_t failed_process;
	int64_t failed_ms; /* when, monotonic */
	char *error_text; /* why it failed; NULL: it did not */
};

/* NULL without memory. */
struct config *config_new(void);

/* With the draft, which is wiped. NULL is fine. */
void config_free(struct config *config);
void config_free_draft(struct config *config);

#endif
