/*
 * util/http against a server in this program that plays a script: each path has an answer, byte for byte, right or
 * wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/http.h"

#define LARGE_BODY_SIZE (3 * 1024 * 1024)
#define MUCH_TIME_MS 20000
#define TOKEN "t0ken"

enum then {
	THEN_KEEP, /* wait for the next request */
	THEN_CLOSE,
	THEN_HANG, /* until the client hangs up */
	THEN_ECHO, /* answer with the request itself */
	THEN_HEADERS, /* answer with size headers */
	THEN_LONG_HEADER, /* answer with a header of size bytes */
};

static const struct script {
	const char *path;
	const char *answer;
	enum then then;
	size_t size;
} scripts[] = {
	{ "/ok", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Name: \t some value \t\r\nEmpty:\r\nx-name: 2\r\n\r\nhello",
	  THEN_KEEP, 0 },
	{ "/empty", "HTTP/1.1 204 No Content\r\n\r\n", THEN_KEEP, 0 },
	{ "/error", "HTTP/1.1 503 Busy: very\r\nContent-Length: 4\r\n\r\nbusy", THEN_KEEP, 0 },
	{ "/chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Late\r\n\r\n"
	  "5\r\nhello\r\n6\r\n world\r\n0\r\nLate: yes\r\n\r\n", THEN_KEEP, 0 },
	{ "/until-close", "HTTP/1.1 200 OK\r\n\r\nhello", THEN_CLOSE, 0 },
	{ "/continue", "HTTP/1.1 100 Continue\r\nEarly: yes\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	  THEN_KEEP, 0 },
	{ "/redirect", "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n", THEN_KEEP, 0 },
	{ "/torn", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", THEN_CLOSE, 0 },
	{ "/torn-chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhello", THEN_CLOSE, 0 },
	{ "/torn-head", "HTTP/1.1 200 OK\r\nContent-Le", THEN_CLOSE, 0 },
	{ "/bad-chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello", THEN_CLOSE, 0 },
	{ "/bad-length", "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nhello", THEN_CLOSE, 0 },
	{ "/garbage", "\x16\x03\x01 no HTTP at all \xff\xfe\r\n\r\n", THEN_CLOSE, 0 },
	{ "/http09", "hello", THEN_CLOSE, 0 },
	{ "/status-zero", "HTTP/1.1 000 Nothing\r\nContent-Length: 0\r\n\r\n", THEN_CLOSE, 0 },
	{ "/status-text", "HTTP/1.1 abc\r\nContent-Length: 0\r\n\r\n", THEN_CLOSE, 0 },
	{ "/close", "", THEN_CLOSE, 0 },
	{ "/hang", "", THEN_HANG, 0 },
	{ "/hang-in-body", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", THEN_HANG, 0 },
	{ "/echo", NULL, THEN_ECHO, 0 },
	{ "/100-headers", NULL, THEN_HEADERS, 100 - 1 /* Content-Length is one too */ },
	{ "/101-headers", NULL, THEN_HEADERS, 101 - 1 },
	{ "/header-60k", NULL, THEN_LONG_HEADER, 60 * 1024 },
	{ "/header-70k", NULL, THEN_LONG_HEADER, 70 * 1024 },
	{ "/header-300k", NULL, THEN_LONG_HEADER, 300 * 1024 },
};

#define SCRIPT_COUNT (sizeof(scripts) / sizeof(scripts[0]))

static int listener = -1;
static int port;
static pthread_t accepting_thread;
static atomic_bool stopping;
static atomic_int connection_count, open_connection_count;
static atomic_int request_counts[SCRIPT_COUNT];
static struct http_client *client;

static void send_all(int connection, const void *data, size_t size)
{
	const char *rest = data;

	while (size > 0) {
		ssize_t sent = send(connection, rest, size, MSG_NOSIGNAL);

		if (sent <= 0)
			return;
		rest += sent;
		size -= (size_t)sent;
	}
}

/* Waits for bytes. False when the client hung up or the test is over. */
static bool receive(int connection, struct buffer *request)
{
	char bytes[65536];
	ssize_t count;

	for (;;) {
		struct pollfd ready = { .fd = connection, .events = POLLIN };

		if (poll(&ready, 1, 20) > 0)
			break;
		if (stopping)
			return false;
	}
	count = recv(connection, bytes, sizeof(bytes), 0);
	return count > 0 && buffer_append(request, bytes, (size_t)count) == 0;
}

/* Reads one request, head and body. */
static bool receive_request(int connection, struct buffer *request)
{
	size_t body_size = 0;
	char *head_end, *length;

	do {
		if (!receive(connection, request))
			return false;
		/* a TLS client: hang up */
		if (request->data[0] == 0x16)
			return false;
		head_end = strstr(request->data, "\r\n\r\n");
	} while (!head_end);
	length = strcasestr(request->data, "\r\nContent-Length:");
	if (length && length < head_end)
		body_size = strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
	body_size += (size_t)(head_end - request->data) + 4;
	while (request->size < body_size) {
		if (!receive(connection, request))
			return false;
	}
	return true;
}

static void send_made_answer(int connection, const struct script *script, const struct buffer *request)
{
	cleanup_buffer struct buffer answer = BUFFER_INIT;
	size_t body_size = script->then == THEN_ECHO ? request->size : 0;

	assert_int_equal(buffer_append_format(&answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n", body_size), 0);
	if (script->then == THEN_HEADERS) {
		for (size_t i = 0; i < script->size; i++)
			assert_int_equal(buffer_append_format(&answer, "H%zu: %zu\r\n", i, i), 0);
	}
	if (script->then == THEN_LONG_HEADER)
		assert_int_equal(buffer_append_format(&answer, "Long: %0*d\r\n", (int)script->size, 1), 0);
	assert_int_equal(buffer_append_text(&answer, "\r\n"), 0);
	if (script->then == THEN_ECHO)
		assert_int_equal(buffer_append(&answer, request->data, request->size), 0);
	send_all(connection, answer.data, answer.size);
}

static const struct script *find_script(const struct buffer *request)
{
	const char *path = strchr(request->data, '/');
	size_t length = strcspn(path, " ?");

	for (size_t i = 0; i < SCRIPT_COUNT; i++) {
		if (strlen(scripts[i].path) == length && memcmp(scripts[i].path, path, length) == 0) {
			request_counts[i]++;
			return &scripts[i];
		}
	}
	abort();
}

static void *serve(void *arg)
{
	int connection = (int)(intptr_t)arg;
	bool open = true;

	while (open) {
		cleanup_buffer struct buffer request = BUFFER_INIT;
		const struct script *script;

		if (!receive_request(connection, &request))
			break;
		script = find_script(&request);
		if (script->answer)
			send_all(connection, script->answer, strlen(script->answer));
		else
			send_made_answer(connection, script, &request);
		if (script->then == THEN_HANG)
			open = receive(connection, &request);
		if (script->then == THEN_CLOSE)
			open = false;
	}
	close(connection);
	open_connection_count--;
	return NULL;
}

static void *accept_connections(void *arg)
{
	(void)arg;
	for (;;) {
		struct pollfd ready = { .fd = listener, .events = POLLIN };
		pthread_t thread;
		int connection;

		if (stopping)
			return NULL;
		if (poll(&ready, 1, 20) <= 0)
			continue;
		connection = accept(listener, NULL, NULL);
		if (connection < 0)
			continue;
		connection_count++;
		open_connection_count++;
		if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)connection) != 0)
			abort();
		pthread_detach(thread);
	}
}

/* A socket on a free port of 127.0.0.1. */
static int make_socket(int *ret_port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, size) < 0 ||
	    getsockname(descriptor, (struct sockaddr *)&address, &size) < 0)
		abort();
	*ret_port = ntohs(address.sin_port);
	return descriptor;
}

