#include "util/h2.h"

#include <arpa/inet.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/buffer.h"
#include "util/clock.h"
#include "util/cleanup.h"
#include "util/h2_dial.h"

/*
 * How far the server may run ahead of us, per stream and on the whole. All that comes is taken at
 * once and counted by the layer above, so this only has to be large enough not to slow down a
 * content of 10 MiB.
 */
#define STREAM_WINDOW_SIZE (8 << 20)
#define CONNECTION_WINDOW_SIZE (32 << 20)

#define READ_SIZE 65536
/* So that one connection does not read for ever while others, and what it should send, wait. */
#define READS_AT_ONCE 64
#define WRITE_SIZE (256 * 1024)

#define HEADERS_MAX 16
#define HOST_SIZE 300 /* "[", a name of 255 bytes, "]:65535" */

struct h2_stream {
	struct h2_stream *next, **link; /* link points to what points to this one */
	struct h2 *h2;
	int32_t id;
	struct h2_stream_events events;
	void *arg;
	bool sent; /* the request has been handed to the connection */
	bool finished; /* all of the body has been */
	int failure; /* what `data` returned */

	/* What is to be sent: the body of the request first, then what h2_stream_send() added. */
	const char *body;
	size_t body_left;
	bool goes_on;
	bool deferred; /* nghttp2 waits for h2_stream_send() */
	struct buffer more;
	size_t more_sent;
};

struct h2 {
	enum h2_state state;
	char *host;
	unsigned port;
	char *user_agent;
	bool has_tls;
	struct tls_options tls_options;
	struct call connecting; /* the deadline of it */

	struct h2_dial *dial; /* until there is a socket */
	int descriptor;
	struct tls *tls;
	bool handshaken; /* or there is nothing to shake hands about */
	bool settled; /* the server has sent its settings, as HTTP/2 begins */
	bool ended; /* the server has closed its side */
	bool unread; /* there may be more to read than what was read last */
	int64_t last_heard_ms;
	int complaint; /* of nghttp2, about what the server sent; 0: none */

	nghttp2_session *session;
	struct h2_stream *streams;
	size_t stream_count;
	struct buffer output;
	size_t output_sent;
};

/* ---- streams ---- */

static void stream_free(struct h2_stream *stream)
{
	*stream->link = stream->next;
	if (stream->next)
		stream->next->link = stream->link;
	stream->h2->stream_count--;
	buffer_wipe(&stream->more);
	free(stream);
}

static void stream_end(struct h2_stream *stream, int error, uint32_t code, bool unprocessed)
{
	struct h2_end end = {
		.error = stream->failure ? stream->failure : error,
		.code = code,
		.unprocessed = unprocessed || !stream->sent,
	};
	void (*ended)(void *arg, const struct h2_end *end) = stream->events.ended;
	void *arg = stream->arg;

	stream_free(stream);
	ended(arg, &end);
}

/* nghttp2 wants the next part of a request's body. */
static ssize_t on_read_body(nghttp2_session *session, int32_t id, uint8_t *data, size_t size,
			    uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	/*
	 * Not through the source: a cancelled stream is freed while nghttp2 may still ask for it.
	 */
	struct h2_stream *stream = nghttp2_session_get_stream_user_data(session, id);
	size_t part, rest;

	(void)source;
	(void)arg;
	if (!stream)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	part = stream->body_left < size ? stream->body_left : size;
	/* There may be none: NULL, of which not even + 0 is defined. */
	if (part > 0) {
		memcpy(data, stream->body, part);
		stream->body += part;
		stream->body_left -= part;
	}

	rest = stream->more.size - stream->more_sent;
	if (rest > size - part)
		rest = size - part;
	if (rest > 0)
		memcpy(data + part, stream->more.data + stream->more_sent, rest);
	stream->more_sent += rest;
	if (stream->more_sent == stream->more.size) {
		buffer_clear(&stream->more);
		stream->more_sent = 0;
		if (stream->body_left == 0 && !stream->goes_on) {
			stream->finished = true;
			*flags |= NGHTTP2_DATA_FLAG_EOF;
		}
	}
	if (part + rest == 0 && stream->goes_on) {
		stream->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)(part + rest);
}

