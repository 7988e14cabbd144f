/* What answers mean: those of real servers, word for word, and those that no server should send. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nacos/http/answer.h"
#include "nacos/http/config_answer.h"
#include "nacos/http/detect.h"
#include "nacos/http/login.h"
#include "nacos/http/namespace_answer.h"

#define MD5_OF_HELLO "5d41402abc4b2a76b9719d911017c592"

static struct call call;
static const struct nacos_config_question question = { .what = "config dev/G/a" };

/* An answer on the stack: strings stay where they are, the body is a copy. */
static struct http_header headers[8];

static struct http_answer make_answer(int status, const char *body)
{
	struct http_answer answer = { .status = status };

	assert_int_equal(buffer_append_text(&answer.body, body), 0);
	call_start(&call, 1000);
	return answer;
}

static void add_header(struct http_answer *answer, const char *name, const char *value)
{
	answer->headers = headers;
	headers[answer->header_count].name = (char *)name;
	headers[answer->header_count++].value = (char *)value;
}

static int read_raw(struct http_answer *answer, struct nacos_config *config, bool *ret_is_gray)
{
	int error = nacos_config_answer_read_raw(answer, &question, &call, config, ret_is_gray);

	buffer_release(&answer->body);
	return error;
}

static int read_object(int status, bool wrapped, const char *body, struct nacos_config *config)
{
	struct http_answer answer = make_answer(status, body);
	bool is_gray;
	int error = nacos_config_answer_read_object(&answer, wrapped, &question, &call, config,
						    &is_gray);

	buffer_release(&answer.body);
	return error;
}

static void test_raw_config(void **state)
{
	cleanup_nacos_config struct nacos_config config = { 0 };
	struct http_answer answer = make_answer(200, "hello");
	bool is_gray = true;

	(void)state;
	add_header(&answer, "config-type", "json");
	add_header(&answer, "content-md5", "5D41402ABC4B2A76B9719D911017C592");
	add_header(&answer, "last-modified", "Sat, 21 Nov 2026 19:38:32 GMT");
	add_header(&answer, "encrypted-data-key", "key");
	assert_int_equal(read_raw(&answer, &config, &is_gray), 0);
	assert_string_equal(config.content.data, "hello");
	assert_string_equal(config.md5, MD5_OF_HELLO);
	assert_string_equal(config.type, "json");
	assert_int_equal(config.modified_ms, INT64_C(1795289912000));
	assert_string_equal(config.encrypted_data_key, "key");
	assert_null(config.description);
	assert_false(is_gray);
}

static void test_raw_config_with_little_in_its_headers(void **state)
{
	static const char *const dates[] = {
		"", "yesterday", "Sat, 21 Foo 2026 19:38:32 GMT", "Sat, 21 anF 2026 19:38:32 GMT",
		"Sat, 21 Nov 1066 19:38:32 GMT", "Sat, 99999999999 Nov 2026 19:38:32 GMT",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
		cleanup_nacos_config struct nacos_config config = { 0 };
		struct http_answer answer = make_answer(200, "hello");
		bool is_gray;

		add_header(&answer, "last-modified", dates[i]);
		add_header(&answer, "config-type", i ? "unset" : "no type <html> at all");
		add_header(&answer, "encrypted-data-key", "");
		assert_int_equal(read_raw(&answer, &config, &is_gray), 0);
		assert_string_equal(config.md5, MD5_OF_HELLO);
		assert_string_equal(config.type, "");
		assert_int_equal(config.modified_ms, 0);
		assert_null(config.encrypted_data_key);
	}
}

static void test_raw_config_that_is_tried_out(void **state)
{
	static const char *const names[] = { "isbeta", "vipserver-tag", "tag" };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		cleanup_nacos_config struct nacos_config config = { 0 };
		struct http_answer answer = make_answer(200, "hello");
		bool is_gray = false;

		add_header(&answer, names[i], "true");
		assert_int_equal(read_raw(&answer, &config, &is_gray), 0);
		assert_true(is_gray);
	}
}

