/*
 * The client against servers in this program, each of which plays a script: what is sent where, how
 * often, and with which token.
 */
#include <errno.h>
#include <netinet/in.h>
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

#include "nacos/http/client.h"
#include "nacos/http/config.h"
#include "nacos/http/namespace.h"
#include "util/clock.h"
#include "util/log.h"

#define STATE_3 "{\"code\":0,\"data\":{\"version\":\"3.1.0\"}}"
#define TOKEN_INVALID "{\"status\":403,\"message\":\"Code: 401, Message: token invalid!.\"}"
#define NO_RIGHT "{\"status\":403,\"message\":\"Code: 403, Message: authorization failed!.\"}"
#define NOT_FOUND "{\"code\":20004,\"message\":\"resource not found\",\"data\":null}"
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
	char request[1 << 16]; /* of the server's thread alone */
};

static int open_listener(unsigned *ret_port)
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
static bool read_request(int connection, char *request, size_t size)
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

static void count_request(struct server *server, const char *method, const char *path,
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
	pthread_mutex_unlock(&server->lock);
}

static void serve(struct server *server, int connection)
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

static bool head_has(struct server *server, const char *text)
{
	bool found;

	pthread_mutex_lock(&server->lock);
	found = strcasestr(server->last_head, text) != NULL;
	pthread_mutex_unlock(&server->lock);
	return found;
}

static void assert_body_is(struct server *server, const char *text)
{
	pthread_mutex_lock(&server->lock);
	assert_string_equal(server->last_body, text);
	pthread_mutex_unlock(&server->lock);
}

static void *run_server(void *arg)
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

static void start_server(struct server *server,
			 struct reply (*reply)(struct server *, const char *, const char *,
					       const char *, const char *))
{
	memset(server, 0, sizeof(*server));
	pthread_mutex_init(&server->lock, NULL);
	server->listener = open_listener(&server->port);
	server->reply = reply;
	assert_int_equal(pthread_create(&server->thread, NULL, run_server, server), 0);
}

static void stop_server(struct server *server)
{
	server->stop = true;
	shutdown(server->listener, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->listener);
	pthread_mutex_destroy(&server->lock);
}

/* A port that refuses connections: it was ours a moment ago. */
static unsigned closed_port(void)
{
	unsigned port;

	close(open_listener(&port));
	return port;
}

static char password_path[] = "/tmp/test_nacos_client.XXXXXX";

static void write_password(const char *password)
{
	FILE *file = fopen(password_path, "w");

	assert_non_null(file);
	assert_int_not_equal(fprintf(file, "%s\n", password), 0);
	assert_int_equal(fclose(file), 0);
}

static struct nacos_client *new_client(const unsigned *ports, size_t count, const char *username)
{
	struct nacos_host hosts[3];
	struct nacos_client_options options = {
		.hosts = hosts, .host_count = count, .username = username,
		.password_file = password_path,
	};
	struct nacos_client *client;

	for (size_t i = 0; i < count; i++)
		hosts[i] = (struct nacos_host){ "127.0.0.1", ports[i] };
	assert_int_equal(nacos_client_new(&options, &client), 0);
	return client;
}

static int connect_client(struct nacos_client *client, char reason[CALL_REASON_SIZE])
{
	struct call call;
	int error;

	call_start(&call, 5000);
	error = nacos_client_connect(client, &call);
	if (reason)
		memcpy(reason, call.reason, CALL_REASON_SIZE);
	return error;
}

static struct place *place; /* dev/G/a.yaml */

static int get(struct nacos_client *client, int64_t timeout_ms)
{
	cleanup_nacos_config struct nacos_config config = { 0 };
	struct call call;

	call_start(&call, timeout_ms);
	return nacos_config_get(client, place, &call, &config);
}

static int publish(struct nacos_client *client, const char *cas_md5, bool *ret_uncertain)
{
	struct nacos_publish text = { .content = "a=1&b", .size = 5, .cas_md5 = cas_md5, .type = "text" };
	struct call call;

	call_start(&call, 3000);
	return nacos_config_publish(client, place, &text, &call, ret_uncertain);
}

