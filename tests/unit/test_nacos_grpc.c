/* The connection, and the requests on it, against a server that plays scripts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nacos/grpc/config.h"
#include "nacos/grpc/grpc.h"
#include "tests/unit/nacos_peer.h"
#include "util/log.h"

#define CONTENT                                                                                    \
	"{\"resultCode\":200,\"errorCode\":0,\"content\":\"hello\",\"contentType\":\"text\"}"
#define NOT_THERE "{\"resultCode\":500,\"errorCode\":300,\"message\":\"config data not exist\"}"
#define TOKEN_INVALID "{\"resultCode\":500,\"errorCode\":403,\"message\":\"token invalid!\"}"
#define NO_RIGHT "{\"resultCode\":500,\"errorCode\":403,\"message\":\"authorization failed!\"}"

static struct place *place; /* public/G/a.txt */

static void connect_to(struct fake *fakes[], size_t count, nacos_grpc_get_headers *get_headers,
		       void *arg, struct nacos_grpc **ret_grpc)
{
	struct nacos_host hosts[4];
	struct nacos_grpc_options options = {
		.hosts = hosts,
		.host_count = count,
		.get_headers = get_headers,
		.get_headers_arg = arg,
	};

	nacos_features_from_version("3.1.0", &options.features);
	for (size_t i = 0; i < count; i++) {
		hosts[i] = (struct nacos_host){ (char *)(uintptr_t) "127.0.0.1",
						fakes[i]->port - 1000 };
	}
	assert_int_equal(nacos_grpc_new(&options, ret_grpc), 0);
	assert_int_equal(nacos_grpc_start(*ret_grpc), 0);
}

struct fixture {
	struct fake fake;
	struct nacos_grpc *grpc;
	struct call call;
};

static struct fixture *start(struct fake_reply (*reply)(struct fake *, const char *, const char *))
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	fixture->fake.reply = reply;
	fixture->fake.negotiates = true;
	fake_start(&fixture->fake);
	connect_to((struct fake *[]){ &fixture->fake }, 1, NULL, NULL, &fixture->grpc);
	call_start(&fixture->call, FAKE_TIMEOUT_MS);
	return fixture;
}

static void finish(struct fixture *fixture)
{
	nacos_grpc_free(fixture->grpc);
	fake_stop(&fixture->fake);
	free(fixture);
}

static int get(struct fixture *fixture)
{
	cleanup_nacos_config struct nacos_config config = { 0 };
	int error;

	call_start(&fixture->call, FAKE_TIMEOUT_MS);
	error = nacos_grpc_config_get(fixture->grpc, place, &fixture->call, &config);
	if (!error)
		assert_string_equal(config.content.data, "hello");
	return error;
}

static int publish(struct fixture *fixture, bool *ret_uncertain)
{
	const struct nacos_publish text = { .content = "x", .size = 1 };

	call_start(&fixture->call, FAKE_TIMEOUT_MS);
	return nacos_grpc_config_publish(fixture->grpc, place, &text, &fixture->call, ret_uncertain);
}

/* ---- becoming ready ---- */

static struct fake_reply reply_content(struct fake *fake, const char *type, const char *json)
{
	(void)fake;
	(void)json;
	if (strcmp(type, "ConfigQueryRequest") == 0)
		return (struct fake_reply){ FAKE_ANSWER, "ConfigQueryResponse", CONTENT };
	return (struct fake_reply){ FAKE_ANSWER, "ConfigPublishResponse", FAKE_OK };
}

static void test_a_server_that_confirms(void **state)
{
	struct fixture *fixture = start(reply_content);
	struct nacos_grpc_status status;

	(void)state;
	assert_int_equal(nacos_grpc_wait_ready(fixture->grpc, &fixture->call), 0);
	assert_int_equal(get(fixture), 0);
	assert_int_equal(fake_count(&fixture->fake, "HealthCheckRequest", NULL), 0);
	assert_int_equal(fake_count(&fixture->fake, "ConfigQueryRequest",
				    "\"dataId\":\"a.txt\",\"group\":\"G\",\"tenant\":\"public\""),
			 1);
	nacos_grpc_get_status(fixture->grpc, &status);
	assert_true(status.ready);
	assert_int_equal(status.connections, 1);
	assert_int_equal(status.requests, 1);
	finish(fixture);
}

