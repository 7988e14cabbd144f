/*
 * As struct buffer (util/buffer.h), in secret memory: the same rules, and nothing that was ever in it is left
 * anywhere. What is cut, cleared or moved by growing is overwritten at once.
 *
 * A secret_buffer has one owner, who releases it; it is not thread-safe. SECRET_BUFFER_INIT (or all zeros) is
 * an empty one. data is always followed by a NUL that size does not count; it is NULL only while nothing was
 * ever stored.
 *
 * Functions that may have to allocate return 0 or -ENOMEM (the cap of secret memory is reached, usually) and
 * leave the buffer as it was when they fail.
 */
#ifndef NACOSFS_CRYPTO_SECRET_BUFFER_H
#define NACOSFS_CRYPTO_SECRET_BUFFER_H

#include <stddef.h>

#include "util/call.h"

struct secret_buffer {
	char *data;
	size_t size; /* bytes in use */
	size_t allocated;
};

#define SECRET_BUFFER_INIT { NULL, 0, 0 }

/* Makes room for extra more bytes behind those in use, plus the NUL. */
int secret_buffer_reserve(struct secret_buffer *buffer, size_t extra);

int secret_buffer_append(struct secret_buffer *buffer, const void *data, size_t size);
int secret_buffer_append_text(struct secret_buffer *buffer, const char *text);
int secret_buffer_append_byte(struct secret_buffer *buffer, char byte);

/* Writes size bytes at offset; what lies between the old end and offset becomes zero. */
int secret_buffer_write(struct secret_buffer *buffer, const void *data, size_t size, size_t offset);

/* Cuts, or grows with zero bytes, to size. Cutting can't fail. */
int secret_buffer_resize(struct secret_buffer *buffer, size_t size);

/* Forgets the bytes, keeps the memory. */
void secret_buffer_clear(struct secret_buffer *buffer);

/* Frees the memory; the buffer is empty afterwards and can be used again. */
void secret_buffer_release(struct secret_buffer *buffer);

/* Moves the bytes of from to to, whose own are gone; from is empty afterwards. */
void secret_buffer_move(struct secret_buffer *to, struct secret_buffer *from);

#define cleanup_secret_buffer __attribute__((cleanup(secret_buffer_release)))

/* Appends the content of a file as file_read_secret() does, with its errors. */
int secret_buffer_read_file(const char *path, struct call *call, struct secret_buffer *ret_content);

#endif