/* The headers that HTTP/2 itself wants, then those of the request. Returns how many. */
static size_t make_headers(const struct h2 *h2, const struct h2_request *request,
			   const char *authority, nghttp2_nv ret_headers[HEADERS_MAX])
{
	const struct h2_header own[] = {
		{ ":method", request->method },	  { ":scheme", h2->has_tls ? "https" : "http" },
		{ ":authority", authority },	  { ":path", request->path },
		{ "user-agent", h2->user_agent },
	};
	size_t own_count = sizeof(own) / sizeof(own[0]), count = 0;

	for (size_t i = 0; i < own_count + request->header_count && count < HEADERS_MAX; i++) {
		const struct h2_header *header =
			i < own_count ? &own[i] : &request->headers[i - own_count];

		ret_headers[count++] = (nghttp2_nv){
			.name = (uint8_t *)(uintptr_t)header->name,
			.value = (uint8_t *)(uintptr_t)header->value,
			.namelen = strlen(header->name),
			.valuelen = strlen(header->value),
		};
	}
	return count;
}

int h2_stream_open(struct h2 *h2, const struct h2_request *request,
		   const struct h2_stream_events *events, void *arg, struct h2_stream **ret_stream)
{
	nghttp2_data_provider provider = { .read_callback = on_read_body };
	bool has_body = request->body_size > 0 || request->goes_on;
	nghttp2_nv headers[HEADERS_MAX];
	char authority[HOST_SIZE];
	struct h2_stream *stream;
	size_t header_count;

	if (h2->state != H2_CONNECTING && h2->state != H2_OPEN)
		return -EIO;
	stream = calloc(1, sizeof(*stream));
	if (!stream)
		return -ENOMEM;
	*stream = (struct h2_stream){
		.h2 = h2,
		.events = *events,
		.arg = arg,
		.body = request->body,
		.body_left = request->body_size,
		.goes_on = request->goes_on,
		.finished = !has_body,
	};
	snprintf(authority, sizeof(authority), strchr(h2->host, ':') ? "[%s]:%u" : "%s:%u",
		 h2->host, h2->port);
	header_count = make_headers(h2, request, authority, headers);
	stream->id = nghttp2_submit_request(h2->session, NULL, headers, header_count,
					    has_body ? &provider : NULL, stream);
	if (stream->id < 0) {
		int error = stream->id == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EIO;

		free(stream);
		return error;
	}
	stream->next = h2->streams;
	stream->link = &h2->streams;
	if (stream->next)
		stream->next->link = &stream->next;
	h2->streams = stream;
	h2->stream_count++;
	*ret_stream = stream;
	return 0;
}

int h2_stream_send(struct h2_stream *stream, const void *data, size_t size)
{
	int error = buffer_append(&stream->more, data, size);

	if (error)
		return error;
	if (!stream->deferred)
		return 0;
	stream->deferred = false;
	error = nghttp2_session_resume_data(stream->h2->session, stream->id);
	return error == NGHTTP2_ERR_NOMEM ? -ENOMEM : 0;
}

size_t h2_stream_unsent(const struct h2_stream *stream)
{
	return stream->body_left + stream->more.size - stream->more_sent;
}

void h2_stream_cancel(struct h2_stream *stream)
{
	nghttp2_session *session = stream->h2->session;

	/* From now on nghttp2's callbacks take it for a stream that they don't know. */
	nghttp2_session_set_stream_user_data(session, stream->id, NULL);
	nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_CANCEL);
	stream_free(stream);
}

