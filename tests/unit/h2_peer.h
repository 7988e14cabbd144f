/*
 * The other end of an HTTP/2 connection, byte by byte: what the tests of clients script. It knows
 * frames, and as much of HPACK as it takes to write headers; what the client's headers are it does
 * not look at.
 */
#ifndef NACOSFS_TESTS_UNIT_H2_PEER_H
#define NACOSFS_TESTS_UNIT_H2_PEER_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/buffer.h"

#define PEER_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define PEER_PREFACE_SIZE 24

enum peer_frame_type {
	PEER_DATA = 0,
	PEER_HEADERS = 1,
	PEER_RST_STREAM = 3,
	PEER_SETTINGS = 4,
	PEER_PING = 6,
	PEER_GOAWAY = 7,
	PEER_WINDOW_UPDATE = 8,
};

#define PEER_END_STREAM 1
#define PEER_ACK 1
#define PEER_END_HEADERS 4

/* HPACK of ":status: 200", and of trailers that say that a gRPC call went well. */
#define PEER_STATUS_200 "\x88"
#define PEER_GRPC_OK "\x00\x0bgrpc-status\x01\x30"

struct peer_frame {
	enum peer_frame_type type;
	unsigned flags;
	uint32_t stream;
	struct buffer payload;
};

struct peer {
	int descriptor;
	bool greeted; /* the preface has come */
	struct buffer input;
};

__attribute__((unused)) static int peer_listen(unsigned *ret_port)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(listener, 16) || getsockname(listener, (struct sockaddr *)&address, &size))
		return -1;
	*ret_port = ntohs(address.sin_port);
	return listener;
}

/* Takes the next client, with its frames sent one by one. */
__attribute__((unused)) static bool peer_accept(struct peer *peer, int listener)
{
	int one = 1;

	*peer = (struct peer){ .descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC) };
	if (peer->descriptor < 0)
		return false;
	setsockopt(peer->descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return true;
}

/* All or nothing: a client that is gone is no failure. */
__attribute__((unused)) static void peer_write(const struct peer *peer, const void *data,
					       size_t size)
{
	while (size > 0) {
		ssize_t count = send(peer->descriptor, data, size, MSG_NOSIGNAL);

		if (count <= 0)
			return;
		data = (const char *)data + count;
		size -= (size_t)count;
	}
}

__attribute__((unused)) static void peer_add_frame(struct buffer *output, enum peer_frame_type type,
						   unsigned flags, uint32_t stream,
						   const void *payload, size_t size)
{
	const char head[9] = {
		(char)(size >> 16),   (char)(size >> 8),   (char)size,
		(char)type,	      (char)flags,	   (char)(stream >> 24),
		(char)(stream >> 16), (char)(stream >> 8), (char)stream,
	};

	if (buffer_append(output, head, sizeof(head)) || buffer_append(output, payload, size))
		_exit(2);
}

__attribute__((unused)) static void peer_send(const struct peer *peer, enum peer_frame_type type,
					      unsigned flags, uint32_t stream, const void *payload,
					      size_t size)
{
	struct buffer output = BUFFER_INIT;

	peer_add_frame(&output, type, flags, stream, payload, size);
	peer_write(peer, output.data, output.size);
	buffer_release(&output);
}

/* A payload of one 32-bit number: RST_STREAM's code, WINDOW_UPDATE's increment. */
__attribute__((unused)) static void peer_send_number(const struct peer *peer,
						     enum peer_frame_type type, uint32_t stream,
						     uint32_t number)
{
	uint32_t payload = htonl(number);

	peer_send(peer, type, 0, stream, &payload, sizeof(payload));
}

__attribute__((unused)) static void peer_send_goaway(const struct peer *peer, uint32_t last_stream)
{
	uint32_t payload[2] = { htonl(last_stream), 0 };

	peer_send(peer, PEER_GOAWAY, 0, 0, payload, sizeof(payload));
}

/* The frame at the beginning of the input. False when it is not all there. */
__attribute__((unused)) static bool peer_take_frame(struct peer *peer, struct peer_frame *ret_frame)
{
	const unsigned char *head = (const unsigned char *)peer->input.data;
	size_t skip = peer->greeted ? 0 : PEER_PREFACE_SIZE, size;
	struct buffer rest = BUFFER_INIT;

	if (peer->input.size < skip + 9)
		return false;
	head += skip;
	size = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
	if (peer->input.size < skip + 9 + size)
		return false;
	ret_frame->type = head[3];
	ret_frame->flags = head[4];
	ret_frame->stream = (uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 |
			    (uint32_t)head[7] << 8 | head[8];
	buffer_clear(&ret_frame->payload);
	if (buffer_append(&ret_frame->payload, head + 9, size) ||
	    buffer_append(&rest, head + 9 + size, peer->input.size - skip - 9 - size))
		_exit(2);
	buffer_move(&peer->input, &rest);
	peer->greeted = true;
	return true;
}

/* Reads what is there, waiting for it so long. False when the client hung up. */
__attribute__((unused)) static bool peer_read(struct peer *peer, int timeout_ms)
{
	struct pollfd poll_one = { .fd = peer->descriptor, .events = POLLIN };
	char data[65536];
	ssize_t count;

	if (poll(&poll_one, 1, timeout_ms) <= 0)
		return true;
	count = recv(peer->descriptor, data, sizeof(data), MSG_DONTWAIT);
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (count <= 0)
		return false;
	if (buffer_append(&peer->input, data, (size_t)count))
		_exit(2);
	return true;
}

__attribute__((unused)) static void peer_close(struct peer *peer)
{
	if (peer->descriptor >= 0)
		close(peer->descriptor);
	buffer_release(&peer->input);
	*peer = (struct peer){ .descriptor = -1 };
}

#endif