/* A 3.x server where all goes well. */
static struct reply reply_well(struct server *server, const char *method, const char *path,
			       const char *head, const char *body)
{
	(void)server;
	(void)head;
	(void)body;
	if (strstr(path, "/v3/admin/core/state"))
		return (struct reply){ 200, STATE_3, NULL };
	if (strstr(path, "/v3/auth/user/login"))
		return (struct reply){ 200, "{\"accessToken\":\"good\",\"tokenTtl\":18000}", NULL };
	if (strcmp(method, "POST") == 0 || strcmp(method, "DELETE") == 0)
		return (struct reply){ 200, "{\"code\":0,\"data\":true}", NULL };
	if (strstr(path, "/cs/config"))
		return (struct reply){ 200, FOUND, NULL };
	return (struct reply){ 404, "{}", NULL };
}

static void test_requests_are_what_3x_wants(void **state)
{
	struct nacos_client *client;
	struct server server;
	bool uncertain = true;

	(void)state;
	start_server(&server, reply_well);
	client = new_client(&server.port, 1, "bob");
	assert_int_equal(connect_client(client, NULL), 0);
	assert_int_equal(nacos_client_features(client).major, 3);
	assert_int_equal(server.logins, 1);
	assert_body_is(&server, "username=bob&password=pass%20word");
	assert_false(head_has(&server, "\r\nAuthorization:"));
	assert_true(head_has(&server, "\r\nUser-Agent: nacosfs/"));

	assert_int_equal(get(client, 3000), 0);
	assert_true(head_has(&server, "GET /nacos/v3/client/cs/config?dataId=a.yaml&groupName=G&namespaceId=dev "));
	assert_true(head_has(&server, "\r\nAuthorization: Bearer good\r\n"));

	assert_int_equal(publish(client, NACOS_MD5_OF_NOTHING, &uncertain), 0);
	assert_false(uncertain);
	assert_true(head_has(&server, "POST /nacos/v3/admin/cs/config "));
	assert_true(head_has(&server, "\r\ncasMd5: " NACOS_MD5_OF_NOTHING "\r\n"));
	assert_true(head_has(&server, "\r\nContent-Type: application/x-www-form-urlencoded;charset=UTF-8\r\n"));
	assert_body_is(&server, "dataId=a.yaml&groupName=G&namespaceId=dev&type=text&content=a%3D1%26b");
	assert_int_equal(nacos_client_request_count(client), 4);
	nacos_client_free(client);
	stop_server(&server);
}

static struct reply reply_as_old(struct server *server, const char *method, const char *path,
				 const char *head, const char *body)
{
	(void)server;
	(void)head;
	(void)body;
	if (strstr(path, "/v1/console/server/state"))
		return (struct reply){ 200, "{\"version\":\"2.2.4\"}", NULL };
	if (strstr(path, "/v1/auth/users/login"))
		return (struct reply){ 200, "{\"accessToken\":\"good\"}", NULL };
	if (strcmp(method, "POST") == 0 && strstr(path, "/v1/cs/configs"))
		return (struct reply){ 200, "true", NULL };
	if (strstr(path, "/v1/cs/configs?show=all"))
		return (struct reply){ 200, "{\"content\":\"hello\"}", NULL };
	return (struct reply){ 404, "{}", NULL };
}

static void test_requests_are_what_2x_wants(void **state)
{
	cleanup_place struct place *public_place = place_new("public", "G", "a");
	struct nacos_config config;
	struct nacos_client *client;
	struct server server;
	struct call call;
	bool uncertain;

	(void)state;
	start_server(&server, reply_as_old);
	client = new_client(&server.port, 1, "bob");
	assert_int_equal(connect_client(client, NULL), 0);
	/* The first login call is not there. */
	assert_int_equal(server.logins, 2);

	/* No true time from the get call. */
	assert_int_equal(get(client, 3000), 0);
	assert_true(head_has(&server, "GET /nacos/v1/cs/configs?show=all&dataId=a.yaml&group=G&tenant=dev "));
	call_start(&call, 3000);
	assert_int_equal(nacos_config_get_detail(client, public_place, &call, &config), 0);
	assert_true(head_has(&server, "?show=all&dataId=a&group=G "));
	nacos_config_release(&config);

	/* casMd5 would be ignored. */
	assert_int_equal(publish(client, NACOS_MD5_OF_NOTHING, &uncertain), 0);
	assert_false(head_has(&server, "casMd5"));
	assert_body_is(&server, "dataId=a.yaml&group=G&tenant=dev&type=text&content=a%3D1%26b");
	nacos_client_free(client);
	stop_server(&server);
}

