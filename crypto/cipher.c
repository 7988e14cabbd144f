#include "crypto/cipher.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "util/text.h"

struct cipher {
	struct cipher_options options;
	struct data_key_cache *data_keys;
};

int cipher_new(const struct cipher_options *options, struct cipher **ret_cipher)
{
	struct cipher *cipher = calloc(1, sizeof(*cipher));
	int error;

	if (!cipher)
		return -ENOMEM;
	cipher->options = *options;
	error = data_key_cache_new(DATA_KEY_CACHE_COUNT, DATA_KEY_CACHE_LIFE_MS, &cipher->data_keys);
	if (error) {
		free(cipher);
		return error;
	}
	*ret_cipher = cipher;
	return 0;
}

void cipher_free(struct cipher *cipher)
{
	if (!cipher)
		return;
	data_key_cache_free(cipher->data_keys);
	free(cipher);
}

struct data_key_cache *cipher_data_keys(struct cipher *cipher)
{
	return cipher->data_keys;
}

bool cipher_is_name(const char *data_id)
{
	return format_for_writing(data_id, true) != FORMAT_PLAIN;
}

enum format cipher_format(const struct cipher *cipher, const char *data_id, const char *data_key)
{
	return format_of_stored(data_id, data_key, cipher->options.key_service != NULL);
}

static int fail_without_service(struct call *call)
{
	return call_fail(call, -ENOKEY, "no key service is set up (option kms)");
}

static int fail_plain(struct call *call)
{
	return call_fail(call, -EINVAL, "the name does not begin with cipher-");
}

/* Does the key service give back what it was to wrap? */
static int verify_blob(struct cipher *cipher, const struct buffer *blob, const char *text, size_t size,
		       struct call *call)
{
	cleanup_secret_buffer struct secret_buffer again = SECRET_BUFFER_INIT;
	int error;

	if (!cipher->options.verify)
		return 0;
	error = key_service_decrypt(cipher->options.key_service, blob->data, blob->size, call, &again);
	if (error == -EBADMSG || (!error && (again.size != size || CRYPTO_memcmp(again.data, text, size) != 0)))
		return call_fail(call, -ENOKEY, "the key service can't decrypt what it has just encrypted");
	return error;
}

static int seal_envelope(struct cipher *cipher, size_t key_size, const char *text, size_t size, struct call *call,
			 struct buffer *ret_content, struct buffer *ret_data_key)
{
	cleanup_secret_buffer struct secret_buffer key_text = SECRET_BUFFER_INIT;
	cleanup_buffer struct buffer blob = BUFFER_INIT;
	int error = key_service_generate_data_key(cipher->options.key_service, key_size, call, &key_text, &blob);

	if (error)
		return error;
	if (blob.size > FORMAT_DATA_KEY_LIMIT)
		return call_fail(call, -ENOKEY, "the data key of the key service is too long to be stored");
	error = verify_blob(cipher, &blob, key_text.data, key_text.size, call);
	if (error)
		return error;
	if (buffer_reserve(ret_data_key, blob.size))
		return call_fail(call, -ENOMEM, "out of memory");
	error = format_seal_envelope(&key_text, text, size, call, ret_content);
	if (error)
		return error == -EBADMSG ? call_fail(call, -ENOKEY, "the key service gave a bad data key") : error;
	(void)buffer_append(ret_data_key, blob.data, blob.size); /* there is room */
	data_key_cache_put(cipher->data_keys, blob.data, blob.size, &key_text);
	return 0;
}

static int seal_direct(struct cipher *cipher, const char *text, size_t size, struct call *call,
		       struct buffer *ret_content)
{
	cleanup_buffer struct buffer blob = BUFFER_INIT;
	int error;

	if (size > FORMAT_DIRECT_LIMIT)
		return call_fail(call, -EFBIG, "a config of this name is encrypted by the key service itself, %d bytes "
				 "at most; cipher-kms-aes-256-... takes more", FORMAT_DIRECT_LIMIT);
	error = key_service_encrypt(cipher->options.key_service, text, size, call, &blob);
	if (!error)
		error = verify_blob(cipher, &blob, text, size, call);
	if (error)
		return error;
	if (buffer_append(ret_content, blob.data, blob.size))
		return call_fail(call, -ENOMEM, "out of memory");
	return 0;
}

