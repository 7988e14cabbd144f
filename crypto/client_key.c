#include "crypto/client_key.h"

#include <errno.h>
#include <limits.h>
#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/encoding.h"
#include "util/cleanup.h"
#include "util/json.h"

#define RSA_BITS_MIN 2048
#define ID_SIZE_MAX 256

struct client_key {
	char *id;
	struct secret_buffer der; /* PKCS#8 */
};

/* OpenSSL's library with the old ciphers, beside the one that the rest of the program uses. */
struct old_library {
	OSSL_LIB_CTX *context; /* NULL: there is none */
	OSSL_PROVIDER *legacy, *standard;
};

static void old_library_close(struct old_library *library)
{
	if (library->legacy)
		OSSL_PROVIDER_unload(library->legacy);
	if (library->standard)
		OSSL_PROVIDER_unload(library->standard);
	OSSL_LIB_CTX_free(library->context);
}

static bool old_library_open(struct old_library *library)
{
	library->context = OSSL_LIB_CTX_new();
	if (!library->context)
		return false;
	library->legacy = OSSL_PROVIDER_load(library->context, "legacy");
	library->standard = OSSL_PROVIDER_load(library->context, "default");
	return library->legacy && library->standard;
}

static void free_pkcs12(PKCS12 **file)
{
	PKCS12_free(*file);
}

static void free_safes(STACK_OF(PKCS7) **safes)
{
	sk_PKCS7_pop_free(*safes, PKCS7_free);
}

static void free_bags(STACK_OF(PKCS12_SAFEBAG) **bags)
{
	sk_PKCS12_SAFEBAG_pop_free(*bags, PKCS12_SAFEBAG_free);
}

static void free_key_info(PKCS8_PRIV_KEY_INFO **info)
{
	PKCS8_PRIV_KEY_INFO_free(*info);
}

static void free_key(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}

static void free_digest_context(EVP_MD_CTX **context)
{
	EVP_MD_CTX_free(*context);
}

/* What all the functions below know of the file. */
struct package {
	const char *password;
	OSSL_LIB_CTX *context; /* NULL: the program's own */
};

/* The first key in a row of bags, or in rows within it, or NULL. */
static PKCS8_PRIV_KEY_INFO *find_key_in_bags(const struct package *package, const STACK_OF(PKCS12_SAFEBAG) *bags,
					     int depth)
{
	PKCS8_PRIV_KEY_INFO *info = NULL;

	for (int i = 0; !info && i < sk_PKCS12_SAFEBAG_num(bags); i++) {
		PKCS12_SAFEBAG *bag = sk_PKCS12_SAFEBAG_value(bags, i);

		switch (PKCS12_SAFEBAG_get_nid(bag)) {
		case NID_keyBag:
			info = ASN1_item_dup(ASN1_ITEM_rptr(PKCS8_PRIV_KEY_INFO), PKCS12_SAFEBAG_get0_p8inf(bag));
			break;
		case NID_pkcs8ShroudedKeyBag:
			info = PKCS12_decrypt_skey_ex(bag, package->password, (int)strlen(package->password),
						      package->context, NULL);
			break;
		case NID_safeContentsBag:
			if (depth > 0)
				info = find_key_in_bags(package, PKCS12_SAFEBAG_get0_safes(bag), depth - 1);
			break;
		}
	}
	return info;
}

/* Safes that are encrypted as a whole hold certificates, as a rule, and may be under a cipher that isn't there. */
static PKCS8_PRIV_KEY_INFO *find_key(const struct package *package, PKCS12 *file)
{
	__attribute__((cleanup(free_safes))) STACK_OF(PKCS7) *safes = PKCS12_unpack_authsafes(file);
	PKCS8_PRIV_KEY_INFO *info = NULL;

	for (int encrypted = 0; !info && encrypted < 2; encrypted++) {
		for (int i = 0; !info && safes && i < sk_PKCS7_num(safes); i++) {
			__attribute__((cleanup(free_bags))) STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
			PKCS7 *safe = sk_PKCS7_value(safes, i);

			if (!encrypted && PKCS7_type_is_data(safe))
				bags = PKCS12_unpack_p7data(safe);
			else if (encrypted && PKCS7_type_is_encrypted(safe))
				bags = PKCS12_unpack_p7encdata(safe, package->password,
							       (int)strlen(package->password));
			if (bags)
				info = find_key_in_bags(package, bags, 2);
		}
	}
	return info;
}

/* NULL and a reason. With a library of its own the whole file is read in that. */
static PKCS8_PRIV_KEY_INFO *open_package(const struct package *package, const unsigned char *der, size_t size,
					 const char **ret_wrong)
{
	__attribute__((cleanup(free_pkcs12))) PKCS12 *file = PKCS12_init_ex(NID_pkcs7_data, package->context, NULL);
	const unsigned char *at = der;
	PKCS8_PRIV_KEY_INFO *info;

	/* On failure it frees the file and sets it to NULL. */
	if (!file || size > LONG_MAX || !d2i_PKCS12(&file, &at, (long)size) || at != der + size ||
	    !PKCS12_mac_present(file)) {
		*ret_wrong = "PrivateKeyData is not PKCS#12 with a MAC";
		return NULL;
	}
	if (!PKCS12_verify_mac(file, package->password, (int)strlen(package->password))) {
		*ret_wrong = "the password is wrong, or PrivateKeyData is damaged";
		return NULL;
	}
	info = find_key(package, file);
	if (!info)
		*ret_wrong = "there is no private key in PrivateKeyData that this OpenSSL can open";
	return info;
}

