/* Which names are editors' private files, and which are configs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/node/names.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_scratch_names(void **state)
{
	static const char *const names[] = {
		".app.yaml.swp", ".app.yaml.swx", ".app.yaml.un~", "app.yaml~", "#app.yaml#", ".#app.yaml",
		"4913",		 "5036",	  "123",	   "sedA1b2C3", "XXa_b2C3",   "tmpab12cd_9",
		"tmpab12cd_9.yaml", "tmp.a1B2c3D4e5", "app.yaml.tmp", "app.yaml.bak", "app.yaml.orig",
		"app.yaml.rej",	 "app.yaml.save", "app.yaml.save.1", "app.yaml.dpkg-new", "app.yaml.ucf-dist",
		"app.yaml.augnew", "app.yaml.augnew.Xy12Za", "app.yaml,v", ".git", ".~tmp~", "app.yaml.123456",
		"app.yaml.tmp-1", ".ansible_tmpabcd1234app.yaml", "app.yaml.4711.2026-11-21@17:38:03~",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++)
		if (!name_is_private(names[i]))
			fail_msg("%s is a scratch name", names[i]);
}

static void test_config_names(void **state)
{
	static const char *const names[] = {
		"app.yaml",  "application.properties", "a",	"12",	  "123456", "sed.conf", "seddefaults",
		"tmpl.yaml", "tmp",		       "tmp.x", "app.v2", "app.1",  "app.12345", "app-bak",
		"com.alibaba:service.yaml", "XX", "XXL-job.properties", "bak", "tmpabcdefghi", "cipher-db",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++)
		if (name_is_private(names[i]))
			fail_msg("%s is no scratch name", names[i]);
	assert_false(name_is_private(""));
}

static void test_names_that_extend_a_config(void **state)
{
	(void)state;
	assert_true(name_extends("app.yamlX3fQ9a", "app.yaml"));
	assert_true(name_extends("app.yaml.oTcB007", "app.yaml"));
	assert_false(name_extends("app.yamlX3fQ9", "app.yaml"));
	assert_false(name_extends("app.yaml", "app.yaml"));
	assert_false(name_extends("app.json.abcdef", "app.yaml"));
}

static void test_types(void **state)
{
	static const struct {
		const char *name, *type;
	} cases[] = {
		{ "a.yaml", "yaml" }, { "a.yml", "yaml" },   { "a.YAML", "yaml" }, { "a.json", "json" },
		{ "a.xml", "xml" },   { "a.html", "html" },  { "a.htm", "html" },  { "a.toml", "toml" },
		{ "a.txt", "text" },  { "a", "text" },	     { "yaml", "text" },   { "a.yaml.x", "text" },
		{ "a.properties", "properties" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(name_type(cases[i].name), cases[i].type);
}

static void test_cipher_names(void **state)
{
	(void)state;
	assert_true(name_is_cipher("cipher-kms-aes-256-db"));
	assert_true(name_is_cipher("cipher-"));
	assert_false(name_is_cipher("Cipher-x"));
	assert_false(name_is_cipher("my-cipher-x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scratch_names),
		cmocka_unit_test(test_config_names),
		cmocka_unit_test(test_names_that_extend_a_config),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_cipher_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
