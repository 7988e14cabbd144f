/*
 * Answers of a dedicated instance, and blobs on the way to it: the input is the answer to each request, and a
 * blob itself.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_crypto_answer.h"

#include "crypto/client_key.h"

/* Signing is slow, and not what this is about. */
#define client_key_sign(key, data, size, ret_base64) ((void)(key), buffer_append_text(ret_base64, "signature"))
#define client_key_id(key) ((void)(key), "id")
#include "crypto/kms_v3.c"

#define VERSION "x-kms-migrationkeyversionid:11111111-2222-4333-8444-555555555502\n"
#define BLOB "MTExMTExMTEtMjIyMi00MzMzLTg0NDQtNTU1NTU1NTU1NTAysLGys7S1tre4ubq7GkQ/74jsb4TyiVYv9PP+Xu8FGQlz"

FUZZ_SEEDS(FUZZ_SEED("\0" VERSION "\x0a\x01k\x12\x10" "0123456789abcdef\x1a\x10" "0123456789abcdef\x22\x01x"),
	   FUZZ_SEED("\0" VERSION "\x0a\x01k\x12\x15" "0123456789abcdef01234\x1a\x0c" "0123456789ab\x22\x01x"),
	   FUZZ_SEED("\4\x08\x90\x03\x12\x0cInvalidParam\x1a\x1aThe Param Date is invalid."), FUZZ_SEED(BLOB));

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct kms_v3 kms = { .host = (char *)"h", .key_id = (char *)"k" };
	struct secret_buffer text = SECRET_BUFFER_INIT;
	struct buffer blob = BUFFER_INIT;
	struct call call;

	fuzz_start(&call);
	call_start(&call, 100); /* no time for a second try */
	kms.service.operations = &v3_operations;
	fuzz_answer = data;
	fuzz_answer_size = size;
	(void)key_service_generate_data_key(&kms.service, 16, &call, &text, &blob);
	(void)key_service_decrypt(&kms.service, BLOB, strlen(BLOB), &call, &text);
	(void)key_service_decrypt(&kms.service, (const char *)data, size, &call, &text);
	(void)key_service_encrypt(&kms.service, "text", 4, &call, &blob);
	secret_buffer_release(&text);
	buffer_release(&blob);
	fuzz_end(0);
	return 0;
}
