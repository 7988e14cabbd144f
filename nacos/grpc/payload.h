/*
 * The messages of Nacos's gRPC, and their frames on a stream. Pure functions on bytes.
 *
 * Both RPCs of the service (nacos_grpc_service.proto, no package) carry one kind of message:
 *
 *	message Metadata { string type = 3; map<string, string> headers = 7; string clientIp = 8; }
 *	message Payload { Metadata metadata = 2; google.protobuf.Any body = 3; }
 *
 * of which the body is JSON (Any.value = 2; the type_url is left empty), and the type says which
 * Java class that JSON is. gRPC puts 5 bytes before each message: a flag (compressed) and the
 * length, big-endian.
 *
 * What comes from a server is taken for hostile: any bytes may come, and no length is believed
 * before the bytes are there.
 */
#ifndef NACOSFS_NACOS_GRPC_PAYLOAD_H
#define NACOSFS_NACOS_GRPC_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buffer.h"

#define NACOS_PAYLOAD_TYPE_SIZE 64
#define NACOS_FRAME_PREFIX_SIZE 5

/* Servers take no message larger than this, without the 5 bytes before it. */
#define NACOS_PAYLOAD_SENT_MAX ((size_t)10485760)

/*
 * Appends one entry of Metadata.headers, encoded, as nacos_payload_append() takes them. 0 or
 * -ENOMEM.
 */
int nacos_payload_add_header(struct buffer *headers, const char *name, const char *value);

struct nacos_payload_parts {
	const char *type;
	const struct buffer *headers; /* of nacos_payload_add_header(); NULL: none */
	const char *client_ip; /* NULL: none */
	const void *json;
	size_t json_size;
};

/* Appends a message with its 5 bytes before it. 0 or -ENOMEM. */
int nacos_payload_append(const struct nacos_payload_parts *parts, struct buffer *ret_frame);

struct nacos_payload {
	char type[NACOS_PAYLOAD_TYPE_SIZE]; /* "" when there is none, or one too long to be known */
	const char *json; /* inside of the message, not terminated; NULL when json_size is 0 */
	size_t json_size;
};

/*
 * Reads a message. What it does not know is passed over, of what comes twice the last is taken.
 * -EBADMSG when it is no protobuf.
 */
int nacos_payload_read(const void *message, size_t size, struct nacos_payload *ret_payload);

/* Cuts what comes on one stream into messages. All zeros but the limit is a fresh one. */
struct nacos_frames {
	size_t limit; /* of a message, in bytes */
	unsigned char prefix[NACOS_FRAME_PREFIX_SIZE];
	size_t prefix_size;
	size_t message_size; /* as the prefix says */
	struct buffer message; /* what has come of it */
	bool complete;
};

/*
 * Takes bytes, up to the end of a message: then complete is set, and the next call begins another
 * message (the caller may take the bytes of this one away with buffer_move()). ret_used is how many
 * bytes were taken, all of them unless a message is complete.
 *
 * -EMSGSIZE beyond the limit, -EBADMSG for a compressed message (none was offered), -ENOMEM; after
 * these the stream can't be made sense of.
 */
int nacos_frames_take(struct nacos_frames *frames, const void *data, size_t size, size_t *ret_used);

/* Are there bytes of a message that has not come to its end? */
bool nacos_frames_is_torn(const struct nacos_frames *frames);

void nacos_frames_release(struct nacos_frames *frames);

#endif
