/*
 * A struct buffer (util/buffer.h) that is always in secret memory, as a type of its own: who wants a secret_buffer can't be
 * given ordinary memory, and nothing that was ever in it is left anywhere. What is cut, cleared or moved by growing is
 * overwritten at once.
 *
 * A secret_buffer has one owner, who releases it; it is not thread-safe. SECRET_BUFFER_INIT (or all zeros) is
 * an empty one. data is always followed by a NUL that size does not count; it is NULL only while nothing was
 * ever stored.
 *
 * Functions that may have to allocate return 0 or -ENOMEM (the cap of secret memory is reached, usually) and
 * leave the buffer as it was when they fail. Each does what the function of struct buffer with that name does.
 */
#ifndef NACOSFS_CRYPTO_SECRET_BUFFER_H
#define NACOSFS_CRYPTO_SECRET_BUFFER_H

#include <stddef.h>

#include "crypto/secret_memory.h"
#include "util/buffer.h"
#include "util/call.h"

struct secret_buffer {
	union {
		struct { /* as struct buffer begins */
			char *data;
			size_t size; /* bytes in use */
			size_t allocated;
		};
		struct buffer bytes; /* for the functions below */
	};
};

_Static_assert(offsetof(struct secret_buffer, data) == offsetof(struct buffer, data) &&
		       offsetof(struct secret_buffer, size) == offsetof(struct buffer, size) &&
		       offsetof(struct secret_buffer, allocated) == offsetof(struct buffer, allocated),
	       "a secret buffer must begin as a buffer");

#define SECRET_BUFFER_INIT { .data = NULL }

/* The same bytes as a buffer; also of one that is all zeros. */
static inline struct buffer *secret_buffer_bytes(struct secret_buffer *buffer)
{
	buffer->bytes.memory = &secret_memory;
	return &buffer->bytes;
}

static inline int secret_buffer_reserve(struct secret_buffer *buffer, size_t extra)
{
	return buffer_reserve(secret_buffer_bytes(buffer), extra);
}

static inline int secret_buffer_append(struct secret_buffer *buffer, const void *data, size_t size)
{
	return buffer_append(secret_buffer_bytes(buffer), data, size);
}

static inline int secret_buffer_append_text(struct secret_buffer *buffer, const char *text)
{
	return buffer_append_text(secret_buffer_bytes(buffer), text);
}

static inline int secret_buffer_append_byte(struct secret_buffer *buffer, char byte)
{
	return buffer_append_byte(secret_buffer_bytes(buffer), byte);
}

static inline int secret_buffer_resize(struct secret_buffer *buffer, size_t size)
{
	return buffer_resize(secret_buffer_bytes(buffer), size);
}

static inline void secret_buffer_clear(struct secret_buffer *buffer)
{
	buffer_clear(secret_buffer_bytes(buffer));
}

static inline void secret_buffer_release(struct secret_buffer *buffer)
{
	buffer_release(secret_buffer_bytes(buffer));
}

static inline void secret_buffer_move(struct secret_buffer *to, struct secret_buffer *from)
{
	buffer_move(secret_buffer_bytes(to), secret_buffer_bytes(from));
}

/* Moves the bytes into a buffer of another type, which is in secret memory then. from is empty afterwards. */
static inline void secret_buffer_hand_over(struct buffer *to, struct secret_buffer *from)
{
	buffer_move(to, secret_buffer_bytes(from));
}

#define cleanup_secret_buffer __attribute__((cleanup(secret_buffer_release)))

/* Appends the content of a file as file_read_secret() does, with its errors. */
int secret_buffer_read_file(const char *path, struct call *call, struct secret_buffer *ret_content);

#endif
