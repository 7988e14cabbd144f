/* The wake queue: what was told meanwhile, what is fetched once, what is raised. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/node/wake.h"
#include "util/clock.h"

/* A store that tells of all changes. */
static bool is_watched(struct store *store, struct place *place)
{
	(void)store;
	(void)place;
	return true;
}

static const struct store_operations operations = { .is_watched = is_watched };
static struct store store = { .operations = &operations };
static const struct terms terms = { .store = &store, .refresh_ms = 3600000 };

static struct tree tree;
static struct node *group, *config;

static int set_up(void **state)
{
	(void)state;
	if (tree_init(&tree, &terms) || wake_new(&tree.wake))
		return -1;
	lock_take(&tree.lock);
	wake_set_touches(&tree, true);
	wake_set_live(&tree, true);
	struct node *namespace = tree_add(&tree, tree.root, "dev", NODE_NAMESPACE);
	group = tree_add(&tree, namespace, "APP", NODE_GROUP);
	config = tree_add(&tree, group, "a.yaml", NODE_CONFIG);
	node_count_lookup(group);
	node_count_lookup(config);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tree_forget(&tree, node_id(config), config->lookup_count);
	tree_forget(&tree, node_id(group), group->lookup_count);
	wake_clear(&tree);
	lock_give(&tree.lock);
	tree_destroy(&tree);
	wake_free(tree.wake);
	memset(&tree, 0, sizeof(tree));
	return 0;
}

/* Takes what is first in the queue of what the kernel is to forget. */
static uint64_t take_told(void)
{
	struct wake_told told;

	assert_true(wake_take_told(&tree, &told));
	wake_raise_told(&tree, &told);
	return told.id;
}

/* ---------------------------------------------------------------- answers that were overtaken */

static void test_an_answer_that_was_overtaken_is_taken_back(void **state)
{
	unsigned before = wake_count_events(&tree);

	(void)state;
	config->given_long = true;
	wake_recheck(&tree, node_id(config), before);
	assert_false(config->is_told);

	wake_count_event(&tree);
	wake_recheck(&tree, node_id(config), before);
	assert_true(config->is_told);
	assert_int_equal(take_told(), node_id(config));
	assert_false(config->given_long);
}

static void test_only_what_the_kernel_believes_for_long_is_taken_back(void **state)
{
	unsigned before = wake_count_events(&tree);

	(void)state;
	wake_count_event(&tree);
	wake_recheck(&tree, node_id(config), before);
	assert_false(config->is_told);
	wake_recheck(&tree, 1u << 30, before); /* it is no more */
}

static void test_an_absent_name_that_was_overtaken_is_taken_back(void **state)
{
	cleanup_place struct place *place = place_new("dev", "APP", "b.yaml");
	unsigned before = wake_count_events(&tree);

	(void)state;
	assert_true(wake_add_absent(&tree, group, "b.yaml", place));
	wake_recheck_absent(&tree, node_id(group), "b.yaml", before);
	assert_false(wake_has_touch(&tree, group, "b.yaml"));

	wake_count_event(&tree);
	wake_recheck_absent(&tree, node_id(group), "b.yaml", before);
	assert_true(wake_has_touch(&tree, group, "b.yaml"));
	struct wake_touch *touch = wake_take_touch(&tree);
	assert_int_equal(touch->kind, TOUCH_FORGET_ABSENT);
	wake_touched(&tree, touch, false);
}

static void test_a_name_that_appears_is_not_absent(void **state)
{
	cleanup_place struct place *place = place_new("dev", "APP", "b.yaml");

	(void)state;
	assert_true(wake_add_absent(&tree, group, "b.yaml", place));
	wake_found(&tree, tree_add(&tree, group, "b.yaml", NODE_CONFIG));
	struct wake_touch *touch = wake_take_touch(&tree);
	assert_int_equal(touch->kind, TOUCH_CREATED);
	assert_string_equal(touch->name, "b.yaml");
	wake_touched(&tree, touch, false);
	/* Nothing happens where nobody believed that there is none. */
	wake_found(&tree, config);
	assert_false(wake_has_touch(&tree, group, "a.yaml"));
}

/* The kernel was given it for long because changes are told: then they are not. */
static void test_what_was_given_for_long_is_taken_back_when_nobody_tells(void **state)
{
	(void)state;
	assert_true(wake_is_told(&tree, group));
	group->given_long = true;
	wake_set_live(&tree, false);
	assert_false(wake_is_told(&tree, group));
	assert_true(group->is_told);
	assert_false(config->is_told);
}

/* ---------------------------------------------------------------- what is to be fetched */

