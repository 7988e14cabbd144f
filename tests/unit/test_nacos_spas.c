/* Signatures against those of the official Java clients, and where requests carry them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nacos/grpc/identity.h"
#include "nacos/http/identity.h"
#include "nacos/spas.h"
#include "util/hash.h"

#define KEY "LTAI5tExampleKey"
#define SECRET "pZ0Example+Secret/Key=="

struct vector {
	const char *namespace_id, *group, *access_key, *secret_key, *token, *region;
	int64_t time_ms;
	const char *signature;
};

/* Made with ConfigResourceInjector of com.alibaba.nacos:nacos-client:2.4.3. */
static const struct vector grpc_vectors[] = {
	{ "prod", "DEFAULT_GROUP", KEY, SECRET, NULL, NULL, 1795302205534, "qSeiycWl/PODXhBTG/Ht0dhcI+Q=" },
	{ "", "DEFAULT_GROUP", KEY, SECRET, NULL, NULL, 1795302206037, "fvCHUxsdWuEDuJVfJXFGhtzbLJY=" },
	{ "prod", NULL, KEY, SECRET, NULL, NULL, 1795302206072, "aSx+NQhNAAooRYt4awdikBp/T5g=" },
	{ NULL, NULL, KEY, SECRET, NULL, NULL, 1795302206078, "ZE/nr9wxM2ronOty43qfCAdS7Sc=" },
	{ "命名", "组", KEY, SECRET, NULL, NULL, 1795302206079, "lP1JM1sdBmdR5fNKx4R8RWUlfws=" },
	{ "prod", "DEFAULT_GROUP", KEY, SECRET, NULL, "cn-hangzhou", 1795302206086, "f5XDaM19JghKbCjc6dItrgKbSIk=" },
	{ "", "DEFAULT_GROUP", KEY, SECRET, NULL, "cn-hangzhou", 1795302206087, "wZSm3MgQDlKKF82gusw24OOQ75k=" },
	{ "prod", "", KEY, SECRET, NULL, "cn-hangzhou", 1795302206088, "Naly74/VsFEo3981o0cFbwxEj9A=" },
	{ "", "", KEY, SECRET, NULL, "cn-hangzhou", 1795302206102, "t1HqRYcL4zTLKAT/GtSCx8NQXcs=" },
	{ "命名", "组", KEY, SECRET, NULL, "cn-hangzhou", 1795302206107, "/vSSZMLL4N5QcHEjEQtGfDjhlCE=" },
	{ "prod", "G", "STS.abc", "stssecret", "tok/en+==", NULL, 1795302207647, "YzlUk8Qn9C0DnGNpXa/wMTCg+b0=" },
	{ "prod", "G", "STS.abc", "stssecret", "tok/en+==", "cn-shanghai", 1795302207649,
	  "mDS/6N1UTDnmdIBK082HqjFwyhE=" },
};

/* Made with SpasAdapter.getSignHeaders() of nacos-client 1.4.1, which is the client that speaks HTTP. */
static const struct vector http_vectors[] = {
	{ "prod", "DEFAULT_GROUP", KEY, SECRET, NULL, NULL, 1795302216250, "BOQfo39VL4OtBYVuO83P2n47IRQ=" },
	{ NULL, "DEFAULT_GROUP", KEY, SECRET, NULL, NULL, 1795302217401, "e11RKfcFplNSbqgr5PRLotSz3Y8=" },
	{ "prod", NULL, KEY, SECRET, NULL, NULL, 1795302217401, "0LStqar0Y0OQnBCZyxz5DcNqk+w=" },
	{ NULL, NULL, KEY, SECRET, NULL, NULL, 1795302217401, "0LStqar0Y0OQnBCZyxz5DcNqk+w=" },
};

static void fill(const struct vector *vector, struct nacos_credentials *credentials)
{
	assert_int_equal(buffer_append_text(&credentials->access_key, vector->access_key), 0);
	assert_int_equal(buffer_append_text(&credentials->secret_key, vector->secret_key), 0);
	if (vector->token)
		assert_int_equal(buffer_append_text(&credentials->security_token, vector->token), 0);
}

