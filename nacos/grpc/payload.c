#include "nacos/grpc/payload.h"

#include <errno.h>
#include <string.h>

/* Field numbers: see the header. */
#define PAYLOAD_METADATA 2
#define PAYLOAD_BODY 3
#define METADATA_TYPE 3
#define METADATA_HEADERS 7
#define METADATA_CLIENT_IP 8
#define ENTRY_KEY 1
#define ENTRY_VALUE 2
#define ANY_VALUE 2

enum wire_type {
	WIRE_NUMBER = 0,
	WIRE_EIGHT_BYTES = 1,
	WIRE_BYTES = 2,
	WIRE_FOUR_BYTES = 5,
};

/* A number takes 7 bits a byte. */
#define NUMBER_SIZE_MAX 10

/* So much of a message is made room for on the word of its prefix; the rest as it comes. */
#define TRUSTED_SIZE ((size_t)1 << 20)

/* ---- writing ---- */

static size_t number_size(uint64_t number)
{
	size_t size = 1;

	while (number >>= 7)
		size++;
	return size;
}

static int append_number(struct buffer *message, uint64_t number)
{
	char bytes[NUMBER_SIZE_MAX];
	size_t size = 0;

	for (; number >= 0x80; number >>= 7)
		bytes[size++] = (char)(number | 0x80);
	bytes[size++] = (char)number;
	return buffer_append(message, bytes, size);
}

/* A field of bytes begins with its number and the size of what follows. */
static int append_head(struct buffer *message, unsigned field, size_t size)
{
	int error = append_number(message, field << 3 | WIRE_BYTES);

	return error ? error : append_number(message, size);
}

static int append_field(struct buffer *message, unsigned field, const void *data, size_t size)
{
	int error = append_head(message, field, size);

	return error ? error : buffer_append(message, data, size);
}

/* The size of a whole field; numbers up to 15 take one byte. */
static size_t field_size(size_t size)
{
	return 1 + number_size(size) + size;
}

int nacos_payload_add_header(struct buffer *headers, const char *name, const char *value)
{
	size_t name_size = strlen(name), value_size = strlen(value);
	size_t old_size = headers->size;
	int error = append_head(headers, METADATA_HEADERS,
				field_size(name_size) + field_size(value_size));

	if (!error)
		error = append_field(headers, ENTRY_KEY, name, name_size);
	if (!error)
		error = append_field(headers, ENTRY_VALUE, value, value_size);
	if (error)
		buffer_resize(headers, old_size);
	return error;
}

static int append_metadata(const struct nacos_payload_parts *parts, size_t size,
			   struct buffer *message)
{
	int error = append_head(message, PAYLOAD_METADATA, size);

	if (!error)
		error = append_field(message, METADATA_TYPE, parts->type, strlen(parts->type));
	if (!error && parts->headers)
		error = buffer_append(message, parts->headers->data, parts->headers->size);
	if (!error && parts->client_ip)
		error = append_field(message, METADATA_CLIENT_IP, parts->client_ip,
				     strlen(parts->client_ip));
	return error;
}

int nacos_payload_append(const struct nacos_payload_parts *parts, struct buffer *ret_frame)
{
	size_t metadata_size = field_size(strlen(parts->type)), size, old_size = ret_frame->size;
	size_t any_size = field_size(parts->json_size);
	char prefix[NACOS_FRAME_PREFIX_SIZE];
	int error;

	if (parts->headers)
		metadata_size += parts->headers->size;
	if (parts->client_ip)
		metadata_size += field_size(strlen(parts->client_ip));
	size = field_size(metadata_size) + field_size(any_size);
	if (size > UINT32_MAX)
		return -ENOMEM;
	prefix[0] = 0;
	for (size_t i = 1; i < sizeof(prefix); i++)
		prefix[i] = (char)(size >> (8 * (sizeof(prefix) - 1 - i)));

	error = buffer_reserve(ret_frame, sizeof(prefix) + size);
	if (!error)
		error = buffer_append(ret_frame, prefix, sizeof(prefix));
	if (!error)
		error = append_metadata(parts, metadata_size, ret_frame);
	if (!error)
		error = append_head(ret_frame, PAYLOAD_BODY, any_size);
	if (!error)
		error = append_field(ret_frame, ANY_VALUE, parts->json, parts->json_size);
	if (error)
		buffer_resize(ret_frame, old_size);
	return error;
}

/* ---- reading ---- */

struct cursor {
	const unsigned char *next, *end;
};

static int read_number(struct cursor *cursor, uint64_t *ret_number)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < NUMBER_SIZE_MAX && cursor->next < cursor->end; i++) {
		unsigned char byte = *cursor->next++;

		number |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (!(byte & 0x80)) {
			*ret_number = number;
			return 0;
		}
	}
	return -EBADMSG;
}

