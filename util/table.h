/*
 * A hash table of things that carry their own link, so that adding one can't fail.
 *
 * Hashes are seeded anew in each process: nobody who chooses names can make them fall into one
 * bucket. A table grows by itself; without memory for that its chains just get longer. All zeros is
 * an empty one.
 *
 *	struct thing {
 *		struct table_link link; // first
 *		char *name;
 *	};
 *
 *	static bool is_named(const struct table_link *link, const void *name)
 *	{
 *		return !strcmp(((const struct thing *)link)->name, name);
 *	}
 *
 *	uint64_t hash = table_hash_text(name);
 *	struct thing *thing = (struct thing *)table_find(&things, hash, is_named, name);
 *	if (!thing)
 *		table_add(&things, &new_thing->link, hash);
 *
 * Not thread-safe: whoever has the table guards it.
 */
#ifndef NACOSFS_UTIL_TABLE_H
#define NACOSFS_UTIL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_link {
	struct table_link *next; /* in the bucket */
	uint64_t hash;
};

struct table {
	struct table_link **buckets;
	size_t bucket_count; /* a power of two; 0 before the first one is added */
	size_t count;
	/* what was added when there was no memory for buckets at all */
	struct table_link *unhashed;
};

/*
 * A hash of bytes, with the seed of this process; and of more of them behind those that before is
 * the hash of.
 */
uint64_t table_hash(const void *data, size_t size);
uint64_t table_hash_more(uint64_t before, const void *data, size_t size);
uint64_t table_hash_text(const char *text);

/* The one with that hash that is(link, key) says yes to; NULL: none. */
struct table_link *table_find(const struct table *table, uint64_t hash,
			      bool (*is)(const struct table_link *link, const void *key), const void *key);

/* Adds one that is in no table. */
void table_add(struct table *table, struct table_link *link, uint64_t hash);

/* Takes out one that is in the table. */
void table_remove(struct table *table, struct table_link *link);

/*
 * All of them, in no order: the first for NULL, then the one behind before; NULL at the end.
 * Between the calls nothing may be added; before may be taken out only if its successor was asked
 * for already.
 */
struct table_link *table_next(const struct table *table, const struct table_link *before);

/* Frees the buckets; what was in them is the owner's. The table is empty then. */
void table_release(struct table *table);

#endif