static int start(void **state)
{
	const struct http_client_options options = { .user_agent = "nacosfs-test" };

	(void)state;
	/* If it were asked, nothing would work. */
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("https_proxy", "http://127.0.0.1:1", 1);
	setenv("all_proxy", "http://127.0.0.1:1", 1);
	if (http_client_new(&options, &client))
		return -1;
	listener = make_socket(&port);
	if (listen(listener, 64) < 0 || pthread_create(&accepting_thread, NULL, accept_connections, NULL) != 0)
		return -1;
	return 0;
}

static int stop(void **state)
{
	(void)state;
	http_client_free(client);
	stopping = true;
	pthread_join(accepting_thread, NULL);
	while (open_connection_count > 0)
		usleep(1000);
	close(listener);
	return 0;
}

/* The resolver of this program: a name of its own is slow. */
static atomic_bool slow_name_asked, slow_name_answered;

int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints,
		struct addrinfo **restrict ret_result)
{
	static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	if (name && strcmp(name, "bad.invalid") == 0)
		return EAI_NONAME;
	if (name && strcmp(name, "slow.invalid") == 0) {
		slow_name_asked = true;
		usleep(1500 * 1000);
		slow_name_answered = true;
		return EAI_NONAME;
	}
	if (!real)
		real = (__typeof__(real))dlsym(RTLD_NEXT, "getaddrinfo");
	return real(name, service, hints, ret_result);
}

