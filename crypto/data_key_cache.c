#include "crypto/data_key_cache.h"

#include <errno.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "util/clock.h"
#include "util/table.h"

#define TEXT_SIZE_MAX 64 /* base64 of 32 bytes is 44 */

/* In secret memory. */
struct entry {
	struct table_link link; /* first */
	struct entry *newer, *older; /* by use */
	unsigned char digest[SHA256_DIGEST_LENGTH]; /* of the blob */
	int64_t end_ms;
	size_t text_size;
	char text[];
};

struct data_key_cache {
	size_t limit;
	int64_t life_ms;
	pthread_mutex_t lock; /* of what follows */
	struct table entries;
	struct entry *newest, *oldest;
	unsigned long hits, misses;
};

int data_key_cache_new(size_t count, int64_t life_ms, struct data_key_cache **ret_cache)
{
	struct data_key_cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return -ENOMEM;
	cache->limit = count;
	cache->life_ms = life_ms;
	pthread_mutex_init(&cache->lock, NULL);
	*ret_cache = cache;
	return 0;
}

static void unlink_use(struct data_key_cache *cache, struct entry *entry)
{
	*(entry->newer ? &entry->newer->older : &cache->newest) = entry->older;
	*(entry->older ? &entry->older->newer : &cache->oldest) = entry->newer;
}

static void link_newest(struct data_key_cache *cache, struct entry *entry)
{
	entry->newer = NULL;
	entry->older = cache->newest;
	*(entry->older ? &entry->older->newer : &cache->oldest) = entry;
	cache->newest = entry;
}

static void drop(struct data_key_cache *cache, struct entry *entry)
{
	table_remove(&cache->entries, &entry->link);
	unlink_use(cache, entry);
	secret_free(entry);
}

static bool is_of_digest(const struct table_link *link, const void *digest)
{
	const struct entry *entry = (const struct entry *)link;

	return memcmp(entry->digest, digest, sizeof(entry->digest)) == 0;
}

static struct entry *find(const struct data_key_cache *cache, const unsigned char *digest)
{
	uint64_t hash = table_hash(digest, SHA256_DIGEST_LENGTH);

	return (struct entry *)table_find(&cache->entries, hash, is_of_digest, digest);
}

static bool take_digest(const char *blob, size_t size, unsigned char *ret_digest)
{
	return SHA256((const unsigned char *)blob, size, ret_digest) != NULL;
}

int data_key_cache_get(struct data_key_cache *cache, const char *blob, size_t blob_size,
		       struct secret_buffer *ret_key_text)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	struct entry *entry;
	int error = -ENOENT;

	if (!take_digest(blob, blob_size, digest))
		return -ENOENT;
	pthread_mutex_lock(&cache->lock);
	entry = find(cache, digest);
	if (entry && entry->end_ms <= clock_monotonic_ms()) {
		drop(cache, entry);
		entry = NULL;
	}
	if (entry) {
		unlink_use(cache, entry);
		link_newest(cache, entry);
		error = secret_buffer_append(ret_key_text, entry->text, entry->text_size);
		cache->hits++;
	} else {
		cache->misses++;
	}
	pthread_mutex_unlock(&cache->lock);
	return error;
}

void data_key_cache_put(struct data_key_cache *cache, const char *blob, size_t blob_size,
			const struct secret_buffer *key_text)
{
	struct entry *entry, *known;

	if (cache->limit == 0 || key_text->size > TEXT_SIZE_MAX)
		return;
	entry = secret_alloc(sizeof(*entry) + key_text->size);
	if (!entry)
		return;
	if (!take_digest(blob, blob_size, entry->digest)) {
		secret_free(entry);
		return;
	}
	if (key_text->size > 0)
		memcpy(entry->text, key_text->data, key_text->size);
	entry->text_size = key_text->size;
	entry->end_ms = clock_monotonic_ms() + cache->life_ms;

	pthread_mutex_lock(&cache->lock);
	known = find(cache, entry->digest);
	if (known)
		drop(cache, known);
	else if (cache->entries.count >= cache->limit)
		drop(cache, cache->oldest);
	table_add(&cache->entries, &entry->link, table_hash(entry->digest, sizeof(entry->digest)));
	link_newest(cache, entry);
	pthread_mutex_unlock(&cache->lock);
}

/* Drops the entries that end at that moment or before. */
static void drop_until(struct data_key_cache *cache, int64_t moment_ms)
{
	struct entry *entry, *newer;

	pthread_mutex_lock(&cache->lock);
	for (entry = cache->oldest; entry; entry = newer) {
		newer = entry->newer;
		if (entry->end_ms <= moment_ms)
			drop(cache, entry);
	}
	pthread_mutex_unlock(&cache->lock);
}

void data_key_cache_clear(struct data_key_cache *cache)
{
	drop_until(cache, INT64_MAX);
}

void data_key_cache_expire(struct data_key_cache *cache)
{
	drop_until(cache, clock_monotonic_ms());
}

void data_key_cache_statistics(struct data_key_cache *cache, struct data_key_cache_statistics *ret_statistics)
{
	pthread_mutex_lock(&cache->lock);
	ret_statistics->count = cache->entries.count;
	ret_statistics->hits = cache->hits;
	ret_statistics->misses = cache->misses;
	pthread_mutex_unlock(&cache->lock);
}

void data_key_cache_free(struct data_key_cache *cache)
{
	if (!cache)
		return;
	data_key_cache_clear(cache);
	pthread_mutex_destroy(&cache->lock);
	table_release(&cache->entries);
	free(cache);
}
