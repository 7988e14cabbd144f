#include "util/hash.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

int hash_md5_hex(const void *data, size_t size, char ret_hex[HASH_MD5_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int digest_size = 0;

	/* EVP, not MD5(): under a FIPS-only configuration it fails instead of aborting the program. */
	if (EVP_Digest(data, size, digest, &digest_size, EVP_md5(), NULL) != 1 ||
	    digest_size != (HASH_MD5_HEX_SIZE - 1) / 2)
		return -EIO;
	for (unsigned int i = 0; i < digest_size; i++) {
		ret_hex[2 * i] = digits[digest[i] >> 4];
		ret_hex[2 * i + 1] = digits[digest[i] & 0xf];
	}
	ret_hex[HASH_MD5_HEX_SIZE - 1] = '\0';
	return 0;
}

static int hmac(const EVP_MD *hash, const void *key, size_t key_size, const void *data, size_t size,
		unsigned char *ret_mac, size_t mac_size)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned int done = 0;
	int error = 0;

	if (key_size > INT_MAX || !HMAC(hash, key, (int)key_size, data, size, mac, &done) || done != mac_size)
		error = -EIO;
	else
		memcpy(ret_mac, mac, mac_size);
	explicit_bzero(mac, sizeof(mac));
	return error;
}

int hash_hmac_sha1(const void *key, size_t key_size, const void *data, size_t size,
		   unsigned char ret_mac[HASH_SHA1_SIZE])
{
	return hmac(EVP_sha1(), key, key_size, data, size, ret_mac, HASH_SHA1_SIZE);
}

int hash_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
		     unsigned char ret_mac[HASH_SHA256_SIZE])
{
	return hmac(EVP_sha256(), key, key_size, data, size, ret_mac, HASH_SHA256_SIZE);
}

void hash_to_base64(const unsigned char *hash, size_t size, char *ret_text)
{
	EVP_EncodeBlock((unsigned char *)ret_text, hash, (int)size);
}
