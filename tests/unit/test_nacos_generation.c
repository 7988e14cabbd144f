/* Versions, what they stand for, and the names that servers take. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nacos/generation.h"

static struct nacos_features features_of(const char *version)
{
	struct nacos_features features;

	assert_int_equal(nacos_features_from_version(version, &features), 0);
	return features;
}

static void test_version_is_read(void **state)
{
	struct nacos_features features = features_of("3.1.0-bugfix");

	(void)state;
	assert_int_equal(features.major, 3);
	assert_int_equal(features.minor, 1);
	assert_int_equal(features.patch, 0);
	assert_string_equal(features.generation->name, "3.x");

	features = features_of("2.2.4");
	assert_int_equal(features.patch, 4);
	assert_string_equal(features.generation->name, "2.x");

	features = features_of("1.4");
	assert_int_equal(features.patch, 0);
	assert_string_equal(features.generation->name, "1.4");

	assert_string_equal(features_of("2.5.2-SNAPSHOT").generation->name, "2.x");
	assert_string_equal(features_of("10.0.1").generation->name, "3.x");
}

static void test_what_is_no_version_is_refused(void **state)
{
	static const char *const texts[] = {
		"", "2", "2.", ".1", "v2.1.0", "x.y", "-1.2", " 2.1", "99999999999.1.0", "2.99999999999",
	};
	struct nacos_features features = { .major = 42 };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(nacos_features_from_version(texts[i], &features), -EBADMSG);
	assert_int_equal(nacos_features_from_version(NULL, &features), -EBADMSG);
	assert_int_equal(features.major, 42);
}

static void test_features_begin_with_their_version(void **state)
{
	static const struct {
		const char *version;
		bool has_cas, get_has_time, carries_data_key, checks_names;
	} expected[] = {
		{ "1.4.8", false, false, false, false }, { "2.0.0", false, false, false, false },
		{ "2.2.4", false, false, false, false }, { "2.3.0", false, true, true, true },
		{ "2.3.1", true, true, true, true },	 { "2.10.0", true, true, true, true },
		{ "3.0.0", true, true, true, true },	 { "3.1.0-bugfix", true, true, true, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		struct nacos_features features = features_of(expected[i].version);

		assert_int_equal(features.has_cas, expected[i].has_cas);
		assert_int_equal(features.get_has_time, expected[i].get_has_time);
		assert_int_equal(features.carries_data_key, expected[i].carries_data_key);
		assert_int_equal(features.checks_names, expected[i].checks_names);
	}
}

static void test_every_generation_is_complete(void **state)
{
	static const char *const versions[] = { "1.4.1", "2.5.1", "3.0.3", NULL };

	(void)state;
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		const struct nacos_generation *generation;
		struct nacos_features features;

		if (versions[i])
			features = features_of(versions[i]);
		else
			nacos_features_assume_managed(&features);
		generation = features.generation;
		const struct nacos_api *apis[] = {
			&generation->login,	 &generation->get,	  &generation->detail,
			&generation->publish,	 &generation->remove,	  &generation->list,
			&generation->group_list, &generation->namespaces, &generation->namespace_create,
			&generation->namespace_remove,
		};
		for (size_t j = 0; j < sizeof(apis) / sizeof(apis[0]); j++) {
			assert_non_null(apis[j]->method);
			assert_int_equal(apis[j]->path[0], '/');
			assert_null(strchr(apis[j]->path, '?'));
		}
		assert_non_null(generation->public_id);
		assert_non_null(generation->namespace_parameter);
		assert_non_null(generation->group_parameter);
		assert_non_null(generation->tags_parameter);
		assert_non_null(generation->user_parameter);
		assert_non_null(generation->create_parameter);
	}
}

static void test_managed_servers_get_the_least(void **state)
{
	struct nacos_features features;

	(void)state;
	memset(&features, 0xff, sizeof(features));
	nacos_features_assume_managed(&features);
	assert_false(features.generation->wrapped);
	assert_int_equal(features.major, 0);
	assert_false(features.has_cas || features.get_has_time || features.carries_data_key ||
		     features.checks_names);
}

static void test_names_of_servers_that_check(void **state)
{
	struct nacos_features features = features_of("2.3.0");
	char name[300];

	(void)state;
	assert_true(nacos_data_id_is_possible(&features, "app-1_a.B:yaml"));
	assert_true(nacos_data_id_is_possible(&features, "..."));
	assert_false(nacos_data_id_is_possible(&features, ""));
	assert_false(nacos_data_id_is_possible(&features, "."));
	assert_false(nacos_data_id_is_possible(&features, ".."));
	assert_false(nacos_data_id_is_possible(&features, "a/b"));
	assert_false(nacos_data_id_is_possible(&features, "a b"));
	assert_false(nacos_data_id_is_possible(&features, " a"));
	assert_false(nacos_data_id_is_possible(&features, "caf\xc3\xa9"));
	assert_false(nacos_data_id_is_possible(&features, "a%"));
	assert_false(nacos_data_id_is_possible(&features, "a\n"));
	assert_true(nacos_group_is_possible(&features, "DEFAULT_GROUP"));
	assert_true(nacos_namespace_is_possible(&features, "9b1f0d2e-dev_1"));
	assert_false(nacos_namespace_is_possible(&features, "a.b"));

	memset(name, 'a', sizeof(name));
	name[255] = '\0';
	assert_true(nacos_data_id_is_possible(&features, name));
	name[255] = 'a';
	name[256] = '\0';
	assert_false(nacos_data_id_is_possible(&features, name));
	name[129] = '\0';
	assert_false(nacos_group_is_possible(&features, name));
	name[128] = '\0';
	assert_true(nacos_group_is_possible(&features, name));
	assert_false(nacos_namespace_is_possible(&features, name));
	name[64] = '\0';
	assert_true(nacos_namespace_is_possible(&features, name));
}

static void test_names_of_older_servers(void **state)
{
	struct nacos_features features = features_of("2.2.4");
	char name[600] = "";

	(void)state;
	assert_true(nacos_data_id_is_possible(&features, "caf\xc3\xa9"));
	assert_true(nacos_data_id_is_possible(&features, "\xe9\x85\x8d\xe7\xbd\xae.yaml")); /* 配置 */
	assert_false(nacos_data_id_is_possible(&features, "blank within"));
	assert_true(nacos_data_id_is_possible(&features, " blanks-around "));
	assert_false(nacos_group_is_possible(&features, " group"));
	assert_false(nacos_data_id_is_possible(&features, "   "));
	assert_false(nacos_data_id_is_possible(&features, " . "));
	assert_false(nacos_data_id_is_possible(&features, "a/b"));
	assert_false(nacos_data_id_is_possible(&features, "a\tb"));
	assert_false(nacos_data_id_is_possible(&features, "a\x7f"));
	assert_false(nacos_data_id_is_possible(&features, "a@b"));
	assert_false(nacos_data_id_is_possible(&features, "a\xc2\xa0")); /* no-break space */
	assert_false(nacos_data_id_is_possible(&features, "a\xe2\x80\x94z")); /* em dash */
	assert_false(nacos_data_id_is_possible(&features, "\xf0\x9f\x98\x80")); /* past U+FFFF */
	assert_false(nacos_data_id_is_possible(&features, "torn\xc3"));
	assert_false(nacos_data_id_is_possible(&features, "\xc0\xaf"));
	assert_true(nacos_namespace_is_possible(&features, "a.b"));

	/* Lengths are UTF-16 units, not bytes. */
	for (int i = 0; i < 255; i++)
		strcat(name, "\xc3\xa9");
	assert_true(nacos_data_id_is_possible(&features, name));
	strcat(name, " ");
	assert_false(nacos_data_id_is_possible(&features, name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version_is_read),
		cmocka_unit_test(test_what_is_no_version_is_refused),
		cmocka_unit_test(test_features_begin_with_their_version),
		cmocka_unit_test(test_every_generation_is_complete),
		cmocka_unit_test(test_managed_servers_get_the_least),
		cmocka_unit_test(test_names_of_servers_that_check),
		cmocka_unit_test(test_names_of_older_servers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
