/* crypto/format and crypto/cipher: every vector of the official clients, and all that must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "crypto/cipher.h"
#include "crypto/secret.h"

#include "test_crypto_vectors.h"

static struct json *vectors;
static struct vectors_service service;
static struct call call;

static int start(void **state)
{
	(void)state;
	call_start(&call, 60000);
	if (secret_init((size_t)48 << 20, &call))
		return -1;
	vectors = vectors_read();
	service.service.operations = vectors_operations();
	service.vectors = vectors;
	return 0;
}

static int stop(void **state)
{
	(void)state;
	json_free(vectors);
	secret_shutdown();
	return 0;
}

static struct cipher *new_cipher(bool has_service, bool verify)
{
	const struct cipher_options options = { has_service ? &service.service : NULL, verify };
	struct cipher *cipher;

	assert_int_equal(cipher_new(&options, &cipher), 0);
	return cipher;
}

static void set_text(struct secret_buffer *buffer, const char *text)
{
	secret_buffer_clear(buffer);
	assert_int_equal(secret_buffer_append_text(buffer, text), 0);
}

static void all_vectors_open(void **state)
{
	struct cipher *cipher = new_cipher(true, false);
	size_t count = 0;

	(void)state;
	for (const struct json *vector = json_first(json_member(vectors, "vectors")); vector;
	     vector = json_next(vector), count++) {
		cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
		cleanup_buffer struct buffer expected = BUFFER_INIT;
		const char *content = json_text(vector, "content");

		vectors_bytes(vector, "plaintextUtf8Hex", &expected);
		assert_int_equal(cipher_open(cipher, json_text(vector, "dataId"), content, strlen(content),
					     json_text(vector, "encryptedDataKey"), &call, &text), 0);
		assert_int_equal(text.size, expected.size);
		assert_memory_equal(text.data, expected.data, expected.size);
	}
	assert_int_equal(count, 36);
	cipher_free(cipher);
}

/* With the data key of the vector, the same content comes out, byte for byte. */
static void all_envelopes_seal_the_same(void **state)
{
	size_t count = 0;

	(void)state;
	for (const struct json *vector = json_first(json_member(vectors, "vectors")); vector; vector = json_next(vector)) {
		cleanup_secret_buffer struct secret_buffer key = SECRET_BUFFER_INIT;
		cleanup_buffer struct buffer text = BUFFER_INIT, content = BUFFER_INIT;

		if (!json_text(vector, "dataKeyBase64"))
			continue;
		set_text(&key, json_text(vector, "dataKeyBase64"));
		vectors_bytes(vector, "plaintextUtf8Hex", &text);
		assert_int_equal(format_seal_envelope(&key, text.data, text.size, &call, &content), 0);
		assert_string_equal(content.data, json_text(vector, "content"));
		count++;
	}
	assert_int_equal(count, 24);
}

static void all_plugin_vectors_open(void **state)
{
	struct cipher *without = new_cipher(false, false), *with = new_cipher(true, false);
	size_t count = 0;

	(void)state;
	for (const struct json *vector = json_first(json_member(vectors, "ossVectors")); vector;
	     vector = json_next(vector), count++) {
		const char *content = json_text(vector, "content"), *key = json_text(vector, "encryptedDataKey");
		cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
		cleanup_buffer struct buffer expected = BUFFER_INIT;

		vectors_bytes(vector, "plaintextUtf8Hex", &expected);
		assert_int_equal(cipher_open(without, "cipher-aes-x", content, strlen(content), key, &call, &text), 0);
		/* Recognized by its data key where a key service would claim the name. */
		assert_int_equal(cipher_open(with, "cipher-aes", content, strlen(content), key, &call, &text), 0);
		assert_int_equal(text.size, 2 * expected.size);
		assert_memory_equal(text.data, expected.data, expected.size);
		assert_memory_equal(text.data + expected.size, expected.data, expected.size);
	}
	assert_int_equal(count, 10);
	cipher_free(with);
	cipher_free(without);
}

