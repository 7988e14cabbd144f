/*
 * A hash table of what has a config's key. The table does not own what is in it: whoever uses it embeds a struct
 * nacos_key_node, allocates, frees, and locks.
 *
 *	nacos_key_table_init -> add, find, remove, next -> nacos_key_table_release
 */
#ifndef NACOSFS_NACOS_KEY_TABLE_H
#define NACOSFS_NACOS_KEY_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "nacos/config.h"

struct nacos_key_node {
	struct nacos_key_node *next; /* in its bucket */
	uint64_t hash;
	struct nacos_key key; /* the texts must live as long as the node is in a table */
};

struct nacos_key_table {
	struct nacos_key_node **buckets;
	size_t bucket_count; /* a power of two */
	size_t count;
	uint64_t seed; /* so that nobody can choose names that collide */
};

/* 0 or -ENOMEM. */
int nacos_key_table_init(struct nacos_key_table *table);

/* Frees the table, and no node. One of all zeros is released too. */
void nacos_key_table_release(struct nacos_key_table *table);

/* NULL: there is none. */
struct nacos_key_node *nacos_key_table_find(const struct nacos_key_table *table, const struct nacos_key *key);

/* Adds a node, whose key is set and not in the table yet. 0 or -ENOMEM. */
int nacos_key_table_add(struct nacos_key_table *table, struct nacos_key_node *node);
void nacos_key_table_remove(struct nacos_key_table *table, struct nacos_key_node *node);

/* The node after that one (NULL: the first), in no order. Take it before the node is removed. */
struct nacos_key_node *nacos_key_table_next(const struct nacos_key_table *table, const struct nacos_key_node *node);

/* How many bytes the texts of a key take, and copying them to memory that has room for them. */
size_t nacos_key_size(const struct nacos_key *key);
void nacos_key_place(const struct nacos_key *key, char *memory, struct nacos_key *ret_key);

#endif
