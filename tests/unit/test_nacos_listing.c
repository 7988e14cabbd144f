/* Paging, counting and passes, with made-up servers behind the page source. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nacos/http/listing.h"

/* A server of count names, which can misbehave. */
struct fake_server {
	size_t count;
	size_t content_size; /* of each */
	size_t answer_limit; /* pages beyond this many bytes fail with -EMSGSIZE; 0: none */
	int deletes; /* while this is left, the first name disappears after each page */
	size_t first; /* names from here on are left */
	int64_t claimed_total; /* -1: the truth */
	bool ignores_pages; /* always sends everything */
	bool endless; /* full pages of ever new names */
	const char *body; /* always this one */
	int fail_at; /* the request that fails with -EIO; 0: none */

	int requests;
	size_t page_size_largest, page_size_last;
};

static void append_item(struct fake_server *server, size_t number, struct buffer *body, bool *comma)
{
	assert_int_equal(buffer_append_format(body,
					      "%s{\"dataId\":\"name%zu\",\"group\":\"G\","
					      "\"tenant\":\"dev\",\"md5\":null,\"content\":\"",
					      *comma ? "," : "", number),
			 0);
	for (size_t i = 0; i < server->content_size; i++)
		assert_int_equal(buffer_append_byte(body, 'x'), 0);
	assert_int_equal(buffer_append_text(body, "\"}"), 0);
	*comma = true;
}

static int get_page(void *arg, size_t page_number, size_t page_size, struct call *call,
		    struct http_answer *ret_answer)
{
	struct fake_server *server = arg;
	struct http_answer answer = { .status = 200 };
	size_t start = (page_number - 1) * page_size, end = start + page_size;
	size_t left = server->count - server->first;
	bool comma = false;

	server->requests++;
	assert_in_range(server->requests, 1, 5000);
	server->page_size_last = page_size;
	if (page_size > server->page_size_largest)
		server->page_size_largest = page_size;
	if (server->requests == server->fail_at)
		return call_fail(call, -EIO, "made to fail");
	if (server->body) {
		assert_int_equal(buffer_append_text(&answer.body, server->body), 0);
		*ret_answer = answer;
		return 0;
	}
	if (server->ignores_pages) {
		start = 0;
		end = left;
	}
	if (end > left && !server->endless)
		end = left;
	assert_int_equal(buffer_append_format(&answer.body, "{\"totalCount\":%lld,\"pageItems\":[",
					      server->claimed_total < 0 ?
						      (long long)left :
						      (long long)server->claimed_total),
			 0);
	for (size_t i = start; i < end; i++)
		append_item(server, server->first + i, &answer.body, &comma);
	assert_int_equal(buffer_append_text(&answer.body, "]}"), 0);
	if (server->answer_limit && answer.body.size > server->answer_limit) {
		http_answer_release(&answer);
		return call_fail(call, -EMSGSIZE, "too large");
	}
	if (server->deletes > 0) {
		server->deletes--;
		server->first++;
	}
	*ret_answer = answer;
	return 0;
}

static int list(struct fake_server *server, bool has_contents, struct nacos_listing *ret_listing)
{
	struct nacos_listing_question question = {
		.what = "names in dev",
		.namespace_id = "dev",
		.namespace_member = "tenant",
		.group_member = "group",
		.has_contents = has_contents,
		.get_page = get_page,
		.arg = server,
	};
	struct call call;

	call_start(&call, 20000);
	return nacos_listing_read(&question, &call, ret_listing);
}

static void test_one_page(void **state)
{
	struct fake_server server = { .count = 3, .content_size = 1, .claimed_total = -1 };
	cleanup_nacos_listing struct nacos_listing listing = { 0 };

	(void)state;
	assert_int_equal(list(&server, true, &listing), 0);
	assert_int_equal(server.requests, 1);
	assert_int_equal(listing.count, 3);
	assert_true(listing.settled);
	assert_string_equal(listing.items[0].group, "G");
	assert_string_equal(listing.items[0].data_id, "name0");
	assert_string_equal(listing.items[0].md5, "9dd4e461268c8034f5c8564e155c67a6"); /* of "x" */
}

static void test_nothing(void **state)
{
	struct fake_server server = { .claimed_total = -1 };
	cleanup_nacos_listing struct nacos_listing listing = { 0 };

	(void)state;
	assert_int_equal(list(&server, false, &listing), 0);
	assert_int_equal(listing.count, 0);
	assert_true(listing.settled);
	assert_int_equal(server.requests, 1);
}

static void test_pages_without_contents_are_large(void **state)
{
	struct fake_server server = { .count = 12000, .claimed_total = -1 };
	cleanup_nacos_listing struct nacos_listing listing = { 0 };

	(void)state;
	assert_int_equal(list(&server, false, &listing), 0);
	assert_int_equal(server.requests, 3);
	assert_int_equal(server.page_size_largest, 5000);
	assert_int_equal(listing.count, 12000);
	assert_true(listing.settled);
}

