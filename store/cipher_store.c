#include "store/cipher_store.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret_buffer.h"
#include "crypto/secret_memory.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"

#define SIZE_SLOTS 16384 /* configs whose size is remembered, at most */
#define SIZE_RETRY_MS 10000 /* not sooner is a key service asked again for a mere size */
#define SLOW_MS 500 /* a key service that fails after so long keeps others waiting too */

/* The size of the text whose ciphertext has that MD5. */
struct known_size {
	char md5[HASH_MD5_HEX_SIZE]; /* "": empty slot */
	size_t size; /* 0 while nobody can tell */
	int64_t retry_ms; /* when to try again (monotonic); 0: the size is known */
};

struct cipher_store {
	struct store store;
	struct cipher *cipher;
	pthread_mutex_t lock; /* what follows */
	int64_t slow_until_ms; /* till then the key service is not asked for sizes at all (monotonic) */
	struct known_size sizes[SIZE_SLOTS];
};

static struct cipher_store *cipher_store_of(struct store *store)
{
	return (struct cipher_store *)store;
}

/* One slot a hash: a collision costs another decryption, no more. */
static struct known_size *slot_of(struct cipher_store *store, const char *md5)
{
	size_t hash = 0;

	for (const char *digit = md5; *digit; digit++)
		hash = hash * 31 + (unsigned char)*digit;
	return &store->sizes[hash % SIZE_SLOTS];
}

/*
 * The size to show: the true one; or 0, when the text could not be decrypted lately, so that neither `ls` waits for a key
 * service that is down once a config, nor each look at a damaged config costs a request. An open always tries.
 */
static bool find_size(struct cipher_store *store, const char *md5, size_t *ret_size)
{
	int64_t now_ms = clock_monotonic_ms();

	pthread_mutex_lock(&store->lock);
	const struct known_size *slot = slot_of(store, md5);
	bool found = !strcmp(slot->md5, md5) && (!slot->retry_ms || now_ms < slot->retry_ms);
	if (found) {
		*ret_size = slot->size;
	} else if (now_ms < store->slow_until_ms) {
		*ret_size = 0;
		found = true;
	}
	pthread_mutex_unlock(&store->lock);
	return found;
}

static void remember(struct cipher_store *store, const char *md5, size_t size, int64_t retry_ms)
{
	struct known_size *slot = slot_of(store, md5);

	strcpy(slot->md5, md5);
	slot->size = size;
	slot->retry_ms = retry_ms;
}

static void remember_size(struct cipher_store *store, const char *md5, size_t size)
{
	pthread_mutex_lock(&store->lock);
	remember(store, md5, size, 0);
	pthread_mutex_unlock(&store->lock);
}

/* Of a decryption that began at start_ms. */
static void remember_failure(struct cipher_store *store, const char *md5, int error, int64_t start_ms)
{
	int64_t now_ms = clock_monotonic_ms();

	if (error != -EBADMSG && error != -ENOKEY)
		return;
	pthread_mutex_lock(&store->lock);
	remember(store, md5, 0, now_ms + SIZE_RETRY_MS);
	if (error == -ENOKEY && now_ms - start_ms >= SLOW_MS)
		store->slow_until_ms = now_ms + SIZE_RETRY_MS;
	pthread_mutex_unlock(&store->lock);
}

/* The version that stands for a stored one, with text instead of ciphertext. */
static int version_of(const struct cipher_store *store, struct place *place, const struct version *stored,
		      struct buffer *text, size_t size, struct version **ret_version)
{
	struct version *version = version_new_like(stored, text, size);

	if (!version)
		return -ENOMEM;
	version->encryption = format_name(cipher_format(store->cipher, place_data_id(place), stored->data_key));
	*ret_version = version;
	return 0;
}

static int without_content(const struct cipher_store *store, struct place *place,
			   const struct version *stored, size_t size, struct version **ret_version)
{
	struct buffer nothing = BUFFER_INIT;

	return version_of(store, place, stored, &nothing, size, ret_version);
}

static int decrypt(struct cipher_store *store, struct place *place, const struct version *stored,
		   struct call *call, struct buffer *ret_text)
{
	cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
	char name[PLACE_TEXT_SIZE], reason[CALL_REASON_SIZE];
	int64_t start_ms = clock_monotonic_ms();
	int error = cipher_open(store->cipher, place_data_id(place), stored->content.data, stored->content.size,
				stored->data_key, call, &text);