static void test_an_older_server_is_asked_until_it_knows_us(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	(void)state;
	fixture->fake.reply = reply_content;
	fixture->fake.probes_refused = 3;
	fake_start(&fixture->fake);
	connect_to((struct fake *[]){ &fixture->fake }, 1, NULL, NULL, &fixture->grpc);
	assert_int_equal(get(fixture), 0);
	assert_int_equal(fake_count(&fixture->fake, "HealthCheckRequest", NULL), 4);
	assert_int_equal(fake_connections(&fixture->fake), 1);
	finish(fixture);
}

static void test_the_next_host_is_tried(void **state)
{
	static struct fake starting, good;
	struct fake *fakes[] = { &starting, &good };

	(void)state;
	starting.is_starting = true;
	good.negotiates = true;
	good.reply = reply_content;
	fake_start(&starting);
	fake_start(&good);
	for (int i = 0; i < 4; i++) {
		struct nacos_grpc *grpc;
		struct call call;

		connect_to(fakes, 2, NULL, NULL, &grpc);
		call_start(&call, FAKE_TIMEOUT_MS);
		assert_int_equal(nacos_grpc_wait_ready(grpc, &call), 0);
		nacos_grpc_free(grpc);
	}
	fake_stop(&starting);
	fake_stop(&good);
}

/* Asks a client whose hosts are all no good; tells how it failed. */
static void expect_no_connection(struct fake *fake, int error, const char *words)
{
	struct nacos_grpc *grpc;
	struct call call;

	connect_to((struct fake *[]){ fake }, 1, NULL, NULL, &grpc);
	call_start(&call, FAKE_TIMEOUT_MS);
	assert_int_equal(nacos_grpc_wait_ready(grpc, &call), error);
	assert_non_null(strstr(call.reason, words));
	/* Who asks during the pause need not wait. */
	call_start(&call, FAKE_TIMEOUT_MS);
	assert_int_equal(nacos_grpc_config_remove(grpc, place, &call), error);
	assert_non_null(strstr(call.reason, "config public/G/a.txt"));
	assert_non_null(strstr(call.reason, words));
	nacos_grpc_free(grpc);
}

static void test_servers_that_are_none(void **state)
{
	static struct fake starting, deaf, absent;

	(void)state;
	starting.is_starting = true;
	fake_start(&starting);
	expect_no_connection(&starting, -EHOSTUNREACH, "is starting");
	fake_stop(&starting);

	deaf.is_deaf = true;
	fake_start(&deaf);
	expect_no_connection(&deaf, -ETIMEDOUT, "no answer in time");
	fake_stop(&deaf);

	close(peer_listen(&absent.port));
	expect_no_connection(&absent, -EHOSTUNREACH, "Connection refused");
}

/* ---- answers ---- */

static struct fake_reply reply_broken(struct fake *fake, const char *type, const char *json)
{
	struct fake_reply reply = reply_content(fake, type, json);

	reply.how = (enum fake_how)atomic_load(&fake->script);
	return reply;
}

static void test_an_answer_may_come_in_pieces(void **state)
{
	struct fixture *fixture = start(reply_broken);

	(void)state;
	atomic_store(&fixture->fake.script, FAKE_BYTEWISE);
	assert_int_equal(get(fixture), 0);
	finish(fixture);
}

static void test_broken_answers(void **state)
{
	static const enum fake_how broken[] = {
		FAKE_RESET,	 FAKE_NO_TRAILERS, FAKE_TORN,
		FAKE_COMPRESSED, FAKE_TWICE,	   FAKE_UNAVAILABLE,
	};
	struct fixture *fixture = start(reply_broken);

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		size_t gets = fake_count(&fixture->fake, "ConfigQueryRequest", NULL);
		bool uncertain = false;

		atomic_store(&fixture->fake.script, broken[i]);
		/* What may be asked twice is. */
		assert_int_equal(get(fixture), -EIO);
		assert_int_equal(fake_count(&fixture->fake, "ConfigQueryRequest", NULL), gets + 2);
		/* A publish is not, and nobody knows what became of it. */
		assert_int_equal(publish(fixture, &uncertain), -EIO);
		assert_true(uncertain);
		assert_int_equal(fake_count(&fixture->fake, "ConfigPublishRequest", NULL), i + 1);
	}
	/* All of that is no reason to give up the connection. */
	assert_int_equal(fake_connections(&fixture->fake), 1);
	finish(fixture);
}

