/*
 * What a server says is stored: data id, data key and content, each up to a NUL, through crypto/cipher with a
 * keyring. Only what was sealed may open, so nothing but the seeds themselves ever does.
 */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <unistd.h>

#include "crypto/cipher.h"
#include "crypto/keyring.h"

/* Sealed with the keyring below. */
FUZZ_SEEDS(FUZZ_SEED("cipher-aes-x\0MDAwMTAyMDMwNDA1MDYwNzA4MDkwYTBiMGMwZDBlMGY=\0b505e9e0b38746bf27fabbe4f1b0ae8b"),
	   FUZZ_SEED("cipher-kms-aes-128-x\0MGI3YzVjMmUtOWQ4Zi00ZTFjLThhNTUtNmEwZjNmNmYxZDI3AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\0XYdJ4q91MbK/ZmHp5drwEg=="),
	   FUZZ_SEED("cipher-x\0\0MGI3YzVjMmUtOWQ4Zi00ZTFjLThhNTUtNmEwZjNmNmYxZDI3AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));

static struct key_service *open_keyring(struct call *call)
{
	static const char text[] =
		"key 0b7c5c2e-9d8f-4e1c-8a55-6a0f3f6f1d27 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
	char path[] = "/tmp/nacosfs-fuzz-XXXXXX";
	int descriptor = mkstemp(path);
	struct key_service *service;

	if (descriptor < 0 || write(descriptor, text, sizeof(text) - 1) < 0 || keyring_open(path, call, &service))
		abort();
	close(descriptor);
	return service;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct key_service *service;
	static struct cipher *with, *without;
	struct secret_buffer text = SECRET_BUFFER_INIT;
	char *copy = malloc(size + 1), *data_key, *content;
	struct call call;

	fuzz_start(&call);
	if (!service) {
		service = open_keyring(&call);
		if (cipher_new(&(struct cipher_options){ service, false }, &with) ||
		    cipher_new(&(struct cipher_options){ NULL, false }, &without))
			abort();
	}
	memcpy(copy, data, size);
	copy[size] = '\0';
	data_key = memchr(copy, '\0', size);
	data_key = data_key ? data_key + 1 : copy + size;
	content = memchr(data_key, '\0', (size_t)(copy + size - data_key));
	content = content ? content + 1 : copy + size;
	for (int i = 0; i < 2; i++) {
		(void)cipher_open(i ? with : without, copy, content, (size_t)(copy + size - content), data_key, &call,
				  &text);
		secret_buffer_clear(&text);
	}
	secret_buffer_release(&text);
	free(copy);
	data_key_cache_clear(cipher_data_keys(with));
	fuzz_end(1); /* the keyring's keys */
	return 0;
}
