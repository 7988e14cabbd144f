#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "main/source.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static void assert_same_text(const char *text, const char *expected)
{
	if (!expected)
		assert_null(text);
	else
		assert_string_equal(text, expected);
}

static void test_what_is_taken(void **state)
{
	static const struct {
		const char *text;
		const char *host;
		unsigned port;
		bool https;
		const char *namespace_id, *group;
	} cases[] = {
		{ "nacos://localhost", "localhost", 8848, false, NULL, NULL },
		{ "nacos://localhost/", "localhost", 8848, false, NULL, NULL },
		{ "NACOS://localhost", "localhost", 8848, false, NULL, NULL },
		{ "https://nacos.example.org:443", "nacos.example.org", 443, true, NULL, NULL },
		{ "nacos://10.0.0.1:1", "10.0.0.1", 1, false, NULL, NULL },
		{ "nacos://h:65535/dev", "h", 65535, false, "dev", NULL },
		{ "nacos://h/dev/", "h", 8848, false, "dev", NULL },
		{ "nacos://h/public/DEFAULT_GROUP", "h", 8848, false, "public", "DEFAULT_GROUP" },
		{ "nacos://h/public/a:b.c/", "h", 8848, false, "public", "a:b.c" },
		{ "nacos://h/\xe5\xbc\x80\xe5\x8f\x91", "h", 8848, false,
		  "\xe5\xbc\x80\xe5\x8f\x91", NULL },
		{ "nacos://[::1]", "::1", 8848, false, NULL, NULL },
		{ "https://[2001:db8::5]:8443/n/g", "2001:db8::5", 8443, true, "n", "g" },
		{ "nacos://h/...", "h", 8848, false, "...", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_source struct source source = { 0 };
		struct call call;

		call_start(&call, 1000);
		if (source_parse(cases[i].text, &call, &source))
			fail_msg("%s: %s", cases[i].text, call.reason);
		assert_int_equal(source.host_count, 1);
		assert_string_equal(source.hosts[0].name, cases[i].host);
		assert_int_equal(source.hosts[0].port, cases[i].port);
		assert_int_equal(source.https, cases[i].https);
		assert_same_text(source.namespace_id, cases[i].namespace_id);
		assert_same_text(source.group, cases[i].group);
	}
}

static void test_several_hosts(void **state)
{
	cleanup_source struct source source = { 0 };
	struct call call;

	(void)state;
	call_start(&call, 1000);
	assert_int_equal(source_parse("nacos://a,b:1,[::2]:3,c_d/n/g", &call, &source), 0);
	assert_int_equal(source.host_count, 4);
	assert_string_equal(source.hosts[0].name, "a");
	assert_int_equal(source.hosts[0].port, 8848);
	assert_string_equal(source.hosts[1].name, "b");
	assert_int_equal(source.hosts[1].port, 1);
	assert_string_equal(source.hosts[2].name, "::2");
	assert_int_equal(source.hosts[2].port, 3);
	assert_string_equal(source.hosts[3].name, "c_d");
	assert_string_equal(source.namespace_id, "n");
	assert_string_equal(source.group, "g");
}

static void test_what_is_refused(void **state)
{
	static const struct {
		const char *text;
		const char *hint; /* must be in the reason */
	} cases[] = {
		{ "", "nacos://HOST" },
		{ "localhost", "nacos://HOST" },
		{ "http://localhost", "nacos://HOST" },
		{ "nacos:/localhost", "nacos://HOST" },
		{ "/mnt", "nacos://HOST" },
		{ "nacos://", "a host is missing" },
		{ "nacos:///dev", "a host is missing" },
		{ "nacos://:8848", "a host is missing" },
		{ "nacos://a,,b", "a host is missing" },
		{ "nacos://a,", "a host is missing" },
		{ "nacos://,a", "a host is missing" },
		{ "nacos://h:", "1 to 65535" },
		{ "nacos://h:0", "1 to 65535" },
		{ "nacos://h:65536", "1 to 65535" },
		{ "nacos://h:99999999999999999999", "1 to 65535" },
		{ "nacos://h:+1", "1 to 65535" },
		{ "nacos://h:80a", "1 to 65535" },
		{ "nacos://a b", "not a host" },
		{ "nacos://a%b", "not a host" },
		{ "nacos://::1", "[IPV6]:PORT" },
		{ "nacos://2001:db8::5", "[IPV6]:PORT" },
		{ "nacos://[::1", "lacks a ']'" },
		{ "nacos://[", "lacks a ']'" },
		{ "nacos://[]", "not an IPv6 address" },
		{ "nacos://[10.0.0.1]", "not an IPv6 address" },
		{ "nacos://[::1]8848", "only :PORT" },
		{ "nacos://[::1]:", "1 to 65535" },
		{ "nacos://h//g", "namespace is empty" },
		{ "nacos://h//", "namespace is empty" },
		{ "nacos://h/n//", "group is empty" },
		{ "nacos://h/./g", "can't be the name of a namespace" },
		{ "nacos://h/n/..", "can't be the name of a group" },
		{ "nacos://h/n/g/file", "nothing can follow" },
		{ "nacos://h/n/g//", "nothing can follow" },
		{ "nacos://h/n\n", "control character" },
		{ "nacos://h/n\x7f", "control character" },
		{ "nacos://h/\xff", "UTF-8" },
		{ "nacos://h?namespace=n", "-o NAME=VALUE" },
		{ "nacos://h/n#x", "-o NAME=VALUE" },
		{ "nacos://user@h", "password_file=FILE" },
		{ "nacos://user:hush@h/n", "password_file=FILE" },
		{ "nacos://user:hush/hush@h", "password_file=FILE" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct source source = { .host_count = 42 };
		struct call call;

		call_start(&call, 1000);
		if (source_parse(cases[i].text, &call, &source) != -EINVAL)
			fail_msg("\"%s\" was taken", cases[i].text);
		if (!strstr(call.reason, cases[i].hint))
			fail_msg("\"%s\": %s", cases[i].text, call.reason);
		assert_null(strstr(call.reason, "hush"));
		assert_int_equal(source.host_count, 42);
	}
}

static void test_long_host_name(void **state)
{
	char text[8 + 254 + 1] = "nacos://";
	struct source source;
	struct call call;

	(void)state;
	call_start(&call, 1000);
	memset(text + 8, 'a', 254);
	assert_int_equal(source_parse(text, &call, &source), -EINVAL);
	text[8 + 253] = '\0';
	assert_int_equal(source_parse(text, &call, &source), 0);
	source_release(&source);
}

static void test_release_twice(void **state)
{
	struct source source = { 0 };
	struct call call;

	(void)state;
	source_release(&source);
	call_start(&call, 1000);
	assert_int_equal(source_parse("nacos://a,b/n/g", &call, &source), 0);
	source_release(&source);
	assert_null(source.hosts);
	assert_int_equal(source.host_count, 0);
	source_release(&source);
}

static void test_names(void **state)
{
	(void)state;
	assert_true(source_is_name("a", 1));
	assert_true(source_is_name("...", 3));
	assert_true(source_is_name(".a", 2));
	assert_false(source_is_name("", 0));
	assert_false(source_is_name(".", 1));
	assert_false(source_is_name("..", 2));
	assert_false(source_is_name("a/b", 3));
	assert_false(source_is_name("a\tb", 3));
	assert_false(source_is_name("a\0b", 3));
	assert_true(source_is_name("a/b", 1)); /* size counts, not the NUL */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_taken),	cmocka_unit_test(test_several_hosts),
		cmocka_unit_test(test_what_is_refused), cmocka_unit_test(test_long_host_name),
		cmocka_unit_test(test_release_twice),	cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("main/source", tests, NULL, NULL);
}