/* ---- what nghttp2 tells ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
		     void *arg)
{
	struct h2_stream *stream =
		nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)name_size;
	(void)value_size;
	(void)flags;
	(void)arg;
	/* nghttp2 has seen to it that both are what HTTP allows, and puts a NUL behind them. */
	if (stream && !stream->failure)
		stream->events.header(stream->arg, (const char *)name, (const char *)value);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t size, void *arg)
{
	struct h2_stream *stream = nghttp2_session_get_stream_user_data(session, id);
	int error;

	(void)flags;
	(void)arg;
	if (!stream || stream->failure)
		return 0;
	error = stream->events.data(stream->arg, data, size);
	/* It may have been cancelled meanwhile. */
	stream = nghttp2_session_get_stream_user_data(session, id);
	if (!error || !stream)
		return 0;
	stream->failure = error;
	nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_stream *stream;

	switch (frame->hd.type) {
	case NGHTTP2_SETTINGS:
		h2->settled = true;
		break;
	case NGHTTP2_GOAWAY:
		if (h2->state == H2_OPEN)
			h2->state = H2_LEAVING;
		break;
	case NGHTTP2_DATA:
	case NGHTTP2_HEADERS:
		stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
		/* Answered before all was asked: the rest need not be sent. */
		if (stream && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) && !stream->finished)
			nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id,
						  NGHTTP2_NO_ERROR);
		break;
	}
	return 0;
}

/* Before, not after: that nghttp2 tells only when it is asked for the next frame. */
static int on_sending_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2_stream *stream;

	(void)arg;
	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (stream)
		stream->sent = true;
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
	struct h2_stream *stream = nghttp2_session_get_stream_user_data(session, id);

	(void)arg;
	if (stream)
		stream_end(stream, code == NGHTTP2_NO_ERROR ? 0 : -EIO, code,
			   code == NGHTTP2_REFUSED_STREAM);
	return 0;
}

static int on_complaint(nghttp2_session *session, int code, const char *text, size_t size,
			void *arg)
{
	struct h2 *h2 = arg;

	/* Not the text, which may quote what the server sent. */
	(void)session;
	(void)text;
	(void)size;
	h2->complaint = code;
	return 0;
}

static int make_session(struct h2 *h2)
{
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_SIZE },
	};
	nghttp2_session_callbacks *callbacks;
	int error;

	if (nghttp2_session_callbacks_new(&callbacks))
		return -ENOMEM;
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_before_frame_send_callback(callbacks, on_sending_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_error_callback2(callbacks, on_complaint);
	error = nghttp2_session_client_new(&h2->session, callbacks, h2);
	nghttp2_session_callbacks_del(callbacks);
	if (!error)
		error = nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings,
						sizeof(settings) / sizeof(settings[0]));
	if (!error)
		error = nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0,
							      CONNECTION_WINDOW_SIZE);
	return error ? -ENOMEM : 0;
}

/* ---- the connection ---- */

int h2_new(const struct h2_options *options, struct call *call, struct h2 **ret_h2)
{
	struct h2 *h2 = calloc(1, sizeof(*h2));
	int error;

	if (!h2)
		return call_fail(call, -ENOMEM, "%s: out of memory", options->host);
	h2->descriptor = -1;
	h2->port = options->port;
	h2->host = strdup(options->host);
	h2->user_agent = strdup(options->user_agent);
	h2->has_tls = options->tls != NULL;
	if (options->tls)
		h2->tls_options = *options->tls;
	call_start(&h2->connecting, options->connect_timeout_ms);
	if (!h2->host || !h2->user_agent || make_session(h2))
		error = call_fail(call, -ENOMEM, "%s: out of memory", options->host);
	else
		error = h2_dial_new(options->host, options->port, call, &h2->dial);
	if (error) {
		h2_free(h2);
		return error;
	}
	*ret_h2 = h2;
	return 0;
}

void h2_free(struct h2 *h2)
{
	if (!h2)
		return;
	h2->state = H2_CLOSED;
	while (h2->streams)
		stream_end(h2->streams, -EIO, 0, false);
	nghttp2_session_del(h2->session);
	h2_dial_free(h2->dial);
	tls_free(h2->tls);
	if (h2->descriptor >= 0)
		close(h2->descriptor);
	buffer_wipe(&h2->output);
	free(h2->host);
	free(h2->user_agent);
	free(h2);
}

static bool has_output(const struct h2 *h2)
{
	return h2->output.size > h2->output_sent || nghttp2_session_want_write(h2->session);
}