static void test_page_size_follows_the_bytes(void **state)
{
	struct fake_server small = { .count = 3000, .content_size = 10, .claimed_total = -1 };
	struct fake_server large = { .count = 1000, .content_size = 20000, .claimed_total = -1 };
	struct nacos_listing listing = { 0 };

	(void)state;
	assert_int_equal(list(&small, true, &listing), 0);
	assert_int_equal(listing.count, 3000);
	assert_true(listing.settled);
	assert_int_equal(small.requests, 2); /* 200 to look, then all of them */
	nacos_listing_release(&listing);

	assert_int_equal(list(&large, true, &listing), 0);
	assert_int_equal(listing.count, 1000);
	assert_true(listing.settled);
	assert_in_range(large.page_size_last, 250, 350);
	nacos_listing_release(&listing);
}

static void test_oversized_pages_shrink(void **state)
{
	struct fake_server server = {
		.count = 30, .content_size = 1000, .answer_limit = 5000, .claimed_total = -1,
	};
	cleanup_nacos_listing struct nacos_listing listing = { 0 };

	(void)state;
	assert_int_equal(list(&server, true, &listing), 0);
	assert_int_equal(listing.count, 30);
	assert_true(listing.settled);
	assert_in_range(server.page_size_last, 1, 4);
}

static void test_one_oversized_name_is_an_error(void **state)
{
	struct fake_server server = {
		.count = 5, .content_size = 1000, .answer_limit = 500, .claimed_total = -1,
	};
	struct nacos_listing listing = { 0 };

	(void)state;
	assert_int_equal(list(&server, true, &listing), -EIO);
	assert_int_equal(listing.count, 0);
}

static void test_a_pass_that_saw_changes_is_repeated(void **state)
{
	struct fake_server server = { .count = 12000, .deletes = 1, .claimed_total = -1 };
	cleanup_nacos_listing struct nacos_listing listing = { 0 };

	(void)state;
	assert_int_equal(list(&server, false, &listing), 0);
	assert_true(listing.settled);
	/* The second pass is the truth: without the name that was deleted. */
	assert_int_equal(listing.count, 11999);
	/* The first pass is one page short of its count, and looks for it. */
	assert_int_equal(server.requests, 7);
}

static void test_changes_without_end_are_told(void **state)
{
	struct fake_server server = { .count = 12000, .deletes = 1000, .claimed_total = -1 };
	cleanup_nacos_listing struct nacos_listing listing = { 0 };

	(void)state;
	assert_int_equal(list(&server, false, &listing), 0);
	assert_false(listing.settled);
	assert_int_equal(server.requests, 12);
	assert_in_range(listing.count, 11991, 12000); /* all that any pass saw */
}

static void test_a_count_that_is_never_right_ends(void **state)
{
	struct fake_server more = { .count = 10, .claimed_total = 20 };
	struct fake_server fewer = { .count = 10, .claimed_total = 3 };
	struct fake_server absurd = { .count = 10, .claimed_total = INT64_C(1) << 50 };
	struct fake_server *servers[] = { &more, &fewer, &absurd };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct nacos_listing listing = { 0 };

		assert_int_equal(list(servers[i], false, &listing), 0);
		assert_int_equal(listing.count, 10);
		assert_false(listing.settled);
		assert_in_range(servers[i]->requests, 3, 6);
		nacos_listing_release(&listing);
	}
}

static void test_a_server_without_pages_ends(void **state)
{
	struct fake_server server = { .count = 6000, .claimed_total = -1, .ignores_pages = true };
	cleanup_nacos_listing struct nacos_listing listing = { 0 };

	(void)state;
	assert_int_equal(list(&server, false, &listing), 0);
	assert_true(listing.settled);
	assert_int_equal(listing.count, 6000);
	assert_int_equal(server.requests, 1);
}

static void test_a_server_that_never_ends_is_stopped(void **state)
{
	struct fake_server server = {
		.endless = true, .claimed_total = INT64_C(1) << 50,
	};
	struct nacos_listing listing = { 0 };
	struct call call;
	struct nacos_listing_question question = {
		.what = "names", .namespace_id = "dev", .namespace_member = "tenant",
		.group_member = "group", .get_page = get_page, .arg = &server,
	};

	(void)state;
	/* Names without text, so that the test needs little memory. */
	question.namespace_id = "elsewhere";
	call_start(&call, 60000);
	assert_int_equal(nacos_listing_read(&question, &call, &listing), -EIO);
	assert_in_range(server.requests, 190, 210);
}

static void test_an_error_leaves_nothing(void **state)
{
	struct fake_server server = { .count = 12000, .claimed_total = -1, .fail_at = 2 };
	struct nacos_listing listing = { .count = 7 };

	(void)state;
	assert_int_equal(list(&server, false, &listing), -EIO);
	assert_int_equal(listing.count, 7);
}

#define ITEM(namespace_id, group, name) \
	"{\"tenant\":" namespace_id ",\"group\":" group ",\"dataId\":" name "}"