static struct reply reply_not_nacos(struct server *server, const char *method, const char *path,
				    const char *head, const char *body)
{
	static const struct reply replies[] = {
		{ 200, "<html>Welcome</html>", NULL },
		{ 404, "<html>Not found</html>", NULL },
		{ 302, "", "Location: /login\r\n" },
		{ 403, "Forbidden", NULL },
		{ 200, "{}", NULL },
		{ 500, "oops", NULL },
	};

	(void)method;
	(void)path;
	(void)head;
	(void)body;
	return replies[server->script];
}

static void test_what_is_not_nacos_is_refused(void **state)
{
	struct server server;

	(void)state;
	start_server(&server, reply_not_nacos);
	for (int i = 0; i < 6; i++) {
		struct nacos_client *client = new_client(&server.port, 1, NULL);
		char reason[CALL_REASON_SIZE];

		server.script = i;
		assert_int_equal(connect_client(client, reason), -EPROTO);
		assert_non_null(strstr(reason, "not a Nacos server"));
		nacos_client_free(client);
	}
	stop_server(&server);
}

static struct reply reply_hidden(struct server *server, const char *method, const char *path,
				 const char *head, const char *body)
{
	(void)method;
	(void)head;
	(void)body;
	if (strstr(path, "/v1/cs/configs?"))
		return server->script ?
			       (struct reply){ 403, "{\"status\":403,\"message\":\"user not found!\"}", NULL } :
			       (struct reply){ 404, "config data not exist\r\n", NULL };
	return (struct reply){ 404, "{\"status\":404}", NULL };
}

static void test_a_server_that_hides_its_version(void **state)
{
	struct nacos_client *client;
	struct server server;
	char reason[CALL_REASON_SIZE];

	(void)state;
	start_server(&server, reply_hidden);
	client = new_client(&server.port, 1, NULL);
	assert_int_equal(connect_client(client, NULL), 0);
	assert_int_equal(nacos_client_features(client).major, 0);
	server.script = 1;
	assert_int_equal(connect_client(client, reason), -EACCES);
	assert_non_null(strstr(reason, "username="));
	nacos_client_free(client);
	stop_server(&server);
}

static void test_nobody_there(void **state)
{
	unsigned ports[] = { closed_port(), closed_port() };
	struct nacos_client *client = new_client(ports, 2, NULL);

	(void)state;
	assert_int_equal(connect_client(client, NULL), -EHOSTUNREACH);
	nacos_client_free(client);
}

static void test_the_next_host_takes_over(void **state)
{
	struct nacos_client *client;
	unsigned ports[2];
	struct server server;
	bool uncertain = true;

	(void)state;
	start_server(&server, reply_well);
	ports[0] = closed_port();
	ports[1] = server.port;
	client = new_client(ports, 2, "bob");
	assert_int_equal(connect_client(client, NULL), 0);
	assert_int_equal(get(client, 3000), 0);
	/* Nothing can have been sent to the host that is down, so a publish moves on too. */
	assert_int_equal(publish(client, NULL, &uncertain), 0);
	assert_false(uncertain);
	assert_int_equal(server.publishes, 1);
	/* The host that is down was tried once. */
	assert_int_equal(nacos_client_request_count(client), 5);
	nacos_client_free(client);
	stop_server(&server);
}

static struct reply reply_not_now(struct server *server, const char *method, const char *path,
				  const char *head, const char *body)
{
	if (server->script == 1 && strstr(path, "/cs/config"))
		return (struct reply){ 503, "", NULL };
	if (server->script == 2 && strstr(path, "/cs/config"))
		return (struct reply){ 200, NULL, NULL };
	if (server->script == 3 && strstr(path, "/cs/config"))
		return (struct reply){ 0, NULL, NULL };
	return reply_well(server, method, path, head, body);
}

