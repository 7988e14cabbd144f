/*
 * A client's connection against a peer that plays frames by hand, both in this one thread: the
 * client goes on while the test runs it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/h2_peer.h"
#include "util/clock.h"
#include "util/h2.h"

#define TIMEOUT_MS 5000

/* Everything that happens to one stream. */
struct record {
	struct h2_stream *stream;
	struct buffer body;
	char headers[256]; /* "name=value;" each */
	int data_error; /* what `data` is to return */
	bool cancel_in_data;
	bool ended;
	struct h2_end end;
};

struct fixture {
	int listener;
	unsigned port;
	struct h2 *h2;
	struct peer peer;
	struct record records[3];
	int error; /* of h2_process() */
	struct call call;
};

static void on_header(void *arg, const char *name, const char *value)
{
	struct record *record = arg;
	size_t used = strlen(record->headers);

	snprintf(record->headers + used, sizeof(record->headers) - used, "%s=%s;", name, value);
}

static int on_data(void *arg, const void *data, size_t size)
{
	struct record *record = arg;

	assert_int_equal(buffer_append(&record->body, data, size), 0);
	if (record->cancel_in_data) {
		h2_stream_cancel(record->stream);
		record->stream = NULL;
	}
	return record->data_error;
}

static void on_ended(void *arg, const struct h2_end *end)
{
	struct record *record = arg;

	assert_false(record->ended);
	record->ended = true;
	record->end = *end;
	record->stream = NULL;
}

static const struct h2_stream_events events = { on_header, on_data, on_ended };

/* ---- the two ends ---- */

static void dial(struct fixture *fixture, const char *host)
{
	const struct h2_options options = {
		.host = host,
		.port = fixture->port,
		.user_agent = "test",
		.connect_timeout_ms = TIMEOUT_MS,
	};

	call_start(&fixture->call, TIMEOUT_MS);
	assert_int_equal(h2_new(&options, &fixture->call, &fixture->h2), 0);
}

/* Lets the client do what it can for a moment. */
static void step(struct fixture *fixture, int timeout_ms)
{
	struct pollfd poll_one;
	int64_t deadline_ms;

	if (fixture->error)
		return;
	h2_prepare_poll(fixture->h2, &poll_one, &deadline_ms);
	if (deadline_ms <= clock_monotonic_ms())
		timeout_ms = 0;
	poll(&poll_one, 1, timeout_ms);
	fixture->error = h2_process(fixture->h2, &fixture->call);
}

/* Until the client has nothing to do for a while. */
static void settle(struct fixture *fixture)
{
	for (int i = 0; i < 20 && !fixture->error; i++)
		step(fixture, 2);
}

static void settle_until(struct fixture *fixture, const bool *condition)
{
	int64_t end_ms = clock_monotonic_ms() + TIMEOUT_MS;

	while (!*condition && !fixture->error && clock_monotonic_ms() < end_ms)
		step(fixture, 10);
	assert_true(*condition || fixture->error);
}

static void settle_until_over(struct fixture *fixture)
{
	bool never = false;

	settle_until(fixture, &never);
}

static void accept_client(struct fixture *fixture)
{
	step(fixture, 10);
	assert_true(peer_accept(&fixture->peer, fixture->listener));
	settle(fixture);
}

/* Connected, with the settings of both sides known. */
static void greet(struct fixture *fixture, const void *settings, size_t size)
{
	accept_client(fixture);
	peer_send(&fixture->peer, PEER_SETTINGS, 0, 0, settings, size);
	settle(fixture);
	assert_int_equal(fixture->error, 0);
	assert_int_equal(h2_get_state(fixture->h2), H2_OPEN);
}

static void open_stream(struct fixture *fixture, struct record *record, const void *body,
			size_t size, bool goes_on)
{
	const struct h2_request request = {
		.method = "POST",
		.path = "/x",
		.body = body,
		.body_size = size,
		.goes_on = goes_on,
	};

	assert_int_equal(h2_stream_open(fixture->h2, &request, &events, record, &record->stream),
			 0);
}

