/*
 * One version of a config: its bytes and what belongs to them. Immutable once made, shared by counted pointers: a cache
 * entry, an open file that reads it and a draft that started from it hold the same object.
 */
#ifndef NACOSFS_MODEL_VERSION_H
#define NACOSFS_MODEL_VERSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buffer.h"
#include "util/hash.h"

#define VERSION_TYPE_SIZE 33

struct version {
	atomic_uint references;
	struct buffer content; /* may be in memory for secrets; empty when only the rest was asked for */
	struct version *shared; /* whose bytes content is, held; NULL: they are its own */
	size_t size; /* of the content, known also when it is not here */
	const char *encryption; /* how it is stored encrypted, in words; NULL: in clear */
	char *data_key; /* encrypted, as stored beside the text; NULL: none */
	char md5[HASH_MD5_HEX_SIZE]; /* of the text as the server stores it */
	char type[VERSION_TYPE_SIZE]; /* Nacos's name of the syntax: "yaml", "json", ...; "" unknown */
	int64_t modified_ms; /* since 1970; 0 unknown */
	bool unconfirmed; /* was stored by us where it can't be read: the server's yes is all that tells of it */
	uint64_t serial; /* grows with each version made: who was told of two of them knows which is older */
};

/*
 * A version with one reference that takes the bytes of content (empty afterwards); without a data key. NULL without
 * memory.
 */
struct version *version_new(struct buffer *content, const char *md5, const char *type, int64_t modified_ms);

/*
 * A version that stands for the same state of the same config as like, with other bytes: md5, type and time are the
 * same, and it is not newer than like.
 */
struct version *version_new_like(const struct version *like, struct buffer *content, size_t size);

/*
 * Gives up the bytes of version for those of like, which are the same: they are in memory once then. While nobody else has
 * version.
 */
void version_share_content(struct version *version, struct version *like);

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