static int count_of(const char *path)
{
	for (size_t i = 0; i < SCRIPT_COUNT; i++) {
		if (strcmp(scripts[i].path, path) == 0)
			return request_counts[i];
	}
	abort();
}

/* The URL of a path at the scripted server; valid until the next call in this thread. */
static const char *url_of(const char *path)
{
	static __thread char url[256];

	snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", port, path);
	return url;
}

static struct http_request make_request(const char *method, const char *path)
{
	return (struct http_request){ .method = method, .url = url_of(path), .answer_limit = 16 * 1024 * 1024 };
}

static void get(const char *path, struct http_answer *ret_answer)
{
	struct http_request request = make_request("GET", path);
	bool sent = false;
	struct call call;

	call_start(&call, MUCH_TIME_MS);
	if (http_request(client, &request, &call, ret_answer, &sent) != 0)
		fail_msg("%s: %s", path, call.reason);
	assert_true(sent);
}

/* Checks that request fails so, leaves the answer alone, and gives a reason that names the host but not the path. */
static void expect_failure(const struct http_request *request, struct call *call, int expected, bool expected_sent,
			   const char *reason_part)
{
	struct http_answer answer = { .status = 12345 };
	bool sent = !expected_sent;
	int error = http_request(client, request, call, &answer, &sent);
	const char *path = strchr(request->url + strlen("https://"), '/');

	if (error != expected)
		fail_msg("%s: %d instead of %d: %s", request->url, error, expected, call->reason);
	assert_int_equal(sent, expected_sent);
	assert_int_equal(answer.status, 12345);
	if (!strstr(call->reason, reason_part))
		fail_msg("%s: no \"%s\" in \"%s\"", request->url, reason_part, call->reason);
	if (path)
		assert_null(strstr(call->reason, path));
}

static void expect_failure_of(const char *path, int expected, const char *reason_part)
{
	struct http_request request = make_request("GET", path);
	char host[32];
	struct call call;

	call_start(&call, MUCH_TIME_MS);
	expect_failure(&request, &call, expected, true, reason_part);
	snprintf(host, sizeof(host), "127.0.0.1:%d", port);
	assert_non_null(strstr(call.reason, host));
}