static void answer_ok(struct fixture *fixture, uint32_t stream, const char *body)
{
	peer_send(&fixture->peer, PEER_HEADERS, PEER_END_HEADERS, stream, PEER_STATUS_200, 1);
	peer_send(&fixture->peer, PEER_DATA, 0, stream, body, strlen(body));
	peer_send(&fixture->peer, PEER_HEADERS, PEER_END_HEADERS | PEER_END_STREAM, stream,
		  PEER_GRPC_OK, sizeof(PEER_GRPC_OK) - 1);
}

/* How many frames of that type the client has sent on the stream since the last time. */
static size_t count_frames(struct fixture *fixture, enum peer_frame_type type, uint32_t stream)
{
	struct peer_frame frame = { .payload = BUFFER_INIT };
	size_t count = 0;

	while (peer_read(&fixture->peer, 20) && peer_take_frame(&fixture->peer, &frame)) {
		do {
			if (frame.type == type && frame.stream == stream)
				count++;
		} while (peer_take_frame(&fixture->peer, &frame));
	}
	buffer_release(&frame.payload);
	return count;
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	fixture->peer.descriptor = -1;
	fixture->listener = peer_listen(&fixture->port);
	assert_true(fixture->listener >= 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	h2_free(fixture->h2);
	for (size_t i = 0; i < 3; i++)
		buffer_release(&fixture->records[i].body);
	peer_close(&fixture->peer);
	if (fixture->listener >= 0)
		close(fixture->listener);
	free(fixture);
	return 0;
}

/* ---- answers ---- */

static void test_an_answer_with_trailers(void **state)
{
	struct fixture *fixture = *state;
	struct record *record = &fixture->records[0];

	dial(fixture, "127.0.0.1");
	/* Before there is a connection: it waits. */
	open_stream(fixture, record, "question", 8, false);
	greet(fixture, NULL, 0);
	answer_ok(fixture, 1, "hello");
	settle_until(fixture, &record->ended);
	assert_int_equal(record->end.error, 0);
	assert_false(record->end.unprocessed);
	assert_string_equal(record->headers, ":status=200;grpc-status=0;");
	assert_string_equal(record->body.data, "hello");
	assert_true(h2_last_heard_ms(fixture->h2) > 0);
}

static void test_frames_cut_anywhere(void **state)
{
	struct fixture *fixture = *state;
	struct record *record = &fixture->records[0];
	struct buffer output = BUFFER_INIT;

	dial(fixture, "127.0.0.1");
	open_stream(fixture, record, "q", 1, false);
	accept_client(fixture);
	peer_add_frame(&output, PEER_SETTINGS, 0, 0, NULL, 0);
	peer_add_frame(&output, PEER_HEADERS, PEER_END_HEADERS, 1, PEER_STATUS_200, 1);
	peer_add_frame(&output, PEER_DATA, 0, 1, "hel", 3);
	peer_add_frame(&output, PEER_DATA, PEER_END_STREAM, 1, "lo", 2);
	for (size_t i = 0; i < output.size; i++) {
		peer_write(&fixture->peer, output.data + i, 1);
		step(fixture, 2);
	}
	settle_until(fixture, &record->ended);
	assert_int_equal(record->end.error, 0);
	assert_string_equal(record->body.data, "hello");
	buffer_release(&output);
}

static void test_a_reset_ends_one_stream_only(void **state)
{
	struct fixture *fixture = *state;
	struct record *reset = &fixture->records[0];
	struct record *refused = &fixture->records[1];
	struct record *good = &fixture->records[2];

	dial(fixture, "127.0.0.1");
	open_stream(fixture, reset, "q", 1, false);
	open_stream(fixture, refused, "q", 1, false);
	open_stream(fixture, good, "q", 1, false);
	greet(fixture, NULL, 0);
	peer_send_number(&fixture->peer, PEER_RST_STREAM, 1, 8);
	peer_send_number(&fixture->peer, PEER_RST_STREAM, 3, 7);
	answer_ok(fixture, 5, "ok");
	settle_until(fixture, &good->ended);
	assert_int_equal(reset->end.error, -EIO);
	assert_int_equal(reset->end.code, 8);
	assert_false(reset->end.unprocessed);
	assert_int_equal(refused->end.error, -EIO);
	assert_true(refused->end.unprocessed);
	assert_int_equal(good->end.error, 0);
}

static void test_goaway_tells_what_was_not_processed(void **state)
{
	struct fixture *fixture = *state;
	struct record *first = &fixture->records[0];
	struct record *second = &fixture->records[1];
	const struct h2_request request = { .method = "GET", .path = "/" };
	struct h2_stream *stream;

	dial(fixture, "127.0.0.1");
	open_stream(fixture, first, "q", 1, false);
	open_stream(fixture, second, "q", 1, false);
	greet(fixture, NULL, 0);
	peer_send_goaway(&fixture->peer, 1);
	settle_until(fixture, &second->ended);
	assert_int_equal(h2_get_state(fixture->h2), H2_LEAVING);
	assert_int_equal(second->end.error, -EIO);
	assert_true(second->end.unprocessed);
	assert_false(first->ended);
	assert_int_equal(h2_stream_open(fixture->h2, &request, &events, NULL, &stream), -EIO);
	answer_ok(fixture, 1, "still");
	settle_until(fixture, &first->ended);
	assert_int_equal(first->end.error, 0);
}

static void test_an_answer_before_the_end_of_the_question(void **state)
{
	struct fixture *fixture = *state;
	struct record *record = &fixture->records[0];

	dial(fixture, "127.0.0.1");
	open_stream(fixture, record, NULL, 0, true);
	greet(fixture, NULL, 0);
	answer_ok(fixture, 1, "no more");
	settle_until(fixture, &record->ended);
	assert_int_equal(record->end.error, 0);
	settle(fixture);
	assert_int_equal(count_frames(fixture, PEER_RST_STREAM, 1), 1);
}

/* ---- sending ---- */

static void test_a_long_stream_sends_when_there_is_something(void **state)
{
	struct fixture *fixture = *state;
	struct record *record = &fixture->records[0];

	dial(fixture, "127.0.0.1");
	open_stream(fixture, record, "a", 1, true);
	greet(fixture, NULL, 0);
	assert_int_equal(count_frames(fixture, PEER_DATA, 1), 1);
	assert_true(h2_is_flushed(fixture->h2));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(h2_stream_send(record->stream, "more", 4), 0);
		assert_int_equal(h2_stream_unsent(record->stream), 4);
		settle(fixture);
		assert_int_equal(h2_stream_unsent(record->stream), 0);
		assert_int_equal(count_frames(fixture, PEER_DATA, 1), 1);
	}
	peer_send(&fixture->peer, PEER_HEADERS, PEER_END_HEADERS, 1, PEER_STATUS_200, 1);
	peer_send(&fixture->peer, PEER_DATA, 0, 1, "push", 4);
	settle(fixture);
	assert_string_equal(record->body.data, "push");
	assert_false(record->ended);
	h2_free(fixture->h2);
	fixture->h2 = NULL;
	assert_true(record->ended);
	assert_int_equal(record->end.error, -EIO);
	assert_false(record->end.unprocessed);
}