static void test_reads_move_on_and_publishes_do_not(void **state)
{
	struct server first, second;

	(void)state;
	/* 503, hung up, and silence. */
	for (int script = 1; script <= 3; script++) {
		struct nacos_client *client;
		unsigned ports[2];
		bool uncertain = false;
		int error;

		start_server(&first, reply_not_now);
		start_server(&second, reply_well);
		ports[0] = first.port;
		ports[1] = second.port;
		client = new_client(ports, 2, "bob");
		assert_int_equal(connect_client(client, NULL), 0);

		first.script = script;
		error = publish(client, NULL, &uncertain);
		assert_int_equal(error, script == 3 ? -ETIMEDOUT : -EIO);
		assert_true(uncertain);
		assert_int_equal(first.publishes, 1);
		assert_int_equal(second.publishes, 0);
		nacos_client_free(client);
		stop_server(&first);

		start_server(&first, reply_not_now);
		ports[0] = first.port;
		client = new_client(ports, 2, "bob");
		assert_int_equal(connect_client(client, NULL), 0);
		first.script = script;
		assert_int_equal(get(client, 1500), 0);
		assert_int_equal(first.reads, 1);
		assert_int_equal(second.reads, 1);
		nacos_client_free(client);
		stop_server(&first);
		stop_server(&second);
	}
}

static struct reply reply_expiring(struct server *server, const char *method, const char *path,
				   const char *head, const char *body)
{
	static const char *const tokens[] = {
		"{\"accessToken\":\"t1\",\"tokenTtl\":18000}",
		"{\"accessToken\":\"t2\",\"tokenTtl\":18000}",
		"{\"accessToken\":\"t3\",\"tokenTtl\":18000}",
	};
	char wanted[64];

	if (strstr(path, "login"))
		return (struct reply){ 200, tokens[(server->logins - 1) % 3], NULL };
	/*
	 * script is the number of the token that is good; 99: none ever is, 98: it is not about
	 * tokens.
	 */
	snprintf(wanted, sizeof(wanted), "Bearer t%d\r\n", server->script);
	if (strstr(path, "/cs/config") && server->script == 98)
		return (struct reply){ 403, NO_RIGHT, NULL };
	if (strstr(path, "/cs/config") && !strstr(head, wanted))
		return (struct reply){ 403, TOKEN_INVALID, NULL };
	return reply_well(server, method, path, head, body);
}

static void test_a_bad_token_is_replaced_once(void **state)
{
	struct nacos_client *client;
	struct server server;
	bool uncertain = true;

	(void)state;
	start_server(&server, reply_expiring);
	client = new_client(&server.port, 1, "bob");
	assert_int_equal(connect_client(client, NULL), 0);
	server.script = 1;
	assert_int_equal(get(client, 3000), 0);
	assert_int_equal(server.logins, 1);

	/* The server forgot it. */
	server.script = 2;
	assert_int_equal(publish(client, NULL, &uncertain), 0);
	assert_false(uncertain);
	assert_int_equal(server.logins, 2);
	assert_int_equal(server.publishes, 2);

	/* It takes none: not for ever. */
	server.script = 99;
	assert_int_equal(publish(client, NULL, &uncertain), -EACCES);
	assert_false(uncertain);
	assert_int_equal(server.logins, 3);
	assert_int_equal(server.publishes, 4);

	/* A missing right is no matter of tokens. */
	server.script = 98;
	assert_int_equal(get(client, 3000), -EACCES);
	assert_int_equal(server.logins, 3);
	nacos_client_free(client);
	stop_server(&server);
}

static struct reply reply_wrong_password(struct server *server, const char *method, const char *path,
					 const char *head, const char *body)
{
	if (strstr(path, "login") && strstr(body, "password=pass%20word"))
		return (struct reply){ 500, "{\"status\":500,\"message\":\"No message available\"}", NULL };
	return reply_well(server, method, path, head, body);
}