	if (error) {
		remember_failure(store, stored->md5, error, start_ms);
		memcpy(reason, call->reason, sizeof(reason));
		return call_fail(call, error, "%s: %s", place_format(place, name, sizeof(name)), reason);
	}
	remember_size(store, stored->md5, text.size);
	secret_buffer_hand_over(ret_text, &text);
	return 0;
}

static int cipher_store_get(struct store *generic, struct place *place, enum version_part part,
			    struct call *call, struct version **ret_version)
{
	struct cipher_store *store = cipher_store_of(generic);
	cleanup_version struct version *stored = NULL;
	cleanup_buffer_wipe struct buffer text = BUFFER_INIT;
	size_t size = 0;

	if (!cipher_is_name(place_data_id(place)))
		return store_get(store->store.lower, place, part, call, ret_version);
	/* Only its size is shown then. */
	int error = store_get(store->store.lower, place, part == VERSION_ATTRIBUTES ? VERSION_BASE : part, call, &stored);
	if (error)
		return error;
	if (part == VERSION_ATTRIBUTES && find_size(store, stored->md5, &size))
		return without_content(store, place, stored, size, ret_version);
	if (call->from_memory)
		return -EWOULDBLOCK; /* a key service may have to be asked, and a large text takes its time */
	error = decrypt(store, place, stored, call, &text);
	if (part == VERSION_ATTRIBUTES && (!error || error == -EBADMSG || error == -ENOKEY))
		return without_content(store, place, stored, text.size, ret_version);
	if (error) {
		log_error("%s", call->reason);
		return error;
	}
	size = text.size;
	return version_of(store, place, stored, &text, size, ret_version);
}

/* The version that the caller gets back has the text that was put. */
static int with_text(struct cipher_store *store, struct place *place, const struct version *stored,
		     const struct put *put, struct version **ret_version)
{
	cleanup_buffer_wipe struct buffer text = BUFFER_INIT_IN(&secret_memory);
	int error = buffer_append(&text, put->content, put->size);

	if (error)
		return error;
	remember_size(store, stored->md5, put->size);
	return version_of(store, place, stored, &text, put->size, ret_version);
}

static int cipher_store_put(struct store *generic, struct place *place, const struct put *put,
			    struct call *call, struct version **ret_version)
{
	struct cipher_store *store = cipher_store_of(generic);
	cleanup_version struct version *stored = NULL;
	cleanup_buffer struct buffer content = BUFFER_INIT;
	cleanup_buffer struct buffer data_key = BUFFER_INIT;
	char name[PLACE_TEXT_SIZE], reason[CALL_REASON_SIZE];

	place_format(place, name, sizeof(name));
	if (!cipher_is_name(place_data_id(place))) {
		if (put->metadata_of && cipher_is_name(place_data_id(put->metadata_of)))
			log_warning("%s: leaves encryption, it was %s", name, place_data_id(put->metadata_of));
		return store_put(store->store.lower, place, put, call, ret_version);
	}
	int error = cipher_seal(store->cipher, place_data_id(place), put->content, put->size, call, &content,
				&data_key);
	if (error) {
		memcpy(reason, call->reason, sizeof(reason));
		return call_fail(call, error, "%s: %s", name, reason);
	}
	if (cipher_format(store->cipher, place_data_id(place), data_key.data) == FORMAT_PLUGIN_AES)
		log_warning("%s: its data key is stored unprotected beside it (format of the open-source plugin)",
			    name);
	struct put sealed = *put;
	sealed.content = content.data;
	sealed.size = content.size;
	sealed.data_key = data_key.size ? data_key.data : "";
	error = store_put(store->store.lower, place, &sealed, call, &stored);
	return error ? error : with_text(store, place, stored, put, ret_version);
}

static void cipher_store_free(struct store *store)
{
	pthread_mutex_destroy(&cipher_store_of(store)->lock);
	free(store);
}

static const struct store_operations cipher_store_operations = {
	.get = cipher_store_get,
	.put = cipher_store_put,
	.free = cipher_store_free,
};

int cipher_store_new(struct store *lower, struct cipher *cipher, struct store **ret_store)
{
	struct cipher_store *store = calloc(1, sizeof(*store));

	if (!store)
		return -ENOMEM;
	store->store.operations = &cipher_store_operations;
	store->store.lower = lower;
	store->cipher = cipher;
	pthread_mutex_init(&store->lock, NULL);
	*ret_store = &store->store;
	return 0;
}
