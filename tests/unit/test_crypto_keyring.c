/* crypto/keyring and crypto/data_key_cache, and crypto/cipher on top of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/cipher.h"
#include "crypto/data_key_cache.h"
#include "crypto/encoding.h"
#include "crypto/keyring.h"
#include "crypto/secret.h"
#include "util/file.h"

static char folder[] = "/tmp/nacosfs-test-XXXXXX";
static char path[64], second_path[64];
static struct call call;

static int start(void **state)
{
	(void)state;
	call_start(&call, 60000);
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/keyring", folder);
	snprintf(second_path, sizeof(second_path), "%s/second", folder);
	return secret_init((size_t)1 << 20, &call);
}

static int stop(void **state)
{
	(void)state;
	secret_shutdown();
	return rmdir(folder);
}

static int remove_files(void **state)
{
	(void)state;
	unlink(path);
	unlink(second_path);
	return 0;
}

static struct key_service *open_new(void)
{
	struct key_service *service;

	assert_int_equal(keyring_create(path, &call), 0);
	assert_int_equal(keyring_open(path, &call, &service), 0);
	return service;
}

static void write_file(const char *name, const char *text, int flags)
{
	int descriptor = open(name, O_WRONLY | O_CREAT | flags, 0600);

	assert_true(descriptor >= 0);
	assert_int_equal(write(descriptor, text, strlen(text)), strlen(text));
	close(descriptor);
}

static void new_keyrings(void **state)
{
	cleanup_buffer struct buffer first = BUFFER_INIT, second = BUFFER_INIT;
	struct stat status;
	mode_t mask = umask(0);

	(void)state;
	assert_int_equal(keyring_create(path, &call), 0);
	umask(mask);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode, S_IFREG | 0600);
	assert_int_equal(keyring_create(path, &call), -EEXIST);
	assert_int_equal(symlink("nowhere", second_path), 0);
	assert_int_equal(keyring_create(second_path, &call), -EEXIST);
	unlink(second_path);
	assert_int_equal(keyring_create("/nowhere/keyring", &call), -ENOENT);
	assert_int_equal(keyring_create(second_path, &call), 0);
	assert_int_equal(file_read_whole(path, 10000, &call, &first), 0);
	assert_int_equal(file_read_whole(second_path, 10000, &call, &second), 0);
	assert_string_not_equal(strstr(first.data, "\nkey "), strstr(second.data, "\nkey "));
}

static void wraps_and_unwraps(void **state)
{
	cleanup_key_service struct key_service *service = open_new();
	char text[FORMAT_DIRECT_LIMIT + 1];

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t size = 0; size < sizeof(text); size = size * 2 + 1) {
		cleanup_secret_buffer struct secret_buffer again = SECRET_BUFFER_INIT;
		cleanup_buffer struct buffer blob = BUFFER_INIT, other = BUFFER_INIT;

		assert_int_equal(key_service_encrypt(service, text, size, &call, &blob), 0);
		assert_int_equal(key_service_encrypt(service, text, size, &call, &other), 0);
		assert_string_not_equal(blob.data, other.data);
		assert_int_equal(blob.size, ENCODING_BASE64_SIZE(size + 64));
		assert_int_equal(key_service_decrypt(service, blob.data, blob.size, &call, &again), 0);
		assert_int_equal(again.size, size);
		assert_memory_equal(again.data, text, size);
	}
	cleanup_buffer struct buffer blob = BUFFER_INIT;
	assert_int_equal(key_service_encrypt(service, text, FORMAT_DIRECT_LIMIT, &call, &blob), 0);
	assert_int_equal(key_service_encrypt(service, text, FORMAT_DIRECT_LIMIT + 1, &call, &blob), -EFBIG);
}

static void data_keys(void **state)
{
	cleanup_key_service struct key_service *service = open_new();
	cleanup_secret_buffer struct secret_buffer key = SECRET_BUFFER_INIT, again = SECRET_BUFFER_INIT;
	cleanup_buffer struct buffer blob = BUFFER_INIT;

	(void)state;
	assert_int_equal(key_service_generate_data_key(service, 32, &call, &key, &blob), 0);
	assert_int_equal(key.size, 44);
	assert_int_equal(blob.size, 144); /* as the cloud's: it must fit into the same columns */
	assert_int_equal(key_service_decrypt(service, blob.data, blob.size, &call, &again), 0);
	assert_string_equal(key.data, again.data);
	buffer_clear(&blob);
	assert_int_equal(key_service_generate_data_key(service, 16, &call, &key, &blob), 0);
	assert_int_equal(key.size, 44 + 24);
	assert_int_equal(blob.size, 120);
}

