/*
 * A server in this program that holds requests as Nacos does, and can be told to misbehave; and a set of what is watched that
 * the HTTP long poll feeds from it. Tests run one at a time.
 */
#ifndef NACOSFS_TESTS_UNIT_POLL_PEER_H
#define NACOSFS_TESTS_UNIT_POLL_PEER_H

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "nacos/poll/poll.h"
#include "util/clock.h"
#include "util/log.h"

#define MD5_A "0123456789abcdef0123456789abcdef"
#define MD5_B "fedcba9876543210fedcba9876543210"
#define NO_RIGHT "{\"status\":403,\"message\":\"authorization failed!\"}"

#define TIMEOUT_MS 8000
#define CONFIGS_MAX 64
#define EVENTS_MAX 8192
#define REQUEST_SIZE (4 << 20)

struct text {
	char name[64]; /* "public/G/a" */
	char md5[40];
};

struct server {
	int listener;
	unsigned port;
	pthread_t thread;
	atomic_int connections; /* threads */
	atomic_bool stop;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct text texts[CONFIGS_MAX]; /* those that exist */
	size_t text_count;
	bool (*is_refused)(const char *query);
	int status; /* of all answers of the listener; 0: what is right */
	const char *body; /* of all answers to holds; NULL: what is right */
	bool is_deaf; /* no answer at all */
	bool loses_changes; /* a change does not end a hold */
	int hold_ms;
	unsigned epoch; /* holds of an earlier one are cut */

	/* What came. */
	unsigned checks, holds, held_now;
	size_t records; /* in the last hold */
	char last_hold[65536];
	char queries[EVENTS_MAX][96]; /* of checks */
};

struct fixture {
	struct server server;
	struct nacos_client *client;
	struct nacos_watch *watch;
	struct nacos_poll *poll;

	pthread_mutex_t lock;
	char events[EVENTS_MAX][64];
	size_t event_count;
	bool fetches; /* each change is followed by telling the MD5 that the server has then */
};

static struct fixture *current;

/* ---- the server ---- */

/* With the lock held. */
static const char *find_md5(struct server *server, const char *name)
{
	for (size_t i = 0; i < server->text_count; i++)
		if (strcmp(server->texts[i].name, name) == 0)
			return server->texts[i].md5;
	return "";
}

static inline void set_text(const char *name, const char *md5)
{
	struct server *server = &current->server;
	size_t i = 0;

	pthread_mutex_lock(&server->lock);
	while (i < server->text_count && strcmp(server->texts[i].name, name) != 0)
		i++;
	assert_true(i < CONFIGS_MAX);
	if (i == server->text_count)
		server->text_count++;
	snprintf(server->texts[i].name, sizeof(server->texts[i].name), "%s", name);
	snprintf(server->texts[i].md5, sizeof(server->texts[i].md5), "%s", md5);
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->lock);
}

/* In place. */
static inline void decode(char *text)
{
	char *out = text;

	for (; *text; text++) {
		unsigned value;

		if (*text == '%' && sscanf(text + 1, "%2x", &value) == 1) {
			*out++ = (char)value;
			text += 2;
		} else {
			*out++ = *text;
		}
	}
	*out = '\0';
}

/*
 * With the lock held: writes the names whose MD5 differs from that of the records, at most max of them. How many records
 * there are.
 */
static inline size_t compare(struct server *server, const char *records, int max, char *ret_body, size_t size)
{
	size_t count = 0, length = 0;

	ret_body[0] = '\0';
	for (const char *record = records; *record; count++) {
		char data_id[128] = "", group[128] = "", md5[40] = "", namespace_id[64] = "", name[330];
		const char *end = strchr(record, 1);

		assert_non_null(end);
		/* An empty MD5 is nothing that scanf reads. */
		if (sscanf(record, "%127[^\1\2]\2%127[^\1\2]\2%39[^\1\2]\2%63[^\1\2]", data_id, group, md5,
			   namespace_id) < 3)
			sscanf(record, "%127[^\1\2]\2%127[^\1\2]\2\2%63[^\1\2]", data_id, group, namespace_id);
		snprintf(name, sizeof(name), "%s/%s/%s", namespace_id[0] ? namespace_id : "public", group, data_id);
		if (strcmp(find_md5(server, name), md5) != 0 && max > 0 && length + 400 < size) {
			length += (size_t)snprintf(ret_body + length, size - length, "%s%%02%s%s%s%%01", data_id, group,
						   namespace_id[0] ? "%02" : "", namespace_id);
			max--;
		}
		record = end + 1;
	}
	if (length > 0)
		snprintf(ret_body + length, size - length, "\n");
	return count;
}

