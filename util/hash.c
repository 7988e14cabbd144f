#include "util/hash.h"

#include <errno.h>
#include <openssl/evp.h>

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
