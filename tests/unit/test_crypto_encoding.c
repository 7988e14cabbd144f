/* crypto/encoding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/encoding.h"

static void base64_is_what_openssl_makes(void **state)
{
	unsigned char bytes[300], again[300], theirs[500];
	char text[500];
	size_t size;

	(void)state;
	srandom(1);
	for (size_t length = 0; length < sizeof(bytes); length++) {
		for (size_t i = 0; i < length; i++)
			bytes[i] = (unsigned char)random();
		encoding_to_base64(bytes, length, text);
		EVP_EncodeBlock(theirs, bytes, (int)length);
		assert_int_equal(ENCODING_BASE64_SIZE(length), strlen((char *)theirs));
		assert_memory_equal(text, theirs, ENCODING_BASE64_SIZE(length));
		assert_int_equal(encoding_from_base64(text, ENCODING_BASE64_SIZE(length), again, &size), 0);
		assert_int_equal(size, length);
		assert_memory_equal(again, bytes, length);
	}
}

static void bad_base64_is_refused(void **state)
{
	static const char *const bad[] = {
		"A", "AA", "AAA", "AAAAA", "A===", "====", "AA=A", "=AAA", "AAA=AAAA", "AA==AAAA",
		"AAB=", "AB==", /* bits that nobody reads */
		"AA-_", "AA A", "AAA\n", "AAAA\n", "AAAA\r\n\r\n", " AAA", "AAA*", "AA\xc3\xa9", "AAA\x7f", "AAA\x80",
		"\xff\xff\xff\xff",
	};
	unsigned char bytes[64];
	size_t size = 77;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(encoding_from_base64(bad[i], strlen(bad[i]), bytes, &size), -EBADMSG);
	assert_int_equal(encoding_from_base64("AA\0A", 4, bytes, &size), -EBADMSG);
	assert_int_equal(size, 77);
}

/* Of all bytes, only the 64 are characters of base64, and 22 of hex. */
static void alphabets_are_exact(void **state)
{
	static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	static const char hex[] = "0123456789abcdefABCDEF";
	unsigned char bytes[3];
	size_t size;

	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		char text[4] = { 'A', 'A', 'A', (char)byte };
		char pair[2] = { (char)byte, '0' };
		int in_base64 = byte && strchr(base64, byte), in_hex = byte && strchr(hex, byte);

		if (byte != '=')
			assert_int_equal(encoding_from_base64(text, 4, bytes, &size), in_base64 ? 0 : -EBADMSG);
		assert_int_equal(encoding_from_hex(pair, 2, bytes), in_hex ? 0 : -EBADMSG);
	}
}

static void hex_goes_both_ways(void **state)
{
	unsigned char bytes[256], again[256];
	char text[512];

	(void)state;
	for (size_t i = 0; i < 256; i++)
		bytes[i] = (unsigned char)i;
	encoding_to_hex(bytes, 256, text);
	assert_memory_equal(text, "000102030405060708090a0b0c0d0e0f10", 34);
	assert_memory_equal(text + 510, "ff", 2);
	assert_int_equal(encoding_from_hex(text, 512, again), 0);
	assert_memory_equal(bytes, again, 256);
	assert_int_equal(encoding_from_hex("FF", 2, again), 0);
	assert_int_equal(again[0], 255);
	assert_int_equal(encoding_from_hex("f", 1, again), -EBADMSG);
	assert_int_equal(encoding_from_hex("", 0, again), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64_is_what_openssl_makes),
		cmocka_unit_test(bad_base64_is_refused),
		cmocka_unit_test(alphabets_are_exact),
		cmocka_unit_test(hex_goes_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