void h2_prepare_poll(const struct h2 *h2, struct pollfd *ret_poll, int64_t *ret_deadline_ms)
{
	if (h2->dial) {
		h2_dial_prepare_poll(h2->dial, ret_poll, ret_deadline_ms);
		if (*ret_deadline_ms > h2->connecting.deadline_ms)
			*ret_deadline_ms = h2->connecting.deadline_ms;
		return;
	}
	*ret_poll = (struct pollfd){ .fd = h2->descriptor, .events = POLLIN };
	*ret_deadline_ms = h2->unread ? 0 : INT64_MAX;
	if (h2->tls)
		ret_poll->events |= tls_read_events(h2->tls);
	if (!h2->handshaken) {
		ret_poll->events = tls_read_events(h2->tls);
		*ret_deadline_ms = h2->connecting.deadline_ms;
	} else if (has_output(h2)) {
		ret_poll->events |= h2->tls ? tls_write_events(h2->tls) : POLLOUT;
	}
}

/* Until there is a connection that HTTP/2 can be spoken on. 0, -EAGAIN or a failure. */
static int connect_further(struct h2 *h2, struct call *call)
{
	int error;

	if (h2->dial) {
		error = h2_dial_process(h2->dial, &h2->connecting, &h2->descriptor);
		if (error == -EAGAIN)
			return error;
		if (error)
			return call_fail(call, error, "%s", h2->connecting.reason);
		h2_dial_free(h2->dial);
		h2->dial = NULL;
		if (h2->has_tls)
			error = tls_new(&h2->tls_options, h2->host, h2->descriptor, call, &h2->tls);
		if (error)
			return error;
	}
	if (h2->tls) {
		error = tls_handshake(h2->tls, call);
		if (error == -EAGAIN && call_check(&h2->connecting))
			return call_fail(call, -ETIMEDOUT, "TLS with %s:%u: no answer in time",
					 h2->host, h2->port);
		if (error)
			return error;
	}
	h2->handshaken = true;
	h2->state = H2_OPEN;
	return 0;
}

/* As recv(): a number of bytes, 0 at the end, or an error. */
static ssize_t read_some(struct h2 *h2, void *data, size_t size, struct call *call)
{
	ssize_t count;

	if (h2->tls)
		return tls_read(h2->tls, data, size, call);
	count = recv(h2->descriptor, data, size, 0);
	if (count >= 0)
		return count;
	if (errno == EAGAIN || errno == EINTR)
		return -EAGAIN;
	return call_fail(call, -EIO, "%s:%u: %s", h2->host, h2->port, strerror(errno));
}

static ssize_t write_some(struct h2 *h2, const void *data, size_t size, struct call *call)
{
	ssize_t count;

	if (h2->tls)
		return tls_write(h2->tls, data, size, call);
	count = send(h2->descriptor, data, size, MSG_NOSIGNAL);
	if (count >= 0)
		return count;
	if (errno == EAGAIN || errno == EINTR)
		return -EAGAIN;
	return call_fail(call, -EIO, "%s:%u: %s", h2->host, h2->port, strerror(errno));
}

/* nghttp2 has had enough of what comes: what is it that the server does not do right? */
static int fail_protocol(const struct h2 *h2, struct call *call)
{
	if (!h2->settled)
		return call_fail(call, -EPROTO, "%s:%u: what answers there is not HTTP/2", h2->host,
				 h2->port);
	return call_fail(call, -EIO, "%s:%u: %s", h2->host, h2->port,
			 h2->complaint ? nghttp2_strerror(h2->complaint) : "HTTP/2 protocol error");
}

