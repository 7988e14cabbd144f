/*
 * Hashes. MD5 is what Nacos names versions with (Content-MD5, casMd5); it protects nothing here. The MACs are for
 * signatures.
 */
#ifndef NACOSFS_UTIL_HASH_H
#define NACOSFS_UTIL_HASH_H

#include <stddef.h>

#define HASH_MD5_HEX_SIZE 33 /* 32 lower-case hex digits and a NUL */

/* Writes the MD5 of size bytes to ret_hex. 0, or -EIO when OpenSSL refuses MD5 (a FIPS-only set-up). */
int hash_md5_hex(const void *data, size_t size, char ret_hex[HASH_MD5_HEX_SIZE]);

#define HASH_SHA1_SIZE 20
#define HASH_SHA256_SIZE 32

/* HMAC with these hashes; ret_mac may be the key. 0, or -EIO when OpenSSL refuses the hash. */
int hash_hmac_sha1(const void *key, size_t key_size, const void *data, size_t size,
		   unsigned char ret_mac[HASH_SHA1_SIZE]);
int hash_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
		     unsigned char ret_mac[HASH_SHA256_SIZE]);

/* A hash as text, with the NUL that ends it: ret_text has HASH_BASE64_SIZE(size) bytes. */
#define HASH_BASE64_SIZE(size) (((size) + 2) / 3 * 4 + 1)
void hash_to_base64(const unsigned char *hash, size_t size, char *ret_text);

#endif