static void plugin_seals_what_it_opens(void **state)
{
	struct cipher *cipher = new_cipher(false, false);
	char text[100];

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t size = 0; size <= sizeof(text); size++) {
		cleanup_buffer struct buffer content = BUFFER_INIT, key = BUFFER_INIT, other_key = BUFFER_INIT;
		cleanup_secret_buffer struct secret_buffer again = SECRET_BUFFER_INIT;

		assert_int_equal(cipher_seal(cipher, "cipher-aes-x", text, size, &call, &content, &key), 0);
		assert_int_equal(content.size, (size / 16 + 1) * 32);
		assert_int_equal(key.size, 44);
		assert_int_equal(strspn(content.data, "0123456789abcdef"), content.size);
		assert_int_equal(cipher_open(cipher, "cipher-aes-x", content.data, content.size, key.data, &call,
					     &again), 0);
		assert_int_equal(again.size, size);
		assert_memory_equal(again.data, text, size);
		buffer_clear(&content);
		assert_int_equal(cipher_seal(cipher, "cipher-aes-x", text, size, &call, &content, &other_key), 0);
		assert_string_not_equal(key.data, other_key.data);
	}
	cipher_free(cipher);
}

static void names_choose_the_format(void **state)
{
	static const struct {
		const char *name;
		enum format with, without;
	} names[] = {
		{ "cipher-kms-aes-256-x", FORMAT_ENVELOPE_256, FORMAT_ENVELOPE_256 },
		{ "cipher-kms-aes-128-x", FORMAT_ENVELOPE_128, FORMAT_ENVELOPE_128 },
		{ "cipher-kms-aes-256-", FORMAT_ENVELOPE_256, FORMAT_ENVELOPE_256 },
		{ "cipher-kms-aes-256", FORMAT_DIRECT, FORMAT_DIRECT },
		{ "cipher-kms-aes-256foo", FORMAT_DIRECT, FORMAT_DIRECT },
		{ "cipher-x-cipher-kms-aes-128-y", FORMAT_DIRECT, FORMAT_DIRECT },
		{ "cipher-", FORMAT_DIRECT, FORMAT_DIRECT },
		{ "cipher-x", FORMAT_DIRECT, FORMAT_DIRECT },
		{ "cipher-aes-x", FORMAT_DIRECT, FORMAT_PLUGIN_AES },
		{ "cipher-aes", FORMAT_DIRECT, FORMAT_PLUGIN_AES },
		{ "cipher-aesx", FORMAT_DIRECT, FORMAT_DIRECT },
		{ "cipher-AES-x", FORMAT_DIRECT, FORMAT_DIRECT },
		{ "cipher--aes", FORMAT_DIRECT, FORMAT_DIRECT },
		{ "Cipher-x", FORMAT_PLAIN, FORMAT_PLAIN },
		{ "cipher", FORMAT_PLAIN, FORMAT_PLAIN },
		{ "x-cipher-kms-aes-128-", FORMAT_PLAIN, FORMAT_PLAIN },
		{ "", FORMAT_PLAIN, FORMAT_PLAIN },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(format_for_writing(names[i].name, true), names[i].with);
		assert_int_equal(format_for_writing(names[i].name, false), names[i].without);
		assert_int_equal(cipher_is_name(names[i].name), names[i].with != FORMAT_PLAIN);
		assert_int_equal(format_of_stored(names[i].name, "", true), names[i].with);
		assert_int_equal(format_of_stored(names[i].name, NULL, false), names[i].without);
	}
	/* What Go and Python call an envelope, and Java direct. */
	assert_int_equal(format_of_stored("cipher-kms-aes-256foo", "QUJD", true), FORMAT_ENVELOPE_256);
	assert_int_equal(format_of_stored("cipher-x-cipher-kms-aes-128-y", "QUJD", true), FORMAT_ENVELOPE_256);
	assert_int_equal(format_of_stored("cipher-aes-x", "QUJD", true), FORMAT_ENVELOPE_256);
	assert_int_equal(format_of_stored("plain", "QUJD", true), FORMAT_PLAIN);
}

/* One vector, spoiled in many ways. */
struct sample {
	const char *name, *content, *key;
};

