/*
 * The vectors that official clients produced (encryption-vectors.json), and the key service that they were produced
 * with, for the tests of crypto/.
 */
#ifndef NACOSFS_TEST_CRYPTO_VECTORS_H
#define NACOSFS_TEST_CRYPTO_VECTORS_H

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/encoding.h"
#include "crypto/key_service.h"
#include "util/file.h"
#include "util/json.h"

#define VECTORS_FILE "tests/unit/encryption-vectors.json"

static inline struct json *vectors_read(void)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct json *vectors = NULL;
	struct call call;

	call_start(&call, 10000);
	assert_int_equal(file_read_whole(VECTORS_FILE, 1 << 20, &call, &text), 0);
	assert_int_equal(json_parse(text.data, text.size, &vectors), 0);
	return vectors;
}

/* Appends the bytes of a member that is hex. */
static inline void vectors_bytes(const struct json *vector, const char *name, struct buffer *ret_bytes)
{
	const char *hex = json_text(vector, name);

	assert_non_null(hex);
	assert_int_equal(buffer_resize(ret_bytes, strlen(hex) / 2), 0);
	if (*hex)
		assert_int_equal(encoding_from_hex(hex, strlen(hex), ret_bytes->data), 0);
}

/* Decrypts a blob with the published master keys. 0 or -EBADMSG. */
static inline int vectors_unwrap(const struct json *vectors, const char *blob, size_t size, char *ret_text,
				 size_t *ret_size)
{
	unsigned char bytes[16384], master[33];
	const struct json *key = json_first(json_member(json_member(vectors, "kms"), "keys"));
	EVP_CIPHER_CTX *context;
	size_t bytes_size, master_size;
	int count, last, done;

	if (size > 16384 || encoding_from_base64(blob, size, bytes, &bytes_size) || bytes_size < 64)
		return -EBADMSG;
	while (key && memcmp(json_text(key, "keyVersionId"), bytes, 36) != 0)
		key = json_next(key);
	if (!key)
		return -EBADMSG;
	assert_int_equal(encoding_from_base64(json_text(key, "masterKeyBase64"), 44, master, &master_size), 0);
	context = EVP_CIPHER_CTX_new();
	done = EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, master, bytes + 36) &&
	       EVP_DecryptUpdate(context, (unsigned char *)ret_text, &count, bytes + 48, (int)bytes_size - 64) &&
	       EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, 16, bytes + bytes_size - 16) &&
	       EVP_DecryptFinal_ex(context, (unsigned char *)ret_text + count, &last) == 1;
	EVP_CIPHER_CTX_free(context);
	*ret_size = bytes_size - 64;
	return done ? 0 : -EBADMSG;
}

/* A key service that can only decrypt what is in the vectors. */
struct vectors_service {
	struct key_service service;
	const struct json *vectors;
};

static inline int vectors_decrypt(struct key_service *service, const char *blob, size_t size, struct call *call,
				  struct secret_buffer *ret_text)
{
	struct vectors_service *self = (struct vectors_service *)service;
	char text[16384];
	size_t text_size;

	atomic_fetch_add(&service->request_count, 1);
	if (vectors_unwrap(self->vectors, blob, size, text, &text_size))
		return call_fail(call, -EBADMSG, "no such blob");
	return secret_buffer_append(ret_text, text, text_size);
}

static inline const struct key_service_operations *vectors_operations(void)
{
	static const struct key_service_operations operations = { .decrypt = vectors_decrypt };

	return &operations;
}

#endif