static void test_answer(void **state)
{
	cleanup_http_answer struct http_answer answer = { 0 };

	(void)state;
	get("/ok?name=value", &answer);
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer.body.data, "hello");
	assert_int_equal(answer.body.size, 5);
	assert_int_equal(answer.header_count, 4);
	assert_string_equal(answer.headers[1].name, "x-name");
	assert_string_equal(http_answer_header(&answer, "X-NAME"), "some value");
	assert_string_equal(http_answer_header(&answer, "Empty"), "");
	assert_string_equal(http_answer_header(&answer, "content-length"), "5");
	assert_null(http_answer_header(&answer, "absent"));
	http_answer_release(&answer);
	assert_int_equal(answer.header_count, 0);
	assert_null(answer.body.data);
}

static void test_other_statuses_are_answers(void **state)
{
	cleanup_http_answer struct http_answer empty = { 0 }, busy = { 0 };

	(void)state;
	get("/empty", &empty);
	assert_int_equal(empty.status, 204);
	assert_int_equal(empty.body.size, 0);
	get("/error", &busy);
	assert_int_equal(busy.status, 503);
	assert_string_equal(busy.body.data, "busy");
	assert_int_equal(busy.header_count, 1); /* the colon in the status line makes no header */
}

static void test_redirect_is_not_followed(void **state)
{
	cleanup_http_answer struct http_answer answer = { 0 };
	int before = count_of("/ok");

	(void)state;
	get("/redirect", &answer);
	assert_int_equal(answer.status, 302);
	assert_string_equal(http_answer_header(&answer, "location"), "/ok");
	assert_int_equal(count_of("/ok"), before);
}

static void test_chunked(void **state)
{
	cleanup_http_answer struct http_answer answer = { 0 };

	(void)state;
	get("/chunked", &answer);
	assert_string_equal(answer.body.data, "hello world");
	assert_non_null(http_answer_header(&answer, "trailer"));
	assert_null(http_answer_header(&answer, "late"));
}

static void test_body_until_close(void **state)
{
	cleanup_http_answer struct http_answer answer = { 0 };

	(void)state;
	get("/until-close", &answer);
	assert_string_equal(answer.body.data, "hello");
}

static void test_headers_of_the_final_response_only(void **state)
{
	cleanup_http_answer struct http_answer answer = { 0 };

	(void)state;
	get("/continue", &answer);
	assert_int_equal(answer.status, 200);
	assert_null(http_answer_header(&answer, "early"));
	assert_int_equal(answer.header_count, 1);
}

/* What the server sees of a request; the caller releases the answer. */
static void echo(const struct http_request *request, struct http_answer *ret_answer)
{
	struct call call;

	call_start(&call, MUCH_TIME_MS);
	if (http_request(client, request, &call, ret_answer, NULL) != 0)
		fail_msg("%s", call.reason);
}

static void test_get_on_the_wire(void **state)
{
	static const char *const headers[] = { "Authorization: Bearer " TOKEN, "X-Other: 1", NULL };
	cleanup_http_answer struct http_answer answer = { 0 };
	struct http_request request = make_request("GET", "/echo?a=b%20c");
	char expected[512];

	(void)state;
	request.headers = headers;
	echo(&request, &answer);
	snprintf(expected, sizeof(expected),
		 "GET /echo?a=b%%20c HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: nacosfs-test\r\nAccept: */*\r\n"
		 "Authorization: Bearer " TOKEN "\r\nX-Other: 1\r\n\r\n", port);
	assert_string_equal(answer.body.data, expected);
}

