#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/json.h"

/* In memory of exactly its size, so that ASan sees a byte read past the end. */
static int parse(const char *data, size_t size, struct json **ret_document)
{
	char *exact = malloc(size ? size : 1);
	int error;

	assert_non_null(exact);
	memcpy(exact, data, size);
	error = json_parse(exact, size, ret_document);
	free(exact);
	return error;
}

static struct json *parse_good(const char *text)
{
	struct json *document = NULL;

	if (parse(text, strlen(text), &document) != 0)
		fail_msg("%s", text);
	return document;
}

static void test_members(void **state)
{
	cleanup_json struct json *document = parse_good(
		" {\"a\": \"text\", \"A\": \"other\", \"n\": null, \"t\": true, \"f\": false, \"o\": {\"x\": \"y\"},"
		" \"a\": \"second\"} \r\n\t");

	(void)state;
	assert_true(json_is_object(document));
	assert_false(json_is_array(document));
	assert_string_equal(json_text(document, "a"), "text");
	assert_string_equal(json_text(document, "A"), "other");
	assert_null(json_text(document, "b"));
	assert_null(json_text(document, "n"));
	assert_null(json_text(document, "o"));
	assert_null(json_member(document, "b"));
	assert_true(json_is_true(json_member(document, "t")));
	assert_false(json_is_true(json_member(document, "f")));
	assert_false(json_is_true(json_member(document, "a")));
	assert_string_equal(json_text(json_member(document, "o"), "x"), "y");
	assert_null(json_member(json_member(document, "a"), "x"));
}

static void test_nothing_is_nothing(void **state)
{
	(void)state;
	assert_false(json_is_object(NULL));
	assert_false(json_is_array(NULL));
	assert_false(json_is_true(NULL));
	assert_null(json_member(NULL, "x"));
	assert_null(json_text(NULL, "x"));
	assert_int_equal(json_bytes(NULL, "x", NULL), -ENOENT);
	assert_int_equal(json_integer(NULL, "x", 5), 5);
	assert_null(json_first(NULL));
	assert_int_equal(json_count(NULL), 0);
	json_free(NULL);
}

static void test_arrays(void **state)
{
	cleanup_json struct json *document = parse_good("[{\"i\": 0}, {\"i\": 1}, 7, [], {\"i\": 4}]");
	cleanup_json struct json *object = parse_good("{\"a\": 1, \"empty\": []}");
	int64_t index = 0;

	(void)state;
	assert_int_equal(json_count(document), 5);
	for (const struct json *element = json_first(document); element; element = json_next(element), index++)
		assert_true(json_integer(element, "i", -1) == (json_is_object(element) ? index : -1));
	assert_int_equal(index, 5);
	/* members of an object are no elements, elements of an array no members */
	assert_null(json_first(object));
	assert_int_equal(json_count(object), 0);
	assert_null(json_member(document, "i"));
	assert_true(json_is_array(json_member(object, "empty")));
	assert_null(json_first(json_member(object, "empty")));
}

