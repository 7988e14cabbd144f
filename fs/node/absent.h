/*
 * Names that the kernel was told do not exist, and may believe so for long. Whoever makes one of
 * them appear, or stops being told that it does, must make the kernel forget (TOUCH_FORGET_ABSENT,
 * TOUCH_CREATED).
 *
 * Guarded by tree->lock.
 */
#ifndef NACOSFS_FS_NODE_ABSENT_H
#define NACOSFS_FS_NODE_ABSENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/node/lock.h"

/*
 * More are not remembered, so that a program that looks for ever new names does not fill the
 * memory.
 */
#define ABSENT_LIMIT 32768

struct absent_name {
	struct absent_name *next; /* in the bucket */
	uint64_t parent_id;
	int64_t until_ms; /* the kernel forgets it by itself then; monotonic */
	char name[];
};

struct absent_names {
	struct absent_name **buckets;
	size_t count;
};

/* 0 or -ENOMEM. */
int absent_init(struct absent_names *names);
void absent_destroy(struct absent_names *names);

/*
 * Remembers a name for timeout_ms; false when there is no room: then the kernel may not be told for
 * long.
 */
bool absent_add(struct absent_names *names, uint64_t parent_id, const char *name, int64_t timeout_ms) LOCKED;

/* Forgets it; was it remembered? */
bool absent_remove(struct absent_names *names, uint64_t parent_id, const char *name) LOCKED;

/* Takes any one out, for the caller to free; NULL when there are none. */
struct absent_name *absent_take(struct absent_names *names) LOCKED;

#endif
