/* Grants against resources; tests/test_permission_patterns.py compares the same with real servers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nacos/permission.h"
#include "util/clock.h"

/* Does the grant match? -1 when it grants nothing at all. */
static int match(const char *grant, const char *resource)
{
	struct nacos_pattern *pattern = NULL;
	int error = nacos_pattern_compile(grant, &pattern);

	if (error) {
		assert_int_equal(error, -EINVAL);
		return -1;
	}
	int matches = nacos_pattern_matches(pattern, resource);
	nacos_pattern_free(pattern);
	return matches;
}

static int match_below(const char *grant, const char *prefix)
{
	struct nacos_pattern *pattern = NULL;

	assert_int_equal(nacos_pattern_compile(grant, &pattern), 0);
	int matches = nacos_pattern_matches_below(pattern, prefix);
	nacos_pattern_free(pattern);
	return matches;
}

static void test_the_usual_grants(void **state)
{
	(void)state;
	assert_int_equal(match("ns:*:*", "ns:g:config/d"), 1);
	assert_int_equal(match("ns:*:*", "ns:*:config/*"), 1);
	assert_int_equal(match("ns:g:*", "ns:g:config/d"), 1);
	assert_int_equal(match("ns:g:*", "ns:h:config/d"), 0);
	assert_int_equal(match("ns:g:config/d", "ns:g:config/d"), 1);
	assert_int_equal(match("ns:g:config/d", "ns:g:config/dd"), 0);
	assert_int_equal(match("ns:g:config/d", "xns:g:config/d"), 0);
	assert_int_equal(match("ns:g:config/app*", "ns:g:config/app.yaml"), 1);
	assert_int_equal(match("ns:g:config/app*", "ns:g:config/*"), 0);
	assert_int_equal(match(":*:*", ":g:config/d"), 1);
	assert_int_equal(match(":*:*", "public:g:config/d"), 0);
	assert_int_equal(match("*", "anything at all"), 1);
	assert_int_equal(match("", "ns:g:config/d"), 0);
	assert_int_equal(match("", ""), 1);
}

static void test_marks_mean_what_they_do_in_a_regular_expression(void **state)
{
	(void)state;
	assert_int_equal(match("ns:g:config/a.yaml", "ns:g:config/axyaml"), 1);
	assert_int_equal(match("a\\.b", "a.b"), 1);
	assert_int_equal(match("a\\.b", "axb"), 0);
	assert_int_equal(match("a\\*", "a..."), 1);
	assert_int_equal(match("a\\*", "a*"), 0);
	assert_int_equal(match("[ab]*", "b:c"), 1);
	assert_int_equal(match("[ab]*", "c:c"), 0);
	assert_int_equal(match("[*]", "*"), 1);
	assert_int_equal(match("[*]", "."), 1);
	assert_int_equal(match("[*]", "x"), 0);
	assert_int_equal(match("[^a-c]x", "dx"), 1);
	assert_int_equal(match("[^a-c]x", "bx"), 0);
	assert_int_equal(match("[a-]x", "-x"), 1);
	assert_int_equal(match("(a|bc)d", "bcd"), 1);
	assert_int_equal(match("(a|bc)d", "abcd"), 0);
	assert_int_equal(match("a|b|c", "c"), 1);
	assert_int_equal(match("(?:ab)+c", "ababc"), 1);
	assert_int_equal(match("(?:ab)+c", "c"), 0);
	assert_int_equal(match("a?b", "b"), 1);
	assert_int_equal(match("a??b", "ab"), 1);
	assert_int_equal(match("a{2}", "aa"), 1);
	assert_int_equal(match("a{2}", "aaa"), 0);
	assert_int_equal(match("(ab){1,3}", "ababab"), 1);
	assert_int_equal(match("(ab){1,3}", "abababab"), 0);
	assert_int_equal(match("(a|b){2,}c", "abbac"), 1);
	assert_int_equal(match("(a|b){2,}c", "ac"), 0);
	assert_int_equal(match("a{0}b", "b"), 1);
	assert_int_equal(match("^a$", "a"), 1);
	assert_int_equal(match("a^b", "ab"), 0);
	assert_int_equal(match("\\d+\\w\\s", "12_ "), 1);
	assert_int_equal(match("\\D\\W\\S", "a-b"), 1);
	assert_int_equal(match("[\\d-]x", "5x"), 1);
	assert_int_equal(match("a]b}", "a]b}"), 1);
	assert_int_equal(match("A", "a"), 0);
	assert_int_equal(match("\xc3\xa9.", "\xc3\xa9\xe4\xb8\xad"), 1); /* a character, not a byte */
	assert_int_equal(match(".", "\n"), 0);
}