/* Each bit of a blob, and each length. */
static void tampering_is_noticed(void **state)
{
	cleanup_key_service struct key_service *service = open_new();
	cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
	cleanup_buffer struct buffer blob = BUFFER_INIT, bad = BUFFER_INIT;
	unsigned char bytes[256];
	size_t size;

	(void)state;
	assert_int_equal(key_service_encrypt(service, "secret", 6, &call, &blob), 0);
	assert_int_equal(encoding_from_base64(blob.data, blob.size, bytes, &size), 0);
	assert_int_equal(buffer_resize(&bad, blob.size), 0);
	for (size_t bit = 0; bit < 8 * size; bit++) {
		int error;

		bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
		encoding_to_base64(bytes, size, bad.data);
		error = key_service_decrypt(service, bad.data, bad.size, &call, &text);
		/* A name that could be one is that of a key which is not there. */
		assert_true(error == -EBADMSG || (bit < 36 * 8 && error == -ENOKEY));
		bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	for (size_t length = 0; length < size; length++) {
		encoding_to_base64(bytes, length, bad.data);
		assert_int_equal(key_service_decrypt(service, bad.data, ENCODING_BASE64_SIZE(length), &call, &text),
				 -EBADMSG);
	}
	assert_int_equal(key_service_decrypt(service, "no base64", 9, &call, &text), -EBADMSG);
	assert_int_equal(key_service_decrypt(service, "", 0, &call, &text), -EBADMSG);
	assert_int_equal(text.size, 0);
	assert_int_equal(key_service_decrypt(service, blob.data, blob.size, &call, &text), 0);
	assert_string_equal(text.data, "secret");
}

static void append_file(const char *to, const char *from)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	assert_int_equal(file_read_whole(from, 10000, &call, &text), 0);
	write_file(to, text.data, O_APPEND);
}

static void rotation(void **state)
{
	cleanup_key_service struct key_service *service = open_new(), *second = NULL;
	cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
	cleanup_buffer struct buffer old = BUFFER_INIT, new = BUFFER_INIT;

	(void)state;
	assert_int_equal(key_service_encrypt(service, "old", 3, &call, &old), 0);
	assert_int_equal(keyring_create(second_path, &call), 0);
	assert_int_equal(keyring_open(second_path, &call, &second), 0);
	assert_int_equal(key_service_encrypt(second, "new", 3, &call, &new), 0);
	/* Another's. */
	assert_int_equal(key_service_decrypt(service, new.data, new.size, &call, &text), -ENOKEY);
	assert_non_null(strstr(call.reason, "is not in the keyring"));

	/* Without a restart: the new one is known, encrypts, and the old one still decrypts. */
	append_file(path, second_path);
	assert_int_equal(key_service_decrypt(service, new.data, new.size, &call, &text), 0);
	assert_int_equal(key_service_decrypt(service, old.data, old.size, &call, &text), 0);
	assert_string_equal(text.data, "newold");
	buffer_clear(&new);
	assert_int_equal(key_service_encrypt(service, "x", 1, &call, &new), 0);
	assert_int_equal(key_service_decrypt(second, new.data, new.size, &call, &text), 0);

	/* A file that went bad, or away, changes nothing. */
	write_file(path, "rubbish\n", O_TRUNC);
	buffer_clear(&new);
	assert_int_equal(key_service_encrypt(service, "x", 1, &call, &new), 0);
	unlink(path);
	assert_int_equal(key_service_encrypt(service, "x", 1, &call, &new), 0);
	assert_int_equal(key_service_decrypt(service, old.data, old.size, &call, &text), 0);
}

#define NAME "0b7c5c2e-9d8f-4e1c-8a55-6a0f3f6f1d27"
#define KEY "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static void bad_files(void **state)
{
	static const char *const bad[] = {
		"# no key\n",
		"key " NAME "\n",
		"key " NAME " " KEY " \n",
		"key  " NAME " " KEY "\n",
		" key " NAME " " KEY "\n",
		"KEY " NAME " " KEY "\n",
		"key 0B7c5c2e-9d8f-4e1c-8a55-6a0f3f6f1d27 " KEY "\n",
		"key 0b7c5c2e-9d8f-4e1c-8a55-6a0f3f6f1d2 " KEY "=\n",
		"key " NAME " AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8==\n",
		"key " NAME " AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g\n",
		"key " NAME " AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==\n",
		"key " NAME " " KEY "\nkey " NAME " " KEY "\n",
		"key " NAME " " KEY "\nrubbish\n",
	};
	static const char *const good[] = {
		"key " NAME " " KEY,
		"# c\r\n\r\nkey " NAME " " KEY "\r\n\n",
	};
	struct key_service *service = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file(path, bad[i], O_TRUNC);
		if (keyring_open(path, &call, &service) != -EINVAL)
			fail_msg("bad keyring %zu", i);
		assert_null(strstr(call.reason, "AAECAwQ"));
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		write_file(path, good[i], O_TRUNC);
		assert_int_equal(keyring_open(path, &call, &service), 0);
		key_service_free(service);
	}
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(keyring_open(path, &call, &service), -EACCES);
	unlink(path);
	assert_int_equal(keyring_open(path, &call, &service), -ENOENT);
	write_file(path, "", O_TRUNC);
	assert_int_equal(keyring_open(path, &call, &service), -EACCES);
}