static void check_line(const struct buffer *lines, size_t count, const char *name, const char *value)
{
	char wanted[256];
	size_t found = 0;

	snprintf(wanted, sizeof(wanted), "%s: %s", name, value ? value : "");
	for (size_t i = 0; i < count; i++) {
		if (strncmp(lines[i].data, wanted, strlen(name) + 2) != 0)
			continue;
		assert_string_equal(lines[i].data, wanted);
		found++;
	}
	assert_int_equal(found, value != NULL);
}

static void check_vector(const struct vector *vector, bool over_http)
{
	cleanup_nacos_credentials struct nacos_credentials credentials = { .access_key = BUFFER_INIT };
	cleanup_buffer struct buffer resource = BUFFER_INIT;
	struct buffer lines[NACOS_SPAS_LINES_MAX] = { BUFFER_INIT };
	char time[32];
	size_t count = 0;

	fill(vector, &credentials);
	if (over_http)
		assert_int_equal(nacos_spas_add_http_resource(vector->namespace_id, vector->group, &resource), 0);
	else
		assert_int_equal(nacos_spas_add_grpc_resource(vector->namespace_id, vector->group, &resource), 0);
	assert_int_equal(nacos_spas_sign(&credentials, vector->region, resource.data, vector->time_ms, lines, &count),
			 0);
	snprintf(time, sizeof(time), "%lld", (long long)vector->time_ms);
	check_line(lines, count, "Spas-Signature", vector->signature);
	check_line(lines, count, "Spas-AccessKey", vector->access_key);
	check_line(lines, count, "Timestamp", time);
	check_line(lines, count, "Spas-SecurityToken", vector->token);
	check_line(lines, count, "signatureVersion", vector->region ? "v4" : NULL);
	for (size_t i = 0; i < NACOS_SPAS_LINES_MAX; i++)
		buffer_wipe(&lines[i]);
}

static void test_as_the_java_clients(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(grpc_vectors) / sizeof(grpc_vectors[0]); i++)
		check_vector(&grpc_vectors[i], false);
	for (size_t i = 0; i < sizeof(http_vectors) / sizeof(http_vectors[0]); i++)
		check_vector(&http_vectors[i], true);
}

/* The key of version 4 changes with the day, in UTC: so does what is signed with it. */
static void test_day(void **state)
{
	static const int64_t midnight_ms = 1709251200000; /* 2024-03-01 */
	cleanup_nacos_credentials struct nacos_credentials credentials = { .access_key = BUFFER_INIT };
	/* What CalculateV4SigningKeyUtil.finalSigningKeyString() gave for 20240229. */
	static const char key[] = "4JzhWMgX6oM0EomHA7W8ajjpBJKurQEWk8oJqF4ej2c=";
	struct buffer lines[NACOS_SPAS_LINES_MAX] = { BUFFER_INIT };
	unsigned char mac[HASH_SHA1_SIZE];
	char text[32], base64[HASH_BASE64_SIZE(HASH_SHA1_SIZE)];
	size_t count = 0;

	(void)state;
	fill(&grpc_vectors[0], &credentials);
	for (int64_t time_ms = midnight_ms - 1; time_ms <= midnight_ms; time_ms++) {
		snprintf(text, sizeof(text), "%lld", (long long)time_ms);
		assert_int_equal(hash_hmac_sha1(key, strlen(key), text, strlen(text), mac), 0);
		hash_to_base64(mac, sizeof(mac), base64);
		assert_int_equal(nacos_spas_sign(&credentials, "cn-hangzhou", "", time_ms, lines, &count), 0);
		if (time_ms < midnight_ms)
			check_line(lines, count, "Spas-Signature", base64);
		else
			assert_string_not_equal(lines[2].data + strlen("Spas-Signature: "), base64);
		for (size_t i = 0; i < NACOS_SPAS_LINES_MAX; i++)
			buffer_wipe(&lines[i]);
	}
}

/* ---- the headers of gRPC requests ---- */

static int source_error;
static int source_calls;