static void test_a_large_body_waits_for_the_window(void **state)
{
	struct fixture *fixture = *state;
	struct record *record = &fixture->records[0];
	size_t size = 1 << 20, sent = 0;
	struct peer_frame frame = { .payload = BUFFER_INIT };
	char *body = calloc(1, size);

	dial(fixture, "127.0.0.1");
	open_stream(fixture, record, body, size, false);
	greet(fixture, NULL, 0);
	while (sent < size) {
		step(fixture, 20);
		assert_true(peer_read(&fixture->peer, 1000));
		while (peer_take_frame(&fixture->peer, &frame)) {
			if (frame.type != PEER_DATA)
				continue;
			sent += frame.payload.size;
			peer_send_number(&fixture->peer, PEER_WINDOW_UPDATE, 0,
					 (uint32_t)frame.payload.size);
			peer_send_number(&fixture->peer, PEER_WINDOW_UPDATE, 1,
					 (uint32_t)frame.payload.size);
		}
	}
	assert_int_equal(sent, size);
	answer_ok(fixture, 1, "thanks");
	settle_until(fixture, &record->ended);
	assert_int_equal(record->end.error, 0);
	buffer_release(&frame.payload);
	free(body);
}

static void test_streams_wait_for_the_number_that_the_server_allows(void **state)
{
	static const char one_stream[] = "\0\3\0\0\0\1";
	struct fixture *fixture = *state;
	struct record *first = &fixture->records[0];
	struct record *second = &fixture->records[1];

	dial(fixture, "127.0.0.1");
	greet(fixture, one_stream, 6);
	assert_true(h2_has_room(fixture->h2));
	open_stream(fixture, first, "q", 1, false);
	assert_false(h2_has_room(fixture->h2));
	open_stream(fixture, second, "q", 1, false);
	settle(fixture);
	assert_int_equal(count_frames(fixture, PEER_HEADERS, 3), 0);
	answer_ok(fixture, 1, "one");
	settle_until(fixture, &first->ended);
	settle(fixture);
	assert_int_equal(count_frames(fixture, PEER_HEADERS, 3), 1);
	answer_ok(fixture, 3, "two");
	settle_until(fixture, &second->ended);
	assert_int_equal(second->end.error, 0);
}