static void all_formats_through_the_keyring(void **state)
{
	static const struct {
		const char *name;
		size_t key_size;
	} names[] = { { "cipher-kms-aes-256-x", 144 }, { "cipher-kms-aes-128-x", 120 }, { "cipher-x", 0 } };
	cleanup_key_service struct key_service *service = open_new();
	const struct cipher_options options = { service, true };
	struct cipher *cipher;

	(void)state;
	assert_int_equal(cipher_new(&options, &cipher), 0);
	for (size_t i = 0; i < 3; i++) {
		cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
		cleanup_buffer struct buffer content = BUFFER_INIT, key = BUFFER_INIT, other = BUFFER_INIT;
		unsigned long before = service->request_count;

		assert_int_equal(cipher_seal(cipher, names[i].name, "a: \xe4\xb8\x96\n", 7, &call, &content, &key), 0);
		assert_int_equal(service->request_count, before + 2); /* with verification */
		assert_int_equal(key.size, names[i].key_size);
		assert_int_equal(cipher_seal(cipher, names[i].name, "a: \xe4\xb8\x96\n", 7, &call, &other, &key), 0);
		assert_string_not_equal(content.data, other.data);
		if (key.size)
			key.data[names[i].key_size] = '\0';
		before = service->request_count;
		assert_int_equal(cipher_open(cipher, names[i].name, content.data, content.size, key.data, &call, &text), 0);
		assert_string_equal(text.data, "a: \xe4\xb8\x96\n");
		assert_int_equal(service->request_count, before + !names[i].key_size);
	}
	cleanup_buffer struct buffer content = BUFFER_INIT, key = BUFFER_INIT;
	char large[FORMAT_DIRECT_LIMIT + 1];
	memset(large, 'x', sizeof(large));
	assert_int_equal(cipher_seal(cipher, "cipher-x", large, sizeof(large), &call, &content, &key), -EFBIG);
	assert_int_equal(cipher_seal(cipher, "cipher-x", large, sizeof(large) - 1, &call, &content, &key), 0);
	cipher_free(cipher);
}

/* A key service that wraps with one key and decrypts with another, and one that gives rubbish. */
static struct key_service *honest;

static int lie_generate(struct key_service *service, size_t key_size, struct call *lie_call,
			struct secret_buffer *ret_key_text, struct buffer *ret_blob)
{
	cleanup_secret_buffer struct secret_buffer other = SECRET_BUFFER_INIT;
	cleanup_buffer struct buffer blob = BUFFER_INIT;

	(void)service;
	assert_int_equal(key_service_generate_data_key(honest, key_size, lie_call, &other, ret_blob), 0);
	return key_service_generate_data_key(honest, key_size, lie_call, ret_key_text, &blob);
}

static int lie_encrypt(struct key_service *service, const char *text, size_t size, struct call *lie_call,
		       struct buffer *ret_blob)
{
	(void)service;
	(void)text;
	(void)size;
	return key_service_encrypt(honest, "something else", 14, lie_call, ret_blob);
}

static int lie_decrypt(struct key_service *service, const char *blob, size_t size, struct call *lie_call,
		       struct secret_buffer *ret_text)
{
	(void)service;
	return key_service_decrypt(honest, blob, size, lie_call, ret_text);
}

static void a_lying_key_service_is_found_out(void **state)
{
	static const struct key_service_operations operations = { lie_generate, lie_encrypt, lie_decrypt, NULL };
	cleanup_key_service struct key_service *service = open_new();
	cleanup_buffer struct buffer content = BUFFER_INIT, key = BUFFER_INIT;
	struct key_service liar = { .operations = &operations };
	const struct cipher_options options = { &liar, true };
	struct cipher *cipher;

	(void)state;
	honest = service;
	assert_int_equal(cipher_new(&options, &cipher), 0);
	assert_int_equal(cipher_seal(cipher, "cipher-kms-aes-256-x", "a", 1, &call, &content, &key), -ENOKEY);
	assert_int_equal(cipher_seal(cipher, "cipher-x", "a", 1, &call, &content, &key), -ENOKEY);
	assert_int_equal(content.size + key.size, 0);
	cipher_free(cipher);
}