static void test_methods_and_bodies_on_the_wire(void **state)
{
	static const struct {
		const char *method, *body;
		size_t size;
		const char *type, *start, *length, *end;
	} samples[] = {
		{ "POST", "a\0b", 3, "text/x", "POST /echo ", "\r\nContent-Length: 3\r\n", "\r\n\r\na" },
		{ "POST", NULL, 0, NULL, "POST /echo ", "\r\nContent-Length: 0\r\n", "\r\n\r\n" },
		{ "PUT", "abc", 3, "text/x", "PUT /echo ", "\r\nContent-Length: 3\r\n", "\r\n\r\nabc" },
		{ "PUT", NULL, 0, NULL, "PUT /echo ", "\r\nContent-Length: 0\r\n", "\r\n\r\n" },
		{ "DELETE", "abc", 3, NULL, "DELETE /echo ", "\r\nContent-Length: 3\r\n", "\r\n\r\nabc" },
		{ "DELETE", NULL, 0, NULL, "DELETE /echo ", "\r\nAccept: */*\r\n", "\r\n\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		cleanup_http_answer struct http_answer answer = { 0 };
		struct http_request request = make_request(samples[i].method, "/echo");
		const char *text;

		request.body = samples[i].body;
		request.body_size = samples[i].size;
		request.content_type = samples[i].type;
		echo(&request, &answer);
		text = answer.body.data;
		assert_ptr_equal(strstr(text, samples[i].start), text);
		assert_non_null(strstr(text, samples[i].length));
		assert_string_equal(strstr(text, "\r\n\r\n"), samples[i].end);
		if (samples[i].type)
			assert_non_null(strstr(text, "\r\nContent-Type: text/x\r\n"));
		else
			assert_null(strcasestr(text, "Content-Type"));
		if (!samples[i].body && strcmp(samples[i].method, "DELETE") == 0)
			assert_null(strcasestr(text, "Content-Length"));
		if (samples[i].size)
			assert_memory_equal(text + answer.body.size - samples[i].size, samples[i].body,
					    samples[i].size);
	}
}

/* Large enough for libcurl to want "Expect: 100-continue", and for several writes. */
static void test_large_body(void **state)
{
	cleanup_http_answer struct http_answer answer = { 0 };
	struct http_request request = make_request("POST", "/echo");
	cleanup_free char *body = malloc(LARGE_BODY_SIZE);

	(void)state;
	assert_non_null(body);
	for (size_t i = 0; i < LARGE_BODY_SIZE; i++)
		body[i] = (char)(i * 7 + i / 251);
	request.body = body;
	request.body_size = LARGE_BODY_SIZE;
	request.content_type = "application/octet-stream";
	echo(&request, &answer);
	assert_true(answer.body.size > LARGE_BODY_SIZE);
	assert_memory_equal(answer.body.data + answer.body.size - LARGE_BODY_SIZE, body, LARGE_BODY_SIZE);
	assert_null(strstr(answer.body.data, "Expect"));
}

static void test_header_with_line_break_is_refused(void **state)
{
	static const char *const headers[] = { "X-Token: a\r\nX-Forged: b", NULL };
	struct http_request request = make_request("GET", "/echo");
	int before = count_of("/echo");
	struct call call;

	(void)state;
	request.headers = headers;
	call_start(&call, MUCH_TIME_MS);
	expect_failure(&request, &call, -EIO, false, "line break");
	assert_null(strstr(call.reason, "Forged"));
	request = make_request("POST", "/echo");
	request.content_type = "text/plain\nX-Forged: b";
	expect_failure(&request, &call, -EIO, false, "line break");
	assert_int_equal(count_of("/echo"), before);
}

static void test_connection_is_reused(void **state)
{
	unsigned long requests = http_client_request_count(client);
	int connections;

	(void)state;
	for (int i = 0; i < 5; i++) {
		cleanup_http_answer struct http_answer answer = { 0 };

		get("/ok", &answer);
		if (i == 0)
			connections = connection_count;
	}
	assert_int_equal(connection_count, connections);
	assert_int_equal(http_client_request_count(client) - requests, 5);
}

static void test_answers_that_are_torn_or_wrong(void **state)
{
	(void)state;
	expect_failure_of("/torn", -EIO, "torn");
	expect_failure_of("/torn-chunk", -EIO, "");
	expect_failure_of("/torn-head", -EIO, "torn");
	expect_failure_of("/bad-chunk", -EIO, "");
	expect_failure_of("/bad-length", -EIO, "");
	expect_failure_of("/garbage", -EIO, "not HTTP");
	expect_failure_of("/http09", -EIO, "not HTTP");
	expect_failure_of("/status-zero", -EIO, "");
	expect_failure_of("/status-text", -EIO, "");
	expect_failure_of("/close", -EIO, "without an answer");
}

static void test_too_many_headers(void **state)
{
	cleanup_http_answer struct http_answer many = { 0 }, large = { 0 };

	(void)state;
	get("/100-headers", &many);
	assert_int_equal(many.header_count, 100);
	assert_string_equal(http_answer_header(&many, "h98"), "98");
	get("/header-60k", &large);
	assert_int_equal(strlen(http_answer_header(&large, "long")), 60 * 1024);
	expect_failure_of("/101-headers", -EIO, "headers");
	expect_failure_of("/header-70k", -EIO, "headers");
	expect_failure_of("/header-300k", -EIO, "header");
}

static void test_answer_limit(void **state)
{
	static const char *const paths[] = { "/ok", "/chunked", "/until-close" };
	static const size_t sizes[] = { 5, 11, 5 };
	struct call call;

	(void)state;
	call_start(&call, MUCH_TIME_MS);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		cleanup_http_answer struct http_answer answer = { 0 };
		struct http_request request = make_request("GET", paths[i]);

		request.answer_limit = sizes[i];
		assert_int_equal(http_request(client, &request, &call, &answer, NULL), 0);
		assert_int_equal(answer.body.size, sizes[i]);
		request.answer_limit = sizes[i] - 1;
		expect_failure(&request, &call, -EMSGSIZE, true, "larger than");
		request.answer_limit = 0;
		expect_failure(&request, &call, -EMSGSIZE, true, "larger than 0 bytes");
	}
}

