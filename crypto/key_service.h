/*
 * What a key service is: who makes data keys and wraps them, so that only those who may ask it can unwrap them.
 * A small table of operations, implemented by the keyring (crypto/keyring.h), the shared gateway of a cloud
 * (crypto/kms_v1.h) and its dedicated instances (crypto/kms_v3.h).
 *
 * All operations may be called from any thread, end within the call's deadline, hold no lock of the caller,
 * append to what they return, and fail with
 *
 * -ENOKEY   the key service refuses, can't be reached, or its answer can't be trusted
 * -EBADMSG  decrypt: the blob is damaged, or is no blob at all
 * -EFBIG    encrypt: more text than FORMAT_DIRECT_LIMIT
 * -EINTR    the caller was interrupted
 * -ENOMEM   no room, in the memory for secrets most likely
 *
 * The reason of the call says why; it names neither a secret nor content.
 */
#ifndef NACOSFS_CRYPTO_KEY_SERVICE_H
#define NACOSFS_CRYPTO_KEY_SERVICE_H

#include <stdatomic.h>
#include <stddef.h>

#include "crypto/secret_buffer.h"
#include "util/buffer.h"
#include "util/call.h"

struct key_service;

struct key_service_operations {
	/* A new data key of key_size (16 or 32) bytes, as base64 text, and its blob: strict base64 text too. */
	int (*generate_data_key)(struct key_service *service, size_t key_size, struct call *call,
				 struct secret_buffer *ret_key_text, struct buffer *ret_blob);

	/* The blob of a text. */
	int (*encrypt)(struct key_service *service, const char *text, size_t size, struct call *call,
		       struct buffer *ret_blob);

	/* The text of a blob: what encrypt() was given, or the base64 text of a data key. */
	int (*decrypt)(struct key_service *service, const char *blob, size_t size, struct call *call,
		       struct secret_buffer *ret_text);

	void (*free)(struct key_service *service);
};

/* An implementation begins with this. */
struct key_service {
	const struct key_service_operations *operations;
	atomic_ulong request_count; /* requests made, for metrics and tests; the keyring counts operations */
};

static inline int key_service_generate_data_key(struct key_service *service, size_t key_size, struct call *call,
						struct secret_buffer *ret_key_text, struct buffer *ret_blob)
{
	return service->operations->generate_data_key(service, key_size, call, ret_key_text, ret_blob);
}

static inline int key_service_encrypt(struct key_service *service, const char *text, size_t size, struct call *call,
				      struct buffer *ret_blob)
{
	return service->operations->encrypt(service, text, size, call, ret_blob);
}

static inline int key_service_decrypt(struct key_service *service, const char *blob, size_t size, struct call *call,
				      struct secret_buffer *ret_text)
{
	return service->operations->decrypt(service, blob, size, call, ret_text);
}

/* No operation may be under way. NULL is fine. */
static inline void key_service_free(struct key_service *service)
{
	if (service)
		service->operations->free(service);
}

static inline void key_service_free_pointer(struct key_service **service)
{
	key_service_free(*service);
}
#define cleanup_key_service __attribute__((cleanup(key_service_free_pointer)))

#endif
