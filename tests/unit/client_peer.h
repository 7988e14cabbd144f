/*
 * Clients of the servers of http_peer.h: for tests of what is sent where, how often, and with which token. Tests run one at a
 * time.
 */
#ifndef NACOSFS_TESTS_UNIT_CLIENT_PEER_H
#define NACOSFS_TESTS_UNIT_CLIENT_PEER_H

#include "tests/unit/http_peer.h"

#include "nacos/http/client.h"
#include "nacos/http/config.h"
#include "util/log.h"

static char password_path[] = "/tmp/test_nacos_client.XXXXXX";

static inline void write_password(const char *password)
{
	FILE *file = fopen(password_path, "w");

	assert_non_null(file);
	assert_int_not_equal(fprintf(file, "%s\n", password), 0);
	assert_int_equal(fclose(file), 0);
}

static inline struct nacos_client *new_client(const unsigned *ports, size_t count, const char *username)
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

static inline int connect_client(struct nacos_client *client, char reason[CALL_REASON_SIZE])
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

static inline int get(struct nacos_client *client, int64_t timeout_ms)
{
	cleanup_nacos_config struct nacos_config config = { 0 };
	struct call call;

	call_start(&call, timeout_ms);
	return nacos_config_get(client, place, &call, &config);
}

static inline int publish(struct nacos_client *client, const char *cas_md5, bool *ret_uncertain)
{
	struct nacos_publish text = { .content = "a=1&b", .size = 5, .cas_md5 = cas_md5, .type = "text" };
	struct call call;

	call_start(&call, 3000);
	return nacos_config_publish(client, place, &text, &call, ret_uncertain);
}

/* A 3.x server where all goes well. */
static inline struct reply reply_well(struct server *server, const char *method, const char *path,
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

/* For a group of tests: the file with the password, and the place. */
static inline int set_up(void **state)
{
	int descriptor = mkstemp(password_path);

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	place = place_new("dev", "G", "a.yaml");
	if (descriptor < 0)
		return -1;
	close(descriptor);
	write_password("pass word");
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	place_drop(place);
	return unlink(password_path);
}

#endif
