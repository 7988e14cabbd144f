/*
 * How a config is stored encrypted: which format its name asks for, which one its stored text is in, and the
 * ciphers of those that need no key service. What official clients wrote is read here byte for byte, and the
 * reverse.
 *
 *	name                    stored text                         data key stored beside it
 *	cipher-kms-aes-256-...  base64(AES-256-ECB, PKCS#7)         blob of a key service (base64 text)
 *	cipher-kms-aes-128-...  base64(AES-128-ECB, PKCS#7)         blob of a key service
 *	cipher-... (others)     blob of a key service (base64 text) none
 *	cipher-aes-...          hex(AES-CBC, PKCS#7)                base64 of the key in hex, NOT encrypted
 *
 * The first two are "envelopes", the third is "direct"; the last is that of the open-source plugin for Nacos,
 * used only where there is no key service: with one, the official clients take the name for direct.
 *
 * For writing, the prefix decides as in the Java client, dashes included. The Go client looks for the longest
 * of cipher-kms-aes-128, cipher-kms-aes-256 and cipher anywhere in the name, the Python one needs no dash at
 * the end; so a reader must go by what is there: envelopes have a data key, direct ones have none. The key's
 * own length then tells 128 from 256.
 *
 * ECB is not authenticated, nor is CBC: tampering shows in bad padding or text that is not UTF-8, and sometimes
 * not at all. Everything that shows is -EBADMSG, and no byte of it is returned. Reasons don't name the config:
 * the caller knows it.
 */
#ifndef NACOSFS_CRYPTO_FORMAT_H
#define NACOSFS_CRYPTO_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

#include "crypto/secret_buffer.h"
#include "util/buffer.h"
#include "util/call.h"

enum format {
	FORMAT_PLAIN, /* stored as it is: the name doesn't begin with cipher- */
	FORMAT_ENVELOPE_256,
	FORMAT_ENVELOPE_128,
	FORMAT_DIRECT,
	FORMAT_PLUGIN_AES, /* of the open-source plugin; whoever can read the stored config can read the text */
};

/* The most that key services encrypt directly. */
#define FORMAT_DIRECT_LIMIT 6144

/* The longest data key blob that databases of Nacos servers hold, in characters. */
#define FORMAT_DATA_KEY_LIMIT 1024

/* For a line in the log or an attribute. */
const char *format_name(enum format format);

/* The format in which text is to be stored under that name. */
enum format format_for_writing(const char *data_id, bool has_key_service);

/* The format of what is stored under that name. data_key: the one stored beside the text; NULL or "": none. */
enum format format_of_stored(const char *data_id, const char *data_key, bool has_key_service);

/*
 * Is the stored text ciphertext of that format at all, and is there a data key where one is needed? Asks no key
 * service. 0, or -EBADMSG with a reason for what can't be: plain text under a cipher name, most often.
 */
int format_check_stored(enum format format, const char *content, size_t size, const char *data_key, struct call *call);

/*
 * Appends the ciphertext of an envelope. key_text is the data key as key services give it: base64 text of 16 or
 * 32 bytes.
 * -EBADMSG when it is not, -EFBIG for more text than a cipher takes, -EIO when OpenSSL refuses, -ENOMEM.
 */
int format_seal_envelope(const struct secret_buffer *key_text, const char *text, size_t size, struct call *call,
			 struct buffer *ret_content);

/* Appends the text of an envelope. -EBADMSG when it is damaged or the key is not its own, -EIO, -ENOMEM. */
int format_open_envelope(const struct secret_buffer *key_text, const char *content, size_t size, struct call *call,
			 struct secret_buffer *ret_text);

/* Appends ciphertext under a new key, and that key, in the format of the open-source plugin. Errors as above. */
int format_seal_plugin(const char *text, size_t size, struct call *call, struct buffer *ret_content,
		       struct buffer *ret_data_key);

int format_open_plugin(const char *data_key, const char *content, size_t size, struct call *call,
		       struct secret_buffer *ret_text);

#endif