/* ---- cancelling ---- */

static void test_cancelled_streams_are_forgotten(void **state)
{
	struct fixture *fixture = *state;
	struct record *early = &fixture->records[0];
	struct record *late = &fixture->records[1];
	struct record *good = &fixture->records[2];
	char *body = calloc(1, 1 << 20);

	dial(fixture, "127.0.0.1");
	open_stream(fixture, early, "q", 1, false);
	h2_stream_cancel(early->stream); /* before anything of it was sent */
	open_stream(fixture, late, body, 1 << 20, false);
	open_stream(fixture, good, "q", 1, false);
	greet(fixture, NULL, 0);
	h2_stream_cancel(late->stream); /* with most of it not sent yet */
	free(body);
	settle(fixture);
	answer_ok(fixture, 3, "too late");
	answer_ok(fixture, 5, "ok");
	settle_until(fixture, &good->ended);
	assert_int_equal(good->end.error, 0);
	assert_false(early->ended);
	assert_false(late->ended);
	assert_int_equal(count_frames(fixture, PEER_RST_STREAM, 3), 1);
}

static void test_an_event_may_cancel_its_own_stream(void **state)
{
	struct fixture *fixture = *state;
	struct record *record = &fixture->records[0];
	struct record *good = &fixture->records[1];

	record->cancel_in_data = true;
	dial(fixture, "127.0.0.1");
	open_stream(fixture, record, "q", 1, false);
	open_stream(fixture, good, "q", 1, false);
	greet(fixture, NULL, 0);
	answer_ok(fixture, 1, "stop");
	answer_ok(fixture, 3, "ok");
	settle_until(fixture, &good->ended);
	assert_false(record->ended);
	assert_int_equal(good->end.error, 0);
}

static void test_refused_data_resets_the_stream(void **state)
{
	struct fixture *fixture = *state;
	struct record *record = &fixture->records[0];
	struct record *good = &fixture->records[1];

	record->data_error = -EMSGSIZE;
	dial(fixture, "127.0.0.1");
	open_stream(fixture, record, "q", 1, false);
	open_stream(fixture, good, "q", 1, false);
	greet(fixture, NULL, 0);
	peer_send(&fixture->peer, PEER_HEADERS, PEER_END_HEADERS, 1, PEER_STATUS_200, 1);
	peer_send(&fixture->peer, PEER_DATA, 0, 1, "a", 1);
	peer_send(&fixture->peer, PEER_DATA, 0, 1, "b", 1);
	answer_ok(fixture, 3, "ok");
	settle_until(fixture, &record->ended);
	settle_until(fixture, &good->ended);
	assert_int_equal(record->end.error, -EMSGSIZE);
	assert_string_equal(record->body.data, "a");
	assert_int_equal(good->end.error, 0);
}

/* ---- connections that are none ---- */

static void test_nobody_listens(void **state)
{
	struct fixture *fixture = *state;
	struct record *record = &fixture->records[0];

	close(fixture->listener);
	fixture->listener = -1;
	dial(fixture, "127.0.0.1");
	open_stream(fixture, record, "q", 1, false);
	settle_until_over(fixture);
	assert_int_equal(fixture->error, -EHOSTUNREACH);
	assert_non_null(strstr(fixture->call.reason, "Connection refused"));
	h2_free(fixture->h2);
	fixture->h2 = NULL;
	assert_true(record->ended);
	assert_true(record->end.unprocessed);
}