static int read_all(struct h2 *h2, struct call *call)
{
	char data[READ_SIZE];

	h2->unread = false;
	for (int i = 0; i < READS_AT_ONCE && !h2->ended; i++) {
		ssize_t count = read_some(h2, data, sizeof(data), call);
		ssize_t taken;

		if (count == -EAGAIN)
			return 0;
		if (count < 0)
			return (int)count;
		if (count == 0) {
			h2->ended = true;
			return 0;
		}
		h2->last_heard_ms = clock_monotonic_ms();
		taken = nghttp2_session_mem_recv(h2->session, (const uint8_t *)data, (size_t)count);
		if (taken == NGHTTP2_ERR_NOMEM)
			return call_fail(call, -ENOMEM, "%s: out of memory", h2->host);
		if (taken < 0)
			return fail_protocol(h2, call);
	}
	h2->unread = !h2->ended;
	return 0;
}

/* Gathers what nghttp2 wants to send, so that many small frames are one write. */
static int gather_output(struct h2 *h2)
{
	if (h2->output_sent > 0 && h2->output_sent == h2->output.size) {
		buffer_clear(&h2->output);
		h2->output_sent = 0;
	}
	while (h2->output.size < WRITE_SIZE) {
		const uint8_t *data;
		ssize_t count = nghttp2_session_mem_send(h2->session, &data);

		if (count <= 0)
			return count < 0 ? -ENOMEM : 0;
		if (buffer_append(&h2->output, data, (size_t)count))
			return -ENOMEM;
	}
	return 0;
}

static int write_all(struct h2 *h2, struct call *call)
{
	for (;;) {
		size_t left;
		ssize_t count;

		if (gather_output(h2))
			return call_fail(call, -ENOMEM, "%s: out of memory", h2->host);
		left = h2->output.size - h2->output_sent;
		if (left == 0)
			return 0;
		count = write_some(h2, h2->output.data + h2->output_sent, left, call);
		if (count == -EAGAIN)
			return 0;
		if (count < 0)
			return (int)count;
		h2->output_sent += (size_t)count;
	}
}

static int process_open(struct h2 *h2, struct call *call)
{
	int error = read_all(h2, call);

	/* What the server said last is worth more than that it can't be written to any more. */
	if (!error && !h2->ended)
		error = write_all(h2, call);
	if (error)
		return error;
	/*
	 * A port that wants TLS does that to plain text, and so does a server that is going down.
	 */
	if (h2->ended && !h2->settled)
		return call_fail(call, -EIO, "%s:%u: hung up instead of speaking HTTP/2", h2->host,
				 h2->port);
	if (h2->ended)
		return call_fail(call, -EIO, "%s:%u: the server closed the connection", h2->host,
				 h2->port);
	if (!nghttp2_session_want_read(h2->session) && !has_output(h2))
		return fail_protocol(h2, call);
	return 0;
}

int h2_process(struct h2 *h2, struct call *call)
{
	int error = 0;

	if (h2->state == H2_CLOSED)
		return call_fail(call, -EIO, "%s:%u: closed", h2->host, h2->port);
	if (h2->state == H2_CONNECTING)
		error = connect_further(h2, call);
	if (!error)
		error = process_open(h2, call);
	if (error == -EAGAIN)
		return 0;
	if (error)
		h2->state = H2_CLOSED;
	return error;
}

enum h2_state h2_get_state(const struct h2 *h2)
{
	return h2->state;
}

int64_t h2_last_heard_ms(const struct h2 *h2)
{
	return h2->last_heard_ms;
}

bool h2_is_flushed(const struct h2 *h2)
{
	return !has_output(h2);
}

bool h2_has_room(const struct h2 *h2)
{
	return h2->stream_count < nghttp2_session_get_remote_settings(
					  h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

void h2_get_local_address(const struct h2 *h2, char ret_address[INET6_ADDRSTRLEN])
{
	struct sockaddr_storage address = { 0 };
	socklen_t size = sizeof(address);
	const void *bytes = &((const struct sockaddr_in *)&address)->sin_addr;

	ret_address[0] = '\0';
	if (h2->descriptor < 0 ||
	    getsockname(h2->descriptor, (struct sockaddr *)&address, &size) != 0)
		return;
	if (address.ss_family == AF_INET6)
		bytes = &((const struct sockaddr_in6 *)&address)->sin6_addr;
	inet_ntop(address.ss_family, bytes, ret_address, INET6_ADDRSTRLEN);
}
