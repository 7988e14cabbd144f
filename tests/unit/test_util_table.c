/* The hash table: finding, taking out, growing, going through all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/table.h"

struct thing {
	struct table_link link;
	unsigned number;
};

static bool is_number(const struct table_link *link, const void *key)
{
	return ((const struct thing *)link)->number == *(const unsigned *)key;
}

static struct thing *find(const struct table *table, unsigned number)
{
	return (struct thing *)table_find(table, table_hash(&number, sizeof(number)), is_number, &number);
}

static void test_what_is_added_is_found(void **state)
{
	static struct thing things[1000];
	struct table table = { 0 };
	size_t count = 0;

	(void)state;
	assert_null(find(&table, 1));
	assert_null(table_next(&table, NULL));
	for (unsigned i = 0; i < 1000; i++) {
		things[i].number = i;
		table_add(&table, &things[i].link, table_hash(&i, sizeof(i)));
	}
	for (unsigned i = 0; i < 1000; i++)
		assert_ptr_equal(find(&table, i), &things[i]);
	for (unsigned i = 0; i < 1000; i += 2)
		table_remove(&table, &things[i].link);
	for (unsigned i = 0; i < 1000; i++)
		assert_ptr_equal(find(&table, i), i % 2 ? &things[i] : NULL);
	for (struct table_link *link = table_next(&table, NULL); link; link = table_next(&table, link))
		count++;
	assert_int_equal(count, 500);
	assert_int_equal(table.count, 500);
	table_release(&table);
	assert_int_equal(table.count, 0);
}

static void test_equal_hashes_are_told_apart(void **state)
{
	struct thing a = { .number = 1 }, b = { .number = 2 };
	struct table table = { 0 };
	unsigned one = 1, two = 2;

	(void)state;
	table_add(&table, &a.link, 7);
	table_add(&table, &b.link, 7);
	assert_ptr_equal(table_find(&table, 7, is_number, &one), &a.link);
	assert_ptr_equal(table_find(&table, 7, is_number, &two), &b.link);
	table_remove(&table, &a.link);
	assert_null(table_find(&table, 7, is_number, &one));
	assert_ptr_equal(table_find(&table, 7, is_number, &two), &b.link);
	table_release(&table);
}

static void test_hashes_depend_on_every_byte(void **state)
{
	(void)state;
	assert_int_equal(table_hash_text("abcdefgh1"), table_hash("abcdefgh1", 9));
	assert_int_not_equal(table_hash_text("abcdefgh1"), table_hash_text("abcdefgh2"));
	assert_int_not_equal(table_hash_text(""), table_hash("", 1));
	assert_int_not_equal(table_hash_more(1, "a", 1), table_hash_more(2, "a", 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_added_is_found),
		cmocka_unit_test(test_equal_hashes_are_told_apart),
		cmocka_unit_test(test_hashes_depend_on_every_byte),
	};

	return cmocka_run_group_tests_name("util/table", tests, NULL, NULL);
}