static void test_all_addresses_of_a_name_are_tried(void **state)
{
	struct fixture *fixture = *state;

	/* localhost is ::1 as well, where nobody listens. */
	dial(fixture, "localhost");
	for (int i = 0; i < 200 && h2_get_state(fixture->h2) == H2_CONNECTING; i++)
		step(fixture, 10);
	assert_int_equal(fixture->error, 0);
	assert_int_equal(h2_get_state(fixture->h2), H2_OPEN);
}

static void test_a_name_that_does_not_exist(void **state)
{
	struct fixture *fixture = *state;

	dial(fixture, "no-such-host.invalid");
	settle_until_over(fixture);
	assert_true(fixture->error == -EHOSTUNREACH || fixture->error == -ETIMEDOUT);
	assert_non_null(strstr(fixture->call.reason, "no-such-host.invalid"));
}

static void test_a_dial_can_be_given_up(void **state)
{
	struct fixture *fixture = *state;

	/* While the name is being looked up: the thread that does it must cope. */
	for (int i = 0; i < 20; i++) {
		dial(fixture, i % 2 ? "localhost" : "no-such-host.invalid");
		h2_free(fixture->h2);
		fixture->h2 = NULL;
	}
	usleep(100000);
}

static void test_what_answers_is_not_http2(void **state)
{
	static const char http1[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
	struct fixture *fixture = *state;

	dial(fixture, "127.0.0.1");
	accept_client(fixture);
	peer_write(&fixture->peer, http1, sizeof(http1) - 1);
	settle_until_over(fixture);
	assert_int_equal(fixture->error, -EPROTO);
}

static void test_the_server_hangs_up(void **state)
{
	struct fixture *fixture = *state;
	struct record *record = &fixture->records[0];

	dial(fixture, "127.0.0.1");
	open_stream(fixture, record, "q", 1, false);
	greet(fixture, NULL, 0);
	/* What was said last still counts. (To hang up on unread bytes would be a reset.) */
	count_frames(fixture, PEER_DATA, 1);
	answer_ok(fixture, 1, "last words");
	peer_close(&fixture->peer);
	settle_until_over(fixture);
	assert_int_equal(fixture->error, -EIO);
	assert_true(record->ended);
	assert_int_equal(record->end.error, 0);
	assert_int_equal(h2_get_state(fixture->h2), H2_CLOSED);
	assert_int_equal(h2_process(fixture->h2, &fixture->call), -EIO);
}

static void test_frames_that_can_not_be(void **state)
{
	struct fixture *fixture = *state;
	struct record *record = &fixture->records[0];

	dial(fixture, "127.0.0.1");
	open_stream(fixture, record, "q", 1, false);
	greet(fixture, NULL, 0);
	/* DATA on a stream that nobody has opened. */
	peer_send(&fixture->peer, PEER_DATA, 0, 99, "x", 1);
	settle_until_over(fixture);
	assert_int_equal(fixture->error, -EIO);
	assert_true(fixture->call.reason[0] != '\0');
	h2_free(fixture->h2);
	fixture->h2 = NULL;
	assert_int_equal(record->end.error, -EIO);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_an_answer_with_trailers),
		CASE(test_frames_cut_anywhere),
		CASE(test_a_reset_ends_one_stream_only),
		CASE(test_goaway_tells_what_was_not_processed),
		CASE(test_an_answer_before_the_end_of_the_question),
		CASE(test_a_long_stream_sends_when_there_is_something),
		CASE(test_a_large_body_waits_for_the_window),
		CASE(test_streams_wait_for_the_number_that_the_server_allows),
		CASE(test_cancelled_streams_are_forgotten),
		CASE(test_an_event_may_cancel_its_own_stream),
		CASE(test_refused_data_resets_the_stream),
		CASE(test_nobody_listens),
		CASE(test_all_addresses_of_a_name_are_tried),
		CASE(test_a_name_that_does_not_exist),
		CASE(test_a_dial_can_be_given_up),
		CASE(test_what_answers_is_not_http2),
		CASE(test_the_server_hangs_up),
		CASE(test_frames_that_can_not_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
