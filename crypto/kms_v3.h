/*
 * A dedicated instance of the cloud's key service: "KMS 3.0", protobuf over HTTPS, each request signed with a
 * client key.
 *
 * The service knows no blobs in the sense of the others: it gives IV and ciphertext, and the version of the key
 * in a header. The official clients put them together, and so does this:
 *
 *	blob = base64( 36 bytes key version | 12 bytes IV | ciphertext and tag )
 *
 * A data key takes two requests, as with them: GenerateDataKey gives the key, whose own blob is thrown away,
 * and Encrypt wraps its base64 text; the key version in the blob is that of the first answer. To decrypt, the
 * version goes into a header, the IV and the rest into the message; no key is named.
 */
#ifndef NACOSFS_CRYPTO_KMS_V3_H
#define NACOSFS_CRYPTO_KMS_V3_H

#include "crypto/key_service.h"
#include "crypto/secret_buffer.h"
#include "util/buffer.h"
#include "util/call.h"

/* Strings are copied. */
struct kms_v3_options {
	const char *endpoint; /* HOST[:PORT] of the instance */
	const char *key_id; /* which key encrypts; NULL: configs can only be read */
	const char *client_key_file;
	const char *password_file;
	/* PEM, of the instance: the root, the CA below it, or both in any order; NULL: the system's */
	const char *ca_file;
};

/*
 * Checks the options and reads the client key; asks nobody yet. Call it while the process has one thread.
 * -EINVAL for options that can't be, the errors of client_key_read(), -ENOMEM, -EIO.
 */
int kms_v3_open(const struct kms_v3_options *options, struct call *call, struct key_service **ret_service);

/* What is signed of a request; for tests against requests of the official clients. */
struct kms_v3_signed {
	const char *api; /* Encrypt, Decrypt, GenerateDataKey */
	const char *body_sha256; /* upper-case hex */
	const char *date; /* as in RFC 1123 */
	const char *client_key_id;
	const char *key_version; /* NULL: none is sent */
};

int kms_v3_append_string_to_sign(const struct kms_v3_signed *request, struct buffer *ret_text);

#endif
