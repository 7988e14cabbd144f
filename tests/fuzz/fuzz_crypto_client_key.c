/*
 * The JSON around a client key, and the PKCS#12 in it. The first byte chooses: whole JSON, or PKCS#12 to be
 * wrapped.
 */
#include "tests/fuzz/fuzz.h"

#include "crypto/client_key.h"
#include "crypto/encoding.h"

FUZZ_SEEDS(FUZZ_SEED("j{\"KeyId\": \"KAAP.x\", \"PrivateKeyData\": \"MIIJvgIBAzCCCYQGCSqGSIb3DQEHAaCCCXUEgglx\"}"),
	   FUZZ_SEED("p\x30\x82\x01\x10\x02\x01\x03\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x0d\x04\x0b\x30\x09\x30"
		     "\x07\x06\x05\x2b\x0e\x03\x02\x1a\x30\x31\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14"
		     "aaaaaaaaaaaaaaaaaaaa\x04\x08" "bbbbbbbb\x02\x02\x08\x00"));

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct secret_buffer password = SECRET_BUFFER_INIT;
	struct buffer json = BUFFER_INIT;
	struct client_key *key = NULL;
	struct call call;

	fuzz_start(&call);
	if (size == 0 || size > 100000)
		return 0;
	if (secret_buffer_append_text(&password, "pw"))
		abort();
	if (data[0] == 'p') {
		if (buffer_append_text(&json, "{\"KeyId\": \"x\", \"PrivateKeyData\": \"") ||
		    buffer_reserve(&json, ENCODING_BASE64_SIZE(size - 1)))
			abort();
		encoding_to_base64(data + 1, size - 1, json.data + json.size);
		json.size += ENCODING_BASE64_SIZE(size - 1);
		if (buffer_append_text(&json, "\"}"))
			abort();
	} else if (buffer_append(&json, data + 1, size - 1)) {
		abort();
	}
	if (client_key_parse(json.data, json.size, &password, &call, &key) == 0)
		client_key_free(key);
	secret_buffer_release(&password);
	buffer_release(&json);
	fuzz_end(0);
	return 0;
}
