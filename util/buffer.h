/*
 * Bytes that grow. A buffer owns its memory; BUFFER_INIT (or all zeros) is an empty one. data is always followed by a
 * NUL that size does not count, so that text can be used as a C string; it is NULL only while nothing was ever stored.
 *
 * A buffer that is to hold a secret gets its memory from elsewhere (struct buffer_memory), and then nothing that was ever
 * in it is left anywhere: what is cut, cleared, released or moved by growing is overwritten at once.
 *
 * Functions that may have to allocate return 0 or -ENOMEM and leave the buffer as it was when they fail.
 * Not thread-safe: a buffer has one owner.
 */
#ifndef NACOSFS_UTIL_BUFFER_H
#define NACOSFS_UTIL_BUFFER_H

#include <stdarg.h>
#include <stddef.h>

/* Where the bytes of a buffer come from, instead of malloc(). Both wipe what they leave. */
struct buffer_memory {
	void *(*resize)(void *data, size_t size); /* as realloc(): may move; NULL: no room, data is as it was */
	void (*release)(void *data);
};

struct buffer {
	char *data;
	size_t size; /* bytes in use */
	size_t allocated;
	const struct buffer_memory *memory; /* NULL: malloc(); set it while the buffer is empty */
};

#define BUFFER_INIT { NULL, 0, 0, NULL }
#define BUFFER_INIT_IN(memory) { NULL, 0, 0, (memory) }

/* Makes room for extra more bytes behind those in use, plus the NUL. */
int buffer_reserve(struct buffer *buffer, size_t extra);

int buffer_append(struct buffer *buffer, const void *data, size_t size);
int buffer_append_text(struct buffer *buffer, const char *text);
int buffer_append_byte(struct buffer *buffer, char byte);
int buffer_append_format(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes size bytes at offset; what lies between the old end and offset becomes zero. */
int buffer_write(struct buffer *buffer, const void *data, size_t size, size_t offset);

/* Cuts, or grows with zero bytes, to size. */
int buffer_resize(struct buffer *buffer, size_t size);

/* Forgets the bytes, keeps the memory. */
void buffer_clear(struct buffer *buffer);

/* Frees the memory; the buffer is empty afterwards and can be used again, with memory of the same kind. */
void buffer_release(struct buffer *buffer);

/* As buffer_release(), after overwriting all that was allocated: for what held a secret. */
void buffer_wipe(struct buffer *buffer);

/* Moves the bytes of from to the buffer to, with the kind of memory that they are in; from is empty afterwards. */
void buffer_move(struct buffer *to, struct buffer *from);

#define cleanup_buffer __attribute__((cleanup(buffer_release)))
#define cleanup_buffer_wipe __attribute__((cleanup(buffer_wipe)))

#endif
