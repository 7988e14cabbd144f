/*
 * As much of protobuf's wire format as the messages of a key service need: fields that are numbers or bytes, in
 * flat messages. Messages are written to secret memory, because they carry what is to be encrypted.
 *
 * Reading takes any bytes: what is no message is refused. Fields of the fixed-size wire types are passed over,
 * groups, which no such message has, are refused.
 */
#ifndef NACOSFS_CRYPTO_PROTOBUF_H
#define NACOSFS_CRYPTO_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/secret_buffer.h"

/* Append a field. 0 or -ENOMEM. */
int protobuf_append_number(struct secret_buffer *message, uint32_t number, uint64_t value);
int protobuf_append_bytes(struct secret_buffer *message, uint32_t number, const void *data, size_t size);
int protobuf_append_text(struct secret_buffer *message, uint32_t number, const char *text);

struct protobuf_field {
	uint32_t number;
	bool is_bytes;
	uint64_t value; /* of a number */
	const char *data; /* of bytes: points into the message */
	size_t size;
};

/* What is left to read of a message, which stays the caller's. */
struct protobuf_reader {
	const char *at, *end;
};

/* Reads one field. 1: there was one, 0: the message is over, -EBADMSG: this is no message. */
int protobuf_next(struct protobuf_reader *reader, struct protobuf_field *ret_field);

/* The last field of that number that is bytes, as protobuf has it. 0, -ENOENT when there is none, or -EBADMSG. */
int protobuf_find_bytes(const char *message, size_t size, uint32_t number, struct protobuf_field *ret_field);

#endif
