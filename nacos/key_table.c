#include "nacos/key_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FIRST_BUCKET_COUNT 256

/* FNV-1a from a seed, with the NUL of each part, so that "a", "bc" is not "ab", "c". */
static uint64_t hash_part(uint64_t hash, const char *part)
{
	size_t size = strlen(part) + 1;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (unsigned char)part[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static uint64_t hash_key(const struct nacos_key_table *table, const struct nacos_key *key)
{
	uint64_t hash = hash_part(table->seed, key->namespace_id);

	hash = hash_part(hash_part(hash, key->group), key->data_id);
	/* FNV leaves the low bits, which choose the bucket, the weakest. */
	hash ^= hash >> 32;
	hash *= UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 29;
}

/* What points to the node of that key, or to the NULL where it belongs. */
static struct nacos_key_node **find_link(const struct nacos_key_table *table, const struct nacos_key *key,
					 uint64_t hash)
{
	struct nacos_key_node **link = &table->buckets[hash & (table->bucket_count - 1)];

	for (; *link; link = &(*link)->next) {
		const struct nacos_key_node *node = *link;

		if (node->hash == hash && strcmp(node->key.data_id, key->data_id) == 0 &&
		    strcmp(node->key.group, key->group) == 0 &&
		    strcmp(node->key.namespace_id, key->namespace_id) == 0)
			break;
	}
	return link;
}

static int grow(struct nacos_key_table *table, size_t bucket_count)
{
	struct nacos_key_node **buckets = calloc(bucket_count, sizeof(struct nacos_key_node *));

	if (!buckets)
		return -ENOMEM;
	for (size_t i = 0; i < table->bucket_count; i++) {
		struct nacos_key_node *node, *next;

		for (node = table->buckets[i]; node; node = next) {
			struct nacos_key_node **bucket = &buckets[node->hash & (bucket_count - 1)];

			next = node->next;
			node->next = *bucket;
			*bucket = node;
		}
	}
	free(table->buckets);
	table->buckets = buckets;
	table->bucket_count = bucket_count;
	return 0;
}

int nacos_key_table_init(struct nacos_key_table *table)
{
	memset(table, 0, sizeof(*table));
	/* Without random bytes, names that collide can be chosen: slow, but not wrong. */
	if (getrandom(&table->seed, sizeof(table->seed), GRND_NONBLOCK) < 0)
		table->seed = (uintptr_t)table;
	return grow(table, FIRST_BUCKET_COUNT);
}

void nacos_key_table_release(struct nacos_key_table *table)
{
	free(table->buckets);
	memset(table, 0, sizeof(*table));
}

struct nacos_key_node *nacos_key_table_find(const struct nacos_key_table *table, const struct nacos_key *key)
{
	return *find_link(table, key, hash_key(table, key));
}

int nacos_key_table_add(struct nacos_key_table *table, struct nacos_key_node *node)
{
	struct nacos_key_node **link;

	if (table->count >= table->bucket_count && grow(table, 2 * table->bucket_count))
		return -ENOMEM;
	node->hash = hash_key(table, &node->key);
	link = find_link(table, &node->key, node->hash);
	node->next = NULL;
	*link = node;
	table->count++;
	return 0;
}

void nacos_key_table_remove(struct nacos_key_table *table, struct nacos_key_node *node)
{
	*find_link(table, &node->key, node->hash) = node->next;
	table->count--;
}

struct nacos_key_node *nacos_key_table_next(const struct nacos_key_table *table, const struct nacos_key_node *node)
{
	size_t bucket = 0;

	if (node) {
		if (node->next)
			return node->next;
		bucket = (node->hash & (table->bucket_count - 1)) + 1;
	}
	while (bucket < table->bucket_count && !table->buckets[bucket])
		bucket++;
	return bucket < table->bucket_count ? table->buckets[bucket] : NULL;
}

size_t nacos_key_size(const struct nacos_key *key)
{
	return strlen(key->namespace_id) + strlen(key->group) + strlen(key->data_id) + 3;
}

void nacos_key_place(const struct nacos_key *key, char *memory, struct nacos_key *ret_key)
{
	ret_key->namespace_id = memory;
	memory = stpcpy(memory, key->namespace_id) + 1;
	ret_key->group = memory;
	memory = stpcpy(memory, key->group) + 1;
	ret_key->data_id = memory;
	strcpy(memory, key->data_id);
}
