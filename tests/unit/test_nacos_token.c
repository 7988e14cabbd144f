/* The token of a client: when it is got, how often, and what a refusal leads to. */
#include "tests/unit/client_peer.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_bad_token_is_replaced_once),
		cmocka_unit_test(test_a_wrong_password_is_not_hammered),
		cmocka_unit_test(test_many_threads_log_in_once),
		cmocka_unit_test(test_a_token_is_renewed_before_it_expires),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