static void test_a_wrong_password_is_not_hammered(void **state)
{
	struct nacos_client *client;
	struct server server;
	char reason[CALL_REASON_SIZE];

	(void)state;
	start_server(&server, reply_wrong_password);
	client = new_client(&server.port, 1, "bob");
	assert_int_equal(connect_client(client, reason), -EACCES);
	assert_non_null(strstr(reason, "user bob: the server refused the login"));
	assert_null(strstr(reason, "pass word"));
	assert_int_equal(get(client, 3000), -EACCES);
	assert_int_equal(server.logins, 1);

	/* A new password is seen, a moment later. */
	write_password("another");
	usleep(2100000);
	assert_int_equal(get(client, 3000), 0);
	assert_int_equal(server.logins, 2);
	write_password("pass word");
	nacos_client_free(client);
	stop_server(&server);
}

static void *get_in_thread(void *arg)
{
	return (void *)(intptr_t)get(arg, 5000);
}

static void test_many_threads_log_in_once(void **state)
{
	struct nacos_client *client;
	struct server server;
	pthread_t threads[8];

	(void)state;
	start_server(&server, reply_expiring);
	client = new_client(&server.port, 1, "bob");
	assert_int_equal(connect_client(client, NULL), 0);
	server.script = 2;
	for (int i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, get_in_thread, client), 0);
	for (int i = 0; i < 8; i++) {
		void *result;

		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_int_equal((intptr_t)result, 0);
	}
	assert_int_equal(server.logins, 2);
	nacos_client_free(client);
	stop_server(&server);
}

static struct reply reply_short_token(struct server *server, const char *method,
					    const char *path, const char *head, const char *body)
{
	if (strstr(path, "login"))
		return server->script ? (struct reply){ 500, "{}", NULL } :
					(struct reply){ 200, "{\"accessToken\":\"t\",\"tokenTtl\":5}", NULL };
	return reply_well(server, method, path, head, body);
}

static void test_a_token_is_renewed_before_it_expires(void **state)
{
	struct nacos_client *client;
	struct server server;

	(void)state;
	start_server(&server, reply_short_token);
	client = new_client(&server.port, 1, "bob");
	assert_int_equal(connect_client(client, NULL), 0);
	usleep(4600000);
	/* Renewing fails, but the old one is still good. */
	server.script = 1;
	assert_int_equal(get(client, 3000), 0);
	assert_int_equal(server.logins, 2);
	usleep(600000);
	assert_int_equal(get(client, 3000), -EACCES);
	nacos_client_free(client);
	stop_server(&server);
}

static struct reply reply_torn(struct server *server, const char *method, const char *path,
			       const char *head, const char *body)
{
	if (strstr(path, "/v3/client/cs/config") && server->reads <= server->script)
		return (struct reply){
			200, "{\"code\":0,\"data\":{\"content\":\"x\",\"md5\":\"" NACOS_MD5_OF_NOTHING "\"}}",
			NULL,
		};
	return reply_well(server, method, path, head, body);
}

static void test_a_torn_content_is_read_again(void **state)
{
	struct nacos_client *client;
	struct server server;

	(void)state;
	start_server(&server, reply_torn);
	client = new_client(&server.port, 1, "bob");
	assert_int_equal(connect_client(client, NULL), 0);
	server.script = 2;
	assert_int_equal(get(client, 3000), 0);
	assert_int_equal(server.reads, 3);
	server.script = 1000;
	assert_int_equal(get(client, 5000), -EIO);
	assert_int_equal(server.reads, 8);
	nacos_client_free(client);
	stop_server(&server);
}

static struct reply reply_absent(struct server *server, const char *method, const char *path,
				 const char *head, const char *body)
{
	if (strstr(path, "/v3/client/cs/config"))
		return (struct reply){ 200, NOT_FOUND, NULL };
	if (strstr(path, "/v3/admin/cs/config") && server->script)
		return server->script == 403 ? (struct reply){ 403, NO_RIGHT, NULL } :
					       (struct reply){ 404, NOT_FOUND, NULL };
	return reply_well(server, method, path, head, body);
}