static int get_credentials(void *arg, struct call *call, struct nacos_credentials *ret_credentials)
{
	assert_ptr_equal(arg, &source_error);
	source_calls++;
	if (source_error)
		return call_fail(call, source_error, "no keys today");
	fill(&grpc_vectors[10], ret_credentials);
	return 0;
}

static struct nacos_client *new_client(const char *region)
{
	struct nacos_host host = { (char *)(uintptr_t) "127.0.0.1", 1 };
	struct nacos_client_options options = {
		.hosts = &host, .host_count = 1, .credentials = { get_credentials, &source_error }, .region = region,
	};
	struct nacos_client *client;

	assert_int_equal(nacos_client_new(&options, &client), 0);
	return client;
}

/* A map entry of the payload: field 1 the name, field 2 the value, each with its length before it. */
static bool find_header(const struct buffer *headers, const char *name, char *ret_value, size_t size)
{
	char wanted[64];
	int length = snprintf(wanted, sizeof(wanted), "\x0a%c%s\x12", (char)strlen(name), name);
	const char *found = headers->size ? memmem(headers->data, headers->size, wanted, (size_t)length) : NULL;

	if (!found)
		return false;
	snprintf(ret_value, size, "%.*s", found[length], found + length + 1);
	return true;
}

static void check_grpc(const char *region, const char *namespace_id, const char *group)
{
	const struct nacos_grpc_subject subject = { namespace_id, group };
	cleanup_buffer_wipe struct buffer headers = BUFFER_INIT;
	struct vector vector = grpc_vectors[10];
	struct nacos_client *client = new_client(region);
	char value[128], time[32], signature[64];
	unsigned long serial = 0;
	struct call call;

	call_start(&call, 1000);
	assert_int_equal(nacos_grpc_identity_of_client(client, &subject, 0, &call, &headers, &serial), 0);
	assert_true(find_header(&headers, "Spas-AccessKey", value, sizeof(value)));
	assert_string_equal(value, "STS.abc");
	assert_true(find_header(&headers, "Spas-SecurityToken", value, sizeof(value)));
	assert_string_equal(value, "tok/en+==");
	assert_int_equal(find_header(&headers, "signatureVersion", value, sizeof(value)), region != NULL);
	assert_false(find_header(&headers, "accessToken", value, sizeof(value)));
	/* It is what is signed with that time. */
	assert_true(find_header(&headers, "Timestamp", time, sizeof(time)));
	assert_true(find_header(&headers, "Spas-Signature", signature, sizeof(signature)));
	vector.namespace_id = namespace_id;
	vector.group = group;
	vector.region = region;
	vector.time_ms = strtoll(time, NULL, 10);
	vector.signature = signature;
	check_vector(&vector, false);

	/* The same key again would be of no use. */
	assert_true(serial != 0);
	assert_int_equal(nacos_grpc_identity_of_client(client, &subject, serial, &call, &headers, &serial), -EACCES);
	nacos_client_free(client);
}

static void test_grpc_headers(void **state)
{
	(void)state;
	source_error = 0;
	check_grpc(NULL, "prod", "G");
	check_grpc("cn-hangzhou", "", "G");
	check_grpc(NULL, NULL, NULL);
}

static void test_no_credentials(void **state)
{
	const struct nacos_grpc_subject subject = { "prod", "G" };
	cleanup_buffer_wipe struct buffer headers = BUFFER_INIT;
	struct nacos_client *client = new_client(NULL);
	unsigned long serial = 0;
	struct call call;

	(void)state;
	call_start(&call, 1000);
	source_error = -ENOKEY;
	assert_int_equal(nacos_grpc_identity_of_client(client, &subject, 0, &call, &headers, &serial), -EHOSTUNREACH);
	assert_non_null(strstr(call.reason, "no keys today"));
	source_error = -EINTR;
	assert_int_equal(nacos_grpc_identity_of_client(client, &subject, 0, &call, &headers, &serial), -EINTR);
	assert_int_equal(headers.size, 0);
	nacos_client_free(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_the_java_clients),
		cmocka_unit_test(test_day),
		cmocka_unit_test(test_grpc_headers),
		cmocka_unit_test(test_no_credentials),
	};

	return cmocka_run_group_tests_name("nacos/spas", tests, NULL, NULL);
}
