#include "crypto/keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/encoding.h"
#include "crypto/file_mark.h"
#include "crypto/format.h"
#include "crypto/secret.h"
#include "util/cleanup.h"
#include "util/log.h"

#define NAME_SIZE 36 /* a UUID as text */
#define KEY_SIZE 32
#define KEY_TEXT_SIZE ENCODING_BASE64_SIZE(KEY_SIZE)
#define IV_SIZE 12
#define TAG_SIZE 16
#define PREFIX_SIZE (NAME_SIZE + IV_SIZE)
#define OVERHEAD (PREFIX_SIZE + TAG_SIZE)
#define KEYS_MAX 1000
#define BLOB_LIMIT ((size_t)64 * 1024) /* far more than the text of FORMAT_DIRECT_LIMIT takes */
#define WHAT "nacosfs keyring 1"

struct wrapping_key {
	char name[NAME_SIZE];
	unsigned char bytes[KEY_SIZE];
};

/* The keys of a file, oldest first; in secret memory. */
struct keys {
	size_t count;
	struct wrapping_key keys[];
};

struct keyring {
	struct key_service service;
	char *path;
	pthread_mutex_t lock; /* of what follows */
	struct keys *keys;
	struct file_mark mark; /* of the file when it was last read, well or not */
};

static struct keyring *keyring_of(struct key_service *service)
{
	return (struct keyring *)service;
}

static bool is_name(const char *text, size_t size)
{
	if (size != NAME_SIZE)
		return false;
	for (size_t i = 0; i < size; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !strchr("0123456789abcdef", text[i]) || !text[i])
			return false;
	}
	return true;
}

static struct wrapping_key *find_key(struct keys *keys, const char *name)
{
	for (size_t i = 0; i < keys->count; i++) {
		if (memcmp(keys->keys[i].name, name, NAME_SIZE) == 0)
			return &keys->keys[i];
	}
	return NULL;
}

/* Takes one line, `key NAME BASE64`, without its end. What is wrong with it, or NULL. */
static const char *add_line(struct keys *keys, const char *line, size_t size)
{
	const size_t name_at = strlen("key "), text_at = name_at + NAME_SIZE + 1;
	unsigned char bytes[ENCODING_BASE64_ROOM(KEY_TEXT_SIZE)];
	struct wrapping_key *key = &keys->keys[keys->count];
	const char *wrong = NULL;
	size_t key_size = 0;

	if (size != text_at + KEY_TEXT_SIZE || memcmp(line, "key ", name_at) != 0 || line[text_at - 1] != ' ' ||
	    !is_name(line + name_at, NAME_SIZE))
		return "is not `key NAME BASE64`";
	if (find_key(keys, line + name_at))
		return "has the name of a key above it";
	if (keys->count == KEYS_MAX)
		return "is one key too many";
	if (encoding_from_base64(line + text_at, KEY_TEXT_SIZE, bytes, &key_size) || key_size != KEY_SIZE) {
		wrong = "does not hold 32 bytes of base64";
	} else {
		memcpy(key->name, line + name_at, NAME_SIZE);
		memcpy(key->bytes, bytes, KEY_SIZE);
		keys->count++;
	}
	explicit_bzero(bytes, sizeof(bytes));
	return wrong;
}

static size_t count_lines(const struct secret_buffer *text)
{
	size_t count = 1;

	for (size_t i = 0; i < text->size; i++)
		count += text->data[i] == '\n';
	return count;
}

static int parse_keys(const char *path, const struct secret_buffer *text, struct call *call, struct keys **ret_keys)
{
	size_t lines = count_lines(text), room = (lines < KEYS_MAX ? lines : KEYS_MAX) + 1, number = 0;
	const char *at = text->data, *end = text->data + text->size;
	cleanup_secret_free struct keys *keys = secret_alloc(sizeof(*keys) + room * sizeof(struct wrapping_key));

	if (!keys)
		return call_fail(call, -ENOMEM, "%s: no room in the memory for secrets", path);
	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at)), *wrong = NULL;
		size_t size = (size_t)((stop ? stop : end) - at);

		number++;
		if (size > 0 && at[size - 1] == '\r')
			size--;
		if (size > 0 && at[0] != '#')
			wrong = add_line(keys, at, size);
		if (wrong)
			return call_fail(call, -EINVAL, "%s: line %zu %s", path, number, wrong);
		at = stop ? stop + 1 : end;
	}
	if (!keys->count)
		return call_fail(call, -EINVAL, "%s: there is no key in it", path);
	*ret_keys = steal_pointer(keys);
	return 0;
}