static int open_sample(struct cipher *cipher, const struct sample *sample)
{
	cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
	int error;

	call.reason[0] = '\0';
	error = cipher_open(cipher, sample->name, sample->content, strlen(sample->content), sample->key, &call, &text);
	/* Nothing of it when it failed, and a reason. */
	assert_true(!error || (text.size == 0 && call.reason[0]));
	return error;
}

#define BLOB_OK "MTExMTExMTEtMjIyMi00MzMzLTg0NDQtNTU1NTU1NTU1NTAysLGys7S1tre4ubq7M2AWwKZHYYEy69i25KmM6jFybLB++XcnMknmMt7noYjyi7KWuCSQ+w=="
#define BLOB_256 "MTExMTExMTEtMjIyMi00MzMzLTg0NDQtNTU1NTU1NTU1NTAysLGys7S1tre4ubq7M2AWwKZHYYEy69i25KmM6jFybLB+9gtIbte4zPJFRuLctyD/K+j8l3DgYzP6WYErtW/5+CiHz5cvYPeD"
#define CONTENT_OK "XYdJ4q91MbK/ZmHp5drwEg=="
#define PLUGIN_KEY "MDAwMTAyMDMwNDA1MDYwNzA4MDkwYTBiMGMwZDBlMGY="
#define PLUGIN_OK "b505e9e0b38746bf27fabbe4f1b0ae8b"

static void damage_is_refused(void **state)
{
	static const struct sample bad[] = {
		/* not ciphertext at all */
		{ "cipher-kms-aes-128-x", "password: hunter2\n", BLOB_OK },
		{ "cipher-kms-aes-128-x", "", BLOB_OK },
		{ "cipher-kms-aes-128-x", "hunter2", BLOB_OK },
		{ "cipher-kms-aes-128-x", "hunter22", BLOB_OK },
		{ "cipher-x", "password: hunter2\n", NULL },
		{ "cipher-x", "", "" },
		{ "cipher-x", "hunter22", "" },
		{ "cipher-aes-x", "hunter2", PLUGIN_KEY },
		{ "cipher-aes-x", "", PLUGIN_KEY },
		/* truncated, longer, another alphabet, blanks */
		{ "cipher-kms-aes-128-x", "XYdJ4q91MbK/ZmHp5drw", BLOB_OK },
		{ "cipher-kms-aes-128-x", "XYdJ4q91MbK/ZmHp5drwEg", BLOB_OK },
		{ "cipher-kms-aes-128-x", CONTENT_OK "AAAA", BLOB_OK },
		{ "cipher-kms-aes-128-x", CONTENT_OK "\n", BLOB_OK },
		{ "cipher-kms-aes-128-x", "XYdJ4q91MbK_ZmHp5drwEg==", BLOB_OK },
		{ "cipher-kms-aes-128-x", "XYdJ4q91 MbK/ZmHp5drwEg==", BLOB_OK },
		{ "cipher-kms-aes-128-x", "XYdJ4q91MbK/ZmHp5drwEh==", BLOB_OK },
		/* tampered: the padding is wrong */
		{ "cipher-kms-aes-128-x", "XYdJ4q91MbK/ZmHp5drwEQ==", BLOB_OK },
		/* the data key of another config, none, damaged */
		{ "cipher-kms-aes-128-x", CONTENT_OK, BLOB_256 },
		{ "cipher-kms-aes-128-x", CONTENT_OK, NULL },
		{ "cipher-kms-aes-128-x", CONTENT_OK, "" },
		{ "cipher-kms-aes-128-x", CONTENT_OK, "no base64" },
		{ "cipher-kms-aes-128-x", CONTENT_OK, CONTENT_OK },
		{ "cipher-aes-x", PLUGIN_OK, NULL },
		{ "cipher-aes-x", PLUGIN_OK, "QUJD" },
		{ "cipher-aes-x", "b505e9e0b38746bf27fabbe4f1b0ae8", PLUGIN_KEY },
		{ "cipher-aes-x", "b505e9e0b38746bf27fabbe4f1b0ae8c", PLUGIN_KEY },
		{ "cipher-aes-x", "b505e9e0b38746bf27fabbe4f1b0ae", PLUGIN_KEY },
		{ "cipher-aes-x", "b505e9e0b38746bf27fabbe4f1b0ae8g", PLUGIN_KEY },
	};
	static const struct sample good[] = {
		{ "cipher-kms-aes-128-x", CONTENT_OK, BLOB_OK },
		{ "cipher-kms-aes-256-x", CONTENT_OK, BLOB_OK }, /* the key's own length counts */
		{ "cipher-aes-x", PLUGIN_OK, PLUGIN_KEY },
	};
	struct cipher *with = new_cipher(true, false), *without = new_cipher(false, false);

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(open_sample(strstr(good[i].name, "kms") ? with : without, &good[i]), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct cipher *cipher = strstr(bad[i].name, "-aes-x") ? without : with;

		if (open_sample(cipher, &bad[i]) != -EBADMSG)
			fail_msg("bad sample %zu", i);
		assert_null(strstr(call.reason, "hunter2"));
	}
	cipher_free(with);
	cipher_free(without);
}