static void test_no_answer_until_the_deadline(void **state)
{
	static const char *const paths[] = { "/hang", "/hang-in-body" };

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct http_request request = make_request("GET", paths[i]);
		int64_t before_ms = clock_monotonic_ms(), took_ms;
		struct call call;

		call_start(&call, 300);
		expect_failure(&request, &call, -ETIMEDOUT, true, "no answer in time");
		took_ms = clock_monotonic_ms() - before_ms;
		assert_in_range(took_ms, 299, 600);
	}
}

/* The answer to the request that was given up must not be taken for the answer to the next one. */
static void test_connection_of_an_aborted_request_is_closed(void **state)
{
	cleanup_http_answer struct http_answer answer = { 0 };
	struct http_request request = make_request("GET", "/hang");
	struct call call;
	int connections, open_connections;

	(void)state;
	call_start(&call, 100);
	expect_failure(&request, &call, -ETIMEDOUT, true, "");
	connections = connection_count;
	get("/ok", &answer);
	assert_int_equal(connection_count, connections + 1);
	assert_string_equal(answer.body.data, "hello");
	/* and the server saw that it was closed */
	for (int i = 0; i < 100 && (open_connections = open_connection_count) > 1; i++)
		usleep(10 * 1000);
	assert_int_equal(open_connections, 1);
}

struct interrupt {
	atomic_bool flag;
	int64_t at_ms;
};

static bool was_interrupted(void *arg)
{
	return ((struct interrupt *)arg)->flag;
}

static void *interrupt_soon(void *arg)
{
	struct interrupt *interrupt = arg;

	usleep(150 * 1000);
	interrupt->at_ms = clock_monotonic_ms();
	interrupt->flag = true;
	return NULL;
}

static void test_interrupt(void **state)
{
	struct http_request request = make_request("GET", "/hang");
	struct interrupt interrupt = { .flag = false };
	struct call call;
	pthread_t thread;

	(void)state;
	call_start(&call, MUCH_TIME_MS);
	call.interrupted = was_interrupted;
	call.interrupted_arg = &interrupt;
	assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, &interrupt), 0);
	expect_failure(&request, &call, -EINTR, true, "interrupted");
	pthread_join(thread, NULL);
	assert_in_range(clock_monotonic_ms() - interrupt.at_ms, 0, 200);
}