static int read_keys(const char *path, struct call *call, struct keys **ret_keys)
{
	cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
	int error = secret_buffer_read_file(path, call, &text);

	return error ? error : parse_keys(path, &text, call, ret_keys);
}

/* Reads the file again if it changed since it was last read. */
static void refresh(struct keyring *keyring)
{
	/* Looked at before it is read: a change in between is then found the next time. */
	struct file_mark mark = file_mark_of(keyring->path);
	struct keys *keys = NULL;
	struct call call;
	bool changed;

	pthread_mutex_lock(&keyring->lock);
	changed = !file_mark_equal(&mark, &keyring->mark);
	keyring->mark = mark;
	pthread_mutex_unlock(&keyring->lock);
	if (!changed)
		return;
	call_start(&call, INT64_MAX);
	if (read_keys(keyring->path, &call, &keys)) {
		log_error("keyring: %s; the keys that were read before are used on", call.reason);
		return;
	}
	log_info("keyring: %s was read again, %zu keys", keyring->path, keys->count);
	pthread_mutex_lock(&keyring->lock);
	secret_free(keyring->keys);
	keyring->keys = keys;
	pthread_mutex_unlock(&keyring->lock);
}

static void free_context(EVP_CIPHER_CTX **context)
{
	EVP_CIPHER_CTX_free(*context);
}
#define cleanup_context __attribute__((cleanup(free_context))) EVP_CIPHER_CTX *

/*
 * Sets up GCM with the key and the IV that follows the name at the start of a blob, and takes in what is
 * authenticated.
 */
static bool start_gcm(EVP_CIPHER_CTX *context, const unsigned char *key, const unsigned char *blob, bool encrypt)
{
	int count;

	return EVP_CipherInit_ex(context, EVP_aes_256_gcm(), NULL, key, blob + NAME_SIZE, encrypt) == 1 &&
	       EVP_CipherUpdate(context, NULL, &count, (const unsigned char *)WHAT, (int)strlen(WHAT)) == 1 &&
	       EVP_CipherUpdate(context, NULL, &count, blob, NAME_SIZE) == 1;
}

/* Writes size + OVERHEAD bytes. */
static bool wrap_bytes(const struct wrapping_key *key, const void *text, size_t size, unsigned char *blob)
{
	cleanup_context context = EVP_CIPHER_CTX_new();
	unsigned char *out = blob + PREFIX_SIZE;
	int count = 0, last = 0;
	bool done;

	memcpy(blob, key->name, NAME_SIZE);
	done = context && RAND_bytes(blob + NAME_SIZE, IV_SIZE) == 1 &&
	       start_gcm(context, key->bytes, blob, true) &&
	       EVP_CipherUpdate(context, out, &count, text, (int)size) == 1 &&
	       EVP_CipherFinal_ex(context, out + count, &last) == 1 &&
	       EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, out + size) == 1;
	ERR_clear_error();
	return done;
}

/* Writes size - OVERHEAD bytes; they mean nothing when this fails. */
static bool unwrap_bytes(const unsigned char *key, unsigned char *blob, size_t size, void *text)
{
	cleanup_context context = EVP_CIPHER_CTX_new();
	size_t text_size = size - OVERHEAD;
	unsigned char *out = text;
	int count = 0, last = 0;
	bool done;

	done = context && start_gcm(context, key, blob, false) &&
	       EVP_CipherUpdate(context, out, &count, blob + PREFIX_SIZE, (int)text_size) == 1 &&
	       EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, blob + PREFIX_SIZE + text_size) == 1 &&
	       EVP_CipherFinal_ex(context, out + count, &last) == 1;
	ERR_clear_error();
	return done;
}

/*
 * Copies a key, the newest when name is NULL, so that no lock is held while it is used. False when there is
 * none.
 */
static bool copy_key(struct keyring *keyring, const char *name, struct wrapping_key *ret_key)
{
	struct wrapping_key *key;

	pthread_mutex_lock(&keyring->lock);
	key = name ? find_key(keyring->keys, name) : &keyring->keys->keys[keyring->keys->count - 1];
	if (key)
		*ret_key = *key;
	pthread_mutex_unlock(&keyring->lock);
	return key;
}