int cipher_seal(struct cipher *cipher, const char *data_id, const char *text, size_t size, struct call *call,
		struct buffer *ret_content, struct buffer *ret_data_key)
{
	enum format format = format_for_writing(data_id, cipher->options.key_service != NULL);

	if (format == FORMAT_PLAIN)
		return fail_plain(call);
	if (!text_is_utf8(text, size))
		return call_fail(call, -EILSEQ, "the text is not UTF-8");
	if (format == FORMAT_PLUGIN_AES)
		return format_seal_plugin(text, size, call, ret_content, ret_data_key);
	if (!cipher->options.key_service)
		return fail_without_service(call);
	if (format == FORMAT_DIRECT)
		return seal_direct(cipher, text, size, call, ret_content);
	return seal_envelope(cipher, format == FORMAT_ENVELOPE_128 ? 16 : 32, text, size, call, ret_content,
			     ret_data_key);
}

/* The data key of an envelope, from the cache or the key service. ret_fresh: it came from the key service. */
static int get_data_key(struct cipher *cipher, const char *blob, struct call *call,
			struct secret_buffer *ret_key_text, bool *ret_fresh)
{
	size_t size = strlen(blob);
	int error = data_key_cache_get(cipher->data_keys, blob, size, ret_key_text);

	*ret_fresh = error == -ENOENT;
	if (error == -ENOMEM)
		return call_fail(call, error, "no room in the memory for secrets");
	if (!error)
		return 0;
	if (!cipher->options.key_service)
		return fail_without_service(call);
	return key_service_decrypt(cipher->options.key_service, blob, size, call, ret_key_text);
}

static int open_envelope(struct cipher *cipher, const char *content, size_t size, const char *data_key,
			 struct call *call, struct secret_buffer *ret_text)
{
	cleanup_secret_buffer struct secret_buffer key_text = SECRET_BUFFER_INIT;
	bool fresh;
	int error = get_data_key(cipher, data_key, call, &key_text, &fresh);

	if (!error)
		error = format_open_envelope(&key_text, content, size, call, ret_text);
	/* Only what has proved to be a key. */
	if (!error && fresh)
		data_key_cache_put(cipher->data_keys, data_key, strlen(data_key), &key_text);
	return error;
}

static int open_direct(struct cipher *cipher, const char *content, size_t size, struct call *call,
		       struct secret_buffer *ret_text)
{
	cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
	int error;

	if (!cipher->options.key_service)
		return fail_without_service(call);
	error = key_service_decrypt(cipher->options.key_service, content, size, call, &text);
	if (error)
		return error;
	if (!text_is_utf8(text.data, text.size))
		return call_fail(call, -EBADMSG, "what the key service decrypted is not UTF-8");
	if (secret_buffer_append(ret_text, text.data, text.size))
		return call_fail(call, -ENOMEM, "no room in the memory for secrets");
	return 0;
}

int cipher_check(struct cipher *cipher, const char *data_id, const char *content, size_t size, const char *data_key,
		 struct call *call)
{
	enum format format = cipher_format(cipher, data_id, data_key);

	return format == FORMAT_PLAIN ? fail_plain(call) : format_check_stored(format, content, size, data_key, call);
}

int cipher_open(struct cipher *cipher, const char *data_id, const char *content, size_t size, const char *data_key,
		struct call *call, struct secret_buffer *ret_text)
{
	enum format format = cipher_format(cipher, data_id, data_key);
	int error = cipher_check(cipher, data_id, content, size, data_key, call);

	if (error)
		return error;
	switch (format) {
	case FORMAT_PLUGIN_AES:
		return format_open_plugin(data_key, content, size, call, ret_text);
	case FORMAT_DIRECT:
		return open_direct(cipher, content, size, call, ret_text);
	default:
		return open_envelope(cipher, content, size, data_key, call, ret_text);
	}
}
