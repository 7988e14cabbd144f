#include "crypto/format.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "crypto/encoding.h"
#include "util/text.h"

#define PREFIX "cipher-"
#define PREFIX_128 "cipher-kms-aes-128-"
#define PREFIX_256 "cipher-kms-aes-256-"
#define PREFIX_PLUGIN "cipher-aes-"
#define NAME_PLUGIN "cipher-aes" /* nothing behind it: the plugin takes that too */

#define AES_BLOCK_SIZE 16
#define AES_KEY_SIZE_MAX 32
#define KEY_TEXT_SIZE_MAX 44 /* base64 of 32 bytes */
#define PLUGIN_KEY_SIZE 16 /* of keys that we make: as the plugin does on Java 17 */
#define PLUGIN_KEY_HEX_MAX (2 * AES_KEY_SIZE_MAX)
/* OpenSSL counts in int; there is room for the padding below this. */
#define CIPHER_LIMIT ((size_t)INT_MAX - 2 * AES_BLOCK_SIZE)

/* A key on the stack, wiped on the way out. */
struct aes_key {
	unsigned char bytes[AES_KEY_SIZE_MAX];
	size_t size;
	unsigned char iv[AES_BLOCK_SIZE]; /* CBC only */
};

static void aes_key_wipe(struct aes_key *key)
{
	explicit_bzero(key, sizeof(*key));
}
#define cleanup_aes_key __attribute__((cleanup(aes_key_wipe)))

static void free_cipher_context(EVP_CIPHER_CTX **context)
{
	EVP_CIPHER_CTX_free(*context); /* wipes it, and what it refers to */
}

static bool starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

const char *format_name(enum format format)
{
	switch (format) {
	case FORMAT_PLAIN:
		return "plain";
	case FORMAT_ENVELOPE_256:
		return "kms-aes-256";
	case FORMAT_ENVELOPE_128:
		return "kms-aes-128";
	case FORMAT_DIRECT:
		return "kms";
	case FORMAT_PLUGIN_AES:
		return "aes (the data key is not protected)";
	}
	return "unknown";
}

static bool is_plugin_name(const char *data_id)
{
	return starts_with(data_id, PREFIX_PLUGIN) || strcmp(data_id, NAME_PLUGIN) == 0;
}

enum format format_for_writing(const char *data_id, bool has_key_service)
{
	if (!starts_with(data_id, PREFIX))
		return FORMAT_PLAIN;
	if (starts_with(data_id, PREFIX_128))
		return FORMAT_ENVELOPE_128;
	if (starts_with(data_id, PREFIX_256))
		return FORMAT_ENVELOPE_256;
	if (!has_key_service && is_plugin_name(data_id))
		return FORMAT_PLUGIN_AES;
	return FORMAT_DIRECT;
}

/*
 * Decodes the plugin's data key: base64 of the hex of the key. The IV is the first half of that text, not of
 * the key.
 */
static int read_plugin_key(const char *data_key, struct aes_key *ret_key)
{
	char hex[ENCODING_BASE64_ROOM(ENCODING_BASE64_SIZE(PLUGIN_KEY_HEX_MAX))];
	size_t text_size = strlen(data_key), hex_size;
	int error = -EBADMSG;

	if (text_size <= ENCODING_BASE64_SIZE(PLUGIN_KEY_HEX_MAX))
		error = encoding_from_base64(data_key, text_size, hex, &hex_size);
	if (!error && hex_size != 32 && hex_size != 48 && hex_size != 64)
		error = -EBADMSG;
	if (!error)
		error = encoding_from_hex(hex, hex_size, ret_key->bytes);
	if (!error) {
		ret_key->size = hex_size / 2;
		memcpy(ret_key->iv, hex, sizeof(ret_key->iv));
	}
	explicit_bzero(hex, sizeof(hex));
	return error;
}

static bool is_plugin_key(const char *data_key)
{
	cleanup_aes_key struct aes_key key = { .size = 0 };

	return read_plugin_key(data_key, &key) == 0;
}

enum format format_of_stored(const char *data_id, const char *data_key, bool has_key_service)
{
	enum format format = format_for_writing(data_id, has_key_service);
	bool has_data_key = data_key && *data_key;