static void test_raw_config_failures(void **state)
{
	static const struct {
		int status, error;
		const char *body;
	} cases[] = {
		{ 404, -ENOENT, "config data not exist\r\n" },
		{ 404, -EIO, "<html>not here</html>" },
		{ 404, -EIO, "{\"status\":404,\"path\":\"/nacos/v1/cs/configs\"}" },
		{ 409, -EBUSY, "requested file is being modified, please try later.\n" },
		{ 400, -ENOENT, "caused: invalid dataId : z z/;" },
		{ 403, -EACCES, "{\"status\":403,\"message\":\"authorization failed!\"}" },
		{ 302, -EIO, "" }, { 410, -EIO, "{}" }, { 500, -EIO, "caused: x" }, { 204, -EIO, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nacos_config config = { .modified_ms = 42 };
		struct http_answer answer = make_answer(cases[i].status, cases[i].body);
		bool is_gray;

		assert_int_equal(read_raw(&answer, &config, &is_gray), cases[i].error);
		assert_int_equal(config.modified_ms, 42);
		assert_non_null(strstr(call.reason, "config dev/G/a"));
	}
}

static void test_content_must_match_its_md5(void **state)
{
	static const struct nacos_config_question cipher = { "config dev/G/cipher-a", true };
	cleanup_nacos_config struct nacos_config config = { 0 };
	struct http_answer answer = make_answer(200, "hallo");
	bool is_gray;

	(void)state;
	add_header(&answer, "content-md5", MD5_OF_HELLO);
	assert_int_equal(read_raw(&answer, &config, &is_gray), -EAGAIN);
	answer = make_answer(200, "hello");
	add_header(&answer, "content-md5", "5d41402a");
	assert_int_equal(read_raw(&answer, &config, &is_gray), -EIO);

	/* Decrypted by the server: the MD5 is that of what is stored. */
	answer = make_answer(200, "hallo");
	add_header(&answer, "content-md5", MD5_OF_HELLO);
	assert_int_equal(nacos_config_answer_read_raw(&answer, &cipher, &call, &config, &is_gray), 0);
	assert_string_equal(config.md5, MD5_OF_HELLO);
	buffer_release(&answer.body);
}

/* show=all of 2.2.4. */
static void test_bare_object(void **state)
{
	cleanup_nacos_config struct nacos_config config = { 0 };

	(void)state;
	assert_int_equal(
		read_object(200, false,
			    "{\"id\":\"1098323268177235968\",\"dataId\":\"a.b\",\"group\":\"G_1\","
			    "\"content\":\"hello\",\"md5\":\"" MD5_OF_HELLO "\",\"encryptedDataKey\":\"\","
			    "\"tenant\":\"nt1\",\"appName\":\"\",\"type\":\"json\","
			    "\"createTime\":1795289912981,\"modifyTime\":1795289912981,"
			    "\"createUser\":\"nacos\",\"createIp\":\"127.0.0.1\",\"desc\":\"d1\","
			    "\"use\":null,\"effect\":null,\"schema\":null,\"configTags\":\"x,y\"}",
			    &config),
		0);
	assert_string_equal(config.content.data, "hello");
	assert_string_equal(config.type, "json");
	assert_int_equal(config.modified_ms, INT64_C(1795289912981));
	assert_string_equal(config.description, "d1");
	assert_string_equal(config.tags, "x,y");
	assert_null(config.encrypted_data_key);
	assert_null(config.app_name);
	assert_null(config.use);
}

/* The client call of 3.1.0. */
static void test_wrapped_object(void **state)
{
	cleanup_nacos_config struct nacos_config config = { 0 };

	(void)state;
	assert_int_equal(
		read_object(200, true,
			    "{\"code\":0,\"message\":\"success\",\"data\":{\"resultCode\":200,"
			    "\"errorCode\":0,\"content\":\"a\\u0000b\",\"encryptedDataKey\":\"k\","
			    "\"contentType\":\"text\",\"md5\":null,\"lastModified\":1795289913108,"
			    "\"tag\":null,\"beta\":false,\"success\":true}}",
			    &config),
		0);
	assert_int_equal(config.content.size, 3);
	assert_memory_equal(config.content.data, "a\0b", 3);
	assert_string_equal(config.type, "text");
	assert_int_equal(config.modified_ms, INT64_C(1795289913108));
	assert_string_equal(config.encrypted_data_key, "k");
}

static void test_absent_objects(void **state)
{
	struct nacos_config config;

	(void)state;
	assert_int_equal(read_object(200, false, "", &config), -ENOENT);
	assert_int_equal(read_object(200, false, "null", &config), -ENOENT);
	assert_int_equal(read_object(200, true,
				     "{\"code\":20004,\"message\":\"resource not found\",\"data\":null}",
				     &config),
			 -ENOENT);
	assert_int_equal(read_object(404, true,
				     "{\"code\":20004,\"message\":\"resource not found\","
				     "\"data\":\"Config not exist, please publish Config first.\"}",
				     &config),
			 -ENOENT);
	assert_int_equal(read_object(400, true, "Param 'dataId' is illegal, illegal characters", &config),
			 -ENOENT);
	/* A gateway's 404. */
	assert_int_equal(read_object(404, true, "<html>", &config), -EIO);
	assert_int_equal(read_object(404, false, "", &config), -EIO);
	assert_int_equal(read_object(409, true, "{\"code\":20005,\"data\":null}", &config), -EBUSY);
	assert_int_equal(read_object(409, false, "busy", &config), -EBUSY);
}

static void test_hostile_objects(void **state)
{
	static const char *const bodies[] = {
		"{", "[]", "true", "\"x\"", "<html></html>", "{}", "{\"content\":null}",
		"{\"content\":7}", "{\"content\":[\"x\"]}", "{\"code\":0}", "{\"code\":0,\"data\":null}",
		"{\"code\":0,\"data\":[]}", "{\"code\":0,\"data\":{}}", "{\"code\":\"x\",\"data\":{}}",
		"{\"code\":0,\"data\":{\"content\":{}}}", "{\"code\":0,\"data\":\"text\"}",
		"{\"code\":0,\"data\":{\"content\":\"x\",\"md5\":\"short\"}}",
		"{\"content\":\"x\",\"md5\":\"0123456789abcdef0123456789abcdeg\"}",
		"{\"code\":30000,\"data\":{\"content\":\"x\"}}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct nacos_config config;

		assert_int_equal(read_object(200, true, bodies[i], &config), -EIO);
		assert_int_equal(read_object(200, false, bodies[i], &config), -EIO);
	}
}

static void test_strange_members_are_none(void **state)
{
	cleanup_nacos_config struct nacos_config config = { 0 };

	(void)state;
	assert_int_equal(read_object(200, false,
				     "{\"content\":\"hello\",\"md5\":7,\"type\":[],\"modifyTime\":-5,"
				     "\"desc\":{},\"configTags\":1,\"appName\":\"a\\u0000b\"}",
				     &config),
			 0);
	assert_string_equal(config.md5, MD5_OF_HELLO);
	assert_string_equal(config.type, "");
	assert_int_equal(config.modified_ms, 0);
	assert_null(config.description);
	assert_null(config.tags);
	assert_null(config.app_name);
}

static void test_publish_outcomes(void **state)
{
	static const struct {
		int status;
		const char *body;
		bool wrapped, had_cas;
		int error;
		bool uncertain;
	} cases[] = {
		{ 200, "true", false, false, 0, false },
		{ 200, "true\r\n", false, false, 0, false },
		{ 200, "{\"code\":0,\"message\":\"success\",\"data\":true}", true, true, 0, false },
		/* What success does not look like. */
		{ 200, "false", false, false, -EIO, true },
		{ 200, "", false, false, -EIO, true },
		{ 200, "<html>login</html>", false, false, -EIO, true },
		{ 200, "true", true, false, -EIO, true },
		{ 200, "{\"code\":0,\"data\":false}", true, false, -EIO, true },
		{ 200, "{\"code\":30000,\"data\":null}", true, false, -EIO, true },
		{ 201, "true", false, false, -EIO, true },
		/* Another text than expected. */
		{ 500, "caused: Cas publish fail, server md5 may have changed.;", false, true, -EBUSY, false },
		{ 500, "{\"code\":20005,\"message\":\"resource conflict\",\"data\":\"Cas publish fail\"}",
		  true, true, -EBUSY, false },
		{ 500, "false", false, true, -EBUSY, true },
		{ 200, "false", false, true, -EBUSY, true },
		{ 500, "false", false, false, -EIO, true },
		{ 500, "{\"code\":20005,\"data\":null}", true, false, -EIO, true },
		/* Refused before anything was done. */
		{ 400, "caused: content is blank : ;", false, false, -EINVAL, false },
		{ 400, "{\"code\":10000,\"message\":\"parameter missing\",\"data\":\"x\"}", true, true,
		  -EINVAL, false },
		{ 400, "Param 'dataId' is illegal, illegal characters", true, false, -EINVAL, false },
		{ 403, "{\"status\":403,\"message\":\"authorization failed!\"}", false, true, -EACCES, false },
		{ 413, "<html>", true, false, -EFBIG, false },
		{ 429, "429", false, false, -EDQUOT, false },
		{ 500, "{\"code\":5033,\"data\":null}", true, false, -EDQUOT, false },
		{ 400, "{\"code\":5034,\"data\":null}", true, false, -EFBIG, false },
		{ 302, "", false, false, -EIO, false },
		{ 404, "", true, false, -EIO, false },
		{ 410, "{}", true, false, -EIO, false },
		{ 408, "", true, false, -EIO, true },
		/* In trouble: who knows. */
		{ 500, "caused: database", false, false, -EIO, true },
		{ 500, "{\"code\":30000,\"data\":\"x\"}", true, true, -EIO, true },
		{ 503, "", true, false, -EIO, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_answer answer = make_answer(cases[i].status, cases[i].body);
		bool uncertain = !cases[i].uncertain;
		int error = nacos_config_answer_read_publish(&answer, cases[i].wrapped,
							     cases[i].had_cas, "config x", &call,
							     &uncertain);

		if (error != cases[i].error || uncertain != cases[i].uncertain)
			fail_msg("case %zu: %d, uncertain %d", i, error, uncertain);
		buffer_release(&answer.body);
	}
}

static void test_remove_outcomes(void **state)
{
	static const struct {
		int status;
		const char *body;
		bool wrapped;
		int error;
	} cases[] = {
		{ 200, "true", false, 0 },
		{ 200, "false", false, -EIO },
		{ 200, "{\"code\":0,\"data\":true}", true, 0 },
		{ 200, "{\"code\":0,\"data\":null}", true, -EIO },
		{ 404, "{\"code\":20004,\"data\":null}", true, 0 },
		{ 404, "<html>", true, -EIO },
		{ 403, "{\"message\":\"authorization failed!\"}", false, -EACCES },
		{ 500, "true", false, -EIO },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_answer answer = make_answer(cases[i].status, cases[i].body);

		assert_int_equal(nacos_config_answer_read_remove(&answer, cases[i].wrapped,
								 "config x", &call),
				 cases[i].error);
		buffer_release(&answer.body);
	}
}

static void test_write_check_outcomes(void **state)
{
	static const struct {
		int status;
		const char *body;
		int error;
	} cases[] = {
		{ 400, "caused: content is blank : ;", 0 },
		{ 400, "{\"code\":10000,\"data\":\"Required parameter 'content' is not present\"}", 0 },
		{ 400, "Param 'dataId' is illegal", 0 },
		{ 429, "429", 0 },
		{ 500, "caused: Required request parameter 'content' is not present", 0 },
		{ 500, "{\"status\":500,\"message\":\"No message available\"}", -EIO },
		{ 500, "", -EIO },
		{ 503, "content", -EIO },
		{ 403, "{\"message\":\"authorization failed!\"}", -EACCES },
		{ 401, "", -EACCES },
		{ 200, "true", -EIO },
		{ 302, "", -EIO },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_answer answer = make_answer(cases[i].status, cases[i].body);

		assert_int_equal(nacos_config_answer_read_write_check(&answer, "config x", &call),
				 cases[i].error);
		buffer_release(&answer.body);
	}
}

static void test_refusals(void **state)
{
	static const struct {
		int status;
		const char *body;
		enum nacos_refusal refusal;
	} cases[] = {
		{ 403, "{\"message\":\"token expired!\"}", NACOS_REFUSAL_TOKEN },
		{ 403, "{\"message\":\"token invalid!\"}", NACOS_REFUSAL_TOKEN },
		{ 403, "{\"message\":\"Invalid signature\"}", NACOS_REFUSAL_TOKEN },
		{ 403, "{\"message\":\"user not found!\"}", NACOS_REFUSAL_TOKEN },
		{ 403, "unknown user!", NACOS_REFUSAL_TOKEN },
		{ 403, "{\"message\":\"Code: 401, Message: User not found! Please check\"}", NACOS_REFUSAL_TOKEN },
		{ 403, "{\"message\":\"authorization failed!\"}", NACOS_REFUSAL_RIGHT },
		{ 403, "{\"message\":\"Code: 403, Message: authorization failed!.\"}", NACOS_REFUSAL_RIGHT },
		{ 403, "", NACOS_REFUSAL_RIGHT },
		{ 401, "", NACOS_REFUSAL_TOKEN },
		{ 200, "token invalid!", NACOS_REFUSAL_NONE },
		{ 500, "token invalid!", NACOS_REFUSAL_NONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_answer answer = make_answer(cases[i].status, cases[i].body);

		assert_int_equal(nacos_answer_refusal(&answer), cases[i].refusal);
		buffer_release(&answer.body);
	}
}

static void test_only_known_phrases_are_told(void **state)
{
	static const struct {
		int status;
		const char *body, *phrase;
	} cases[] = {
		{ 403, "{\"message\":\"Code: 403, Message: authorization failed!.\"}", "authorization failed" },
		{ 400, "caused: content is blank : secret;", "is blank" },
		{ 400, "Param check invalid: secret", "Param check invalid" },
		{ 500, "caused: Incorrect string value: 'secret'", "" },
		{ 400, "username=nacos&password=secret", "" },
		{ 200, "authorization failed", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_answer answer = make_answer(cases[i].status, cases[i].body);
		assert_string_equal(nacos_answer_phrase(&answer), cases[i].phrase);
		buffer_release(&answer.body);
	}
}

static int read_login(int status, const char *body, struct buffer *header, int64_t *ret_seconds)
{
	struct http_answer answer = make_answer(status, body);
	int error = nacos_login_read_answer(&answer, "bob", &call, header, ret_seconds);

	buffer_release(&answer.body);
	return error;
}

static void test_login_answers(void **state)
{
	cleanup_buffer struct buffer header = BUFFER_INIT;
	int64_t seconds = 0;

	(void)state;
	assert_int_equal(read_login(200,
				    "{\"accessToken\":\"abc.def\",\"tokenTtl\":18000,"
				    "\"globalAdmin\":true,\"username\":\"nacos\"}",
				    &header, &seconds),
			 0);
	assert_string_equal(header.data, "Authorization: Bearer abc.def");
	assert_int_equal(seconds, 18000);
	buffer_clear(&header);
	assert_int_equal(read_login(200, "{\"accessToken\":\"t\",\"tokenTtl\":-1}", &header, &seconds), 0);
	assert_int_equal(seconds, 18000);
	buffer_clear(&header);
	assert_int_equal(read_login(200, "{\"accessToken\":\"t\",\"tokenTtl\":9007199254740991}", &header,
				    &seconds),
			 0);
	assert_in_range(seconds, 1, 40 * 24 * 3600);
	buffer_clear(&header);

	assert_int_equal(read_login(403, "user not found!", &header, &seconds), -EACCES);
	assert_non_null(strstr(call.reason, "user bob: the server refused the login (wrong user or password?)"));
	assert_int_equal(read_login(500, "{\"status\":500,\"message\":\"No message available\"}", &header,
				    &seconds),
			 -EACCES);
	assert_int_equal(read_login(404, "{}", &header, &seconds), -ENOENT);
	assert_int_equal(read_login(410, "{}", &header, &seconds), -ENOENT);
	assert_int_equal(read_login(302, "", &header, &seconds), -EIO);
	assert_int_equal(read_login(503, "", &header, &seconds), -EIO);
	assert_int_equal(header.size, 0);
}

static void test_hostile_login_answers(void **state)
{
	static const char *const bodies[] = {
		"", "{}", "[]", "true", "<html>", "{\"accessToken\":7}", "{\"accessToken\":\"\"}",
		"{\"accessToken\":\"a\\r\\nX-Evil: 1\"}", "{\"accessToken\":\"a b\"}",
		"{\"accessToken\":\"a\\u0000b\"}", "{\"accessToken\":null,\"tokenTtl\":1}",
	};
	cleanup_buffer struct buffer header = BUFFER_INIT;
	int64_t seconds = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		assert_int_equal(read_login(200, bodies[i], &header, &seconds), -EIO);
	assert_int_equal(header.size, 0);
}

static void test_versions_are_found(void **state)
{
	static const struct {
		int status, error, major;
		const char *body;
	} cases[] = {
		{ 200, 0, 3, "{\"code\":0,\"data\":{\"version\":\"3.1.0-bugfix\"}}" },
		{ 200, 0, 2, "{\"version\":\"2.5.1\",\"startup_mode\":\"standalone\"}" },
		{ 200, 0, 2, "{\"code\":200,\"data\":{\"ip\":\"x\",\"extendInfo\":{\"version\":\"2.2.4\"}}}" },
		{ 200, -ENOENT, 0, "{\"status\":\"UP\"}" },
		{ 200, -ENOENT, 0, "{\"version\":3}" },
		{ 200, -ENOENT, 0, "{\"version\":\"next\"}" },
		{ 200, -ENOENT, 0, "<html>" },
		{ 200, -ENOENT, 0, "" },
		{ 404, -ENOENT, 0, "{\"version\":\"2.5.1\"}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_answer answer = make_answer(cases[i].status, cases[i].body);
		struct nacos_features features = { 0 };

		assert_int_equal(nacos_detect_read_version(&answer, &features), cases[i].error);
		assert_int_equal(features.major, cases[i].major);
		buffer_release(&answer.body);
	}
}

static void test_nacos_is_told_from_others(void **state)
{
	static const struct {
		int status;
		const char *body;
		bool is_nacos;
	} cases[] = {
		{ 404, "config data not exist\r\n", true },
		{ 403, "{\"status\":403,\"message\":\"user not found!\",\"path\":\"/nacos/v1/cs/configs\"}", true },
		{ 403, "unknown user!", true },
		{ 403, "{\"status\":403,\"error\":\"Forbidden\",\"path\":\"/nacos/v1/cs/configs\"}", true },
		{ 403, "<html>Forbidden</html>", false },
		{ 404, "<html>Not Found</html>", false },
		{ 404, "", false },
		{ 200, "<html>Welcome</html>", false },
		{ 200, "config data not exist", false },
		{ 500, "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_answer answer = make_answer(cases[i].status, cases[i].body);

		assert_int_equal(nacos_detect_is_nacos(&answer), cases[i].is_nacos);
		buffer_release(&answer.body);
	}
}

static int read_namespaces(int status, const char *body, struct nacos_namespace_list *list)
{
	struct http_answer answer = make_answer(status, body);
	int error = nacos_namespace_answer_read_list(&answer, &call, list);

	buffer_release(&answer.body);
	return error;
}

static void test_namespace_lists(void **state)
{
	struct nacos_namespace_list list = { 0 };

	(void)state;
	assert_int_equal(read_namespaces(200,
					 "{\"code\":200,\"message\":null,\"data\":[{\"namespace\":\"dev\"},"
					 "{\"namespace\":\"\",\"namespaceShowName\":\"public\"},"
					 "{\"namespace\":\"test\"},{\"namespace\":\"dev\"}]}",
					 &list),
			 0);
	assert_int_equal(list.count, 3);
	assert_string_equal(list.ids[0], "public");
	assert_string_equal(list.ids[1], "dev");
	assert_string_equal(list.ids[2], "test");
	nacos_namespace_list_release(&list);

	assert_int_equal(read_namespaces(200,
					 "{\"code\":0,\"data\":[{\"namespace\":\"public\"},7,null,{},"
					 "{\"namespace\":\"a/b\"},{\"namespace\":\"..\"},{\"namespace\":8},"
					 "{\"namespace\":\"x\\u0000y\"}]}",
					 &list),
			 0);
	assert_int_equal(list.count, 1);
	nacos_namespace_list_release(&list);

	assert_int_equal(read_namespaces(404, "{}", &list), -EOPNOTSUPP);
	assert_non_null(strstr(call.reason, "namespaces="));
	assert_int_equal(read_namespaces(403, "{}", &list), -EACCES);
	assert_int_equal(read_namespaces(200, "<html>", &list), -EIO);
	assert_int_equal(read_namespaces(200, "{\"code\":0,\"data\":{}}", &list), -EIO);
	assert_int_equal(read_namespaces(200, "{\"code\":30000,\"data\":[]}", &list), -EIO);
	assert_int_equal(read_namespaces(200, "[]", &list), -EIO);
}

static void test_namespace_changes(void **state)
{
	static const struct {
		int status;
		const char *body;
		bool wrapped;
		int create, remove;
	} cases[] = {
		{ 200, "true", false, 0, 0 },
		{ 200, "false", false, -EINVAL, -EIO },
		{ 200, "{\"code\":0,\"data\":true}", true, 0, 0 },
		{ 200, "{\"code\":0,\"data\":false}", true, -EIO, -EIO },
		{ 400, "{\"code\":22002,\"message\":\"namespace already exist\"}", true, -EEXIST, -EINVAL },
		{ 400, "{\"code\":22000,\"message\":\"illegal namespace\"}", true, -EINVAL, -EINVAL },
		{ 404, "{\"code\":22001}", true, -EOPNOTSUPP, 0 },
		{ 404, "{\"status\":404}", false, -EOPNOTSUPP, -EOPNOTSUPP },
		{ 403, "{\"message\":\"authorization failed!\"}", true, -EACCES, -EACCES },
		{ 500, "", true, -EIO, -EIO },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_answer answer = make_answer(cases[i].status, cases[i].body);

		assert_int_equal(nacos_namespace_answer_read_create(&answer, cases[i].wrapped, "x", &call),
				 cases[i].create);
		assert_int_equal(nacos_namespace_answer_read_remove(&answer, cases[i].wrapped, "x", &call),
				 cases[i].remove);
		buffer_release(&answer.body);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_raw_config),
		cmocka_unit_test(test_raw_config_with_little_in_its_headers),
		cmocka_unit_test(test_raw_config_that_is_tried_out),
		cmocka_unit_test(test_raw_config_failures),
		cmocka_unit_test(test_content_must_match_its_md5),
		cmocka_unit_test(test_bare_object),
		cmocka_unit_test(test_wrapped_object),
		cmocka_unit_test(test_absent_objects),
		cmocka_unit_test(test_hostile_objects),
		cmocka_unit_test(test_strange_members_are_none),
		cmocka_unit_test(test_publish_outcomes),
		cmocka_unit_test(test_remove_outcomes),
		cmocka_unit_test(test_write_check_outcomes),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_only_known_phrases_are_told),
		cmocka_unit_test(test_login_answers),
		cmocka_unit_test(test_hostile_login_answers),
		cmocka_unit_test(test_versions_are_found),
		cmocka_unit_test(test_nacos_is_told_from_others),
		cmocka_unit_test(test_namespace_lists),
		cmocka_unit_test(test_namespace_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
