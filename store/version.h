/*
 * One version of a config: its bytes and what belongs to them. Immutable once made, shared by counted pointers: a cache
 * entry, an open file that reads it and a draft that started from it hold the same object.
 */
#ifndef NACOSFS_STORE_VERSION_H
#define NACOSFS_STORE_VERSION_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buffer.h"
#include "util/hash.h"

#define VERSION_TYPE_SIZE 33

struct version {
	atomic_uint references;
	struct buffer content;
	char md5[HASH_MD5_HEX_SIZE]; /* of the text as the server stores it */
	char type[VERSION_TYPE_SIZE]; /* Nacos's name of the syntax: "yaml", "json", ...; "" unknown */
	int64_t modified_ms; /* since 1970; 0 unknown */
	uint64_t serial; /* grows with each version made: who was told of two of them knows which is older */
};

/* A version with one reference that takes the bytes of content (empty afterwards). NULL without memory. */
struct version *version_new(struct buffer *content, const char *md5, const char *type, int64_t modified_ms);

/* Counts one more holder and returns version; NULL stays NULL. */
struct version *version_hold(struct version *version);

/* Counts one holder less; the last one frees it. NULL is fine. */
void version_drop(struct version *version);

static inline void version_drop_pointer(struct version **version)
{
	version_drop(*version);
}
#define cleanup_version __attribute__((cleanup(version_drop_pointer)))

#endif
