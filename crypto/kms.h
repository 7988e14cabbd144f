/*
 * What the two interfaces of a cloud's key service have in common: the address, what is tried again, and how
 * failures are told.
 */
#ifndef NACOSFS_CRYPTO_KMS_H
#define NACOSFS_CRYPTO_KMS_H

#include <stdbool.h>
#include <stddef.h>

#include "crypto/secret_buffer.h"
#include "util/buffer.h"
#include "util/call.h"
#include "util/http.h"

#define KMS_USER_AGENT "nacosfs"

/* An answer holds a blob of FORMAT_DIRECT_LIMIT bytes at most, escaped in the worst way. */
#define KMS_ANSWER_LIMIT ((size_t)256 * 1024)

#define KMS_CODE_SIZE 65

/*
 * HOST[:PORT] from an option that may have https:// before it and / behind it. Only https is spoken: anything else
 * is -EINVAL. The caller frees ret_host.
 */
int kms_parse_endpoint(const char *endpoint, struct call *call, char **ret_host);

/* Can the file be read, and is there a certificate in it? NULL is fine. 0, or -EINVAL with a reason that names it. */
int kms_check_ca_file(const char *path, struct call *call);

/*
 * Copies an error code of the service if it looks like one, "unknown" otherwise: it goes into reasons. (Its
 * messages don't: they may quote what was sent.)
 */
void kms_copy_code(const char *code, size_t size, char ret_code[KMS_CODE_SIZE]);

/* Is it one of those after which the same request can do? */
bool kms_code_is_temporary(const char *code);

/*
 * One try of a request. Sets ret_temporary when it failed in a way that a second try may mend. Errors are those
 * of key services, besides those of http_request(), which kms_try() turns into -ENOKEY; a time-out is
 * temporary.
 */
typedef int kms_attempt(void *arg, struct call *call, bool *ret_temporary);

/*
 * Makes up to KMS_TRIES tries within the call, each of at most KMS_TRY_MS, with growing pauses that differ from
 * client to client. All requests of key services can be repeated: they change nothing.
 */
#define KMS_TRIES 4
#define KMS_TRY_MS 4000
int kms_try(kms_attempt *attempt, void *arg, struct call *call);

/* Appends the base64 of what a service gave, checked: 0, -ENOKEY, -ENOMEM. */
int kms_append_blob(const char *blob, size_t size, struct call *call, struct buffer *ret_blob);

/*
 * Decodes a blob that is to be decrypted into ret_bytes, which is empty. -EBADMSG when no service can have made it:
 * not base64, too large, or too short for the name of a key version, an IV and a tag. That is not sent: it may be
 * a secret in clear that only looks like base64. -ENOMEM
 */
#define KMS_VERSION_SIZE 36
#define KMS_IV_SIZE 12
#define KMS_TAG_SIZE 16
int kms_decode_blob(const char *blob, size_t size, struct call *call, struct buffer *ret_bytes);

/* Is text the base64 of a key of so many bytes? */
bool kms_is_key_text(const char *text, size_t size, size_t key_size);

/* Lower-case, or upper-case, hex of the SHA-256 of size bytes, with a NUL. False when OpenSSL refuses. */
#define KMS_SHA256_HEX_SIZE 65
bool kms_sha256_hex(const void *data, size_t size, bool upper_case, char ret_hex[KMS_SHA256_HEX_SIZE]);

/* Appends percent-encoded text, as util/form.h, to secret memory. 0 or -ENOMEM. */
int kms_append_percent_encoded(struct secret_buffer *buffer, const char *text, size_t size);

#endif
