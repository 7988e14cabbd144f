/*
 * A Nacos server that plays a script over gRPC: what the tests of the client scripts, good answers
 * and broken ones. It has a thread of its own and serves one connection at a time; everything that
 * the client sends is written down.
 */
#ifndef NACOSFS_TESTS_UNIT_NACOS_PEER_H
#define NACOSFS_TESTS_UNIT_NACOS_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "nacos/grpc/payload.h"
#include "tests/unit/h2_peer.h"
#include "util/clock.h"

#define FAKE_STREAMS_MAX 512
#define FAKE_SEEN_MAX 2048
#define FAKE_TIMEOUT_MS 5000

#define FAKE_OK "{\"resultCode\":200,\"errorCode\":0}"
#define FAKE_UNREGISTERED "{\"resultCode\":500,\"errorCode\":301,\"message\":\"unregistered\"}"

enum fake_how {
	FAKE_ANSWER,
	FAKE_NOTHING, /* never answers */
	FAKE_RESET, /* RST_STREAM CANCEL */
	FAKE_REFUSE, /* RST_STREAM REFUSED_STREAM */
	FAKE_HANG_UP,
	FAKE_GOAWAY, /* and an answer after it */
	FAKE_NO_TRAILERS,
	FAKE_BYTEWISE, /* each byte of the message in a frame of its own */
	FAKE_TORN, /* the message is shorter than its length says */
	FAKE_COMPRESSED,
	FAKE_TWICE, /* two messages in one DATA frame */
	FAKE_UNAVAILABLE, /* grpc-status 14 */
};

struct fake_reply {
	enum fake_how how;
	const char *type;
	const char *json;
};

struct fake_seen {
	unsigned connection; /* from 1 */
	char type[NACOS_PAYLOAD_TYPE_SIZE];
	char *json;
	bool has_token; /* "accessToken" is in the message, and behind it */
	char token[16];
};

struct fake {
	/* Set before fake_start(). */
	bool negotiates; /* like 2.3 and later */
	bool has_fuzzy_watch;
	int probes_refused; /* on each connection */
	bool is_starting;
	bool is_deaf; /* takes connections, and never says anything */
	struct fake_reply (*reply)(struct fake *fake, const char *type, const char *json);
	atomic_int script; /* for reply() */

	int listener;
	unsigned port;
	pthread_t thread;
	atomic_bool stop;
	atomic_bool hang_up; /* asks the thread to end the connection */

	pthread_mutex_t lock; /* of what follows, and of writing to the client */
	struct peer peer;
	unsigned connections;
	uint32_t push_stream; /* 0: there is none */
	int probes_left;
	struct buffer streams[FAKE_STREAMS_MAX]; /* what has come of their messages; by id / 2 */
	struct fake_seen seen[FAKE_SEEN_MAX];
	size_t seen_count;
	size_t reset_count; /* streams that the client reset */
};

/* ---- sending; with the lock held ---- */

static void fake_make_message(const char *type, const char *json, struct buffer *ret_frame)
{
	const struct nacos_payload_parts parts = {
		.type = type,
		.json = json,
		.json_size = strlen(json),
	};

	if (nacos_payload_append(&parts, ret_frame))
		_exit(2);
}

static void fake_send_trailers(struct fake *fake, uint32_t stream)
{
	peer_send(&fake->peer, PEER_HEADERS, PEER_END_HEADERS | PEER_END_STREAM, stream,
		  PEER_GRPC_OK, sizeof(PEER_GRPC_OK) - 1);
}

static void fake_send_data(struct fake *fake, uint32_t stream, const struct buffer *message,
			   size_t piece, unsigned last_flags)
{
	struct buffer output = BUFFER_INIT;

	for (size_t done = 0; done < message->size; done += piece) {
		size_t size = message->size - done < piece ? message->size - done : piece;

		peer_add_frame(&output, PEER_DATA, done + size == message->size ? last_flags : 0,
			       stream, message->data + done, size);
	}
	peer_write(&fake->peer, output.data, output.size);
	buffer_release(&output);
}

