/*
 * Hashes. MD5 is what Nacos names versions with (Content-MD5, casMd5); it protects nothing here.
 */
#ifndef NACOSFS_UTIL_HASH_H
#define NACOSFS_UTIL_HASH_H

#include <stddef.h>

#define HASH_MD5_HEX_SIZE 33 /* 32 lower-case hex digits and a NUL */

/* Writes the MD5 of size bytes to ret_hex. 0, or -EIO when OpenSSL refuses MD5 (a FIPS-only set-up). */
int hash_md5_hex(const void *data, size_t size, char ret_hex[HASH_MD5_HEX_SIZE]);

#endif