static inline void answer(int connection, int status, const char *body)
{
	size_t size = strlen(body) + 200;
	char *text = malloc(size);
	int length = snprintf(text, size, "HTTP/1.1 %d \r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", status,
			      strlen(body), body);

	send(connection, text, (size_t)length, MSG_NOSIGNAL);
	free(text);
}

static inline bool has_hung_up(int connection)
{
	struct pollfd poll_one = { .fd = connection, .events = POLLIN };
	char byte;

	return poll(&poll_one, 1, 0) > 0 && recv(connection, &byte, 1, MSG_PEEK) <= 0;
}

/* With the lock held: waits as a server does. False: the connection is to be cut. */
static inline bool hold(struct server *server, int connection, const char *records, char *body, size_t size)
{
	int64_t end_ms = clock_monotonic_ms() + server->hold_ms;
	unsigned epoch = server->epoch;

	server->holds++;
	server->held_now++;
	server->records = compare(server, records, 1 << 20, body, size);
	snprintf(server->last_hold, sizeof(server->last_hold), "%s", records);
	while (!body[0] && clock_monotonic_ms() < end_ms && epoch == server->epoch && !atomic_load(&server->stop) &&
	       !has_hung_up(connection)) {
		struct timespec until = clock_from_ms(clock_monotonic_ms() + 10);

		pthread_cond_timedwait(&server->changed, &server->lock, &until);
		if (!server->loses_changes)
			compare(server, records, 1, body, size);
	}
	server->held_now--;
	return epoch == server->epoch;
}

static inline void listen_for_changes(struct server *server, int connection, const char *path, const char *head, char *form)
{
	static const char field[] = "Listening-Configs=";
	const char *query = strchr(path, '?');
	bool is_check = strcasestr(head, "\r\nLong-Pulling-Timeout-No-Hangup: true") != NULL;
	size_t size = 1 << 20;
	char *body = calloc(1, size);
	bool alive = true;
	int status = 200;

	assert_non_null(strcasestr(head, "\r\nLong-Pulling-Timeout: 30000"));
	assert_int_equal(strncmp(form, field, sizeof(field) - 1), 0);
	/* Servers decode it once more; that must not change anything. */
	decode(form);
	pthread_mutex_lock(&server->lock);
	query = query ? query + 1 : "";
	if (server->is_refused && server->is_refused(query)) {
		status = 403;
		snprintf(body, size, "%s", NO_RIGHT);
	} else if (server->status) {
		status = server->status;
	} else if (is_check) {
		compare(server, form + sizeof(field) - 1, 1 << 20, body, size);
	} else {
		alive = hold(server, connection, form + sizeof(field) - 1, body, size);
		if (server->body)
			snprintf(body, size, "%s", server->body);
	}
	if (is_check && server->checks < EVENTS_MAX)
		snprintf(server->queries[server->checks++], sizeof(server->queries[0]), "%.90s", query);
	while (server->is_deaf && !atomic_load(&server->stop) && !has_hung_up(connection)) {
		pthread_mutex_unlock(&server->lock);
		usleep(5000);
		pthread_mutex_lock(&server->lock);
	}
	pthread_mutex_unlock(&server->lock);
	if (alive)
		answer(connection, status, body);
	free(body);
}