static void fake_send_reply(struct fake *fake, uint32_t stream, const struct fake_reply *reply)
{
	static const char unavailable[] = "\x00\x0bgrpc-status\x02\x31\x34";
	struct buffer message = BUFFER_INIT;

	if (reply->how == FAKE_NOTHING)
		return;
	if (reply->how == FAKE_RESET || reply->how == FAKE_REFUSE) {
		peer_send_number(&fake->peer, PEER_RST_STREAM, stream,
				 reply->how == FAKE_RESET ? 8 : 7);
		return;
	}
	if (reply->how == FAKE_HANG_UP) {
		atomic_store(&fake->hang_up, true);
		return;
	}
	if (reply->how == FAKE_GOAWAY)
		peer_send_goaway(&fake->peer, stream);
	fake_make_message(reply->type, reply->json, &message);
	if (reply->how == FAKE_TORN)
		message.size--;
	if (reply->how == FAKE_COMPRESSED)
		message.data[0] = 1;
	if (reply->how == FAKE_TWICE)
		fake_make_message(reply->type, reply->json, &message);
	peer_send(&fake->peer, PEER_HEADERS, PEER_END_HEADERS, stream, PEER_STATUS_200, 1);
	if (reply->how == FAKE_UNAVAILABLE) {
		peer_send(&fake->peer, PEER_HEADERS, PEER_END_HEADERS | PEER_END_STREAM, stream,
			  unavailable, sizeof(unavailable) - 1);
	} else {
		fake_send_data(fake, stream, &message, reply->how == FAKE_BYTEWISE ? 1 : 16384,
			       reply->how == FAKE_NO_TRAILERS ? PEER_END_STREAM : 0);
		if (reply->how != FAKE_NO_TRAILERS)
			fake_send_trailers(fake, stream);
	}
	buffer_release(&message);
}

/* ---- receiving; with the lock held ---- */

static void fake_write_down(struct fake *fake, const struct nacos_payload *payload,
			    const struct buffer *message)
{
	struct fake_seen *seen = &fake->seen[fake->seen_count];
	const char *token = memmem(message->data, message->size, "accessToken", 11);

	if (fake->seen_count == FAKE_SEEN_MAX)
		_exit(3);
	seen->connection = fake->connections;
	memcpy(seen->type, payload->type, sizeof(seen->type));
	seen->json = payload->json_size ? strndup(payload->json, payload->json_size) : strdup("");
	if (token) {
		/* Behind the name: a byte with the field, a byte with the length. */
		seen->has_token = true;
		snprintf(seen->token, sizeof(seen->token), "%.*s", token[12], token + 13);
	}
	fake->seen_count++;
}

static struct fake_reply fake_own_reply(struct fake *fake, const char *type)
{
	struct fake_reply reply = { FAKE_NOTHING, "HealthCheckResponse", FAKE_OK };

	if (strcmp(type, "ServerCheckRequest") == 0) {
		reply.how = FAKE_ANSWER;
		reply.type = fake->is_starting ? "ErrorResponse" : "ServerCheckResponse";
		reply.json = fake->is_starting ? "{\"resultCode\":500,\"errorCode\":300}"
			     : fake->negotiates
				     ? "{\"resultCode\":200,\"supportAbilityNegotiation\":true}"
				     : FAKE_OK;
	} else if (strcmp(type, "HealthCheckRequest") == 0) {
		reply.how = FAKE_ANSWER;
		if (fake->probes_left > 0) {
			fake->probes_left--;
			reply.type = "ErrorResponse";
			reply.json = FAKE_UNREGISTERED;
		}
	}
	return reply;
}

