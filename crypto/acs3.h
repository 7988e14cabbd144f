/*
 * ACS3-HMAC-SHA256, the signature of a cloud's API:
 *
 *	canonicalRequest = METHOD "\n" "/" "\n" canonicalQuery "\n"
 *	                   (for each signed header, sorted: name ":" trimmed value "\n") "\n"
 *	                   signedHeaders "\n" hex(SHA-256(body))
 *	stringToSign     = "ACS3-HMAC-SHA256" "\n" hex(SHA-256(canonicalRequest))
 *	Signature        = hex(HMAC-SHA256(AccessKeySecret, stringToSign))
 *
 * canonicalQuery is the query sorted by name, percent-encoded as util/form.h does; signedHeaders their names,
 * joined by ";".
 */
#ifndef NACOSFS_CRYPTO_ACS3_H
#define NACOSFS_CRYPTO_ACS3_H

#include <stddef.h>

#include "crypto/secret_buffer.h"
#include "util/buffer.h"

struct acs3_header {
	const char *name; /* lower case */
	const char *value;
};

struct acs3_request {
	const char *method;
	const char *query; /* canonical */
	const char *body_sha256; /* lower-case hex */
	const struct acs3_header *headers; /* all that are signed, sorted by name */
	size_t header_count;
};

/* Appends what is hashed. It holds a security token, if one is sent. 0 or -ENOMEM. */
int acs3_append_canonical_request(const struct acs3_request *request, struct secret_buffer *ret_text);

/* Appends the value of the header Authorization. 0, -EIO when OpenSSL refuses, or -ENOMEM. */
int acs3_append_authorization(const struct acs3_request *request, const struct secret_buffer *access_key_id,
			      const struct secret_buffer *access_key_secret, struct buffer *ret_value);

#endif
