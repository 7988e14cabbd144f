/* Answers of the shared gateway. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_crypto_answer.h"

#include "crypto/kms_v1.c"

#define BLOB "MTExMTExMTEtMjIyMi00MzMzLTg0NDQtNTU1NTU1NTU1NTAysLGys7S1tre4ubq7GkQ/74jsb4TyiVYv9PP+Xu8FGQlz"

FUZZ_SEEDS(FUZZ_SEED("\0{\"CiphertextBlob\": \"" BLOB "\", \"Plaintext\": \"AAECAwQFBgcICQoLDA0ODw==\"}"),
	   FUZZ_SEED("\0{\"Plaintext\": \"a\\u0000b\\ud83d\\ude00\"}"),
	   FUZZ_SEED("\4{\"Code\": \"InvalidParameter\", \"Message\": \"x\"}"));

static int give_credentials(struct credential_source *source, struct call *call, struct credentials *ret_credentials)
{
	(void)source;
	(void)call;
	return secret_buffer_append_text(&ret_credentials->access_key_id, "id") ||
	       secret_buffer_append_text(&ret_credentials->access_key_secret, "secret") ||
	       secret_buffer_append_text(&ret_credentials->security_token, "token");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct credential_source_operations operations = { .get = give_credentials };
	static struct credential_source source = { &operations };
	static struct kms_v1 kms = { .credentials = &source, .host = (char *)"h", .key_id = (char *)"k" };
	struct secret_buffer text = SECRET_BUFFER_INIT;
	struct buffer blob = BUFFER_INIT;
	struct call call;

	fuzz_start(&call);
	/* No time for a second try. */
	call_start(&call, 100);
	kms.service.operations = &v1_operations;
	fuzz_answer = data;
	fuzz_answer_size = size;
	(void)key_service_generate_data_key(&kms.service, 16, &call, &text, &blob);
	(void)key_service_decrypt(&kms.service, BLOB, strlen(BLOB), &call, &text);
	(void)key_service_encrypt(&kms.service, "text", 4, &call, &blob);
	secret_buffer_release(&text);
	buffer_release(&blob);
	fuzz_end(0);
	return 0;
}