/* Every byte of a ciphertext changed: another text of the same size never comes out of the last block unnoticed. */
static void text_must_be_utf8(void **state)
{
	cleanup_secret_buffer struct secret_buffer key = SECRET_BUFFER_INIT, text = SECRET_BUFFER_INIT;
	cleanup_buffer struct buffer content = BUFFER_INIT;

	(void)state;
	set_text(&key, "AAECAwQFBgcICQoLDA0ODw==");
	assert_int_equal(format_seal_envelope(&key, "caf\xe9", 4, &call, &content), 0);
	assert_int_equal(format_open_envelope(&key, content.data, content.size, &call, &text), -EBADMSG);
	assert_int_equal(text.size, 0);
	/* and with another key */
	buffer_clear(&content);
	assert_int_equal(format_seal_envelope(&key, "hello", 5, &call, &content), 0);
	set_text(&key, "AAECAwQFBgcICQoLDA0OEA==");
	assert_int_equal(format_open_envelope(&key, content.data, content.size, &call, &text), -EBADMSG);
	assert_int_equal(text.size, 0);
}

static void bad_keys_are_refused(void **state)
{
	static const char *const bad[] = { "", "AAECAwQFBgcICQoLDA0O", "AAECAwQFBgcICQoLDA0ODw=", "x",
					   "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
					   "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8AAAAA",
					   "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g" };
	cleanup_secret_buffer struct secret_buffer key = SECRET_BUFFER_INIT, text = SECRET_BUFFER_INIT;
	cleanup_buffer struct buffer content = BUFFER_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		set_text(&key, bad[i]);
		assert_int_equal(format_seal_envelope(&key, "hello", 5, &call, &content), -EBADMSG);
		assert_int_equal(format_open_envelope(&key, CONTENT_OK, strlen(CONTENT_OK), &call, &text), -EBADMSG);
	}
	assert_int_equal(content.size + text.size, 0);
}

