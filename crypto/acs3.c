#include "crypto/acs3.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <string.h>

#include "crypto/encoding.h"
#include "crypto/kms.h"

#define ALGORITHM "ACS3-HMAC-SHA256"

static int append_trimmed(struct secret_buffer *text, const char *value)
{
	size_t size;

	while (*value == ' ')
		value++;
	size = strlen(value);
	while (size > 0 && value[size - 1] == ' ')
		size--;
	return secret_buffer_append(text, value, size);
}

static int append_header_names(const struct acs3_request *request, struct secret_buffer *text)
{
	int error = 0;

	for (size_t i = 0; !error && i < request->header_count; i++) {
		if (i > 0)
			error = secret_buffer_append_byte(text, ';');
		if (!error)
			error = secret_buffer_append_text(text, request->headers[i].name);
	}
	return error;
}

static int append_headers(const struct acs3_request *request, struct secret_buffer *text)
{
	int error = 0;

	for (size_t i = 0; !error && i < request->header_count; i++) {
		error = secret_buffer_append_text(text, request->headers[i].name);
		if (!error)
			error = secret_buffer_append_byte(text, ':');
		if (!error)
			error = append_trimmed(text, request->headers[i].value);
		if (!error)
			error = secret_buffer_append_byte(text, '\n');
	}
	return error;
}

int acs3_append_canonical_request(const struct acs3_request *request, struct secret_buffer *ret_text)
{
	int error = secret_buffer_append_text(ret_text, request->method);

	if (!error)
		error = secret_buffer_append_text(ret_text, "\n/\n");
	if (!error)
		error = secret_buffer_append_text(ret_text, request->query);
	if (!error)
		error = secret_buffer_append_byte(ret_text, '\n');
	if (!error)
		error = append_headers(request, ret_text);
	if (!error)
		error = secret_buffer_append_byte(ret_text, '\n');
	if (!error)
		error = append_header_names(request, ret_text);
	if (!error)
		error = secret_buffer_append_byte(ret_text, '\n');
	if (!error)
		error = secret_buffer_append_text(ret_text, request->body_sha256);
	return error;
}

static int sign(const struct acs3_request *request, const struct secret_buffer *secret,
		char ret_hex[2 * SHA256_DIGEST_LENGTH + 1])
{
	cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
	char to_sign[sizeof(ALGORITHM "\n") + KMS_SHA256_HEX_SIZE] = ALGORITHM "\n";
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned int mac_size = 0;
	int error = acs3_append_canonical_request(request, &text);

	if (error)
		return error;
	if (secret->size > INT_MAX || !kms_sha256_hex(text.data, text.size, false, to_sign + strlen(to_sign)) ||
	    !HMAC(EVP_sha256(), secret->data, (int)secret->size, (unsigned char *)to_sign, strlen(to_sign), mac,
		  &mac_size) ||
	    mac_size != SHA256_DIGEST_LENGTH)
		return -EIO;
	encoding_to_hex(mac, SHA256_DIGEST_LENGTH, ret_hex);
	ret_hex[2 * SHA256_DIGEST_LENGTH] = '\0';
	return 0;
}

int acs3_append_authorization(const struct acs3_request *request, const struct secret_buffer *access_key_id,
			      const struct secret_buffer *access_key_secret, struct buffer *ret_value)
{
	cleanup_secret_buffer struct secret_buffer names = SECRET_BUFFER_INIT;
	char signature[2 * SHA256_DIGEST_LENGTH + 1];
	int error = sign(request, access_key_secret, signature);

	if (!error)
		error = append_header_names(request, &names);
	if (error)
		return error;
	return buffer_append_format(ret_value, ALGORITHM " Credential=%s,SignedHeaders=%s,Signature=%s",
				    access_key_id->data, names.data, signature);
}
