/*
 * Base64 and hex as they must be, not as readers can be talked into: the standard alphabet, padded, without
 * line breaks, blanks or bits that nobody reads. So there is one text for each sequence of bytes, and what
 * decodes is what was encoded.
 *
 * Both work on memory of the caller, secret or not. Decoding doesn't branch on the bytes, nor look them up in a
 * table: keys pass through here.
 */
#ifndef NACOSFS_CRYPTO_ENCODING_H
#define NACOSFS_CRYPTO_ENCODING_H

#include <stdbool.h>
#include <stddef.h>

/* How long the text of size bytes is; text must hold that. No NUL is written. */
#define ENCODING_BASE64_SIZE(size) (((size) + 2) / 3 * 4)
void encoding_to_base64(const void *bytes, size_t size, char *ret_text);

/* The most bytes that a text of size characters can hold; ret_bytes must have room for them. */
#define ENCODING_BASE64_ROOM(size) ((size) / 4 * 3)

/*
 * 0, or -EBADMSG when text is not strict base64, with ret_size untouched (ret_bytes is scratch then). The empty
 * text is that of no bytes. bytes and text may not overlap.
 */
int encoding_from_base64(const char *text, size_t size, void *ret_bytes, size_t *ret_size);

/* Lower-case hex: 2 * size characters, no NUL. */
void encoding_to_hex(const void *bytes, size_t size, char *ret_text);

/* size / 2 bytes; upper-case digits are fine. 0, or -EBADMSG for anything else (ret_bytes is scratch then). */
int encoding_from_hex(const char *text, size_t size, void *ret_bytes);

#endif