static int keyring_encrypt(struct key_service *service, const char *text, size_t size, struct call *call,
			   struct buffer *ret_blob)
{
	struct keyring *keyring = keyring_of(service);
	cleanup_buffer struct buffer blob = BUFFER_INIT;
	size_t blob_size = size + OVERHEAD;
	struct wrapping_key key;
	bool wrapped;

	atomic_fetch_add(&service->request_count, 1);
	if (size > FORMAT_DIRECT_LIMIT)
		return call_fail(call, -EFBIG, "key services encrypt %d bytes at most", FORMAT_DIRECT_LIMIT);
	if (buffer_resize(&blob, blob_size) || buffer_reserve(ret_blob, ENCODING_BASE64_SIZE(blob_size)))
		return call_fail(call, -ENOMEM, "out of memory");
	refresh(keyring);
	copy_key(keyring, NULL, &key);
	wrapped = wrap_bytes(&key, text, size, (unsigned char *)blob.data);
	explicit_bzero(&key, sizeof(key));
	if (!wrapped)
		return call_fail(call, -ENOKEY, "OpenSSL can't encrypt with the keyring");
	encoding_to_base64(blob.data, blob_size, ret_blob->data + ret_blob->size);
	ret_blob->size += ENCODING_BASE64_SIZE(blob_size);
	ret_blob->data[ret_blob->size] = '\0';
	return 0;
}

/* Unwraps a decoded blob, and appends its text. */
static int unwrap(struct keyring *keyring, struct buffer *blob, struct call *call, struct secret_buffer *ret_text)
{
	size_t text_size = blob->size - OVERHEAD;
	struct wrapping_key key;
	bool known = copy_key(keyring, blob->data, &key), unwrapped;

	if (!known) {
		refresh(keyring);
		known = copy_key(keyring, blob->data, &key);
	}
	if (!known)
		return call_fail(call, -ENOKEY, "the key %.*s is not in the keyring", NAME_SIZE, blob->data);
	if (secret_buffer_reserve(ret_text, text_size)) {
		explicit_bzero(&key, sizeof(key));
		return call_fail(call, -ENOMEM, "no room in the memory for secrets");
	}
	unwrapped = unwrap_bytes(key.bytes, (unsigned char *)blob->data, blob->size, ret_text->data + ret_text->size);
	explicit_bzero(&key, sizeof(key));
	if (!unwrapped) {
		explicit_bzero(ret_text->data + ret_text->size, text_size);
		return call_fail(call, -EBADMSG, "the blob is damaged: it is not what the keyring made");
	}
	ret_text->size += text_size;
	ret_text->data[ret_text->size] = '\0';
	return 0;
}

static int keyring_decrypt(struct key_service *service, const char *blob, size_t size, struct call *call,
			   struct secret_buffer *ret_text)
{
	cleanup_buffer struct buffer bytes = BUFFER_INIT;

	atomic_fetch_add(&service->request_count, 1);
	if (size > BLOB_LIMIT)
		return call_fail(call, -EBADMSG, "the blob is too large to be one of the keyring");
	if (buffer_reserve(&bytes, ENCODING_BASE64_ROOM(size)))
		return call_fail(call, -ENOMEM, "out of memory");
	if (encoding_from_base64(blob, size, bytes.data, &bytes.size) || bytes.size < OVERHEAD ||
	    !is_name(bytes.data, NAME_SIZE))
		return call_fail(call, -EBADMSG, "the blob is damaged, or not from a keyring");
	return unwrap(keyring_of(service), &bytes, call, ret_text);
}

static int keyring_generate_data_key(struct key_service *service, size_t key_size, struct call *call,
				     struct secret_buffer *ret_key_text, struct buffer *ret_blob)
{
	unsigned char key[KEY_SIZE];
	char text[KEY_TEXT_SIZE];
	size_t text_size = ENCODING_BASE64_SIZE(key_size);
	int error;

	if (key_size > sizeof(key) || RAND_priv_bytes(key, (int)key_size) != 1)
		return call_fail(call, -ENOKEY, "OpenSSL can't make a key of %zu bytes", key_size);
	encoding_to_base64(key, key_size, text);
	explicit_bzero(key, sizeof(key));
	error = secret_buffer_reserve(ret_key_text, text_size);
	if (error)
		error = call_fail(call, error, "no room in the memory for secrets");
	else
		error = keyring_encrypt(service, text, text_size, call, ret_blob);
	if (!error)
		(void)secret_buffer_append(ret_key_text, text, text_size); /* there is room */
	explicit_bzero(text, sizeof(text));
	return error;
}

