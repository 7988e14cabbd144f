/*
 * One HTTP/2 connection of a client, and the streams on it. The only module that knows nghttp2.
 *
 * A connection is dialled once (by name: all addresses, one after the other), in plain text with
 * prior knowledge or under TLS, and used until it breaks: a broken one is freed and a new one made.
 * Streams are opened at any time, also before the connection is there; they wait for it, and for
 * the number of streams that the server allows at once.
 *
 *	h2_new -> { poll() as h2_prepare_poll() says, h2_process() } again and again -> h2_free
 *
 * Nothing here waits and nothing locks: a connection and its streams belong to one thread, which
 * must block or ignore SIGPIPE. What happens to a stream is told through its events, from inside of
 * h2_process() and h2_free(). An event may open, send on and cancel streams (any of them, its own
 * too), and nothing else. Every stream gets exactly one `ended`, unless it is cancelled before.
 */
#ifndef NACOSFS_UTIL_H2_H
#define NACOSFS_UTIL_H2_H

#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/tls.h"

struct h2;
struct h2_stream;

enum h2_state {
	H2_CONNECTING,
	H2_OPEN,
	H2_LEAVING, /* GOAWAY: what is under way may still end well, new streams can't be opened */
	H2_CLOSED, /* h2_process() failed */
};

struct h2_options {
	const char *host; /* a name or an address, IPv6 without brackets */
	unsigned port;
	const struct tls_options *tls; /* NULL: plain text */
	const char *user_agent;
	int64_t connect_timeout_ms; /* for the name, TCP and TLS together */
};

struct h2_header {
	const char *name; /* lower case */
	const char *value;
};

struct h2_request {
	const char *method;
	const char *path;
	const struct h2_header *headers;
	size_t header_count;
	/* Must stay as it is until the stream has ended or is cancelled. NULL: none. */
	const void *body;
	size_t body_size;
	bool goes_on; /* more of the body comes through h2_stream_send() */
};

/* How a stream ended. */
struct h2_end {
	/* 0: in order; -EIO: reset, or the connection is over; or what `data` returned. */
	int error;
	uint32_t code; /* of HTTP/2, when it was reset */
	bool unprocessed; /* the server has certainly not acted on the request */
};

/* What happens to a stream. arg is that of h2_stream_open(). */
struct h2_stream_events {
	/*
	 * Each header of the answer, ":status" first, and each trailer. Text without control
	 * characters.
	 */
	void (*header)(void *arg, const char *name, const char *value);
	/* Some bytes of the body. Anything but 0 resets the stream, and `ended` tells it. */
	int (*data)(void *arg, const void *data, size_t size);
	/* The last event; the stream is no more. */
	void (*ended)(void *arg, const struct h2_end *end);
};

/* Begins to connect; options are copied, but what tls points to must outlive the connection. */
int h2_new(const struct h2_options *options, struct call *call, struct h2 **ret_h2);

/* Ends all streams (-EIO) and closes. */
void h2_free(struct h2 *h2);

/* What to poll for, and the moment at which to call h2_process() even if that does not happen. */
void h2_prepare_poll(const struct h2 *h2, struct pollfd *ret_poll, int64_t *ret_deadline_ms);

/*
 * Does what can be done now. 0, or the connection is over and must be freed:
 *
 * -EHOSTUNREACH, -ETIMEDOUT  no connection within its time
 * -ECONNABORTED  TLS, as util/tls.h says
 * -EPROTO        the server does not speak HTTP/2
 * -EIO           the connection broke, or the server closed it (before it spoke any HTTP/2, too)
 * -ENOMEM
 *
 * The reason is in the call, whose deadline is of no concern here.
 */
int h2_process(struct h2 *h2, struct call *call);

enum h2_state h2_get_state(const struct h2 *h2);

/* When something last came from the server, on the monotonic clock; 0: never. For keep-alives. */
int64_t h2_last_heard_ms(const struct h2 *h2);

/* Has everything been handed to the system that was to be sent? */
bool h2_is_flushed(const struct h2 *h2);

/* Would one more stream be sent at once, as far as the number of streams goes? */
bool h2_has_room(const struct h2 *h2);

/* The address of this end as text, "" while there is none. */
void h2_get_local_address(const struct h2 *h2, char ret_address[INET6_ADDRSTRLEN]);

/* 0, -EIO when the connection takes no new streams, or -ENOMEM. No event before this returns. */
int h2_stream_open(struct h2 *h2, const struct h2_request *request,
		   const struct h2_stream_events *events, void *arg, struct h2_stream **ret_stream);

/* Sends a copy of some more of the body, on a stream that was opened with goes_on. 0 or -ENOMEM. */
int h2_stream_send(struct h2_stream *stream, const void *data, size_t size);

/* How many bytes of the body wait to be sent, because the server does not take them. */
size_t h2_stream_unsent(const struct h2_stream *stream);

/* Resets the stream: no event comes any more, and the stream is no more. */
void h2_stream_cancel(struct h2_stream *stream);

#endif