static void the_cache_is_bounded(void **state)
{
	cleanup_secret_buffer struct secret_buffer key = SECRET_BUFFER_INIT, found = SECRET_BUFFER_INIT;
	struct data_key_cache_statistics statistics;
	struct data_key_cache *cache;

	(void)state;
	assert_int_equal(data_key_cache_new(3, 60000, &cache), 0);
	assert_int_equal(secret_buffer_append_text(&key, "1"), 0);
	data_key_cache_put(cache, "a", 1, &key);
	data_key_cache_put(cache, "b", 1, &key);
	key.data[0] = '2';
	data_key_cache_put(cache, "c", 1, &key);
	assert_int_equal(data_key_cache_get(cache, "a", 1, &found), 0);
	data_key_cache_put(cache, "d", 1, &key); /* b was used longest ago */
	assert_int_equal(data_key_cache_get(cache, "b", 1, &found), -ENOENT);
	assert_int_equal(data_key_cache_get(cache, "c", 1, &found), 0);
	key.data[0] = '3';
	data_key_cache_put(cache, "c", 1, &key);
	assert_int_equal(data_key_cache_get(cache, "c", 1, &found), 0);
	assert_int_equal(data_key_cache_get(cache, "ca", 2, &found), -ENOENT);
	assert_string_equal(found.data, "123");
	data_key_cache_statistics(cache, &statistics);
	assert_int_equal(statistics.count, 3);
	assert_int_equal(statistics.hits, 3);
	assert_int_equal(statistics.misses, 2);
	data_key_cache_clear(cache);
	assert_int_equal(data_key_cache_get(cache, "c", 1, &found), -ENOENT);
	data_key_cache_free(cache);
}

static void the_cache_forgets_in_time(void **state)
{
	cleanup_secret_buffer struct secret_buffer key = SECRET_BUFFER_INIT, found = SECRET_BUFFER_INIT;
	struct data_key_cache_statistics statistics;
	struct data_key_cache *cache;

	(void)state;
	assert_int_equal(data_key_cache_new(3, 50, &cache), 0);
	assert_int_equal(secret_buffer_append_text(&key, "1"), 0);
	data_key_cache_put(cache, "a", 1, &key);
	assert_int_equal(data_key_cache_get(cache, "a", 1, &found), 0);
	usleep(60000);
	data_key_cache_put(cache, "b", 1, &key);
	assert_int_equal(data_key_cache_get(cache, "a", 1, &found), -ENOENT);
	usleep(60000);
	data_key_cache_expire(cache);
	data_key_cache_statistics(cache, &statistics);
	assert_int_equal(statistics.count, 0);
	data_key_cache_free(cache);
	assert_int_equal(data_key_cache_new(0, 50, &cache), 0);
	data_key_cache_put(cache, "a", 1, &key);
	assert_int_equal(data_key_cache_get(cache, "a", 1, &found), -ENOENT);
	data_key_cache_free(cache);
}

static void many_keys_in_the_cache(void **state)
{
	cleanup_secret_buffer struct secret_buffer key = SECRET_BUFFER_INIT;
	struct data_key_cache *cache;
	size_t found_count = 0;

	(void)state;
	assert_int_equal(data_key_cache_new(DATA_KEY_CACHE_COUNT, 60000, &cache), 0);
	assert_int_equal(secret_buffer_append_text(&key, KEY), 0);
	for (int i = 0; i < 5000; i++)
		data_key_cache_put(cache, (const char *)&i, sizeof(i), &key);
	for (int i = 0; i < 5000; i++) {
		cleanup_secret_buffer struct secret_buffer found = SECRET_BUFFER_INIT;

		if (data_key_cache_get(cache, (const char *)&i, sizeof(i), &found) == 0)
			found_count++;
	}
	assert_int_equal(found_count, DATA_KEY_CACHE_COUNT);
	data_key_cache_free(cache);
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
		cmocka_unit_test_teardown(new_keyrings, remove_files),
		cmocka_unit_test_teardown(wraps_and_unwraps, remove_files),
		cmocka_unit_test_teardown(data_keys, remove_files),
		cmocka_unit_test_teardown(tampering_is_noticed, remove_files),
		cmocka_unit_test_teardown(rotation, remove_files),
		cmocka_unit_test_teardown(bad_files, remove_files),
		cmocka_unit_test_teardown(all_formats_through_the_keyring, remove_files),
		cmocka_unit_test_teardown(a_lying_key_service_is_found_out, remove_files),
		cmocka_unit_test(the_cache_is_bounded),
		cmocka_unit_test(the_cache_forgets_in_time),
		cmocka_unit_test(many_keys_in_the_cache),
		cmocka_unit_test(nothing_is_left),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