static void sizes_around_a_block(void **state)
{
	cleanup_secret_buffer struct secret_buffer key = SECRET_BUFFER_INIT;
	char text[70];

	(void)state;
	memset(text, 'x', sizeof(text));
	set_text(&key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
	for (size_t size = 0; size <= sizeof(text); size++) {
		cleanup_secret_buffer struct secret_buffer again = SECRET_BUFFER_INIT;
		cleanup_buffer struct buffer content = BUFFER_INIT;

		assert_int_equal(format_seal_envelope(&key, text, size, &call, &content), 0);
		assert_int_equal(content.size, ENCODING_BASE64_SIZE(16 * (size / 16 + 1)));
		assert_int_equal(format_open_envelope(&key, content.data, content.size, &call, &again), 0);
		assert_int_equal(again.size, size);
	}
}

static void ten_megabytes(void **state)
{
	cleanup_secret_buffer struct secret_buffer key = SECRET_BUFFER_INIT, again = SECRET_BUFFER_INIT;
	cleanup_buffer struct buffer text = BUFFER_INIT, content = BUFFER_INIT;
	size_t size = (size_t)10 << 20;

	(void)state;
	assert_int_equal(buffer_resize(&text, size), 0);
	memset(text.data, 'x', size);
	set_text(&key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
	assert_int_equal(format_seal_envelope(&key, text.data, size, &call, &content), 0);
	assert_int_equal(format_open_envelope(&key, content.data, content.size, &call, &again), 0);
	assert_int_equal(again.size, size);
	assert_memory_equal(again.data, text.data, size);
	/* No more than the memory for secrets holds, and nothing is lost. */
	assert_int_equal(buffer_resize(&text, (size_t)50 << 20), 0);
	memset(text.data, 'x', text.size);
	buffer_clear(&content);
	assert_int_equal(format_seal_envelope(&key, text.data, text.size, &call, &content), 0);
	assert_int_equal(format_open_envelope(&key, content.data, content.size, &call, &again), -ENOMEM);
	assert_int_equal(again.size, size);
}

static void without_a_key_service(void **state)
{
	struct cipher *cipher = new_cipher(false, false);
	cleanup_buffer struct buffer content = BUFFER_INIT, key = BUFFER_INIT;
	static const struct sample envelope = { "cipher-kms-aes-128-x", CONTENT_OK, BLOB_OK };
	static const struct sample direct = { "cipher-x", BLOB_OK, NULL };

	(void)state;
	assert_int_equal(cipher_seal(cipher, "cipher-x", "a", 1, &call, &content, &key), -ENOKEY);
	assert_int_equal(cipher_seal(cipher, "cipher-kms-aes-256-x", "a", 1, &call, &content, &key), -ENOKEY);
	assert_int_equal(cipher_seal(cipher, "plain", "a", 1, &call, &content, &key), -EINVAL);
	assert_int_equal(cipher_seal(cipher, "cipher-aes-x", "\xff", 1, &call, &content, &key), -EILSEQ);
	assert_int_equal(content.size + key.size, 0);
	assert_int_equal(open_sample(cipher, &envelope), -ENOKEY);
	assert_int_equal(open_sample(cipher, &direct), -ENOKEY);
	cipher_free(cipher);
}

/* A second reading asks nobody; a key that opens nothing is not remembered. */
static void data_keys_are_remembered(void **state)
{
	struct cipher *cipher = new_cipher(true, false);
	static const struct sample good = { "cipher-kms-aes-128-x", CONTENT_OK, BLOB_OK };
	static const struct sample swapped = { "cipher-kms-aes-128-x", CONTENT_OK, BLOB_256 };
	struct data_key_cache_statistics statistics;
	unsigned long before = service.service.request_count;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(open_sample(cipher, &good), 0);
	assert_int_equal(service.service.request_count, before + 1);
	for (int i = 0; i < 2; i++)
		assert_int_equal(open_sample(cipher, &swapped), -EBADMSG);
	assert_int_equal(service.service.request_count, before + 3);
	data_key_cache_statistics(cipher_data_keys(cipher), &statistics);
	assert_int_equal(statistics.count, 1);
	assert_int_equal(statistics.hits, 2);
	cipher_free(cipher);
}

static void nothing_is_left(void **state)
{
	struct secret_statistics statistics;

	(void)state;
	secret_statistics(&statistics);
	assert_int_equal(statistics.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_vectors_open),
		cmocka_unit_test(all_envelopes_seal_the_same),
		cmocka_unit_test(all_plugin_vectors_open),
		cmocka_unit_test(plugin_seals_what_it_opens),
		cmocka_unit_test(names_choose_the_format),
		cmocka_unit_test(damage_is_refused),
		cmocka_unit_test(text_must_be_utf8),
		cmocka_unit_test(bad_keys_are_refused),
		cmocka_unit_test(sizes_around_a_block),
		cmocka_unit_test(ten_megabytes),
		cmocka_unit_test(without_a_key_service),
		cmocka_unit_test(data_keys_are_remembered),
		cmocka_unit_test(nothing_is_left),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