static void keyring_free(struct key_service *service)
{
	struct keyring *keyring = keyring_of(service);

	secret_free(keyring->keys);
	free(keyring->path);
	pthread_mutex_destroy(&keyring->lock);
	free(keyring);
}

static const struct key_service_operations keyring_operations = {
	.generate_data_key = keyring_generate_data_key,
	.encrypt = keyring_encrypt,
	.decrypt = keyring_decrypt,
	.free = keyring_free,
};

int keyring_open(const char *path, struct call *call, struct key_service **ret_service)
{
	struct keyring *keyring = calloc(1, sizeof(*keyring));
	int error;

	if (!keyring)
		return call_fail(call, -ENOMEM, "out of memory");
	keyring->service.operations = &keyring_operations;
	pthread_mutex_init(&keyring->lock, NULL);
	keyring->path = strdup(path);
	keyring->mark = file_mark_of(path);
	error = keyring->path ? read_keys(path, call, &keyring->keys) : call_fail(call, -ENOMEM, "out of memory");
	if (error) {
		keyring_free(&keyring->service);
		return error;
	}
	*ret_service = &keyring->service;
	return 0;
}

static int fail_with_errno(struct call *call, const char *path)
{
	int error = errno;
	char text[128];

	return call_fail(call, -error, "%s: %s", path, strerror_r(error, text, sizeof(text)));
}

/* A random (version 4) UUID. */
static bool make_name(char ret_name[NAME_SIZE + 1])
{
	unsigned char random[16];
	char hex[2 * sizeof(random)];

	if (RAND_bytes(random, sizeof(random)) != 1)
		return false;
	random[6] = (unsigned char)((random[6] & 0x0f) | 0x40);
	random[8] = (unsigned char)((random[8] & 0x3f) | 0x80);
	encoding_to_hex(random, sizeof(random), hex);
	snprintf(ret_name, NAME_SIZE + 1, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
	return true;
}

static int make_keyring_text(struct secret_buffer *ret_text)
{
	static const char head[] =
		"# A keyring of nacosfs. Who reads it can decrypt the configs that it encrypts; without it, nobody can:\n"
		"# keep a copy in a safe place. The last key encrypts, all keys decrypt; to rotate, append that of a new\n"
		"# keyring.\n";
	char name[NAME_SIZE + 1], key_text[KEY_TEXT_SIZE + 1] = "";
	unsigned char key[KEY_SIZE];
	int error;

	if (!make_name(name) || RAND_priv_bytes(key, sizeof(key)) != 1)
		return -EIO;
	encoding_to_base64(key, sizeof(key), key_text);
	explicit_bzero(key, sizeof(key));
	error = secret_buffer_append_text(ret_text, head);
	if (!error)
		error = secret_buffer_append_text(ret_text, "key ");
	if (!error)
		error = secret_buffer_append_text(ret_text, name);
	if (!error)
		error = secret_buffer_append_byte(ret_text, ' ');
	if (!error)
		error = secret_buffer_append_text(ret_text, key_text);
	if (!error)
		error = secret_buffer_append_byte(ret_text, '\n');
	explicit_bzero(key_text, sizeof(key_text));
	return error;
}

static bool write_all(int descriptor, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t count = write(descriptor, data, size);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return false;
		data += count;
		size -= (size_t)count;
	}
	return true;
}

/* So that the name is on the disk too. */
static bool sync_directory_of(const char *path)
{
	cleanup_free char *copy = strdup(path);
	cleanup_close int directory = -1;

	if (!copy)
		return false;
	directory = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* A file system that can't sync directories has nothing to sync. */
	return directory >= 0 && (fsync(directory) == 0 || errno == EINVAL);
}

int keyring_create(const char *path, struct call *call)
{
	cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
	cleanup_close int descriptor = -1;
	int error = make_keyring_text(&text);

	if (error)
		return call_fail(call, error, "%s: can't make a key", path);
	/* The mode counts whatever the umask is: it can only take away from it. */
	descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
	if (descriptor < 0)
		return fail_with_errno(call, path);
	if (!write_all(descriptor, text.data, text.size) || fsync(descriptor) < 0 || !sync_directory_of(path)) {
		error = fail_with_errno(call, path);
		(void)unlink(path);
		return error;
	}
	return 0;
}
