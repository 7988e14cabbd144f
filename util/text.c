#include "util/text.h"

#include <stdint.h>
#include <string.h>

#define ASCII_STEP sizeof(uint64_t)
#define HIGH_BITS UINT64_C(0x8080808080808080)

/* How many bytes from the start are ASCII, in steps of 8: most configs are nothing else, and some have megabytes. */
static size_t ascii_prefix(const unsigned char *bytes, size_t size)
{
	size_t at = 0;

	while (size - at >= ASCII_STEP) {
		uint64_t word;

		memcpy(&word, bytes + at, sizeof(word));
		if (word & HIGH_BITS)
			break;
		at += ASCII_STEP;
	}
	return at;
}

/*
 * The length of the well-formed sequence at the start, or 0. The bounds for the second byte are table 3-7 of the
 * Unicode standard: they exclude overlong forms, surrogates and all past U+10FFFF.
 */
static size_t sequence_length(const unsigned char *bytes, size_t size)
{
	unsigned char lead = bytes[0], lowest = 0x80, highest = 0xbf;
	size_t length;

	if (lead < 0x80)
		return 1;
	if (lead < 0xc2 || lead > 0xf4)
		return 0;
	length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	if (size < length)
		return 0;
	if (lead == 0xe0)
		lowest = 0xa0;
	else if (lead == 0xed)
		highest = 0x9f;
	else if (lead == 0xf0)
		lowest = 0x90;
	else if (lead == 0xf4)
		highest = 0x8f;
	if (bytes[1] < lowest || bytes[1] > highest)
		return 0;
	for (size_t i = 2; i < length; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
	}
	return length;
}

bool text_is_utf8(const char *data, size_t size)
{
	const unsigned char *bytes = (const unsigned char *)data;
	size_t at = 0;

	while (at < size) {
		size_t length = ascii_prefix(bytes + at, size - at);

		if (length == 0)
			length = sequence_length(bytes + at, size - at);
		if (length == 0)
			return false;
		at += length;
	}
	return true;
}

/* The character of a well-formed sequence. */
static uint32_t sequence_character(const unsigned char *bytes, size_t length)
{
	static const unsigned char lead_mask[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	uint32_t character = bytes[0] & lead_mask[length];

	for (size_t i = 1; i < length; i++)
		character = character << 6 | (bytes[i] & 0x3f);
	return character;
}

/* Character.isWhitespace(): Zs, Zl and Zp without the no-break spaces, and nine controls. */
static bool character_is_java_whitespace(uint32_t character)
{
	return (character >= 0x09 && character <= 0x0d) || (character >= 0x1c && character <= 0x20) ||
	       character == 0x1680 ||
	       (character >= 0x2000 && character <= 0x200a && character != 0x2007) ||
	       character == 0x2028 || character == 0x2029 || character == 0x205f || character == 0x3000;
}

bool text_is_blank(const char *data, size_t size)
{
	const unsigned char *bytes = (const unsigned char *)data;
	size_t at = 0;

	while (at < size) {
		size_t length = sequence_length(bytes + at, size - at);

		/* No white space, so not blank either, when the caller's promise of UTF-8 does not hold. */
		if (length == 0 || !character_is_java_whitespace(sequence_character(bytes + at, length)))
			return false;
		at += length;
	}
	return true;
}

size_t text_utf16_length(const char *data, size_t size)
{
	size_t units = 0;

	/* One unit for each character, and one more for those of four bytes, which Java keeps as surrogate pairs. */
	for (size_t i = 0; i < size; i++) {
		unsigned char byte = (unsigned char)data[i];

		units += (byte & 0xc0) != 0x80;
		units += byte >= 0xf0;
	}
	return units;
}
