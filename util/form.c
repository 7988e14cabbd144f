#include "util/form.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Not isalnum(): what is safe must not depend on a locale. */
static bool byte_is_unreserved(unsigned char byte)
{
	return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
	       byte == '-' || byte == '_' || byte == '.' || byte == '~';
}

size_t form_encoded_size(const void *value, size_t size)
{
	const unsigned char *bytes = value;
	size_t encoded = 0;

	for (size_t i = 0; i < size; i++) {
		/* Saturates, so that a sum that includes it fails instead of wrapping (32-bit systems). */
		if (__builtin_add_overflow(encoded, byte_is_unreserved(bytes[i]) ? 1 : 3, &encoded))
			return SIZE_MAX;
	}
	return encoded;
}

/* The caller has reserved the room. */
static char *encode(char *out, const void *value, size_t size)
{
	static const char digits[] = "0123456789ABCDEF";
	const unsigned char *bytes = value;

	for (size_t i = 0; i < size; i++) {
		if (byte_is_unreserved(bytes[i])) {
			*out++ = (char)bytes[i];
		} else {
			*out++ = '%';
			*out++ = digits[bytes[i] >> 4];
			*out++ = digits[bytes[i] & 0xf];
		}
	}
	return out;
}

int form_append_bytes(struct buffer *form, const char *name, const void *value, size_t size)
{
	size_t name_size = strlen(name), extra;
	char *out;
	int error;

	if (__builtin_add_overflow(form_encoded_size(name, name_size), form_encoded_size(value, size), &extra) ||
	    __builtin_add_overflow(extra, 2, &extra)) /* '&' and '=' */
		return -ENOMEM;
	/* All the room first: a failure must not leave half a field. */
	error = buffer_reserve(form, extra);
	if (error)
		return error;

	out = form->data + form->size;
	if (form->size > 0)
		*out++ = '&';
	out = encode(out, name, name_size);
	*out++ = '=';
	out = encode(out, value, size);
	*out = '\0';
	form->size = (size_t)(out - form->data);
	return 0;
}

int form_append(struct buffer *form, const char *name, const char *value)
{
	return form_append_bytes(form, name, value, strlen(value));
}

int form_append_number(struct buffer *form, const char *name, long value)
{
	char digits[32]; /* enough for 64 bits and a sign */

	snprintf(digits, sizeof(digits), "%ld", value);
	return form_append(form, name, digits);
}