static void test_a_refused_stream_was_not_processed(void **state)
{
	struct fixture *fixture = start(reply_broken);
	bool uncertain = true;

	(void)state;
	atomic_store(&fixture->fake.script, FAKE_REFUSE);
	assert_int_equal(publish(fixture, &uncertain), -EIO);
	assert_false(uncertain);
	/* So it was repeated, but not for ever. */
	assert_in_range(fake_count(&fixture->fake, "ConfigPublishRequest", NULL), 2, 20);
	finish(fixture);
}

static struct fake_reply reply_no(struct fake *fake, const char *type, const char *json)
{
	static const char *const answers[] = {
		NOT_THERE,
		NO_RIGHT,
		"{\"resultCode\":500,\"errorCode\":400,\"message\":\"content is blank : \"}",
		"{\"resultCode\":500,\"errorCode\":500,\"message\":\"Cas publish fail, md5\"}",
		"{\"resultCode\":500,\"errorCode\":5031}",
		"{\"resultCode\":500,\"errorCode\":500}",
		"[]",
		"{",
	};

	(void)json;
	if (strcmp(type, "UnknownRequest") == 0)
		return (struct fake_reply){ FAKE_ANSWER, "ErrorResponse",
					    "{\"resultCode\":500,\"errorCode\":302}" };
	return (struct fake_reply){ FAKE_ANSWER, "SomeResponse",
				    answers[atomic_load(&fake->script)] };
}

static void test_what_answers_mean(void **state)
{
	static const struct {
		int get, publish, check_write;
		bool uncertain;
	} expected[] = {
		{ -ENOENT, -EIO, -EIO, true }, { -EACCES, -EACCES, -EACCES, false },
		{ 0, -EINVAL, 0, false },      { -EIO, -EBUSY, -EIO, false },
		{ -EIO, -EDQUOT, 0, false },   { -EIO, -EIO, -EIO, true },
		{ -EIO, -EIO, -EIO, true },    { -EIO, -EIO, -EIO, true },
	};
	struct fixture *fixture = start(reply_no);

	(void)state;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		bool uncertain;

		atomic_store(&fixture->fake.script, (int)i);
		if (expected[i].get) /* code 400 means busy there */
			assert_int_equal(get(fixture), expected[i].get);
		assert_int_equal(publish(fixture, &uncertain), expected[i].publish);
		assert_int_equal(uncertain, expected[i].uncertain);
		call_start(&fixture->call, FAKE_TIMEOUT_MS);
		assert_int_equal(nacos_grpc_config_check_write(fixture->grpc, place, &fixture->call),
				 expected[i].check_write);
	}
	finish(fixture);
}

static void test_a_request_that_the_server_does_not_know(void **state)
{
	struct fixture *fixture = start(reply_no);
	struct buffer json = { .data = (char *)(uintptr_t) "{}", .size = 2 };
	const struct nacos_grpc_request request = {
		.type = "UnknownRequest",
		.what = "something",
		.json = &json,
	};
	struct nacos_grpc_answer answer;

	(void)state;
	assert_int_equal(nacos_grpc_request(fixture->grpc, &request, &fixture->call, &answer, NULL),
			 -EOPNOTSUPP);
	assert_non_null(strstr(fixture->call.reason, "UnknownRequest"));
	finish(fixture);
}

