#include "crypto/secret_buffer.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "crypto/secret.h"
#include "util/buffer.h"
#include "util/file.h"

#define SMALLEST_ALLOCATION 64

int secret_buffer_reserve(struct secret_buffer *buffer, size_t extra)
{
	size_t needed, allocated;
	char *data;

	if (__builtin_add_overflow(buffer->size, extra, &needed) || __builtin_add_overflow(needed, 1, &needed) ||
	    needed > PTRDIFF_MAX)
		return -ENOMEM;
	if (needed <= buffer->allocated)
		return 0;

	/*
	 * Half as much again each time, so that n appended bytes cost O(n); when that is too much, what is
	 * needed.
	 */
	allocated = buffer->allocated + buffer->allocated / 2;
	if (allocated < SMALLEST_ALLOCATION)
		allocated = SMALLEST_ALLOCATION;
	if (allocated < needed)
		allocated = needed;
	data = secret_realloc(buffer->data, allocated);
	if (!data && allocated > needed) {
		allocated = needed;
		data = secret_realloc(buffer->data, allocated);
	}
	if (!data)
		return -ENOMEM;
	data[buffer->size] = '\0';
	buffer->data = data;
	buffer->allocated = allocated;
	return 0;
}

int secret_buffer_append(struct secret_buffer *buffer, const void *data, size_t size)
{
	int error = secret_buffer_reserve(buffer, size);

	if (error)
		return error;
	if (size > 0) /* memcpy() must not see the NULL that may come with nothing */
		memcpy(buffer->data + buffer->size, data, size);
	buffer->size += size;
	buffer->data[buffer->size] = '\0';
	return 0;
}

int secret_buffer_append_text(struct secret_buffer *buffer, const char *text)
{
	return secret_buffer_append(buffer, text, strlen(text));
}

int secret_buffer_append_byte(struct secret_buffer *buffer, char byte)
{
	return secret_buffer_append(buffer, &byte, 1);
}

int secret_buffer_write(struct secret_buffer *buffer, const void *data, size_t size, size_t offset)
{
	size_t end;

	if (size == 0) /* as pwrite(): nothing to write does not make it longer */
		return 0;
	if (__builtin_add_overflow(offset, size, &end))
		return -ENOMEM;
	if (end > buffer->size) {
		int error = secret_buffer_resize(buffer, end);

		if (error)
			return error;
	}
	memcpy(buffer->data + offset, data, size);
	return 0;
}

int secret_buffer_resize(struct secret_buffer *buffer, size_t size)
{
	if (size > buffer->size) {
		int error = secret_buffer_reserve(buffer, size - buffer->size);

		if (error)
			return error;
		memset(buffer->data + buffer->size, 0, size - buffer->size);
	} else if (size < buffer->size) {
		explicit_bzero(buffer->data + size, buffer->size - size);
	}
	buffer->size = size;
	if (buffer->data)
		buffer->data[size] = '\0';
	return 0;
}

void secret_buffer_clear(struct secret_buffer *buffer)
{
	(void)secret_buffer_resize(buffer, 0);
}

void secret_buffer_release(struct secret_buffer *buffer)
{
	secret_free(buffer->data);
	*buffer = (struct secret_buffer)SECRET_BUFFER_INIT;
}

void secret_buffer_move(struct secret_buffer *to, struct secret_buffer *from)
{
	secret_buffer_release(to);
	*to = *from;
	*from = (struct secret_buffer)SECRET_BUFFER_INIT;
}

int secret_buffer_read_file(const char *path, struct call *call, struct secret_buffer *ret_content)
{
	/* Through ordinary memory, for as long as it takes to read and wipe it. */
	cleanup_buffer_wipe struct buffer content = BUFFER_INIT;
	int error = file_read_secret(path, call, &content);

	if (error)
		return error;
	if (secret_buffer_append(ret_content, content.data, content.size))
		return call_fail(call, -ENOMEM, "%s: no room in the memory for secrets", path);
	return 0;
}