static int skip(struct cursor *cursor, uint64_t size)
{
	if (size > (uint64_t)(cursor->end - cursor->next))
		return -EBADMSG;
	cursor->next += size;
	return 0;
}

/*
 * Reads one field. ret_bytes is what is in it when it is one of bytes; of any other ret_field is 0,
 * which no field has. Groups, which protobuf gave up before Nacos was made, are not taken.
 */
static int read_field(struct cursor *cursor, uint64_t *ret_field, struct cursor *ret_bytes)
{
	uint64_t head, size;
	int error = read_number(cursor, &head);

	if (error || head >> 3 == 0)
		return -EBADMSG;
	*ret_field = 0;
	switch (head & 7) {
	case WIRE_NUMBER:
		return read_number(cursor, &size);
	case WIRE_EIGHT_BYTES:
		return skip(cursor, 8);
	case WIRE_FOUR_BYTES:
		return skip(cursor, 4);
	case WIRE_BYTES:
		error = read_number(cursor, &size);
		ret_bytes->next = cursor->next;
		if (!error)
			error = skip(cursor, size);
		ret_bytes->end = cursor->next;
		*ret_field = head >> 3;
		return error;
	}
	return -EBADMSG;
}

static int read_metadata(struct cursor metadata, struct nacos_payload *payload)
{
	while (metadata.next < metadata.end) {
		struct cursor bytes;
		uint64_t field;
		size_t size;
		int error = read_field(&metadata, &field, &bytes);

		if (error)
			return error;
		if (field != METADATA_TYPE)
			continue;
		size = (size_t)(bytes.end - bytes.next);
		if (size >= sizeof(payload->type) || memchr(bytes.next, '\0', size))
			size = 0;
		memcpy(payload->type, bytes.next, size);
		payload->type[size] = '\0';
	}
	return 0;
}

static int read_any(struct cursor any, struct nacos_payload *payload)
{
	while (any.next < any.end) {
		struct cursor bytes;
		uint64_t field;
		int error = read_field(&any, &field, &bytes);

		if (error)
			return error;
		if (field != ANY_VALUE)
			continue;
		payload->json_size = (size_t)(bytes.end - bytes.next);
		payload->json = payload->json_size > 0 ? (const char *)bytes.next : NULL;
	}
	return 0;
}

int nacos_payload_read(const void *message, size_t size, struct nacos_payload *ret_payload)
{
	struct cursor cursor = { .next = message };
	struct nacos_payload payload = { .json = NULL };

	if (size > 0)
		cursor.end = cursor.next + size;
	while (size > 0 && cursor.next < cursor.end) {
		struct cursor bytes;
		uint64_t field;
		int error = read_field(&cursor, &field, &bytes);

		if (!error && field == PAYLOAD_METADATA)
			error = read_metadata(bytes, &payload);
		else if (!error && field == PAYLOAD_BODY)
			error = read_any(bytes, &payload);
		if (error)
			return error;
	}
	*ret_payload = payload;
	return 0;
}

/* ---- frames ---- */

/* The prefix is there: what does it announce? */
static int read_prefix(struct nacos_frames *frames)
{
	size_t size = 0;

	if (frames->prefix[0] != 0)
		return -EBADMSG;
	for (size_t i = 1; i < NACOS_FRAME_PREFIX_SIZE; i++)
		size = size << 8 | frames->prefix[i];
	if (size > frames->limit)
		return -EMSGSIZE;
	frames->message_size = size;
	return buffer_reserve(&frames->message, size < TRUSTED_SIZE ? size : TRUSTED_SIZE);
}

int nacos_frames_take(struct nacos_frames *frames, const void *data, size_t size, size_t *ret_used)
{
	size_t used, missing;
	int error;

	if (frames->complete) {
		frames->complete = false;
		frames->prefix_size = 0;
		buffer_clear(&frames->message);
	}
	missing = NACOS_FRAME_PREFIX_SIZE - frames->prefix_size;
	used = size < missing ? size : missing;
	if (used > 0)
		memcpy(frames->prefix + frames->prefix_size, data, used);
	frames->prefix_size += used;
	*ret_used = used;
	if (frames->prefix_size < NACOS_FRAME_PREFIX_SIZE)
		return 0;
	/* Just complete, or seen before: then nothing is missing. */
	if (missing > 0) {
		error = read_prefix(frames);
		if (error)
			return error;
	}
	missing = frames->message_size - frames->message.size;
	if (missing > size - used)
		missing = size - used;
	error = buffer_append(&frames->message, (const char *)data + used, missing);
	if (error)
		return error;
	*ret_used += missing;
	frames->complete = frames->message.size == frames->message_size;
	return 0;
}

bool nacos_frames_is_torn(const struct nacos_frames *frames)
{
	return !frames->complete && frames->prefix_size > 0;
}

void nacos_frames_release(struct nacos_frames *frames)
{
	buffer_wipe(&frames->message);
}
