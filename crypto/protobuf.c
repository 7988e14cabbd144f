#include "crypto/protobuf.h"

#include <errno.h>
#include <string.h>

#define VARINT_SIZE_MAX 10
#define FIELD_NUMBER_MAX ((1u << 29) - 1)

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED_64 = 1, WIRE_BYTES = 2, WIRE_FIXED_32 = 5 };

static int append_varint(struct secret_buffer *message, uint64_t value)
{
	char bytes[VARINT_SIZE_MAX];
	size_t size = 0;

	do {
		bytes[size++] = (char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
		value >>= 7;
	} while (value);
	return secret_buffer_append(message, bytes, size);
}

int protobuf_append_number(struct secret_buffer *message, uint32_t number, uint64_t value)
{
	size_t old_size = message->size;
	int error = append_varint(message, (uint64_t)number << 3 | WIRE_VARINT);

	if (!error)
		error = append_varint(message, value);
	if (error)
		(void)secret_buffer_resize(message, old_size);
	return error;
}

int protobuf_append_bytes(struct secret_buffer *message, uint32_t number, const void *data, size_t size)
{
	size_t old_size = message->size;
	int error = append_varint(message, (uint64_t)number << 3 | WIRE_BYTES);

	if (!error)
		error = append_varint(message, size);
	if (!error)
		error = secret_buffer_append(message, data, size);
	if (error)
		(void)secret_buffer_resize(message, old_size);
	return error;
}

int protobuf_append_text(struct secret_buffer *message, uint32_t number, const char *text)
{
	return protobuf_append_bytes(message, number, text, strlen(text));
}

static bool read_varint(struct protobuf_reader *reader, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < VARINT_SIZE_MAX && reader->at < reader->end; i++) {
		unsigned char byte = (unsigned char)*reader->at++;

		/* Of the tenth byte only one bit is left. */
		if (i == VARINT_SIZE_MAX - 1 && byte > 1)
			return false;
		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (!(byte & 0x80)) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

static bool skip(struct protobuf_reader *reader, uint64_t size)
{
	if (size > (uint64_t)(reader->end - reader->at))
		return false;
	reader->at += size;
	return true;
}

static bool read_bytes(struct protobuf_reader *reader, struct protobuf_field *field)
{
	uint64_t size;

	if (!read_varint(reader, &size))
		return false;
	field->is_bytes = true;
	field->data = reader->at;
	field->size = (size_t)size;
	return skip(reader, size);
}

int protobuf_next(struct protobuf_reader *reader, struct protobuf_field *ret_field)
{
	while (reader->at < reader->end) {
		struct protobuf_field field = { .is_bytes = false };
		uint64_t tag;
		bool read;

		if (!read_varint(reader, &tag) || tag >> 3 == 0 || tag >> 3 > FIELD_NUMBER_MAX)
			return -EBADMSG;
		field.number = (uint32_t)(tag >> 3);
		switch (tag & 7) {
		case WIRE_VARINT:
			read = read_varint(reader, &field.value);
			break;
		case WIRE_BYTES:
			read = read_bytes(reader, &field);
			break;
		case WIRE_FIXED_64:
		case WIRE_FIXED_32:
			if (!skip(reader, (tag & 7) == WIRE_FIXED_64 ? 8 : 4))
				return -EBADMSG;
			continue;
		default:
			return -EBADMSG;
		}
		if (!read)
			return -EBADMSG;
		*ret_field = field;
		return 1;
	}
	return 0;
}

int protobuf_find_bytes(const char *message, size_t size, uint32_t number, struct protobuf_field *ret_field)
{
	struct protobuf_reader reader = { message, message + size };
	struct protobuf_field field, found;
	int error = -ENOENT, got;

	/* To the end: a message that is torn behind the field is no message. */
	while ((got = protobuf_next(&reader, &field)) > 0) {
		if (field.number == number && field.is_bytes) {
			found = field;
			error = 0;
		}
	}
	if (got < 0)
		return got;
	if (!error)
		*ret_field = found;
	return error;
}
