/*
 * The client key of a dedicated key service: a name and an RSA key that requests are signed with, from a JSON file
 *
 *	{"KeyId": "KAAP....", "PrivateKeyData": "<base64 of PKCS#12>"}
 *
 * and the password of the PKCS#12 in another. Such files are of the old kind (3DES, or RC2-40 for the
 * certificate); only the bag with the key is opened, so the old ciphers are needed only if the key itself is
 * under one: then OpenSSL's legacy provider is loaded, for this file alone.
 *
 * The key lies in secret memory as DER. It becomes an object of OpenSSL for the time of one signature, because
 * those are in memory that is not locked. Any number of threads may sign at once.
 */
#ifndef NACOSFS_CRYPTO_CLIENT_KEY_H
#define NACOSFS_CRYPTO_CLIENT_KEY_H

#include <stddef.h>

#include "crypto/secret_buffer.h"
#include "util/buffer.h"
#include "util/call.h"

struct client_key;

/*
 * Reads both files, which only their owner may be able to read. -EINVAL when they are not what they must be, or
 * the password is wrong; the errors of file_read_secret(); -ENOMEM.
 */
int client_key_read(const char *key_file, const char *password_file, struct call *call, struct client_key **ret_key);

/* From the texts of the files. */
int client_key_parse(const char *json, size_t size, const struct secret_buffer *password, struct call *call,
		     struct client_key **ret_key);

void client_key_free(struct client_key *key);

/* KeyId. Valid as long as the key. */
const char *client_key_id(const struct client_key *key);

/*
 * Appends base64 of the signature (RSA PKCS#1 v1.5, SHA-256) of size bytes. 0, -EIO when OpenSSL refuses, or
 * -ENOMEM.
 */
int client_key_sign(const struct client_key *key, const void *data, size_t size, struct buffer *ret_base64);

#endif