static void test_what_is_too_large_is_not_sent(void **state)
{
	struct fixture *fixture = start(reply_content);
	struct nacos_publish text = { .size = 10 << 20 };
	bool uncertain = true;
	char *content = malloc(text.size);

	(void)state;
	memset(content, 'x', text.size);
	text.content = content;
	assert_int_equal(
		nacos_grpc_config_publish(fixture->grpc, place, &text, &fixture->call, &uncertain),
		-EFBIG);
	assert_false(uncertain);
	/* Just under the limit. */
	text.size -= 4096;
	assert_int_equal(
		nacos_grpc_config_publish(fixture->grpc, place, &text, &fixture->call, &uncertain),
		0);
	assert_int_equal(fake_count(&fixture->fake, "ConfigPublishRequest", NULL), 1);
	free(content);
	finish(fixture);
}

static void test_every_byte_of_a_content_is_written_as_json(void **state)
{
	static const char bytes[] = "a\"\\\n\r\t\b\x1f\0z\xc3\xa9";
	struct fixture *fixture = start(reply_content);
	const struct nacos_publish text = {
		.content = bytes,
		.size = sizeof(bytes) - 1,
		.cas_md5 = NACOS_MD5_OF_NOTHING,
		.encrypted_data_key = "K",
		.type = "text",
	};
	bool uncertain;

	(void)state;
	assert_int_equal(
		nacos_grpc_config_publish(fixture->grpc, place, &text, &fixture->call, &uncertain),
		0);
	assert_int_equal(
		fake_count(&fixture->fake, "ConfigPublishRequest",
			   "\"casMd5\":\"00000000000000000000000000000000\","
			   "\"additionMap\":{\"type\":\"text\",\"encryptedDataKey\":\"K\"},"
			   "\"content\":\"a\\\"\\\\\\n\\u000d\\u0009\\u0008\\u001f\\u0000z"
			   "\xc3\xa9\"}"),
		1);
	finish(fixture);
}

/* ---- connections that end ---- */

/* The first try of each kind of request is answered by the script, all others well. */
static struct fake_reply reply_broken_once(struct fake *fake, const char *type, const char *json)
{
	struct fake_reply reply = reply_content(fake, type, json);
	int how = atomic_exchange(&fake->script, FAKE_ANSWER);

	if (how == -1) {
		reply.type = "ErrorResponse";
		reply.json = FAKE_UNREGISTERED;
	} else {
		reply.how = (enum fake_how)how;
	}
	return reply;
}

static void test_a_lost_connection_is_made_again(void **state)
{
	struct fixture *fixture = start(reply_broken_once);
	bool uncertain = false;

	(void)state;
	assert_int_equal(nacos_grpc_wait_ready(fixture->grpc, &fixture->call), 0);
	atomic_store(&fixture->fake.script, FAKE_HANG_UP);
	assert_int_equal(get(fixture), 0);
	assert_int_equal(fake_connections(&fixture->fake), 2);

	atomic_store(&fixture->fake.script, FAKE_HANG_UP);
	assert_int_equal(publish(fixture, &uncertain), -EIO);
	assert_true(uncertain);
	assert_int_equal(fake_count(&fixture->fake, "ConfigPublishRequest", NULL), 1);
	assert_int_equal(get(fixture), 0);
	finish(fixture);
}

static void test_who_is_not_known_connects_again(void **state)
{
	struct fixture *fixture = start(reply_broken_once);
	bool uncertain = true;

	(void)state;
	assert_int_equal(nacos_grpc_wait_ready(fixture->grpc, &fixture->call), 0);
	atomic_store(&fixture->fake.script, -1);
	/* That answer says that nothing was done: even a publish is sent again. */
	assert_int_equal(publish(fixture, &uncertain), 0);
	assert_false(uncertain);
	assert_int_equal(fake_count(&fixture->fake, "ConfigPublishRequest", NULL), 2);
	assert_int_equal(fake_connections(&fixture->fake), 2);
	finish(fixture);
}

static void test_goaway_makes_a_new_connection(void **state)
{
	struct fixture *fixture = start(reply_broken_once);
	bool uncertain = true;

	(void)state;
	assert_int_equal(nacos_grpc_wait_ready(fixture->grpc, &fixture->call), 0);
	/* What is under way and can't be repeated may end on the old one. */
	atomic_store(&fixture->fake.script, FAKE_GOAWAY);
	assert_int_equal(publish(fixture, &uncertain), 0);
	assert_false(uncertain);
	assert_int_equal(get(fixture), 0);
	assert_int_equal(fake_connections(&fixture->fake), 2);
	assert_int_equal(fake_count(&fixture->fake, "ConfigPublishRequest", NULL), 1);
	finish(fixture);
}

