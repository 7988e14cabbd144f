/*
 * Sealing and opening of configs: the formats (crypto/format.h), a key service and a cache of data keys put
 * together. This is all that the layer which stores configs has to know of encryption.
 *
 *	cipher_new -> cipher_seal, cipher_open, cipher_check (any thread, any number) -> cipher_free
 *
 * Requests to the key service, at most:
 *
 *	                        kms_v1, keyring    kms_v3    with verify, more
 *	seal an envelope        1                  2         1
 *	seal direct             1                  1         1
 *	open an envelope        1, or 0 when its data key is cached (it is, after a seal)
 *	open direct             1: its text is the config, and that is never cached
 *
 * Only data keys outlive a call, and only in the cache. No lock is held while the key service is asked.
 */
#ifndef NACOSFS_CRYPTO_CIPHER_H
#define NACOSFS_CRYPTO_CIPHER_H

#include <stdbool.h>
#include <stddef.h>

#include "crypto/data_key_cache.h"
#include "crypto/format.h"
#include "crypto/key_service.h"
#include "crypto/secret_buffer.h"
#include "util/buffer.h"
#include "util/call.h"

struct cipher;

struct cipher_options {
	struct key_service *key_service; /* not owned, must outlive the cipher; NULL: there is none */
	/*
	 * Decrypt each new blob before it is used, and compare: a key service that answers with the blob of
	 * another key would otherwise make a config that nobody can ever read.
	 */
	bool verify;
};

/* 0 or -ENOMEM. */
int cipher_new(const struct cipher_options *options, struct cipher **ret_cipher);
void cipher_free(struct cipher *cipher);

/* Is text stored encrypted under that name? */
bool cipher_is_name(const char *data_id);

/*
 * What to store for text under that name: ret_content, and ret_data_key beside it (empty where the format has
 * none). Both are appended to. Each call takes a fresh data key: the same text gives another ciphertext. A name
 * that doesn't begin with cipher- is -EINVAL here: nothing is ever returned in clear.
 *
 * -ENOKEY  no key service is set up, or it refuses, or can't be reached, or its answer is not what it must be
 * -EFBIG   direct: more than FORMAT_DIRECT_LIMIT bytes
 * -EILSEQ  not UTF-8
 * -EINTR, -EIO, -ENOMEM
 */
int cipher_seal(struct cipher *cipher, const char *data_id, const char *text, size_t size, struct call *call,
		struct buffer *ret_content, struct buffer *ret_data_key);

/*
 * The text of what is stored under that name. data_key: what is stored beside it; NULL or "": nothing.
 *
 * -EBADMSG  not ciphertext, damaged, or not UTF-8 once it is decrypted
 * -ENOKEY   as above
 * -EINVAL   the name doesn't begin with cipher-
 * -EINTR, -EIO, -ENOMEM
 */
int cipher_open(struct cipher *cipher, const char *data_id, const char *content, size_t size, const char *data_key,
		struct call *call, struct secret_buffer *ret_text);

/* The part of cipher_open() that asks nobody: 0, or -EBADMSG when it can't be ciphertext. */
int cipher_check(struct cipher *cipher, const char *data_id, const char *content, size_t size, const char *data_key,
		 struct call *call);

/* The format of what is stored under that name. */
enum format cipher_format(const struct cipher *cipher, const char *data_id, const char *data_key);

/* The cache of data keys, for its statistics and for data_key_cache_expire(). */
struct data_key_cache *cipher_data_keys(struct cipher *cipher);

#endif
