#include "util/buffer.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST_ALLOCATION 64

static void free_data(struct buffer *buffer)
{
	if (buffer->memory && buffer->data)
		buffer->memory->release(buffer->data);
	else
		free(buffer->data);
}

/* Of a secret, nothing stays behind the end. */
static void wipe_tail(struct buffer *buffer, size_t size)
{
	if (buffer->memory && size < buffer->size)
		explicit_bzero(buffer->data + size, buffer->size - size);
}

/* Not realloc(): that would leave a copy of what may be a secret in freed memory, where no wipe reaches it. */
static char *grow(struct buffer *buffer, size_t allocated)
{
	if (buffer->memory)
		return buffer->memory->resize(buffer->data, allocated);
	char *data = malloc(allocated);
	if (data && buffer->data) {
		memcpy(data, buffer->data, buffer->size);
		explicit_bzero(buffer->data, buffer->allocated);
		free(buffer->data);
	}
	return data;
}

int buffer_reserve(struct buffer *buffer, size_t extra)
{
	size_t needed, allocated;
	char *data;

	if (__builtin_add_overflow(buffer->size, extra, &needed) ||
	    __builtin_add_overflow(needed, 1, &needed) || needed > PTRDIFF_MAX)
		return -ENOMEM;
	if (needed <= buffer->allocated)
		return 0;

	/* Half as much again each time, so that n appended bytes cost O(n). Can't wrap: allocated <= PTRDIFF_MAX. */
	allocated = buffer->allocated + buffer->allocated / 2;
	if (allocated > PTRDIFF_MAX)
		allocated = PTRDIFF_MAX;
	if (allocated < SMALLEST_ALLOCATION)
		allocated = SMALLEST_ALLOCATION;
	if (allocated < needed)
		allocated = needed;

	/* When that is too much, what is needed. */
	data = grow(buffer, allocated);
	if (!data && allocated > needed) {
		allocated = needed;
		data = grow(buffer, allocated);
	}
	if (!data)
		return -ENOMEM;
	data[buffer->size] = '\0';
	buffer->data = data;
	buffer->allocated = allocated;
	return 0;
}

int buffer_append(struct buffer *buffer, const void *data, size_t size)
{
	int error = buffer_reserve(buffer, size);

	if (error)
		return error;
	if (size > 0) /* memcpy() must not see the NULL that may come with nothing */
		memcpy(buffer->data + buffer->size, data, size);
	buffer->size += size;
	buffer->data[buffer->size] = '\0';
	return 0;
}

int buffer_append_text(struct buffer *buffer, const char *text)
{
	return buffer_append(buffer, text, strlen(text));
}

int buffer_append_byte(struct buffer *buffer, char byte)
{
	return buffer_append(buffer, &byte, 1);
}

int buffer_append_format(struct buffer *buffer, const char *format, ...)
{
	va_list arguments;
	int length, written, error;

	va_start(arguments, format);
	length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (length < 0) /* more than INT_MAX bytes, or no memory */
		return -ENOMEM;
	error = buffer_reserve(buffer, (size_t)length);
	if (error)
		return error;

	va_start(arguments, format);
	written = vsnprintf(buffer->data + buffer->size, (size_t)length + 1, format, arguments);
	va_end(arguments);
	if (written != length) {
		buffer->data[buffer->size] = '\0';
		return -ENOMEM;
	}
	buffer->size += (size_t)length;
	return 0;
}

int buffer_write(struct buffer *buffer, const void *data, size_t size, size_t offset)
{
	size_t end;

	if (size == 0) /* as pwrite(): nothing to write does not make it longer */
		return 0;
	if (__builtin_add_overflow(offset, size, &end))
		return -ENOMEM;
	if (end > buffer->size) {
		size_t old_size = buffer->size;
		int error = buffer_reserve(buffer, end - old_size);

		if (error)
			return error;
		if (offset > old_size)
			memset(buffer->data + old_size, 0, offset - old_size);
		buffer->size = end;
		buffer->data[end] = '\0';
	}
	memcpy(buffer->data + offset, data, size);
	return 0;
}

int buffer_resize(struct buffer *buffer, size_t size)
{
	if (size > buffer->size) {
		int error = buffer_reserve(buffer, size - buffer->size);

		if (error)
			return error;
		memset(buffer->data + buffer->size, 0, size - buffer->size);
	}
	wipe_tail(buffer, size);
	buffer->size = size;
	if (buffer->data)
		buffer->data[size] = '\0';
	return 0;
}

void buffer_clear(struct buffer *buffer)
{
	wipe_tail(buffer, 0);
	buffer->size = 0;
	if (buffer->data)
		buffer->data[0] = '\0';
}

void buffer_release(struct buffer *buffer)
{
	free_data(buffer);
	*buffer = (struct buffer)BUFFER_INIT_IN(buffer->memory);
}

void buffer_wipe(struct buffer *buffer)
{
	if (buffer->data)
		explicit_bzero(buffer->data, buffer->allocated);
	buffer_release(buffer);
}

void buffer_move(struct buffer *to, struct buffer *from)
{
	/* Empty may still own memory, which buffer_clear() keeps, bytes and all. */
	buffer_wipe(to);
	*to = *from;
	*from = (struct buffer)BUFFER_INIT_IN(from->memory);
}