static void test_the_server_may_send_us_away(void **state)
{
	struct fixture *fixture = start(reply_content);

	(void)state;
	assert_int_equal(nacos_grpc_wait_ready(fixture->grpc, &fixture->call), 0);
	fake_push(&fixture->fake, "ConnectResetRequest",
		  "{\"requestId\":\"7\",\"serverIp\":null,\"serverPort\":null}");
	assert_true(fake_wait(&fixture->fake, "ConnectResetResponse", "\"requestId\":\"7\"", 1));
	assert_true(fake_wait(&fixture->fake, "ConnectionSetupRequest", NULL, 2));
	assert_int_equal(get(fixture), 0);
	finish(fixture);
}

/* Half open: the connection is there, and nothing comes over it any more. */
static void test_a_silent_server_is_given_up(void **state)
{
	struct fixture *fixture = start(reply_content);
	struct nacos_grpc_status status;

	(void)state;
	assert_int_equal(get(fixture), 0);
	pthread_mutex_lock(&fixture->fake.lock);
	fixture->fake.is_deaf = true;
	pthread_mutex_unlock(&fixture->fake.lock);
	call_start(&fixture->call, 20000);
	assert_int_equal(nacos_grpc_config_remove(fixture->grpc, place, &fixture->call), -ETIMEDOUT);
	nacos_grpc_get_status(fixture->grpc, &status);
	assert_false(status.ready);
	assert_non_null(strstr(status.reason, "no answer in time"));
	finish(fixture);
}

/* ---- pushes ---- */

static void test_pushes_are_acknowledged_however_they_come(void **state)
{
	static const size_t pieces[] = { 16384, 1, 3 };
	struct fixture *fixture = start(reply_content);

	(void)state;
	assert_int_equal(nacos_grpc_wait_ready(fixture->grpc, &fixture->call), 0);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct buffer messages = BUFFER_INIT;

		fake_make_message("ClientDetectionRequest", "{\"requestId\":\"a\"}", &messages);
		fake_make_message("ConfigChangeNotifyRequest", "{\"requestId\":\"b\"}", &messages);
		fake_make_message("ClientConfigMetricRequest", "{\"requestId\":\"c\"}", &messages);
		fake_make_message("BrandNewRequest", "{\"requestId\":\"d\\\"\"}", &messages);
		fake_push_message(&fixture->fake, &messages, pieces[i]);
		buffer_release(&messages);
		assert_true(fake_wait(&fixture->fake, "ClientDetectionResponse",
				      "\"requestId\":\"a\"", i + 1));
		assert_true(fake_wait(&fixture->fake, "ConfigChangeNotifyResponse",
				      "\"requestId\":\"b\"", i + 1));
		assert_true(fake_wait(&fixture->fake, "ClientConfigMetricResponse",
				      "\"metrics\":{}", i + 1));
		assert_true(fake_wait(&fixture->fake, "ErrorResponse", "\"requestId\":\"d\\\"\"",
				      i + 1));
	}
	assert_int_equal(fake_connections(&fixture->fake), 1);
	finish(fixture);
}