static void test_call_that_is_over_sends_nothing(void **state)
{
	struct http_request request = make_request("GET", "/ok");
	struct interrupt interrupt = { .flag = true };
	int connections = connection_count, before = count_of("/ok");
	struct call call;

	(void)state;
	call_start(&call, 0);
	expect_failure(&request, &call, -ETIMEDOUT, false, "no answer in time");
	call_start(&call, MUCH_TIME_MS);
	call.interrupted = was_interrupted;
	call.interrupted_arg = &interrupt;
	expect_failure(&request, &call, -EINTR, false, "interrupted");
	assert_int_equal(connection_count, connections);
	assert_int_equal(count_of("/ok"), before);
}

static void test_refused_port(void **state)
{
	struct http_request request = make_request("POST", "");
	char url[64], reason[64];
	struct call call;
	int closed_port;
	int descriptor = make_socket(&closed_port); /* bound, so that nobody else has it, but not listening */

	(void)state;
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/path?query", closed_port);
	snprintf(reason, sizeof(reason), "no connection to 127.0.0.1:%d: Connection refused", closed_port);
	request.url = url;
	call_start(&call, MUCH_TIME_MS);
	expect_failure(&request, &call, -EHOSTUNREACH, false, reason);
	assert_string_equal(call.reason, reason);
	close(descriptor);
}

/* A listener whose queue is full drops further connections without a word. */
static void test_server_that_does_not_accept(void **state)
{
	struct http_request request = make_request("GET", "");
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int mute_port, mute = make_socket(&mute_port), fillers[4];
	struct call call;
	char url[64];

	(void)state;
	assert_int_equal(listen(mute, 0), 0);
	address.sin_port = htons((uint16_t)mute_port);
	for (size_t i = 0; i < sizeof(fillers) / sizeof(fillers[0]); i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(fillers[i], (struct sockaddr *)&address, sizeof(address));
	}
	snprintf(url, sizeof(url), "http://127.0.0.1:%d", mute_port);
	request.url = url;
	request.connect_timeout_ms = 200;
	call_start(&call, MUCH_TIME_MS);
	expect_failure(&request, &call, -EHOSTUNREACH, false, "no answer within 200 ms");
	assert_true(call_left_ms(&call) > MUCH_TIME_MS - 2000);

	request.connect_timeout_ms = 0;
	call_start(&call, 200);
	expect_failure(&request, &call, -ETIMEDOUT, false, "no answer in time");
	for (size_t i = 0; i < sizeof(fillers) / sizeof(fillers[0]); i++)
		close(fillers[i]);
	close(mute);
}

static void test_unknown_name(void **state)
{
	struct http_request request = make_request("GET", "");
	struct call call;

	(void)state;
	request.url = "http://bad.invalid:8848/nacos";
	call_start(&call, MUCH_TIME_MS);
	expect_failure(&request, &call, -EHOSTUNREACH, false, "no connection to bad.invalid:8848: the name");
}

/* A resolver that is slower than the deadline must not hold the caller up. */
static void test_slow_name(void **state)
{
	struct http_request request = make_request("GET", "");
	int64_t before_ms = clock_monotonic_ms();
	struct call call;

	(void)state;
	request.url = "http://slow.invalid:8848/nacos";
	call_start(&call, 200);
	expect_failure(&request, &call, -ETIMEDOUT, false, "no answer in time");
	assert_true(slow_name_asked);
	assert_in_range(clock_monotonic_ms() - before_ms, 199, 600);
	/* The thread that resolves frees what it has when it is done; leave it the time. */
	while (!slow_name_answered)
		usleep(10 * 1000);
	usleep(50 * 1000);
}

static void test_no_tls_there(void **state)
{
	struct http_request request = make_request("GET", "");
	struct call call;
	char url[64];

	(void)state;
	snprintf(url, sizeof(url), "https://127.0.0.1:%d/path", port);
	request.url = url;
	call_start(&call, MUCH_TIME_MS);
	expect_failure(&request, &call, -ECONNABORTED, false, "no TLS with 127.0.0.1:");
}