static void test_integers(void **state)
{
	static const struct {
		const char *value;
		int64_t number;
	} samples[] = {
		{ "0", 0 }, { "-0", 0 }, { "17", 17 }, { "-17", -17 }, { "1e3", 1000 }, { "1.0", 1 },
		{ "1700000000123", 1700000000123 }, { "9007199254740991", 9007199254740991 },
		{ "-9007199254740991", -9007199254740991 }, { "\"42\"", 42 }, { "\"-42\"", -42 }, { "\"007\"", 7 },
		{ "\"9223372036854775807\"", INT64_MAX }, { "\"-9223372036854775808\"", INT64_MIN },
		/* none of these is one, so they give the fallback */
		{ "1.5", 99 }, { "9007199254740993", 99 }, { "1e300", 99 }, { "1e999", 99 }, { "-1e999", 99 },
		{ "\"\"", 99 }, { "\"-\"", 99 }, { "\"+1\"", 99 }, { "\" 1\"", 99 }, { "\"1 \"", 99 },
		{ "\"0x1\"", 99 },
		{ "\"1.0\"", 99 }, { "\"9223372036854775808\"", 99 }, { "\"1\\u0000\"", 99 }, { "true", 99 },
		{ "null", 99 }, { "{}", 99 }, { "[1]", 99 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		cleanup_json struct json *document = NULL;
		char text[64];

		snprintf(text, sizeof(text), "{\"n\":%s}", samples[i].value);
		document = parse_good(text);
		if (json_integer(document, "n", 99) != samples[i].number)
			fail_msg("%s", samples[i].value);
	}
}

static void expect_bytes(const char *text, const char *bytes, size_t size)
{
	cleanup_json struct json *document = parse_good(text);
	cleanup_buffer struct buffer read = BUFFER_INIT;

	assert_int_equal(buffer_append_text(&read, ">"), 0);
	assert_int_equal(json_bytes(document, "s", &read), 0);
	if (read.size != size + 1 || memcmp(read.data + 1, bytes, size) != 0 || read.data[read.size] != '\0')
		fail_msg("%s", text);
	if (memchr(bytes, '\0', size))
		assert_null(json_text(document, "s"));
	else
		assert_string_equal(json_text(document, "s"), bytes);
}

static void test_nul_in_strings(void **state)
{
	(void)state;
	expect_bytes("{\"s\": \"\"}", "", 0);
	expect_bytes("{\"s\": \"\\u0000\"}", "\0", 1);
	expect_bytes("{\"s\": \"a\\u0000\\u0000b\"}", "a\0\0b", 4);
	/* a backslash and "u0000", a backslash and NUL, two backslashes and "u0000" */
	expect_bytes("{\"s\": \"\\\\u0000\"}", "\\u0000", 6);
	expect_bytes("{\"s\": \"\\\\\\u0000\"}", "\\\0", 2);
	expect_bytes("{\"s\": \"\\\\\\\\u0000\"}", "\\\\u0000", 7);
	expect_bytes("{\"s\": \"\\u00000\"}", "\0" "0", 2);
	expect_bytes("{\"s\": \"u0000\\u0001\\n\\\"\\/\"}", "u0000\x01\n\"/", 9);
	expect_bytes("{\"s\": \"\\u00e9\\uD83D\\uDE00\xe4\xb8\xad\"}", "\xc3\xa9\xf0\x9f\x98\x80\xe4\xb8\xad", 9);
}

static void test_missing_bytes(void **state)
{
	cleanup_json struct json *document = parse_good("{\"n\": 1}");
	cleanup_buffer struct buffer bytes = BUFFER_INIT;

	(void)state;
	assert_int_equal(json_bytes(document, "n", &bytes), -ENOENT);
	assert_int_equal(json_bytes(document, "s", &bytes), -ENOENT);
	assert_null(bytes.data);
}

static void test_bad_text(void **state)
{
	static const char *const samples[] = {
		"", " ", "{", "}", "{\"a\"}", "{\"a\":}", "[1,", "[1 2]", "\"", "\"\\", "\"\\\"", "nul", "tru", "{} x",
		"{}{}", "1 2", "'a'", "<html>", "\"\\u12\"", "\"\\u00zz\"", "\"\\u000", "\"\\u000\"", "\"\\u\"",
		"\"\\uD83D\"", "\"\\uDE00\"", "\"\\uD83D\\u0000\"", "\"\\x\"", "\\u0000", "{\\u0000}",
		/* not UTF-8 */
		"\"\xff\"", "\"\xc3\"", "\"\xed\xa0\x80\"", "\"\xc0\x80\"", "{}\xc0\x80",
	};
	struct json *const untouched = (struct json *)samples;

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		struct json *document = untouched;

		if (parse(samples[i], strlen(samples[i]), &document) != -EBADMSG)
			fail_msg("%s", samples[i]);
		assert_ptr_equal(document, untouched);
	}
}

static void test_raw_nul(void **state)
{
	struct json *document = NULL;

	(void)state;
	assert_int_equal(parse("{}\0", 3, &document), -EBADMSG);
	assert_int_equal(parse("\"a\0b\"", 5, &document), -EBADMSG);
	assert_int_equal(parse("\0", 1, &document), -EBADMSG);
	assert_null(document);
}

/* Every beginning of a document: nothing is read past the end, and none but the whole is good. */
static void test_torn_documents(void **state)
{
	static const char text[] =
		"{\"a\": [1, -2.5e3, \"x\\u0000\\uD83D\\uDE00\\\\\", true, null], \"b\": {\"\": false}}";

	(void)state;
	for (size_t size = 0; size < strlen(text); size++) {
		struct json *document = NULL;

		if (parse(text, size, &document) != -EBADMSG)
			fail_msg("%zu bytes", size);
	}
	json_free(parse_good(text));
}

static void test_nesting_is_bounded(void **state)
{
	struct json *document = NULL;
	char *deep = malloc(200000);

	(void)state;
	assert_non_null(deep);
	memset(deep, '[', 100000);
	memset(deep + 100000, ']', 100000);
	assert_int_equal(json_parse(deep, 200000, &document), -EBADMSG);
	assert_int_equal(json_parse(deep + 100000 - 500, 1000, &document), 0);
	json_free(document);
	free(deep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_nothing_is_nothing),
		cmocka_unit_test(test_arrays),
		cmocka_unit_test(test_integers),
		cmocka_unit_test(test_nul_in_strings),
		cmocka_unit_test(test_missing_bytes),
		cmocka_unit_test(test_bad_text),
		cmocka_unit_test(test_raw_nul),
		cmocka_unit_test(test_torn_documents),
		cmocka_unit_test(test_nesting_is_bounded),
	};

	return cmocka_run_group_tests_name("util/json", tests, NULL, NULL);
}