static void test_what_was_not_asked_for_is_dropped(void **state)
{
	struct fake_server server = {
		.body = "{\"totalCount\":3,\"pageItems\":[" ITEM("\"dev\"", "\"G_1\"", "\"a\"") ","
			ITEM("\"dev\"", "\"GX1\"", "\"b\"") "," ITEM("\"dev2\"", "\"G_1\"", "\"a\"") "]}",
	};
	struct nacos_listing_question question = {
		.what = "names", .namespace_id = "dev", .group = "G_1",
		.namespace_member = "tenant", .group_member = "group",
		.get_page = get_page, .arg = &server,
	};
	cleanup_nacos_listing struct nacos_listing listing = { 0 };
	struct call call;

	(void)state;
	call_start(&call, 5000);
	assert_int_equal(nacos_listing_read(&question, &call, &listing), 0);
	assert_int_equal(listing.count, 1);
	assert_string_equal(listing.items[0].data_id, "a");
	/* They count all the same. */
	assert_true(listing.settled);
}

static void test_public_namespace_may_be_null(void **state)
{
	struct fake_server server = {
		.body = "{\"totalCount\":2,\"pageItems\":[" ITEM("null", "\"G\"", "\"a\"") ","
			ITEM("\"\"", "\"G\"", "\"b\"") "]}",
	};
	struct nacos_listing_question question = {
		.what = "names", .namespace_id = "", .namespace_member = "tenant",
		.group_member = "group", .get_page = get_page, .arg = &server,
	};
	cleanup_nacos_listing struct nacos_listing listing = { 0 };
	struct call call;

	(void)state;
	call_start(&call, 5000);
	assert_int_equal(nacos_listing_read(&question, &call, &listing), 0);
	assert_int_equal(listing.count, 2);
	assert_true(listing.settled);
}

static void test_md5_is_what_is_stored(void **state)
{
	struct fake_server server = {
		.body = "{\"totalCount\":3,\"pageItems\":["
			"{\"tenant\":\"dev\",\"group\":\"G\",\"dataId\":\"a\","
			"\"md5\":\"0123456789abcdef0123456789abcdef\",\"content\":\"x\"},"
			"{\"tenant\":\"dev\",\"group\":\"G\",\"dataId\":\"cipher-a\",\"content\":\"x\"},"
			"{\"tenant\":\"dev\",\"group\":\"G\",\"dataId\":\"b\",\"md5\":\"nonsense\"}]}",
	};
	cleanup_nacos_listing struct nacos_listing listing = { 0 };

	(void)state;
	assert_int_equal(list(&server, false, &listing), 0);
	assert_int_equal(listing.count, 3);
	assert_string_equal(listing.items[0].md5, "0123456789abcdef0123456789abcdef");
	assert_string_equal(listing.items[1].md5, ""); /* the content may be decrypted */
	assert_string_equal(listing.items[2].md5, "");
}

static void test_strange_items_are_skipped(void **state)
{
	struct fake_server server = {
		.body = "{\"totalCount\":9,\"pageItems\":[1,null,\"x\",[],{},"
			ITEM("\"dev\"", "7", "\"a\"") "," ITEM("\"dev\"", "\"G\"", "\"\"") ","
			ITEM("\"dev\"", "\"G\"", "\"a\\u0000b\"") "," ITEM("\"dev\"", "\"G\"", "\"../a\"") "]}",
	};
	cleanup_nacos_listing struct nacos_listing listing = { 0 };

	(void)state;
	assert_int_equal(list(&server, false, &listing), 0);
	assert_int_equal(listing.count, 1);
	assert_string_equal(listing.items[0].data_id, "../a");
	assert_false(listing.settled);
}

static void test_malformed_pages_are_errors(void **state)
{
	static const char *const bodies[] = {
		"", "true", "[]", "{}", "<html>", "{\"totalCount\":1}", "{\"pageItems\":[]}",
		"{\"totalCount\":-1,\"pageItems\":[]}", "{\"totalCount\":\"x\",\"pageItems\":[]}",
		"{\"totalCount\":1,\"pageItems\":{}}", "{\"totalCount\":1,\"pageItems\":null}",
		"{\"totalCount\":1,\"pageItems\":[", "{\"code\":0,\"data\":{\"totalCount\":0,\"pageItems\":[]}}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct fake_server server = { .body = bodies[i] };
		struct nacos_listing listing = { 0 };

		assert_int_equal(list(&server, false, &listing), -EIO);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_page),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_pages_without_contents_are_large),
		cmocka_unit_test(test_page_size_follows_the_bytes),
		cmocka_unit_test(test_oversized_pages_shrink),
		cmocka_unit_test(test_one_oversized_name_is_an_error),
		cmocka_unit_test(test_a_pass_that_saw_changes_is_repeated),
		cmocka_unit_test(test_changes_without_end_are_told),
		cmocka_unit_test(test_a_count_that_is_never_right_ends),
		cmocka_unit_test(test_a_server_without_pages_ends),
		cmocka_unit_test(test_a_server_that_never_ends_is_stopped),
		cmocka_unit_test(test_an_error_leaves_nothing),
		cmocka_unit_test(test_what_was_not_asked_for_is_dropped),
		cmocka_unit_test(test_public_namespace_may_be_null),
		cmocka_unit_test(test_md5_is_what_is_stored),
		cmocka_unit_test(test_strange_items_are_skipped),
		cmocka_unit_test(test_malformed_pages_are_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
