/* The client: what servers are, which host is asked, and for how long. */
#include "tests/unit/client_peer.h"
#include "util/clock.h"

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
		cmocka_unit_test(test_waiting_ends_with_the_call),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