static struct wake_fetch *take_fetch(void)
{
	struct wake_fetch *fetch = NULL;

	assert_int_equal(wake_take_task(&tree, &fetch), WAKE_FETCH);
	return fetch;
}

static size_t fetch_count(void)
{
	struct wake_counts counts;

	wake_get_counts(&tree, &counts);
	return counts.fetch_queue;
}

static void test_a_place_is_fetched_once(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		wake_changed(&tree, config->place);
	assert_int_equal(fetch_count(), 1);
	struct wake_fetch *fetch = take_fetch();
	assert_ptr_equal(wake_fetch_place(fetch), config->place);
	wake_fetched(&tree, fetch, 0);
	assert_int_equal(fetch_count(), 0);
}

/* What was told while it was being fetched may have come too late for that answer. */
static void test_what_changes_while_it_is_fetched_is_fetched_again(void **state)
{
	(void)state;
	wake_changed(&tree, config->place);
	struct wake_fetch *fetch = take_fetch();
	wake_changed(&tree, config->place);
	wake_fetched(&tree, fetch, 0);
	assert_int_equal(fetch_count(), 1);
	wake_fetched(&tree, take_fetch(), 0);
	assert_int_equal(fetch_count(), 0);
}

static void test_what_can_not_be_fetched_is_tried_again(void **state)
{
	int64_t start_ms = clock_monotonic_ms();

	(void)state;
	wake_changed(&tree, config->place);
	wake_fetched(&tree, take_fetch(), 30);
	struct wake_fetch *fetch = take_fetch(); /* waits till it is due */
	assert_in_range(clock_monotonic_ms() - start_ms, 29, 5000);
	assert_int_equal(wake_fetch_attempts(fetch), 1);
	/* Told anew, it does not wait. */
	wake_fetched(&tree, fetch, 3600000);
	wake_changed(&tree, config->place);
	fetch = take_fetch();
	assert_int_equal(wake_fetch_attempts(fetch), 0);
	wake_fetched(&tree, fetch, 0);
}

/* ---------------------------------------------------------------- what is raised */

static void test_a_change_is_forgotten_first_and_raised_then(void **state)
{
	(void)state;
	wake_content(&tree, config);
	wake_content(&tree, config);
	assert_false(wake_has_touch(&tree, group, "a.yaml"));
	assert_int_equal(take_told(), node_id(config));
	assert_true(wake_has_touch(&tree, group, "a.yaml"));
	struct wake_touch *touch = wake_take_touch(&tree);
	assert_int_equal(touch->kind, TOUCH_CONTENT);
	assert_ptr_equal(wake_current_touch(&tree, group, "a.yaml"), touch);
	wake_touched(&tree, touch, false);
	assert_false(config->is_told);
}

static void test_what_vanishes_is_raised(void **state)
{
	(void)state;
	node_hold(config);
	wake_vanish(&tree, config);
	assert_null(config->parent);
	struct wake_touch *touch = wake_take_touch(&tree);
	assert_int_equal(touch->kind, TOUCH_REMOVED);
	assert_ptr_equal(touch->node, config);
	wake_touched(&tree, touch, false);
	node_drop(&tree, config);
}

/* Who has not looked up the directory can't watch it. */
static void test_nothing_is_raised_where_nobody_can_watch(void **state)
{
	struct node *other = tree_add(&tree, group->parent, "OTHER", NODE_GROUP);
	struct node *unseen = tree_add(&tree, other, "c.yaml", NODE_CONFIG);

	(void)state;
	wake_content(&tree, unseen);
	wake_created(&tree, unseen);
	assert_false(unseen->is_told);
	assert_false(wake_has_touch(&tree, other, "c.yaml"));
}

#define IN_TREE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_TREE(test_an_answer_that_was_overtaken_is_taken_back),
		IN_TREE(test_only_what_the_kernel_believes_for_long_is_taken_back),
		IN_TREE(test_an_absent_name_that_was_overtaken_is_taken_back),
		IN_TREE(test_a_name_that_appears_is_not_absent),
		IN_TREE(test_what_was_given_for_long_is_taken_back_when_nobody_tells),
		IN_TREE(test_a_place_is_fetched_once),
		IN_TREE(test_what_changes_while_it_is_fetched_is_fetched_again),
		IN_TREE(test_what_can_not_be_fetched_is_tried_again),
		IN_TREE(test_a_change_is_forgotten_first_and_raised_then),
		IN_TREE(test_what_vanishes_is_raised),
		IN_TREE(test_nothing_is_raised_where_nobody_can_watch),
	};

	return cmocka_run_group_tests_name("fs/node/wake", tests, NULL, NULL);
}
