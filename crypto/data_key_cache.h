/*
 * Data keys that a key service decrypted, so that reading a config again asks nobody, and works while the key
 * service is down. In secret memory, bounded in number and in time: the least recently used makes room, and a
 * key is forgotten life_ms after it was put, however much it is used, so that a key that was revoked ends.
 *
 * Keyed by the SHA-256 of the blob: same blob, same key. One mutex guards it.
 */
#ifndef NACOSFS_CRYPTO_DATA_KEY_CACHE_H
#define NACOSFS_CRYPTO_DATA_KEY_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "crypto/secret_buffer.h"

#define DATA_KEY_CACHE_COUNT 1000
#define DATA_KEY_CACHE_LIFE_MS ((int64_t)60 * 60 * 1000)

struct data_key_cache;

struct data_key_cache_statistics {
	size_t count;
	unsigned long hits, misses;
};

/* A cache of at most count keys. 0 or -ENOMEM. */
int data_key_cache_new(size_t count, int64_t life_ms, struct data_key_cache **ret_cache);
void data_key_cache_free(struct data_key_cache *cache);

/* Appends the key of the blob. 0, -ENOENT when it is not known (any more), or -ENOMEM. */
int data_key_cache_get(struct data_key_cache *cache, const char *blob, size_t blob_size,
		       struct secret_buffer *ret_key_text);

/* Remembers the key of the blob, if there is room: nothing depends on it. */
void data_key_cache_put(struct data_key_cache *cache, const char *blob, size_t blob_size,
			const struct secret_buffer *key_text);

/* Forgets all keys, at once: when an admin asks, or the key service's settings changed. */
void data_key_cache_clear(struct data_key_cache *cache);

/* Forgets the keys whose time is over; otherwise that happens when one is looked for. Call it now and then. */
void data_key_cache_expire(struct data_key_cache *cache);

void data_key_cache_statistics(struct data_key_cache *cache, struct data_key_cache_statistics *ret_statistics);

#endif