static void test_what_servers_or_we_do_not_understand_grants_nothing(void **state)
{
	static const char *const bad[] = {
		"[", "(", ")", "a(b", "a)b", "+a", "?a", "{2}", "a{", "a{x}", "a{2,1}", "a{999}", "[b-a]", "[a-*]",
		"a\\", "a\\b", "a\\1", "\\Qa\\E", "(?=a)", "(?i)a", "(?<n>a)", "a*+", "a++", "a{2}{2}", "a**+", "[[a]b]",
		"[a&&b]", "[]a]", "[^]a]", "^+", "\xff", "[\\d-a]", "[a-\\d]", "\\pL", "|*?+",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (match(bad[i], "a") != -1)
			fail_msg("%s is understood", bad[i]);
}

static void test_below(void **state)
{
	(void)state;
	assert_int_equal(match_below("ns:g:config/a", "ns:g:config/"), 1);
	assert_int_equal(match_below("ns:g:config/a", "ns:"), 1);
	assert_int_equal(match_below("ns:g:config/a", "ns:h:config/"), 0);
	assert_int_equal(match_below("ns:*:*", "ns:h:config/"), 1);
	assert_int_equal(match_below("ns:g", "ns:g:config/"), 0);
	assert_int_equal(match_below("ns:$g", "ns:"), 0);
	assert_int_equal(match_below("n(s:g|t):*", "ns:g:config/"), 1);
}

/* Patterns that keep other matchers busy for years. */
static void test_time_is_bounded(void **state)
{
	static const char *const slow[] = {
		"(a*)*(a*)*b", "*.*.*.*.*.*.*.*.*.*x", "(a|a)*b", "(a?){60}a{60}", "((a{9}){9}){9}", "(((((a+)+)+)+)+)+b",
		".*.*.*.*",
	};
	char text[512];
	int64_t started_ms = clock_monotonic_ms();

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (size_t i = 0; i < sizeof(slow) / sizeof(slow[0]); i++)
		match(slow[i], text);
	assert_true(clock_monotonic_ms() - started_ms < 2000);
}

static void test_limits(void **state)
{
	char deep[2048] = "";
	struct nacos_pattern *pattern = NULL;

	(void)state;
	memset(deep, '(', 1000);
	memset(deep + 1000, ')', 1000);
	assert_int_equal(nacos_pattern_compile(deep, &pattern), -EINVAL);
	assert_int_equal(match("((((a{200}){200}){200}){200})", "a"), -1);
}

static void test_resources_of_each_generation(void **state)
{
	static const struct {
		const char *version, *namespace_id, *group, *data_id, *resource, *granted;
	} cases[] = {
		{ "1.4.1", "public", "g", "d", ":g:config/d", ":*:*" },
		{ "2.2.4", "public", NULL, NULL, ":*:config/*", ":*:*" },
		{ "3.1.0", "public", "g", NULL, "public:g:config/*", "public:*:*" },
		{ "3.1.0", "dev", "g", "d", "dev:g:config/d", "public:*:*" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nacos_features features;
		struct buffer resource = BUFFER_INIT, granted = BUFFER_INIT;
		assert_int_equal(nacos_features_from_version(cases[i].version, &features), 0);
		nacos_resource_append(features.generation, cases[i].namespace_id, cases[i].group, cases[i].data_id,
				      &resource);
		nacos_resource_append_granted(features.generation, ":*:*", &granted);
		assert_string_equal(resource.data, cases[i].resource);
		assert_string_equal(granted.data, cases[i].granted);
		buffer_release(&resource);
		buffer_release(&granted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_usual_grants),
		cmocka_unit_test(test_marks_mean_what_they_do_in_a_regular_expression),
		cmocka_unit_test(test_what_servers_or_we_do_not_understand_grants_nothing),
		cmocka_unit_test(test_below),
		cmocka_unit_test(test_time_is_bounded),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_resources_of_each_generation),
	};

	return cmocka_run_group_tests_name("nacos_permission", tests, NULL, NULL);
}
