/*
 * HTTP servers in this program, each of which plays a script: a function that is called with each request, one at a time. They
 * count the requests by what they are to Nacos, and keep the last ones.
 */
#ifndef NACOSFS_TESTS_UNIT_HTTP_PEER_H
#define NACOSFS_TESTS_UNIT_HTTP_PEER_H

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define STATE_3 "{\"code\":0,\"data\":{\"version\":\"3.1.0\"}}"
#define TOKEN_INVALID "{\"status\":403,\"message\":\"Code: 401, Message: token invalid!.\"}"
#define NO_RIGHT "{\"status\":403,\"message\":\"Code: 403, Message: authorization failed!.\"}"
#define FOUND "{\"code\":0,\"data\":{\"content\":\"hello\",\"contentType\":\"text\"}}"

/*
 * What a server does with a request. NULL: it hangs up without an answer; status 0: it never
 * answers.
 */
struct reply {
	int status;
	const char *body;
	const char *headers;
};

struct server {
	int listener;
	unsigned port;
	pthread_t thread;
	atomic_bool stop;
	/*
	 * Called in the server's thread, one request at a time. path has the query, head all of the
	 * head.
	 */
	struct reply (*reply)(struct server *server, const char *method, const char *path,
			      const char *head, const char *body);
	int delay_ms;

	atomic_int script; /* for reply() */
	atomic_int logins, reads, publishes, lists;

	pthread_mutex_t lock;
	char last_head[4096];
	char last_body[4096];
	char last_publish[4096]; /* the body of the last POST that is no login */
	char request[1 << 16]; /* of the server's thread alone */
};

static inline int open_listener(unsigned *ret_port)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(listener >= 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 64), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	*ret_port = ntohs(address.sin_port);
	return listener;
}

/* Reads a whole request. False when the peer hung up. */
static inline bool read_request(int connection, char *request, size_t size)
{
	size_t length = 0;

	for (;;) {
		ssize_t count = recv(connection, request + length, size - 1 - length, 0);
		const char *end, *field;
		size_t body_size = 0;

		if (count <= 0)
			return false;
		length += (size_t)count;
		request[length] = '\0';
		end = strstr(request, "\r\n\r\n");
		if (!end)
			continue;
		field = strcasestr(request, "\r\nContent-Length:");
		if (field && field < end)
			body_size = strtoul(field + strlen("\r\nContent-Length:"), NULL, 10);
		if (length >= (size_t)(end + 4 - request) + body_size)
			return true;
	}
}

static inline void count_request(struct server *server, const char *method, const char *path,
			  const char *head, const char *body)
{
	if (strstr(path, "login"))
		server->logins++;
	else if (strstr(path, "/list") || strstr(path, "search="))
		server->lists++;
	else if (strcmp(method, "POST") == 0)
		server->publishes++;
	else if (strstr(path, "/cs/config"))
		server->reads++;
	pthread_mutex_lock(&server->lock);
	snprintf(server->last_head, sizeof(server->last_head), "%.4000s", head);
	snprintf(server->last_body, sizeof(server->last_body), "%.4000s", body);
	if (strcmp(method, "POST") == 0 && !strstr(path, "login"))
		memcpy(server->last_publish, server->last_body, sizeof(server->last_publish));
	pthread_mutex_unlock(&server->lock);
}

static inline void serve(struct server *server, int connection)
{
	char *request = server->request;
	char method[16] = "", path[4096] = "", answer[8192];
	struct reply reply;
	char *body;
	int length;

	if (!read_request(connection, request, sizeof(server->request)))
		return;
	body = strstr(request, "\r\n\r\n") + 4;
	body[-2] = '\0';
	assert_int_equal(sscanf(request, "%15s %4095s", method, path), 2);
	count_request(server, method, path, request, body);
	reply = server->reply(server, method, path, request, body);
	for (int i = 0; i < server->delay_ms && !server->stop; i += 10)
		usleep(10000);
	if (reply.status == 0) {
		while (!server->stop)
			usleep(10000);
		return;
	}
	if (!reply.body)
		return;
	length = snprintf(answer, sizeof(answer),
			  "HTTP/1.1 %d \r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n%s",
			  reply.status, strlen(reply.body), reply.headers ? reply.headers : "",
			  reply.body);
	send(connection, answer, (size_t)length, MSG_NOSIGNAL);
}

static inline bool head_has(struct server *server, const char *text)
{
	bool found;

	pthread_mutex_lock(&server->lock);
	found = strcasestr(server->last_head, text) != NULL;
	pthread_mutex_unlock(&server->lock);
	return found;
}

static inline void assert_body_is(struct server *server, const char *text)
{
	pthread_mutex_lock(&server->lock);
	assert_string_equal(server->last_body, text);
	pthread_mutex_unlock(&server->lock);
}

static inline void *run_server(void *arg)
{
	struct server *server = arg;

	for (;;) {
		int connection = accept(server->listener, NULL, NULL);

		if (connection < 0 || server->stop) {
			if (connection >= 0)
				close(connection);
			return NULL;
		}
		serve(server, connection);
		close(connection);
	}
}

static inline void start_server(struct server *server,
			 struct reply (*reply)(struct server *, const char *, const char *,
					       const char *, const char *))
{
	memset(server, 0, sizeof(*server));
	pthread_mutex_init(&server->lock, NULL);
	server->listener = open_listener(&server->port);
	server->reply = reply;
	assert_int_equal(pthread_create(&server->thread, NULL, run_server, server), 0);
}

static inline void stop_server(struct server *server)
{
	server->stop = true;
	shutdown(server->listener, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->listener);
	pthread_mutex_destroy(&server->lock);
}

/* A port that refuses connections: it was ours a moment ago. */
static inline unsigned closed_port(void)
{
	unsigned port;

	close(open_listener(&port));
	return port;
}

#endif