static inline bool read_request(int connection, char *request)
{
	size_t length = 0;

	for (;;) {
		ssize_t count = recv(connection, request + length, REQUEST_SIZE - 1 - length, 0);
		const char *end, *field;

		if (count <= 0)
			return false;
		length += (size_t)count;
		request[length] = '\0';
		end = strstr(request, "\r\n\r\n");
		field = strcasestr(request, "\r\nContent-Length:");
		if (end && length >= (size_t)(end + 4 - request) +
					    (field && field < end ? strtoul(field + 17, NULL, 10) : 0))
			return true;
	}
}

struct visit {
	struct server *server;
	int connection;
};

static inline void *serve(void *arg)
{
	struct visit *visit = arg;
	char *request = malloc(REQUEST_SIZE), method[16] = "", path[4096] = "";

	if (read_request(visit->connection, request)) {
		char *body = strstr(request, "\r\n\r\n") + 4;

		body[-2] = '\0';
		assert_int_equal(sscanf(request, "%15s %4095s", method, path), 2);
		if (strstr(path, "/v1/cs/configs/listener"))
			listen_for_changes(visit->server, visit->connection, path, request, body);
		else if (strstr(path, "/v1/console/server/state"))
			answer(visit->connection, 200, "{\"version\":\"2.2.4\"}");
		else
			answer(visit->connection, 404, "config data not exist\n");
	}
	close(visit->connection);
	atomic_fetch_sub(&visit->server->connections, 1);
	free(request);
	free(visit);
	return NULL;
}

static inline void *run_server(void *arg)
{
	struct server *server = arg;

	while (!atomic_load(&server->stop)) {
		struct visit *visit = malloc(sizeof(*visit));
		pthread_t thread;

		visit->server = server;
		visit->connection = accept(server->listener, NULL, NULL);
		if (visit->connection < 0) {
			free(visit);
			continue;
		}
		atomic_fetch_add(&server->connections, 1);
		assert_int_equal(pthread_create(&thread, NULL, serve, visit), 0);
		pthread_detach(thread);
	}
	return NULL;
}

static inline void open_listener(struct server *server)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);

	server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(server->listener, 64), 0);
	assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &size), 0);
	server->port = ntohs(address.sin_port);
}