static void test_absence_is_confirmed(void **state)
{
	struct nacos_client *client;
	struct server server;

	(void)state;
	start_server(&server, reply_absent);
	client = new_client(&server.port, 1, "bob");
	assert_int_equal(connect_client(client, NULL), 0);
	assert_int_equal(get(client, 3000), 0);
	assert_int_equal(server.reads, 2);
	server.script = 404;
	assert_int_equal(get(client, 3000), -ENOENT);
	server.script = 403;
	assert_int_equal(get(client, 3000), -ENOENT);
	nacos_client_free(client);
	stop_server(&server);
}

static struct reply reply_gray(struct server *server, const char *method, const char *path,
			       const char *head, const char *body)
{
	if (strstr(path, "/v3/client/cs/config"))
		return (struct reply){ 200, "{\"code\":0,\"data\":{\"content\":\"beta\",\"beta\":true}}", NULL };
	return reply_well(server, method, path, head, body);
}

static void test_a_beta_is_not_the_config(void **state)
{
	cleanup_nacos_config struct nacos_config config = { 0 };
	struct nacos_client *client;
	struct server server;
	struct call call;

	(void)state;
	start_server(&server, reply_gray);
	client = new_client(&server.port, 1, "bob");
	assert_int_equal(connect_client(client, NULL), 0);
	call_start(&call, 3000);
	assert_int_equal(nacos_config_get(client, place, &call, &config), 0);
	assert_string_equal(config.content.data, "hello");
	nacos_client_free(client);
	stop_server(&server);
}

static struct reply reply_list(struct server *server, const char *method, const char *path,
			       const char *head, const char *body)
{
	if (strstr(path, "/v3/admin/cs/config/list"))
		return server->lists < 3 ?
			       (struct reply){ 503, "server limit match.", NULL } :
			       (struct reply){ 200,
					       "{\"code\":0,\"data\":{\"totalCount\":1,\"pageItems\":[{"
					       "\"namespaceId\":\"public\",\"groupName\":\"G\","
					       "\"dataId\":\"a\"}]}}",
					       NULL };
	return reply_well(server, method, path, head, body);
}

static void test_a_busy_list_is_asked_again(void **state)
{
	cleanup_nacos_listing struct nacos_listing listing = { 0 };
	struct nacos_client *client;
	struct server server;
	struct call call;

	(void)state;
	start_server(&server, reply_list);
	client = new_client(&server.port, 1, "bob");
	assert_int_equal(connect_client(client, NULL), 0);
	call_start(&call, 5000);
	assert_int_equal(nacos_config_list(client, "public", NULL, &call, &listing), 0);
	assert_int_equal(listing.count, 1);
	assert_int_equal(server.lists, 3);
	assert_true(head_has(&server, "search=accurate&dataId=&groupName=&namespaceId=public"
						 "&pageNo=1&pageSize=5000 "));
	nacos_client_free(client);
	stop_server(&server);
}

static struct reply reply_not_an_admin(struct server *server, const char *method, const char *path,
				       const char *head, const char *body)
{
	if (strstr(path, "/nacos/v3/admin/core/namespace/list"))
		return (struct reply){ 403, NO_RIGHT, NULL };
	if (strncmp(path, "/v3/console/core/namespace/list", 31) == 0)
		return strstr(head, "Bearer good") ?
			       (struct reply){ 200, "{\"code\":0,\"data\":[{\"namespace\":\"dev\"}]}", NULL } :
			       (struct reply){ 403, TOKEN_INVALID, NULL };
	return reply_well(server, method, path, head, body);
}

static void test_namespaces_from_the_console(void **state)
{
	struct nacos_host host = { .name = "127.0.0.1" };
	struct nacos_client_options options = {
		.hosts = &host, .host_count = 1, .username = "bob", .password_file = password_path,
	};
	struct nacos_namespace_list list = { 0 };
	struct nacos_client *client;
	struct server server;
	struct call call;
	char url[64];

	(void)state;
	start_server(&server, reply_not_an_admin);
	host.port = server.port;
	/* The slash at the end is no harm. */
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", server.port);
	options.console_url = url;
	assert_int_equal(nacos_client_new(&options, &client), 0);
	assert_int_equal(connect_client(client, NULL), 0);
	call_start(&call, 3000);
	assert_int_equal(nacos_namespace_list(client, &call, &list), 0);
	assert_int_equal(list.count, 1);
	assert_string_equal(list.ids[0], "dev");
	nacos_namespace_list_release(&list);
	nacos_client_free(client);

	snprintf(url, sizeof(url), "http://127.0.0.1:%u", closed_port());
	assert_int_equal(nacos_client_new(&options, &client), 0);
	assert_int_equal(connect_client(client, NULL), 0);
	call_start(&call, 3000);
	assert_int_equal(nacos_namespace_list(client, &call, &list), -EOPNOTSUPP);
	assert_non_null(strstr(call.reason, "console="));
	nacos_client_free(client);
	stop_server(&server);
}