static void test_bad_urls(void **state)
{
	static const char *const urls[] = { "", "http://", "ftp://127.0.0.1/", "file:///etc/passwd", "http://a b/" };
	struct http_request request = make_request("GET", "");
	struct call call;

	(void)state;
	call_start(&call, MUCH_TIME_MS);
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		struct http_answer answer;
		bool sent = true;

		request.url = urls[i];
		assert_int_equal(http_request(client, &request, &call, &answer, &sent), -EIO);
		assert_false(sent);
		assert_null(strstr(call.reason, "passwd"));
	}
}

/*
 * The server takes the request from a connection used before, and closes it without a word. Without never_repeat,
 * libcurl sends the request once more (which shows that this test would notice).
 */
static void test_never_repeat(void **state)
{
	struct http_request request = make_request("POST", "/close");
	struct call call;

	(void)state;
	call_start(&call, MUCH_TIME_MS);
	for (int never_repeat = 0; never_repeat <= 1; never_repeat++) {
		cleanup_http_answer struct http_answer answer = { 0 };
		int before = count_of("/close");

		get("/ok", &answer); /* leaves a warm connection */
		request.url = url_of("/close");
		request.body = "x=1";
		request.body_size = 3;
		request.never_repeat = never_repeat;
		expect_failure(&request, &call, -EIO, true, "without an answer");
		assert_int_equal(count_of("/close") - before, never_repeat ? 1 : 2);
	}
}

static void *get_often(void *arg)
{
	atomic_int *good = arg;

	for (int i = 0; i < 50; i++) {
		cleanup_http_answer struct http_answer answer = { 0 };
		struct http_request request = make_request("GET", i % 10 == 9 ? "/torn" : "/ok");
		struct call call;
		int error;

		call_start(&call, MUCH_TIME_MS);
		error = http_request(client, &request, &call, &answer, NULL);
		if (i % 10 == 9 ? error == -EIO : error == 0 && strcmp(answer.body.data, "hello") == 0)
			(*good)++;
	}
	return NULL;
}

static void test_many_threads(void **state)
{
	pthread_t threads[24]; /* more than the pool keeps */
	atomic_int good = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(threads) / sizeof(threads[0]); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, get_often, &good), 0);
	for (size_t i = 0; i < sizeof(threads) / sizeof(threads[0]); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(good, 50 * sizeof(threads) / sizeof(threads[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_other_statuses_are_answers),
		cmocka_unit_test(test_redirect_is_not_followed),
		cmocka_unit_test(test_chunked),
		cmocka_unit_test(test_body_until_close),
		cmocka_unit_test(test_headers_of_the_final_response_only),
		cmocka_unit_test(test_get_on_the_wire),
		cmocka_unit_test(test_methods_and_bodies_on_the_wire),
		cmocka_unit_test(test_large_body),
		cmocka_unit_test(test_header_with_line_break_is_refused),
		cmocka_unit_test(test_connection_is_reused),
		cmocka_unit_test(test_answers_that_are_torn_or_wrong),
		cmocka_unit_test(test_too_many_headers),
		cmocka_unit_test(test_answer_limit),
		cmocka_unit_test(test_no_answer_until_the_deadline),
		cmocka_unit_test(test_connection_of_an_aborted_request_is_closed),
		cmocka_unit_test(test_interrupt),
		cmocka_unit_test(test_call_that_is_over_sends_nothing),
		cmocka_unit_test(test_refused_port),
		cmocka_unit_test(test_server_that_does_not_accept),
		cmocka_unit_test(test_unknown_name),
		cmocka_unit_test(test_slow_name),
		cmocka_unit_test(test_no_tls_there),
		cmocka_unit_test(test_bad_urls),
		cmocka_unit_test(test_never_repeat),
		cmocka_unit_test(test_many_threads),
	};

	return cmocka_run_group_tests_name("util/http", tests, start, stop);
}