static void test_pushes_that_make_no_sense(void **state)
{
	struct fixture *fixture = start(reply_content);
	struct buffer garbage = BUFFER_INIT;

	(void)state;
	assert_int_equal(nacos_grpc_wait_ready(fixture->grpc, &fixture->call), 0);
	/* Not JSON, or not an object, or without an id: passed over, or answered without one. */
	fake_push(&fixture->fake, "ClientDetectionRequest", "{");
	fake_push(&fixture->fake, "ClientDetectionRequest", "[]");
	fake_push(&fixture->fake, "ClientDetectionRequest", "{\"requestId\":{}}");
	fake_push(&fixture->fake, "SomethingResponse", "{}");
	assert_true(fake_wait(&fixture->fake, "ClientDetectionResponse", NULL, 2));
	assert_int_equal(fake_connections(&fixture->fake), 1);

	/* A frame that can't be: after that nothing on the stream can be trusted. */
	assert_int_equal(buffer_append(&garbage, "\1\0\0\0\1x", 6), 0);
	fake_push_message(&fixture->fake, &garbage, 16384);
	assert_true(fake_wait(&fixture->fake, "ConnectionSetupRequest", NULL, 2));
	buffer_clear(&garbage);
	assert_int_equal(buffer_append(&garbage, "\0\0\0\0\2\x17\x17", 7), 0);
	usleep(1100000); /* longer than a connection that counts as none */
	fake_push_message(&fixture->fake, &garbage, 16384);
	assert_true(fake_wait(&fixture->fake, "ConnectionSetupRequest", NULL, 3));
	assert_int_equal(get(fixture), 0);
	buffer_release(&garbage);
	finish(fixture);
}

/* ---- callers ---- */

static bool is_interrupted(void *arg)
{
	return atomic_load((atomic_bool *)arg);
}

static void *interrupt_soon(void *arg)
{
	usleep(50000);
	atomic_store((atomic_bool *)arg, true);
	return NULL;
}

static void test_a_caller_may_give_up(void **state)
{
	struct fixture *fixture = start(reply_broken);
	const struct nacos_publish text = { .content = "x", .size = 1 };
	atomic_bool interrupted = false;
	bool uncertain = false;
	pthread_t thread;

	(void)state;
	assert_int_equal(get(fixture), 0);
	atomic_store(&fixture->fake.script, FAKE_NOTHING);
	call_start(&fixture->call, 150);
	assert_int_equal(nacos_grpc_config_remove(fixture->grpc, place, &fixture->call), -ETIMEDOUT);

	call_start(&fixture->call, 60000);
	fixture->call.interrupted = is_interrupted;
	fixture->call.interrupted_arg = &interrupted;
	pthread_create(&thread, NULL, interrupt_soon, &interrupted);
	assert_int_equal(
		nacos_grpc_config_publish(fixture->grpc, place, &text, &fixture->call, &uncertain),
		-EINTR);
	assert_true(uncertain);
	pthread_join(thread, NULL);
	/* Only their streams end. */
	atomic_store(&fixture->fake.script, FAKE_ANSWER);
	assert_int_equal(get(fixture), 0);
	assert_int_equal(fake_connections(&fixture->fake), 1);
	pthread_mutex_lock(&fixture->fake.lock);
	assert_int_equal(fixture->fake.reset_count, 2);
	pthread_mutex_unlock(&fixture->fake.lock);
	finish(fixture);
}

static void *get_in_thread(void *arg)
{
	cleanup_nacos_config struct nacos_config config = { 0 };
	struct call call;

	call_start(&call, FAKE_TIMEOUT_MS);
	return (void *)(intptr_t)nacos_grpc_config_get(arg, place, &call, &config);
}

static void test_no_more_than_so_many_at_once(void **state)
{
	struct fixture *fixture = start(reply_broken);
	pthread_t threads[120];
	struct buffer message = BUFFER_INIT;

	(void)state;
	atomic_store(&fixture->fake.script, FAKE_NOTHING);
	for (size_t i = 0; i < 120; i++)
		pthread_create(&threads[i], NULL, get_in_thread, fixture->grpc);
	assert_true(fake_wait(&fixture->fake, "ConfigQueryRequest", NULL, 96));
	usleep(100000);
	assert_int_equal(fake_count(&fixture->fake, "ConfigQueryRequest", NULL), 96);

	/* Streams 1 and 3 were the set-up; the first ten requests are answered. */
	atomic_store(&fixture->fake.script, FAKE_ANSWER);
	fake_make_message("ConfigQueryResponse", CONTENT, &message);
	pthread_mutex_lock(&fixture->fake.lock);
	for (uint32_t stream = 5; stream < 25; stream += 2) {
		peer_send(&fixture->fake.peer, PEER_HEADERS, PEER_END_HEADERS, stream,
			  PEER_STATUS_200, 1);
		fake_send_data(&fixture->fake, stream, &message, 16384, 0);
		fake_send_trailers(&fixture->fake, stream);
	}
	pthread_mutex_unlock(&fixture->fake.lock);
	/* They make room for the rest, one after the other; then the others are answered, too. */
	assert_true(fake_wait(&fixture->fake, "ConfigQueryRequest", NULL, 120));
	atomic_store(&fixture->fake.hang_up, true);
	for (size_t i = 0; i < 120; i++) {
		void *result;

		pthread_join(threads[i], &result);
		assert_int_equal((intptr_t)result, 0);
	}
	buffer_release(&message);
	finish(fixture);
}