static void test_size_limit_is_exact(void **state)
{
	const size_t names_size = strlen("dataId=a.yaml&groupName=G&namespaceId=dev&content=");
	struct nacos_publish text = { .size = 2097152 - names_size + 1 };
	struct nacos_client *client;
	struct server server;
	struct call call;
	bool uncertain = true;
	char *content = malloc(text.size);

	(void)state;
	assert_non_null(content);
	memset(content, 'x', text.size);
	text.content = content;
	start_server(&server, reply_well);
	client = new_client(&server.port, 1, "bob");
	assert_int_equal(connect_client(client, NULL), 0);
	call_start(&call, 3000);
	assert_int_equal(nacos_config_publish(client, place, &text, &call, &uncertain), -EFBIG);
	assert_false(uncertain);
	assert_int_equal(server.publishes, 0);
	nacos_client_free(client);
	stop_server(&server);
	free(content);
}

static bool is_interrupted(void *arg)
{
	return clock_monotonic_ms() > *(int64_t *)arg;
}

static void test_waiting_ends_with_the_call(void **state)
{
	int64_t interrupt_ms = clock_monotonic_ms() + 400, start_ms;
	struct nacos_config config;
	struct nacos_client *client;
	struct server server;
	struct call call;

	(void)state;
	start_server(&server, reply_not_now);
	client = new_client(&server.port, 1, "bob");
	assert_int_equal(connect_client(client, NULL), 0);
	server.script = 3;
	start_ms = clock_monotonic_ms();
	assert_int_equal(get(client, 300), -ETIMEDOUT);
	assert_in_range(clock_monotonic_ms() - start_ms, 250, 1500);
	call_start(&call, 10000);
	interrupt_ms = clock_monotonic_ms() + 300;
	call.interrupted = is_interrupted;
	call.interrupted_arg = &interrupt_ms;
	assert_int_equal(nacos_config_get(client, place, &call, &config), -EINTR);
	nacos_client_free(client);
	stop_server(&server);
}

static int make_password_file(void **state)
{
	int descriptor = mkstemp(password_path);

	(void)state;
	if (descriptor < 0)
		return -1;
	close(descriptor);
	write_password("pass word");
	return 0;
}

static int remove_password_file(void **state)
{
	(void)state;
	return unlink(password_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests_are_what_3x_wants),
		cmocka_unit_test(test_requests_are_what_2x_wants),
		cmocka_unit_test(test_what_is_not_nacos_is_refused),
		cmocka_unit_test(test_a_server_that_hides_its_version),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_the_next_host_takes_over),
		cmocka_unit_test(test_reads_move_on_and_publishes_do_not),
		cmocka_unit_test(test_a_bad_token_is_replaced_once),
		cmocka_unit_test(test_a_wrong_password_is_not_hammered),
		cmocka_unit_test(test_many_threads_log_in_once),
		cmocka_unit_test(test_a_token_is_renewed_before_it_expires),
		cmocka_unit_test(test_a_torn_content_is_read_again),
		cmocka_unit_test(test_absence_is_confirmed),
		cmocka_unit_test(test_a_beta_is_not_the_config),
		cmocka_unit_test(test_a_busy_list_is_asked_again),
		cmocka_unit_test(test_namespaces_from_the_console),
		cmocka_unit_test(test_size_limit_is_exact),
		cmocka_unit_test(test_waiting_ends_with_the_call),
	};

	log_set_level(LOG_LEVEL_ERROR);
	place = place_new("dev", "G", "a.yaml");
	int failed = cmocka_run_group_tests(tests, make_password_file, remove_password_file);
	place_drop(place);
	return failed;
}