/* Writes the key as DER to secret memory, if it is one that can be used. */
static int take_key(PKCS8_PRIV_KEY_INFO *info, struct call *call, struct secret_buffer *ret_der)
{
	__attribute__((cleanup(free_key))) EVP_PKEY *key = EVP_PKCS82PKEY(info);
	int size = key ? i2d_PKCS8_PRIV_KEY_INFO(info, NULL) : -1;
	unsigned char *at;

	if (size < 0 || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_get_bits(key) < RSA_BITS_MIN)
		return call_fail(call, -EINVAL, "the client key is not an RSA key of %d bits or more", RSA_BITS_MIN);
	if (secret_buffer_resize(ret_der, (size_t)size))
		return call_fail(call, -ENOMEM, "no room in the memory for secrets");
	at = (unsigned char *)ret_der->data;
	if (i2d_PKCS8_PRIV_KEY_INFO(info, &at) != size)
		return call_fail(call, -EINVAL, "the client key can't be stored");
	return 0;
}

static int unpack(const struct secret_buffer *der, const struct secret_buffer *password, struct call *call,
		  struct secret_buffer *ret_key)
{
	__attribute__((cleanup(old_library_close))) struct old_library library = { .context = NULL };
	__attribute__((cleanup(free_key_info))) PKCS8_PRIV_KEY_INFO *info = NULL;
	struct package package = { .password = password->size ? password->data : "" };
	const char *wrong = NULL;
	int error;

	info = open_package(&package, (unsigned char *)der->data, der->size, &wrong);
	if (!info && old_library_open(&library)) {
		package.context = library.context;
		info = open_package(&package, (unsigned char *)der->data, der->size, &wrong);
	}
	error = info ? take_key(info, call, ret_key) : call_fail(call, -EINVAL, "%s", wrong);
	ERR_clear_error();
	return error;
}

/* KeyId goes into a header. */
static bool is_id(const char *id)
{
	size_t size = id ? strlen(id) : 0;

	for (size_t i = 0; i < size; i++) {
		if (id[i] <= ' ' || id[i] > '~')
			return false;
	}
	return size > 0 && size <= ID_SIZE_MAX;
}

int client_key_parse(const char *json, size_t size, const struct secret_buffer *password, struct call *call,
		     struct client_key **ret_key)
{
	cleanup_secret_buffer struct secret_buffer der = SECRET_BUFFER_INIT;
	cleanup_json struct json *document = NULL;
	struct client_key *key;
	const char *data;
	int error = json_parse(json, size, &document);

	data = json_text(document, "PrivateKeyData");
	if (error == -ENOMEM)
		return call_fail(call, error, "out of memory");
	if (error || !is_id(json_text(document, "KeyId")) || !data)
		return call_fail(call, -EINVAL, "it is not JSON with KeyId and PrivateKeyData");
	if (secret_buffer_reserve(&der, ENCODING_BASE64_ROOM(strlen(data))))
		return call_fail(call, -ENOMEM, "no room in the memory for secrets");
	if (encoding_from_base64(data, strlen(data), der.data, &der.size))
		return call_fail(call, -EINVAL, "PrivateKeyData is not base64");
	key = calloc(1, sizeof(*key));
	if (!key)
		return call_fail(call, -ENOMEM, "out of memory");
	key->id = strdup(json_text(document, "KeyId"));
	error = key->id ? unpack(&der, password, call, &key->der) : call_fail(call, -ENOMEM, "out of memory");
	if (error) {
		client_key_free(key);
		return error;
	}
	*ret_key = key;
	return 0;
}

int client_key_read(const char *key_file, const char *password_file, struct call *call, struct client_key **ret_key)
{
	cleanup_secret_buffer struct secret_buffer json = SECRET_BUFFER_INIT, password = SECRET_BUFFER_INIT;
	int error = secret_buffer_read_file(key_file, call, &json);

	if (!error)
		error = secret_buffer_read_file(password_file, call, &password);
	if (error)
		return error;
	error = client_key_parse(json.data, json.size, &password, call, ret_key);
	return error ? call_fail(call, error, "%s: %s", key_file, call->reason) : 0;
}

void client_key_free(struct client_key *key)
{
	if (!key)
		return;
	free(key->id);
	secret_buffer_release(&key->der);
	free(key);
}

const char *client_key_id(const struct client_key *key)
{
	return key->id;
}

static EVP_PKEY *load_key(const struct client_key *key)
{
	const unsigned char *at = (const unsigned char *)key->der.data;
	__attribute__((cleanup(free_key_info))) PKCS8_PRIV_KEY_INFO *info =
		d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)key->der.size);

	return info ? EVP_PKCS82PKEY(info) : NULL;
}

int client_key_sign(const struct client_key *key, const void *data, size_t size, struct buffer *ret_base64)
{
	__attribute__((cleanup(free_digest_context))) EVP_MD_CTX *context = EVP_MD_CTX_new();
	__attribute__((cleanup(free_key))) EVP_PKEY *rsa = load_key(key);
	cleanup_buffer struct buffer signature = BUFFER_INIT;
	size_t signature_size = rsa ? (size_t)EVP_PKEY_get_size(rsa) : 0;
	bool done;

	if (!context || buffer_reserve(&signature, signature_size) ||
	    buffer_reserve(ret_base64, ENCODING_BASE64_SIZE(signature_size)))
		return -ENOMEM;
	/* PKCS#1 v1.5 is the padding of RSA keys unless another is asked for. */
	done = rsa && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, rsa) == 1 &&
	       EVP_DigestSign(context, (unsigned char *)signature.data, &signature_size, data, size) == 1;
	ERR_clear_error();
	if (!done)
		return -EIO;
	encoding_to_base64(signature.data, signature_size, ret_base64->data + ret_base64->size);
	ret_base64->size += ENCODING_BASE64_SIZE(signature_size);
	ret_base64->data[ret_base64->size] = '\0';
	return 0;
}
