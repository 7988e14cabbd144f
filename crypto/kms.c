#include "crypto/kms.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "crypto/encoding.h"

#define SCHEME "https://"
#define PAUSE_MS 200
#define KEY_ROOM 66
#define BLOB_LIMIT ((size_t)64 * 1024) /* far more than FORMAT_DIRECT_LIMIT makes */
#define BLOB_SIZE_MIN (KMS_VERSION_SIZE + KMS_IV_SIZE + KMS_TAG_SIZE)

static const char name_characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";

int kms_parse_endpoint(const char *endpoint, struct call *call, char **ret_host)
{
	const char *host = strncasecmp(endpoint, SCHEME, strlen(SCHEME)) == 0 ? endpoint + strlen(SCHEME) : endpoint;
	size_t size = strlen(host), name_size, port_size;

	if (size > 0 && host[size - 1] == '/')
		size--;
	name_size = strspn(host, name_characters);
	port_size = host[name_size] == ':' ? 1 + strspn(host + name_size + 1, "0123456789") : 0;
	if (name_size == 0 || port_size == 1 || port_size > 6 || name_size + port_size != size)
		return call_fail(call, -EINVAL, "the address of the key service must be HOST, HOST:PORT or https://HOST");
	*ret_host = strndup(host, size);
	return *ret_host ? 0 : call_fail(call, -ENOMEM, "out of memory");
}

int kms_check_ca_file(const char *path, struct call *call)
{
	BIO *file = path ? BIO_new_file(path, "r") : NULL;
	X509 *certificate = file ? PEM_read_bio_X509(file, NULL, NULL, NULL) : NULL;
	bool good = !path || certificate, opened = file;

	X509_free(certificate);
	BIO_free(file);
	ERR_clear_error();
	if (good)
		return 0;
	return call_fail(call, -EINVAL, opened ? "%s: there is no certificate in it" : "%s: it can't be read", path);
}

void kms_copy_code(const char *code, size_t size, char ret_code[KMS_CODE_SIZE])
{
	bool good = code && size > 0 && size < KMS_CODE_SIZE;

	for (size_t i = 0; good && i < size; i++)
		good = code[i] && strchr(name_characters, code[i]);
	if (!good) {
		strcpy(ret_code, "unknown");
		return;
	}
	memcpy(ret_code, code, size);
	ret_code[size] = '\0';
}

bool kms_code_is_temporary(const char *code)
{
	return strcmp(code, "Rejected.Throttling") == 0 || strcmp(code, "ServiceUnavailableTemporary") == 0 ||
	       strcmp(code, "InternalFailure") == 0;
}

/* What an attempt failed with, as key services say it. */
static int key_service_error(int error)
{
	switch (error) {
	case -EBADMSG:
	case -EFBIG:
	case -EINTR:
	case -ENOMEM:
		return error;
	default:
		return -ENOKEY;
	}
}

/*
 * Doubled each time, and up to half as long again: clients that were refused together shall not come back
 * together.
 */
static int64_t pause_ms(int try)
{
	int64_t pause = (int64_t)PAUSE_MS << try;
	uint16_t random = 0;

	(void)RAND_bytes((unsigned char *)&random, sizeof(random));
	return pause + pause / 2 * random / UINT16_MAX;
}

int kms_try(kms_attempt *attempt, void *arg, struct call *call)
{
	for (int try = 0;; try++) {
		int64_t pause = pause_ms(try);
		bool temporary = false;
		struct call part;
		int error;

		call_start_part(&part, call, KMS_TRY_MS);
		error = attempt(arg, &part, &temporary);
		if (!error)
			return 0;
		call_fail(call, error, "%s", part.reason);
		if (error != -ETIMEDOUT && !temporary)
			return key_service_error(error);
		if (try + 1 == KMS_TRIES || call_left_ms(call) <= pause)
			return key_service_error(error);
		/* Looked at by hand: what was the matter is a better reason than that the time is over. */
		call_start_part(&part, call, INT64_MAX);
		if (call_sleep(&part, pause) == -EINTR)
			return call_fail(call, -EINTR, "%s", part.reason);
	}
}

int kms_append_blob(const char *blob, size_t size, struct call *call, struct buffer *ret_blob)
{
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	int error = buffer_reserve(&bytes, ENCODING_BASE64_ROOM(size));

	if (!error && (size == 0 || encoding_from_base64(blob, size, bytes.data, &bytes.size)))
		return call_fail(call, -ENOKEY, "the key service answers with a blob that is not base64");
	if (!error)
		error = buffer_append(ret_blob, blob, size);
	return error ? call_fail(call, error, "out of memory") : 0;
}

int kms_decode_blob(const char *blob, size_t size, struct call *call, struct buffer *ret_bytes)
{
	if (size > BLOB_LIMIT)
		return call_fail(call, -EBADMSG, "the blob is too large to be one of a key service");
	if (buffer_reserve(ret_bytes, ENCODING_BASE64_ROOM(size)))
		return call_fail(call, -ENOMEM, "out of memory");
	if (encoding_from_base64(blob, size, ret_bytes->data, &ret_bytes->size) || ret_bytes->size < BLOB_SIZE_MIN)
		return call_fail(call, -EBADMSG, "the blob is damaged, or not from a key service");
	return 0;
}

bool kms_is_key_text(const char *text, size_t size, size_t key_size)
{
	unsigned char bytes[KEY_ROOM];
	size_t decoded_size = 0;
	bool good = ENCODING_BASE64_ROOM(size) <= sizeof(bytes) &&
		    encoding_from_base64(text, size, bytes, &decoded_size) == 0 && decoded_size == key_size;

	explicit_bzero(bytes, sizeof(bytes));
	return good;
}

bool kms_sha256_hex(const void *data, size_t size, bool upper_case, char ret_hex[KMS_SHA256_HEX_SIZE])
{
	unsigned char digest[SHA256_DIGEST_LENGTH];

	if (!SHA256(data, size, digest))
		return false;
	encoding_to_hex(digest, sizeof(digest), ret_hex);
	ret_hex[KMS_SHA256_HEX_SIZE - 1] = '\0';
	for (char *digit = ret_hex; upper_case && *digit; digit++) {
		if (*digit >= 'a')
			*digit = (char)(*digit - 'a' + 'A');
	}
	return true;
}

int kms_append_percent_encoded(struct secret_buffer *buffer, const char *text, size_t size)
{
	static const char digits[] = "0123456789ABCDEF";
	int error = secret_buffer_reserve(buffer, size);

	for (size_t i = 0; !error && i < size; i++) {
		unsigned char byte = (unsigned char)text[i];
		char escaped[3] = { '%', digits[byte >> 4], digits[byte & 15] };

		if (byte && (strchr(name_characters, byte) || byte == '~'))
			error = secret_buffer_append_byte(buffer, (char)byte);
		else
			error = secret_buffer_append(buffer, escaped, sizeof(escaped));
	}
	return error;
}
