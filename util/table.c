#include "util/table.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FIRST_BUCKETS 16

/* ------------------------------------------------------------------ the hash: SipHash-1-3 */

static uint64_t seed[2];
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
	/* Early in the boot there may be none yet; addresses are better than nothing. */
	if (getrandom(seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed)) {
		seed[0] = (uint64_t)(uintptr_t)&seed;
		seed[1] = (uint64_t)(uintptr_t)&make_seed;
	}
}

static inline uint64_t rotate(uint64_t value, int bits)
{
	return value << bits | value >> (64 - bits);
}

static inline void mix(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

static inline void take(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	mix(v);
	v[0] ^= word;
}

uint64_t table_hash_more(uint64_t before, const void *data, size_t size)
{
	const unsigned char *bytes = data;
	uint64_t last = (uint64_t)size << 56;

	pthread_once(&seed_once, make_seed);
	uint64_t v[4] = {
		seed[0] ^ UINT64_C(0x736f6d6570736575),
		seed[1] ^ UINT64_C(0x646f72616e646f6d),
		seed[0] ^ UINT64_C(0x6c7967656e657261),
		seed[1] ^ UINT64_C(0x7465646279746573) ^ before,
	};
	for (; size >= 8; size -= 8, bytes += 8) {
		uint64_t word;

		memcpy(&word, bytes, sizeof(word));
		take(v, word);
	}
	for (size_t i = 0; i < size; i++)
		last |= (uint64_t)bytes[i] << 8 * i;
	take(v, last);
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		mix(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t table_hash(const void *data, size_t size)
{
	return table_hash_more(0, data, size);
}

uint64_t table_hash_text(const char *text)
{
	return table_hash(text, strlen(text));
}

/* ------------------------------------------------------------------------------- the table */

static struct table_link **bucket_of(const struct table *table, uint64_t hash)
{
	return table->bucket_count ? &table->buckets[hash & (table->bucket_count - 1)] :
				     (struct table_link **)&table->unhashed;
}

static void put(struct table *table, struct table_link *link)
{
	struct table_link **bucket = bucket_of(table, link->hash);

	link->next = *bucket;
	*bucket = link;
}

static void grow(struct table *table)
{
	struct table grown = { .bucket_count = table->bucket_count ? table->bucket_count * 2 : FIRST_BUCKETS };

	grown.buckets = calloc(grown.bucket_count, sizeof(struct table_link *));
	if (!grown.buckets)
		return;
	for (struct table_link *link = table_next(table, NULL), *next; link; link = next) {
		next = table_next(table, link);
		put(&grown, link);
	}
	grown.count = table->count;
	free(table->buckets);
	*table = grown;
}

struct table_link *table_find(const struct table *table, uint64_t hash,
			      bool (*is)(const struct table_link *link, const void *key), const void *key)
{
	struct table_link *link = *bucket_of(table, hash);

	while (link && (link->hash != hash || !is(link, key)))
		link = link->next;
	return link;
}

void table_add(struct table *table, struct table_link *link, uint64_t hash)
{
	if (table->count >= table->bucket_count)
		grow(table);
	link->hash = hash;
	put(table, link);
	table->count++;
}

void table_remove(struct table *table, struct table_link *link)
{
	struct table_link **place = bucket_of(table, link->hash);

	while (*place != link)
		place = &(*place)->next;
	*place = link->next;
	link->next = NULL;
	table->count--;
}

struct table_link *table_next(const struct table *table, const struct table_link *before)
{
	if (!table->bucket_count)
		return before ? before->next : table->unhashed;
	if (before && before->next)
		return before->next;
	for (size_t i = before ? (before->hash & (table->bucket_count - 1)) + 1 : 0; i < table->bucket_count; i++)
		if (table->buckets[i])
			return table->buckets[i];
	return NULL;
}

void table_release(struct table *table)
{
	free(table->buckets);
	*table = (struct table){ 0 };
}
