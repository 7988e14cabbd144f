#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "util/text.h"

static size_t encode(uint32_t character, char *ret_bytes)
{
	if (character < 0x80) {
		ret_bytes[0] = (char)character;
		return 1;
	}
	if (character < 0x800) {
		ret_bytes[0] = (char)(0xc0 | character >> 6);
		ret_bytes[1] = (char)(0x80 | (character & 0x3f));
		return 2;
	}
	if (character < 0x10000) {
		ret_bytes[0] = (char)(0xe0 | character >> 12);
		ret_bytes[1] = (char)(0x80 | (character >> 6 & 0x3f));
		ret_bytes[2] = (char)(0x80 | (character & 0x3f));
		return 3;
	}
	ret_bytes[0] = (char)(0xf0 | character >> 18);
	ret_bytes[1] = (char)(0x80 | (character >> 12 & 0x3f));
	ret_bytes[2] = (char)(0x80 | (character >> 6 & 0x3f));
	ret_bytes[3] = (char)(0x80 | (character & 0x3f));
	return 4;
}

/* All characters, surrogates and some past the end: valid where Unicode says so, and of one or two UTF-16 units. */
static void test_every_character(void **state)
{
	(void)state;
	for (uint32_t character = 0; character < 0x120000; character++) {
		bool valid = character <= 0x10ffff && (character < 0xd800 || character > 0xdfff);
		char bytes[4];
		size_t size = encode(character, bytes);

		if (text_is_utf8(bytes, size) != valid)
			fail_msg("U+%04X", character);
		if (valid && text_utf16_length(bytes, size) != (character > 0xffff ? 2 : 1))
			fail_msg("length of U+%04X", character);
		/* torn at the end */
		if (size > 1 && text_is_utf8(bytes, size - 1))
			fail_msg("torn U+%04X", character);
	}
}

static void test_malformed(void **state)
{
	static const char *const samples[] = {
		"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc3(", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xed\xa0\x80",
		"\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80",
		"\xff", "\xfe", "\xe4\xb8(", "\xf0\x9f\x98(",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		/* at each offset from the steps of the fast path, with ASCII around */
		for (size_t before = 0; before < 18; before++) {
			char text[64];
			size_t size = (size_t)snprintf(text, sizeof(text), "%.*s%sabcdefghij", (int)before,
						       "0123456789abcdefghij", samples[i]);

			if (text_is_utf8(text, size))
				fail_msg("sample %zu at %zu", i, before);
		}
	}
}

static void test_good_text(void **state)
{
	static const char nul[] = "a\0b";
	static const char mixed[] = "plain ASCII, \xc3\xa9, \xe4\xb8\xad\xe6\x96\x87, \xf0\x9f\x98\x80, plain again.";

	(void)state;
	assert_true(text_is_utf8("", 0));
	assert_true(text_is_utf8(NULL, 0));
	assert_true(text_is_utf8(nul, 3));
	assert_true(text_is_utf8(mixed, strlen(mixed)));
	assert_int_equal(text_utf16_length(mixed, strlen(mixed)), 13 + 1 + 2 + 2 + 2 + 2 + 14);
	assert_int_equal(text_utf16_length(NULL, 0), 0);
}

/* What Java 17 says of each character. */
static void test_blank_as_java(void **state)
{
	static const uint32_t white[] = {
		0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x1680, 0x2000, 0x2001, 0x2002, 0x2003,
		0x2004, 0x2005, 0x2006, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029, 0x205f, 0x3000,
	};
	size_t next = 0;

	(void)state;
	for (uint32_t character = 0; character <= 0x10ffff; character++) {
		bool expected = next < sizeof(white) / sizeof(white[0]) && white[next] == character;
		char bytes[4];

		next += expected;
		if (character >= 0xd800 && character <= 0xdfff)
			continue;
		if (text_is_blank(bytes, encode(character, bytes)) != expected)
			fail_msg("U+%04X", character);
	}
	assert_int_equal(next, sizeof(white) / sizeof(white[0]));
	assert_true(text_is_blank("", 0));
	assert_true(text_is_blank(" \t\r\n\xe3\x80\x80", 7));
	assert_false(text_is_blank("  x  ", 5));
	assert_false(text_is_blank(" \0", 2));
	assert_false(text_is_blank("\xff", 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_character),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_good_text),
		cmocka_unit_test(test_blank_as_java),
	};

	return cmocka_run_group_tests_name("util/text", tests, NULL, NULL);
}
