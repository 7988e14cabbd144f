#include "crypto/encoding.h"

#include <errno.h>
#include <stdint.h>

/* All ones when low <= value <= high, else 0. All three are small and not negative. */
static int within(int value, int low, int high)
{
	return ~(((value - low) | (high - value)) >> 31);
}

/* The character for six bits. */
static char base64_character(int bits)
{
	int character = (within(bits, 0, 25) & (bits + 'A')) | (within(bits, 26, 51) & (bits - 26 + 'a')) |
			(within(bits, 52, 61) & (bits - 52 + '0')) | (within(bits, 62, 62) & '+') |
			(within(bits, 63, 63) & '/');

	return (char)character;
}

/* The six bits of a character, or a negative number. */
static int base64_bits(char letter)
{
	int character = (unsigned char)letter;
	int upper = within(character, 'A', 'Z'), lower = within(character, 'a', 'z');
	int digit = within(character, '0', '9'), plus = within(character, '+', '+'), slash = within(character, '/', '/');
	int bits = (upper & (character - 'A')) | (lower & (character - 'a' + 26)) | (digit & (character - '0' + 52)) |
		   (plus & 62) | (slash & 63);

	return bits | ~(upper | lower | digit | plus | slash);
}

void encoding_to_base64(const void *bytes, size_t size, char *ret_text)
{
	const unsigned char *in = bytes;

	for (; size >= 3; size -= 3, in += 3) {
		int group = in[0] << 16 | in[1] << 8 | in[2];

		*ret_text++ = base64_character(group >> 18);
		*ret_text++ = base64_character(group >> 12 & 63);
		*ret_text++ = base64_character(group >> 6 & 63);
		*ret_text++ = base64_character(group & 63);
	}
	if (size > 0) {
		int group = in[0] << 16 | (size > 1 ? in[1] << 8 : 0);

		*ret_text++ = base64_character(group >> 18);
		*ret_text++ = base64_character(group >> 12 & 63);
		*ret_text++ = size > 1 ? base64_character(group >> 6 & 63) : '=';
		*ret_text++ = '=';
	}
}

int encoding_from_base64(const char *text, size_t size, void *ret_bytes, size_t *ret_size)
{
	unsigned char *out = ret_bytes;
	size_t padding = 0, whole;
	int bad = 0;

	if (size % 4)
		return -EBADMSG;
	if (size > 0 && text[size - 1] == '=')
		padding = text[size - 2] == '=' ? 2 : 1;
	whole = padding ? size - 4 : size;
	for (size_t i = 0; i < whole; i += 4) {
		int a = base64_bits(text[i]), b = base64_bits(text[i + 1]);
		int c = base64_bits(text[i + 2]), d = base64_bits(text[i + 3]);

		bad |= a | b | c | d; /* the sign of a bad one stays */
		*out++ = (unsigned char)((a & 63) << 2 | (b & 63) >> 4);
		*out++ = (unsigned char)((b & 15) << 4 | (c & 63) >> 2);
		*out++ = (unsigned char)((c & 3) << 6 | (d & 63));
	}
	if (padding) {
		int a = base64_bits(text[whole]), b = base64_bits(text[whole + 1]);
		int c = padding == 1 ? base64_bits(text[whole + 2]) : 0;

		bad |= a | b | c;
		/* The bits behind the last byte must be zero: they make the number negative otherwise. */
		bad |= padding == 1 ? -(c & 3) : -(b & 15);
		*out++ = (unsigned char)((a & 63) << 2 | (b & 63) >> 4);
		if (padding == 1)
			*out++ = (unsigned char)((b & 15) << 4 | (c & 63) >> 2);
	}
	if (bad < 0)
		return -EBADMSG;
	*ret_size = (size_t)(out - (unsigned char *)ret_bytes);
	return 0;
}

void encoding_to_hex(const void *bytes, size_t size, char *ret_text)
{
	const unsigned char *in = bytes;

	for (size_t i = 0; i < 2 * size; i++) {
		int nibble = i % 2 ? in[i / 2] & 15 : in[i / 2] >> 4;

		ret_text[i] = (char)(nibble + '0' + (within(nibble, 10, 15) & ('a' - '0' - 10)));
	}
}

/* The four bits of a digit, or a negative number. */
static int hex_bits(char letter)
{
	int character = (unsigned char)letter;
	int digit = within(character, '0', '9'), lower = within(character, 'a', 'f');
	int upper = within(character, 'A', 'F');
	int bits = (digit & (character - '0')) | (lower & (character - 'a' + 10)) | (upper & (character - 'A' + 10));

	return bits | ~(digit | lower | upper);
}

int encoding_from_hex(const char *text, size_t size, void *ret_bytes)
{
	unsigned char *out = ret_bytes;
	int bad = 0;

	if (size % 2)
		return -EBADMSG;
	for (size_t i = 0; i < size; i += 2) {
		int high = hex_bits(text[i]), low = hex_bits(text[i + 1]);

		bad |= high | low;
		*out++ = (unsigned char)((high & 15) << 4 | (low & 15));
	}
	return bad < 0 ? -EBADMSG : 0;
}