static inline void start_server(struct server *server)
{
	pthread_condattr_t attributes;

	pthread_mutex_init(&server->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&server->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	server->hold_ms = 20000;
	open_listener(server);
	assert_int_equal(pthread_create(&server->thread, NULL, run_server, server), 0);
}

static inline void stop_server(struct server *server)
{
	atomic_store(&server->stop, true);
	shutdown(server->listener, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->listener);
	while (atomic_load(&server->connections) > 0)
		usleep(1000);
	pthread_cond_destroy(&server->changed);
	pthread_mutex_destroy(&server->lock);
}

/* ---- events ---- */

static inline void add_event(const char *what, const char *name)
{
	pthread_mutex_lock(&current->lock);
	assert_true(current->event_count < EVENTS_MAX);
	snprintf(current->events[current->event_count++], sizeof(current->events[0]), "%s %s", what, name);
	pthread_mutex_unlock(&current->lock);
}

static inline void on_changed(void *arg, struct place *place)
{
	char name[48], md5[40];

	(void)arg;
	snprintf(name, sizeof(name), "%s/%s/%s", place_namespace_id(place), place_group(place), place_data_id(place));
	add_event("changed", name);
	if (!current->fetches)
		return;
	pthread_mutex_lock(&current->server.lock);
	snprintf(md5, sizeof(md5), "%s", find_md5(&current->server, name));
	pthread_mutex_unlock(&current->server.lock);
	assert_int_equal(nacos_watch_add(current->watch, place, md5), 0);
}

static inline void on_refused(void *arg, struct place *place)
{
	char name[48];

	(void)arg;
	snprintf(name, sizeof(name), "%s/%s/%s", place_namespace_id(place), place_group(place), place_data_id(place));
	add_event("refused", name);
}

static inline void on_names_watched(void *arg, const char *namespace_id, int error)
{
	(void)arg;
	assert_int_equal(error, -EOPNOTSUPP);
	add_event("names", namespace_id);
}

static inline void on_live(void *arg, bool live)
{
	(void)arg;
	add_event(live ? "live" : "dead", "");
}

static inline size_t count_events(const char *event)
{
	size_t count = 0;

	pthread_mutex_lock(&current->lock);
	for (size_t i = 0; i < current->event_count; i++)
		count += strcmp(current->events[i], event) == 0;
	pthread_mutex_unlock(&current->lock);
	return count;
}

static inline bool wait_for_event(const char *event, size_t count)
{
	int64_t end_ms = clock_monotonic_ms() + TIMEOUT_MS;

	while (count_events(event) < count) {
		if (clock_monotonic_ms() > end_ms)
			return false;
		usleep(2000);
	}
	return true;
}

/* ---- the fixture ---- */

static inline void prepare(void)
{
	static const struct nacos_watch_events events = {
		on_changed, on_refused, NULL, on_names_watched, on_live,
	};
	struct nacos_host host = { (char *)(uintptr_t) "127.0.0.1", 0 };
	struct nacos_client_options options = { .hosts = &host, .host_count = 1 };
	struct call call;

	current = calloc(1, sizeof(*current));
	pthread_mutex_init(&current->lock, NULL);
	start_server(&current->server);
	host.port = current->server.port;
	assert_int_equal(nacos_client_new(&options, &current->client), 0);
	call_start(&call, 5000);
	assert_int_equal(nacos_client_connect(current->client, &call), 0);
	assert_int_equal(nacos_watch_new(&current->watch), 0);
	nacos_watch_set_events(current->watch, &events, NULL);
	assert_int_equal(nacos_poll_new(current->client, current->watch, &current->poll), 0);
}

static inline void start(void)
{
	assert_int_equal(nacos_watch_start(current->watch), 0);
	assert_int_equal(nacos_poll_start(current->poll), 0);
}

/* Also measures: an unmount must not wait for a hold. */
static inline void finish(void)
{
	int64_t begun_ms = clock_monotonic_ms();

	nacos_watch_stop(current->watch);
	nacos_poll_free(current->poll);
	nacos_watch_free(current->watch);
	assert_true(clock_monotonic_ms() - begun_ms < 1000);
	nacos_client_free(current->client);
	stop_server(&current->server);
	pthread_mutex_destroy(&current->lock);
	free(current);
	current = NULL;
}

static inline void watch(const char *namespace_id, const char *group, const char *data_id, const char *md5)
{
	cleanup_place struct place *place = place_new(namespace_id, group, data_id);

	assert_int_equal(nacos_watch_add(current->watch, place, md5), 0);
}

static inline bool is_watched(const char *namespace_id, const char *group, const char *data_id)
{
	cleanup_place struct place *place = place_new(namespace_id, group, data_id);

	return nacos_watch_tells(current->watch, place);
}

static inline bool wait_until_watched(const char *namespace_id, const char *group, const char *data_id)
{
	int64_t end_ms = clock_monotonic_ms() + TIMEOUT_MS;

	while (!is_watched(namespace_id, group, data_id)) {
		if (clock_monotonic_ms() > end_ms)
			return false;
		usleep(2000);
	}
	return true;
}

static inline unsigned server_number(const unsigned *number)
{
	unsigned value;

	pthread_mutex_lock(&current->server.lock);
	value = *number;
	pthread_mutex_unlock(&current->server.lock);
	return value;
}

static inline bool wait_for_number(const unsigned *number, unsigned wanted)
{
	int64_t end_ms = clock_monotonic_ms() + TIMEOUT_MS;

	while (server_number(number) != wanted) {
		if (clock_monotonic_ms() > end_ms)
			return false;
		usleep(2000);
	}
	return true;
}

static inline size_t count_queries(const char *query)
{
	size_t count = 0;

	pthread_mutex_lock(&current->server.lock);
	for (unsigned i = 0; i < current->server.checks; i++)
		count += strcmp(current->server.queries[i], query) == 0;
	pthread_mutex_unlock(&current->server.lock);
	return count;
}

#endif