static void fake_open_push_stream(struct fake *fake, uint32_t stream)
{
	struct buffer message = BUFFER_INIT;

	fake->push_stream = stream;
	peer_send(&fake->peer, PEER_HEADERS, PEER_END_HEADERS, stream, PEER_STATUS_200, 1);
	if (!fake->negotiates)
		return;
	fake_make_message("SetupAckRequest",
			  fake->has_fuzzy_watch ? "{\"abilityTable\":{\"fuzzyWatch\":true}}"
						: "{\"abilityTable\":{}}",
			  &message);
	fake_send_data(fake, stream, &message, 16384, 0);
	buffer_release(&message);
}

static void fake_handle(struct fake *fake, uint32_t stream, const struct buffer *message)
{
	struct nacos_payload payload;
	struct fake_reply reply;

	if (nacos_payload_read(message->data, message->size, &payload))
		_exit(4);
	fake_write_down(fake, &payload, message);
	if (strcmp(payload.type, "ConnectionSetupRequest") == 0) {
		fake_open_push_stream(fake, stream);
		return;
	}
	if (stream == fake->push_stream)
		return;
	reply = fake_own_reply(fake, payload.type);
	if (reply.how == FAKE_NOTHING && fake->reply)
		reply = fake->reply(fake, payload.type, fake->seen[fake->seen_count - 1].json);
	fake_send_reply(fake, stream, &reply);
}

/*
 * Is there a whole message? Looked at before it is copied, because large ones come in many frames.
 */
static bool fake_has_message(const struct buffer *stream)
{
	uint32_t size;

	if (stream->size < NACOS_FRAME_PREFIX_SIZE)
		return false;
	memcpy(&size, stream->data + 1, sizeof(size));
	return stream->size - NACOS_FRAME_PREFIX_SIZE >= ntohl(size);
}

static void fake_take_data(struct fake *fake, const struct peer_frame *frame)
{
	struct buffer *stream = &fake->streams[frame->stream / 2 % FAKE_STREAMS_MAX];

	if (frame->payload.size > 0) {
		peer_send_number(&fake->peer, PEER_WINDOW_UPDATE, 0, (uint32_t)frame->payload.size);
		peer_send_number(&fake->peer, PEER_WINDOW_UPDATE, frame->stream,
				 (uint32_t)frame->payload.size);
	}
	if (buffer_append(stream, frame->payload.data, frame->payload.size))
		_exit(2);
	for (bool again = true; again && fake_has_message(stream);) {
		struct nacos_frames frames = { .limit = 64 << 20 };
		struct buffer rest = BUFFER_INIT;
		size_t used;

		if (nacos_frames_take(&frames, stream->data, stream->size, &used))
			_exit(5);
		again = frames.complete;
		if (again) {
			if (buffer_append(&rest, stream->data + used, stream->size - used))
				_exit(2);
			fake_handle(fake, frame->stream, &frames.message);
			buffer_move(stream, &rest);
		}
		nacos_frames_release(&frames);
	}
}

static void fake_take_frame(struct fake *fake, const struct peer_frame *frame)
{
	switch (frame->type) {
	case PEER_HEADERS:
		buffer_clear(&fake->streams[frame->stream / 2 % FAKE_STREAMS_MAX]);
		break;
	case PEER_DATA:
		fake_take_data(fake, frame);
		break;
	case PEER_RST_STREAM:
		fake->reset_count++;
		break;
	case PEER_SETTINGS:
		if (!(frame->flags & PEER_ACK))
			peer_send(&fake->peer, PEER_SETTINGS, PEER_ACK, 0, NULL, 0);
		break;
	default:
		break;
	}
}

/* ---- the thread ---- */

static void fake_serve(struct fake *fake)
{
	struct peer_frame frame = { .payload = BUFFER_INIT };
	bool alive = true;

	while (alive && !atomic_load(&fake->stop) && !atomic_load(&fake->hang_up)) {
		struct pollfd poll_one = { .fd = fake->peer.descriptor, .events = POLLIN };

		/* Not under the lock: a test may want to push something. */
		poll(&poll_one, 1, 10);
		pthread_mutex_lock(&fake->lock);
		alive = peer_read(&fake->peer, 0);
		while (!fake->is_deaf && peer_take_frame(&fake->peer, &frame))
			fake_take_frame(fake, &frame);
		pthread_mutex_unlock(&fake->lock);
	}
	buffer_release(&frame.payload);
}