	if (format == FORMAT_PLAIN || format == FORMAT_PLUGIN_AES)
		return format;
	if (has_data_key && is_plugin_name(data_id) && is_plugin_key(data_key))
		return FORMAT_PLUGIN_AES;
	/*
	 * Java's name with another client's format, or without the data key, which is found missing by the
	 * check.
	 */
	if (has_data_key && format == FORMAT_DIRECT)
		return FORMAT_ENVELOPE_256;
	return format;
}

/* Does text have only characters of base64, in the right number? (The bits are looked at when it is decoded.) */
static bool looks_like_base64(const char *text, size_t size)
{
	size_t padding = 0;

	if (size == 0 || size % 4)
		return false;
	while (padding < 2 && text[size - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; i < size - padding; i++) {
		char byte = text[i];

		if (!((byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
		      byte == '+' || byte == '/'))
			return false;
	}
	return true;
}

static bool looks_like_hex(const char *text, size_t size)
{
	if (size == 0 || size % 2)
		return false;
	for (size_t i = 0; i < size; i++) {
		char byte = text[i];

		if (!((byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F')))
			return false;
	}
	return true;
}

static int check_envelope(const char *content, size_t size, const char *data_key, struct call *call)
{
	size_t padding = size > 1 ? (size_t)(content[size - 1] == '=') + (size_t)(content[size - 2] == '=') : 0;

	if (!looks_like_base64(content, size))
		return call_fail(call, -EBADMSG, "the stored text is not ciphertext (it is not base64)");
	if ((size / 4 * 3 - padding) % AES_BLOCK_SIZE)
		return call_fail(call, -EBADMSG, "the stored text is not ciphertext (it is not made of whole blocks)");
	if (!data_key || !*data_key)
		return call_fail(call, -EBADMSG, "the data key of this config is lost: the server has none");
	if (strlen(data_key) > FORMAT_DATA_KEY_LIMIT || !looks_like_base64(data_key, strlen(data_key)))
		return call_fail(call, -EBADMSG, "the data key of this config is damaged (it is not base64)");
	return 0;
}

static int check_plugin(const char *content, size_t size, const char *data_key, struct call *call)
{
	if (!looks_like_hex(content, size))
		return call_fail(call, -EBADMSG, "the stored text is not ciphertext (it is not hex)");
	if (size / 2 % AES_BLOCK_SIZE)
		return call_fail(call, -EBADMSG, "the stored text is not ciphertext (it is not made of whole blocks)");
	if (!data_key || !*data_key)
		return call_fail(call, -EBADMSG, "the data key of this config is lost: the server has none");
	if (!is_plugin_key(data_key))
		return call_fail(call, -EBADMSG, "the data key of this config is damaged (it is not an AES key)");
	return 0;
}

int format_check_stored(enum format format, const char *content, size_t size, const char *data_key, struct call *call)
{
	switch (format) {
	case FORMAT_PLAIN:
		return 0;
	case FORMAT_ENVELOPE_256:
	case FORMAT_ENVELOPE_128:
		return check_envelope(content, size, data_key, call);
	case FORMAT_DIRECT:
		if (!looks_like_base64(content, size))
			return call_fail(call, -EBADMSG, "the stored text is not ciphertext (it is not base64)");
		return 0;
	case FORMAT_PLUGIN_AES:
		return check_plugin(content, size, data_key, call);
	}
	return call_fail(call, -EBADMSG, "the stored text is in no known format");
}

static const EVP_CIPHER *ecb_of(size_t key_size)
{
	return key_size == 16 ? EVP_aes_128_ecb() : EVP_aes_256_ecb();
}

static const EVP_CIPHER *cbc_of(size_t key_size)
{
	return key_size == 16 ? EVP_aes_128_cbc() : key_size == 24 ? EVP_aes_192_cbc() : EVP_aes_256_cbc();
}

/*
 * Runs a whole text through a cipher with PKCS#7 padding. out has room for a block more than size. -EBADMSG when
 * decryption ends in a padding that can't be; OpenSSL looks at every byte of it.
 */
static int run_cipher(const EVP_CIPHER *cipher, const struct aes_key *key, bool encrypt, const void *in, size_t size,
		      void *out, size_t *ret_size)
{
	__attribute__((cleanup(free_cipher_context))) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	unsigned char *to = out;
	int count = 0, last = 0, error = 0;

	if (!context)
		return -ENOMEM;
	if (size > CIPHER_LIMIT)
		return -EFBIG;
	if (EVP_CipherInit_ex(context, cipher, NULL, key->bytes, key->iv, encrypt) != 1 ||
	    EVP_CipherUpdate(context, to, &count, in, (int)size) != 1)
		error = -EIO;
	else if (EVP_CipherFinal_ex(context, to + count, &last) != 1)
		error = encrypt ? -EIO : -EBADMSG;
	/* What stays in the queue of this thread would look like a failure of the next TLS connection. */
	ERR_clear_error();
	if (!error)
		*ret_size = (size_t)count + (size_t)last;
	return error;
}

static int fail(struct call *call, int error)
{
	switch (error) {
	case -EBADMSG:
		return call_fail(call, error, "the stored text is damaged, or its data key is not its own");
	case -EFBIG:
		return call_fail(call, error, "the text is too large to be encrypted");
	case -ENOMEM:
		return call_fail(call, error, "no room in the memory for secrets");
	default:
		return call_fail(call, error, "OpenSSL can't run the cipher");
	}
}

/* Encrypts into ret_ciphertext, which is empty. */
static int encrypt_bytes(const EVP_CIPHER *cipher, const struct aes_key *key, const char *text, size_t size,
			 struct buffer *ret_ciphertext)
{
	size_t ciphertext_size;
	int error;

	if (size > CIPHER_LIMIT)
		return -EFBIG;
	error = buffer_reserve(ret_ciphertext, size + AES_BLOCK_SIZE);
	if (!error)
		error = run_cipher(cipher, key, true, text, size, ret_ciphertext->data, &ciphertext_size);
	if (!error)
		ret_ciphertext->size = ciphertext_size;
	return error;
}

/* Decrypts, and appends to ret_text when the result is text. */
static int decrypt_bytes(const EVP_CIPHER *cipher, const struct aes_key *key, const struct buffer *ciphertext,
			 struct secret_buffer *ret_text)
{
	cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
	size_t size;
	int error;

	if (ciphertext->size == 0 || ciphertext->size % AES_BLOCK_SIZE)
		return -EBADMSG;
	error = secret_buffer_reserve(&text, ciphertext->size + AES_BLOCK_SIZE);
	if (!error)
		error = run_cipher(cipher, key, false, ciphertext->data, ciphertext->size, text.data, &size);
	if (error)
		return error;
	text.size = size;
	text.data[size] = '\0';
	if (!text_is_utf8(text.data, text.size))
		return -EBADMSG;
	if (ret_text->size == 0) {
		secret_buffer_move(ret_text, &text);
		return 0;
	}
	return secret_buffer_append(ret_text, text.data, text.size);
}

/* The key of an envelope from the text that key services give. */
static int read_key_text(const struct secret_buffer *key_text, struct aes_key *ret_key)
{
	/* One more than a key may have: 43 characters and one "=" hold 32 bytes, 44 characters 33. */
	unsigned char bytes[ENCODING_BASE64_ROOM(KEY_TEXT_SIZE_MAX)];
	size_t size = 0;
	int error = -EBADMSG;

	if (key_text->size <= KEY_TEXT_SIZE_MAX)
		error = encoding_from_base64(key_text->data, key_text->size, bytes, &size);
	if (!error && size != 16 && size != 32)
		error = -EBADMSG;
	if (!error) {
		memcpy(ret_key->bytes, bytes, size);
		ret_key->size = size;
	}
	explicit_bzero(bytes, sizeof(bytes));
	return error;
}

int format_seal_envelope(const struct secret_buffer *key_text, const char *text, size_t size, struct call *call,
			 struct buffer *ret_content)
{
	cleanup_buffer struct buffer ciphertext = BUFFER_INIT;
	cleanup_aes_key struct aes_key key = { .size = 0 };
	size_t content_size;
	int error = read_key_text(key_text, &key);

	if (error)
		return call_fail(call, error, "the data key is not base64 of 16 or 32 bytes");
	error = encrypt_bytes(ecb_of(key.size), &key, text, size, &ciphertext);
	content_size = ENCODING_BASE64_SIZE(ciphertext.size);
	if (!error)
		error = buffer_reserve(ret_content, content_size);
	if (error)
		return fail(call, error);
	encoding_to_base64(ciphertext.data, ciphertext.size, ret_content->data + ret_content->size);
	ret_content->size += content_size;
	ret_content->data[ret_content->size] = '\0';
	return 0;
}

int format_open_envelope(const struct secret_buffer *key_text, const char *content, size_t size, struct call *call,
			 struct secret_buffer *ret_text)
{
	cleanup_buffer struct buffer ciphertext = BUFFER_INIT;
	cleanup_aes_key struct aes_key key = { .size = 0 };
	int error = read_key_text(key_text, &key);

	if (error)
		return call_fail(call, error, "the data key is not base64 of 16 or 32 bytes");
	error = buffer_reserve(&ciphertext, ENCODING_BASE64_ROOM(size));
	if (!error)
		error = encoding_from_base64(content, size, ciphertext.data, &ciphertext.size);
	if (!error)
		error = decrypt_bytes(ecb_of(key.size), &key, &ciphertext, ret_text);
	return error ? fail(call, error) : 0;
}

/* Appends the base64 of the hex of the key, and sets its IV. */
static int write_plugin_key(struct aes_key *key, struct buffer *ret_data_key)
{
	char hex[2 * PLUGIN_KEY_SIZE], text[ENCODING_BASE64_SIZE(sizeof(hex))];
	int error;

	encoding_to_hex(key->bytes, PLUGIN_KEY_SIZE, hex);
	memcpy(key->iv, hex, sizeof(key->iv));
	encoding_to_base64(hex, sizeof(hex), text);
	error = buffer_append(ret_data_key, text, sizeof(text));
	explicit_bzero(hex, sizeof(hex));
	explicit_bzero(text, sizeof(text));
	return error;
}

int format_seal_plugin(const char *text, size_t size, struct call *call, struct buffer *ret_content,
		       struct buffer *ret_data_key)
{
	cleanup_buffer struct buffer ciphertext = BUFFER_INIT;
	cleanup_buffer_wipe struct buffer data_key = BUFFER_INIT;
	cleanup_aes_key struct aes_key key = { .size = PLUGIN_KEY_SIZE };
	int error = RAND_priv_bytes(key.bytes, PLUGIN_KEY_SIZE) == 1 ? 0 : -EIO;

	if (!error)
		error = write_plugin_key(&key, &data_key);
	if (!error)
		error = encrypt_bytes(cbc_of(key.size), &key, text, size, &ciphertext);
	if (!error)
		error = buffer_reserve(ret_content, 2 * ciphertext.size);
	if (!error)
		error = buffer_append(ret_data_key, data_key.data, data_key.size);
	if (error)
		return fail(call, error);
	encoding_to_hex(ciphertext.data, ciphertext.size, ret_content->data + ret_content->size);
	ret_content->size += 2 * ciphertext.size;
	ret_content->data[ret_content->size] = '\0';
	return 0;
}

int format_open_plugin(const char *data_key, const char *content, size_t size, struct call *call,
		       struct secret_buffer *ret_text)
{
	cleanup_buffer struct buffer ciphertext = BUFFER_INIT;
	cleanup_aes_key struct aes_key key = { .size = 0 };
	int error = read_plugin_key(data_key, &key);

	if (error)
		return call_fail(call, error, "the data key of this config is damaged (it is not an AES key)");
	error = buffer_reserve(&ciphertext, size / 2);
	if (!error)
		error = encoding_from_hex(content, size, ciphertext.data);
	if (!error) {
		ciphertext.size = size / 2;
		error = decrypt_bytes(cbc_of(key.size), &key, &ciphertext, ret_text);
	}
	return error ? fail(call, error) : 0;
}