/* ---- who asks ---- */

struct identity {
	unsigned calls;
	unsigned long bad_serial;
	char namespace_id[16], group[16];
	bool is_hopeless;
};

static int get_token(void *arg, const struct nacos_grpc_subject *subject, unsigned long bad_serial,
		     struct call *call, struct buffer *ret_headers, unsigned long *ret_serial)
{
	struct identity *identity = arg;

	(void)call;
	identity->calls++;
	identity->bad_serial = bad_serial;
	snprintf(identity->namespace_id, sizeof(identity->namespace_id), "%s",
		 subject->namespace_id);
	snprintf(identity->group, sizeof(identity->group), "%s", subject->group);
	*ret_serial = bad_serial + 1;
	return nacos_payload_add_header(ret_headers, "accessToken",
					bad_serial && !identity->is_hopeless ? "good" : "bad");
}

static struct fake_reply reply_to_good_token(struct fake *fake, const char *type, const char *json)
{
	struct fake_reply reply = reply_content(fake, type, json);

	if (strcmp(fake->seen[fake->seen_count - 1].token, "good") != 0)
		reply.json = TOKEN_INVALID;
	return reply;
}

static void test_a_refused_token_is_replaced_once(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct identity identity = { 0 };

	(void)state;
	fixture->fake.reply = reply_to_good_token;
	fixture->fake.negotiates = true;
	fake_start(&fixture->fake);
	connect_to((struct fake *[]){ &fixture->fake }, 1, get_token, &identity, &fixture->grpc);
	assert_int_equal(get(fixture), 0);
	assert_int_equal(identity.calls, 2);
	assert_int_equal(identity.bad_serial, 1);
	assert_string_equal(identity.namespace_id, "public");
	assert_string_equal(identity.group, "G");

	identity.is_hopeless = true;
	assert_int_equal(get(fixture), -EACCES);
	assert_int_equal(identity.calls, 4);
	finish(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_server_that_confirms),
		cmocka_unit_test(test_an_older_server_is_asked_until_it_knows_us),
		cmocka_unit_test(test_the_next_host_is_tried),
		cmocka_unit_test(test_servers_that_are_none),
		cmocka_unit_test(test_an_answer_may_come_in_pieces),
		cmocka_unit_test(test_broken_answers),
		cmocka_unit_test(test_a_refused_stream_was_not_processed),
		cmocka_unit_test(test_what_answers_mean),
		cmocka_unit_test(test_a_request_that_the_server_does_not_know),
		cmocka_unit_test(test_what_is_too_large_is_not_sent),
		cmocka_unit_test(test_every_byte_of_a_content_is_written_as_json),
		cmocka_unit_test(test_a_lost_connection_is_made_again),
		cmocka_unit_test(test_who_is_not_known_connects_again),
		cmocka_unit_test(test_goaway_makes_a_new_connection),
		cmocka_unit_test(test_the_server_may_send_us_away),
		cmocka_unit_test(test_pushes_are_acknowledged_however_they_come),
		cmocka_unit_test(test_pushes_that_make_no_sense),
		cmocka_unit_test(test_a_caller_may_give_up),
		cmocka_unit_test(test_no_more_than_so_many_at_once),
		cmocka_unit_test(test_a_refused_token_is_replaced_once),
		cmocka_unit_test(test_a_silent_server_is_given_up),
	};

	log_set_level(LOG_LEVEL_ERROR);
	place = place_new("public", "G", "a.txt");
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	place_drop(place);
	return failed;
}