static void *fake_run(void *arg)
{
	struct fake *fake = arg;

	while (!atomic_load(&fake->stop)) {
		struct pollfd poll_one = { .fd = fake->listener, .events = POLLIN };

		if (poll(&poll_one, 1, 10) <= 0)
			continue;
		pthread_mutex_lock(&fake->lock);
		atomic_store(&fake->hang_up, false);
		if (!peer_accept(&fake->peer, fake->listener))
			_exit(6);
		fake->connections++;
		fake->probes_left = fake->probes_refused;
		if (!fake->is_deaf)
			peer_send(&fake->peer, PEER_SETTINGS, 0, 0, NULL, 0);
		pthread_mutex_unlock(&fake->lock);
		fake_serve(fake);
		pthread_mutex_lock(&fake->lock);
		fake->push_stream = 0;
		peer_close(&fake->peer);
		pthread_mutex_unlock(&fake->lock);
	}
	return NULL;
}

static void fake_start(struct fake *fake)
{
	fake->peer.descriptor = -1;
	fake->listener = peer_listen(&fake->port);
	pthread_mutex_init(&fake->lock, NULL);
	if (fake->listener < 0 || pthread_create(&fake->thread, NULL, fake_run, fake))
		_exit(7);
}

static void fake_stop(struct fake *fake)
{
	atomic_store(&fake->stop, true);
	pthread_join(fake->thread, NULL);
	close(fake->listener);
	for (size_t i = 0; i < FAKE_STREAMS_MAX; i++)
		buffer_release(&fake->streams[i]);
	for (size_t i = 0; i < fake->seen_count; i++)
		free(fake->seen[i].json);
	pthread_mutex_destroy(&fake->lock);
}

/* ---- for tests ---- */

/* Pushes messages, in one DATA frame or cut to pieces of that size. */
__attribute__((unused)) static void fake_push_message(struct fake *fake,
						      const struct buffer *message, size_t piece)
{
	pthread_mutex_lock(&fake->lock);
	if (fake->push_stream)
		fake_send_data(fake, fake->push_stream, message, piece, 0);
	pthread_mutex_unlock(&fake->lock);
}

__attribute__((unused)) static void fake_push(struct fake *fake, const char *type, const char *json)
{
	struct buffer message = BUFFER_INIT;

	fake_make_message(type, json, &message);
	fake_push_message(fake, &message, 16384);
	buffer_release(&message);
}

/* How many messages of that type have come, with that text in their JSON (NULL: any)? */
__attribute__((unused)) static size_t fake_count(struct fake *fake, const char *type,
						 const char *text)
{
	size_t count = 0;

	pthread_mutex_lock(&fake->lock);
	for (size_t i = 0; i < fake->seen_count; i++)
		count += strcmp(fake->seen[i].type, type) == 0 &&
			 (!text || strstr(fake->seen[i].json, text));
	pthread_mutex_unlock(&fake->lock);
	return count;
}

/* Waits until there are so many. */
__attribute__((unused)) static bool fake_wait(struct fake *fake, const char *type, const char *text,
					      size_t count)
{
	int64_t end_ms = clock_monotonic_ms() + FAKE_TIMEOUT_MS;

	while (fake_count(fake, type, text) < count) {
		if (clock_monotonic_ms() > end_ms)
			return false;
		usleep(2000);
	}
	return true;
}

__attribute__((unused)) static unsigned fake_connections(struct fake *fake)
{
	unsigned connections;

	pthread_mutex_lock(&fake->lock);
	connections = fake->connections;
	pthread_mutex_unlock(&fake->lock);
	return connections;
}

#endif
