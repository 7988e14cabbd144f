/* Places: interned, counted, compared by pointer, also by many threads at once. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "model/place.h"

static void test_same_names_are_one_place(void **state)
{
	(void)state;
	struct place *a = place_new("public", "APP", "db.yaml");
	struct place *b = place_new("public", "APP", "db.yaml");
	struct place *other = place_new("public", "APPdb.yaml", NULL);

	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, other);
	assert_string_equal(place_namespace_id(a), "public");
	assert_string_equal(place_group(a), "APP");
	assert_string_equal(place_data_id(a), "db.yaml");
	assert_null(place_data_id(other));
	assert_int_equal(place_count(), 4);
	place_drop(a);
	place_drop(b);
	place_drop(other);
	assert_int_equal(place_count(), 0);
}

static void test_a_place_keeps_what_is_above(void **state)
{
	(void)state;
	struct place *group = place_new("n", "G", NULL);
	struct place *config = place_below(group, "x");

	place_drop(group);
	assert_string_equal(place_group(config), "G");
	assert_ptr_equal(config->above, group);
	place_drop(config);
	assert_int_equal(place_count(), 0);
}

static void test_tables_hold_their_places(void **state)
{
	struct table table = { 0 };
	struct place_entry entry, other;
	struct place *a = place_new("n", "G", "a"), *b = place_new("n", "G", "b");

	(void)state;
	assert_null(place_table_find(&table, a));
	place_table_add(&table, &entry, a);
	place_table_add(&table, &other, b);
	assert_ptr_equal(place_table_find(&table, a), &entry);
	assert_ptr_equal(place_table_find(&table, b), &other);
	assert_null(place_table_find(&table, a->above));
	assert_ptr_equal(place_at(a, PLACE_NAMESPACE), b->above->above);
	assert_null(place_at(a->above, PLACE_CONFIG));
	place_drop(a);
	place_drop(b);
	assert_int_equal(place_count(), 4);
	place_table_remove(&table, &entry);
	assert_int_equal(place_count(), 3);
	place_table_remove(&table, &other);
	table_release(&table);
	assert_int_equal(place_count(), 0);
}

static void test_the_top_and_texts(void **state)
{
	(void)state;
	struct place *top = place_new(NULL, NULL, NULL);
	cleanup_place struct place *namespace = place_new("n", NULL, NULL);
	cleanup_place struct place *config = place_new("n", "G", "x");
	char text[PLACE_TEXT_SIZE], small[5];

	assert_null(place_namespace_id(top));
	assert_ptr_equal(namespace->above, top);
	assert_string_equal(place_format(top, text, sizeof(text)), "");
	assert_string_equal(place_format(namespace, text, sizeof(text)), "n");
	assert_string_equal(place_format(config, text, sizeof(text)), "n/G/x");
	assert_string_equal(place_format(config, small, sizeof(small)), "n/G/");
	place_drop(top);
	place_drop(NULL);
	assert_null(place_hold(NULL));
}

static void *use_places(void *arg)
{
	struct place *before = NULL;

	(void)arg;
	for (unsigned i = 0; i < 20000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", i * 7 % 13);
		struct place *place = place_new("n", "G", name);
		assert_string_equal(place_data_id(place), name);
		place_drop(before);
		before = place;
	}
	place_drop(before);
	return NULL;
}

static void test_threads_share_them(void **state)
{
	pthread_t threads[4];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_places, NULL), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(place_count(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_names_are_one_place),
		cmocka_unit_test(test_a_place_keeps_what_is_above),
		cmocka_unit_test(test_tables_hold_their_places),
		cmocka_unit_test(test_the_top_and_texts),
		cmocka_unit_test(test_threads_share_them),
	};

	return cmocka_run_group_tests_name("model/place", tests, NULL, NULL);
}
