/*
 * The names below a namespace or a group, as one answer of a store. Immutable once made, shared by counted pointers.
 */
#ifndef NACOSFS_MODEL_LISTING_H
#define NACOSFS_MODEL_LISTING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/hash.h"

struct listing_item {
	char *group;
	char *data_id;
	char md5[HASH_MD5_HEX_SIZE]; /* "" when the store did not say */
};

struct listing {
	atomic_uint references;
	struct listing_item *items;
	size_t count;
	bool settled; /* false: the store changed meanwhile, names may be missing */
};

struct listing *listing_new(void);
struct listing *listing_hold(struct listing *listing);
void listing_drop(struct listing *listing); /* frees items and their names with the last holder */

static inline void listing_drop_pointer(struct listing **listing)
{
	listing_drop(*listing);
}
#define cleanup_listing __attribute__((cleanup(listing_drop_pointer)))

#endif
