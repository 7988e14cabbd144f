/* crypto/encoding: what decodes must encode to the very same text. */
#include "tests/fuzz/fuzz.h"

#include "crypto/encoding.h"

FUZZ_SEEDS(FUZZ_SEED("kWhEh8NMNFbrTpAc74hKHg=="), FUZZ_SEED("AAA="), FUZZ_SEED("0123456789abcdef"), FUZZ_SEED("////"));

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	unsigned char *bytes = malloc(ENCODING_BASE64_ROOM(size) + 1);
	char *again = malloc(2 * size + 4);
	size_t bytes_size;

	if (!bytes || !again)
		abort();
	if (encoding_from_base64(text, size, bytes, &bytes_size) == 0) {
		encoding_to_base64(bytes, bytes_size, again);
		if (ENCODING_BASE64_SIZE(bytes_size) != size || memcmp(again, text, size) != 0)
			abort();
	}
	if (encoding_from_hex(text, size, bytes) == 0) {
		encoding_to_hex(bytes, size / 2, again);
		if (strncasecmp(again, text, size) != 0)
			abort();
	}
	free(bytes);
	free(again);
	return 0;
}
