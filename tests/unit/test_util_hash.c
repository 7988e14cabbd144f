#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "util/hash.h"

/* RFC 1321, A.5 */
static void test_md5(void **state)
{
	static const struct {
		const char *text;
		const char *hex;
	} samples[] = {
		{ "", "d41d8cd98f00b204e9800998ecf8427e" },
		{ "abc", "900150983cd24fb0d6963f7d28e17f72" },
		{ "message digest", "f96b697d7cb7938d525a2f31aaf161d0" },
	};
	char hex[HASH_MD5_HEX_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		assert_int_equal(hash_md5_hex(samples[i].text, strlen(samples[i].text), hex), 0);
		assert_string_equal(hex, samples[i].hex);
	}
	assert_int_equal(hash_md5_hex(NULL, 0, hex), 0);
	assert_string_equal(hex, samples[0].hex);
	assert_int_equal(hash_md5_hex("\0", 1, hex), 0);
	assert_string_equal(hex, "93b885adfe0da089cdf634904fd59f71");
}

/* RFC 2202, 3, test 2; RFC 4231, 4.3; RFC 4648, 10 */
static void test_macs(void **state)
{
	static const char text[] = "what do ya want for nothing?";
	unsigned char mac[HASH_SHA256_SIZE] = "Jefe";
	char base64[HASH_BASE64_SIZE(HASH_SHA256_SIZE)];

	(void)state;
	assert_int_equal(hash_hmac_sha1("Jefe", 4, text, strlen(text), mac), 0);
	hash_to_base64(mac, HASH_SHA1_SIZE, base64);
	assert_string_equal(base64, "7/zfauXrL6LSdBbV8YTfnCWafHk=");
	/* The MAC may lie where the key was. */
	memcpy(mac, "Jefe", 4);
	assert_int_equal(hash_hmac_sha256(mac, 4, text, strlen(text), mac), 0);
	hash_to_base64(mac, HASH_SHA256_SIZE, base64);
	assert_string_equal(base64, "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=");
	hash_to_base64((const unsigned char *)"fo", 2, base64);
	assert_string_equal(base64, "Zm8=");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_md5),
		cmocka_unit_test(test_macs),
	};

	return cmocka_run_group_tests_name("util/hash", tests, NULL, NULL);
}
