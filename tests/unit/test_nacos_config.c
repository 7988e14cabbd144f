/* Configs and namespaces over HTTP: what is asked again, and what answers mean. */
#include "nacos/http/namespace.h"
#include "tests/unit/client_peer.h"

#define NOT_FOUND "{\"code\":20004,\"message\":\"resource not found\",\"data\":null}"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_torn_content_is_read_again),
		cmocka_unit_test(test_absence_is_confirmed),
		cmocka_unit_test(test_a_beta_is_not_the_config),
		cmocka_unit_test(test_a_busy_list_is_asked_again),
		cmocka_unit_test(test_namespaces_from_the_console),
		cmocka_unit_test(test_size_limit_is_exact),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
