/*
 * What each user of this machine makes the daemon hold: private files, kept texts, names that are
 * put off. Counted by uid, so that it can be told, and limited, who fills the memory that all
 * share.
 *
 * All functions want tree->lock, and ask nobody.
 */
#ifndef NACOSFS_FS_NODE_HOLDING_H
#define NACOSFS_FS_NODE_HOLDING_H

#include <stddef.h>
#include <sys/types.h>

#include "util/table.h"

enum holding_kind {
	HOLDING_PRIVATE_FILES,
	HOLDING_PRIVATE_BYTES,
	HOLDING_KEPT_TEXTS,
	HOLDING_KEPT_BYTES,
	HOLDING_GRACES,
	HOLDING_KIND_COUNT,
};

/* Of all users. All zeros is nobody. */
struct holdings {
	struct table users; /* who holds anything */
	size_t total[HOLDING_KIND_COUNT];
};

/* He holds so much more, or less. Without memory for him, only the total knows. */
void holding_add(struct holdings *holdings, uid_t uid, enum holding_kind kind, size_t amount);
void holding_take(struct holdings *holdings, uid_t uid, enum holding_kind kind, size_t amount);

/* What he holds. */
size_t holding_of(const struct holdings *holdings, uid_t uid, enum holding_kind kind);

void holding_release(struct holdings *holdings);

#endif
