/* Answers of a metadata service: token, name of the role and credentials are all the input. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_crypto_answer.h"

#include "crypto/ram_role.c"

FUZZ_SEEDS(FUZZ_SEED("\0role\n"),
	   FUZZ_SEED("\0{\"Code\": \"Success\", \"AccessKeyId\": \"STS.a\", \"AccessKeySecret\": \"b\", \"SecurityToken\": \"c\", "
		     "\"Expiration\": \"2099-01-01T00:00:00Z\"}"));

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct credential_source *source = NULL;
	struct call call;

	fuzz_start(&call);
	fuzz_answer = data;
	fuzz_answer_size = size;
	for (int i = 0; i < 2; i++) {
		struct credentials credentials = { .access_key_id = SECRET_BUFFER_INIT };

		if (ram_role_open(i ? "role" : "", NULL, &call, &source))
			abort();
		(void)credential_source_get(source, &call, &credentials);
		credentials_release(&credentials);
		credential_source_free(source);
	}
	fuzz_end(0);
	return 0;
}
