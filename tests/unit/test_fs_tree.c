/* Nodes, their names and their lives. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/node/tree.h"

static int set_up(void **state)
{
	static const struct terms terms;
	struct tree *tree = malloc(sizeof(*tree));

	*state = tree;
	return tree_init(tree, &terms);
}

static int tear_down(void **state)
{
	tree_destroy(*state);
	free(*state);
	return 0;
}

static struct node *add_group(struct tree *tree, const char *namespace_id, const char *group)
{
	struct node *parent = tree_child(tree, tree->root, namespace_id);

	if (!parent)
		parent = tree_add(tree, tree->root, namespace_id, NODE_NAMESPACE);
	return tree_add(tree, parent, group, NODE_GROUP);
}

static void assert_place(struct place *place, const char *expected)
{
	char text[PLACE_TEXT_SIZE];

	assert_string_equal(place_format(place, text, sizeof(text)), expected);
}

static void test_places_follow_the_path(void **state)
{
	struct tree *tree = *state;
	struct node *group = add_group(tree, "dev", "APP");

	assert_place(tree->root->place, "");
	assert_place(group->place, "dev/APP");
	assert_place(tree_add(tree, group, "a.yaml", NODE_CONFIG)->place, "dev/APP/a.yaml");
	assert_null(tree_add(tree, group, ".x.swp", NODE_PRIVATE_FILE)->place);
	assert_null(tree_add(tree, tree->root, ".nacosfs", NODE_PRIVATE_DIRECTORY)->place);
	assert_int_equal(node_level(tree->root), LEVEL_NAMESPACES);
	assert_int_equal(node_level(group->parent), LEVEL_GROUPS);
	assert_int_equal(node_level(group), LEVEL_CONFIGS);
}

static void test_the_root_is_as_deep_as_asked(void **state)
{
	struct tree tree;

	(void)state;
	assert_int_equal(tree_init(&tree, &(struct terms){ .namespace_id = "dev" }), 0);
	assert_int_equal(node_level(tree.root), LEVEL_GROUPS);
	tree_destroy(&tree);
	assert_int_equal(tree_init(&tree, &(struct terms){ .namespace_id = "dev", .group = "APP" }), 0);
	assert_int_equal(node_level(tree.root), LEVEL_CONFIGS);
	assert_place(tree.root->place, "dev/APP");
	assert_place(tree_add(&tree, tree.root, "a", NODE_CONFIG)->place, "dev/APP/a");
	tree_destroy(&tree);
}

static void test_numbers_are_never_reused(void **state)
{
	struct tree *tree = *state;
	struct node *group = add_group(tree, "dev", "APP");
	uint64_t last = node_id(group);

	for (int i = 0; i < 100; i++) {
		struct node *node = tree_add(tree, group, "a.yaml", NODE_CONFIG);
		assert_true(node_id(node) > last);
		last = node_id(node);
		tree_unlink(tree, node);
		assert_null(tree_child(tree, group, "a.yaml"));
	}
	assert_int_equal(group->directory->child_count, 0);
}

static void test_an_unlinked_node_lives_while_it_is_used(void **state)
{
	struct tree *tree = *state;
	struct node *group = add_group(tree, "dev", "APP");
	struct node *node = tree_add(tree, group, "a.yaml", NODE_CONFIG);
	uint64_t id = node_id(node);
	size_t count = tree->by_id.count;

	node_count_lookup(node);
	node_count_lookup(node);
	node_hold(node);
	tree_unlink(tree, node);
	assert_ptr_equal(tree_node(tree, id), node);
	assert_place(node->place, "dev/APP/a.yaml");
	assert_false(node_is_there(tree, node));
	tree_forget(tree, id, 1);
	node_drop(tree, node);
	assert_ptr_equal(tree_node(tree, id), node);
	tree_forget(tree, id, 1);
	assert_int_equal(tree->by_id.count, count - 1);
}

static void test_a_move_keeps_the_number(void **state)
{
	struct tree *tree = *state;
	struct node *from = add_group(tree, "dev", "A"), *to = add_group(tree, "dev", "B");
	struct node *node = tree_add(tree, from, "a.yaml", NODE_CONFIG);
	uint64_t id = node_id(node);

	assert_int_equal(tree_move(tree, node, to, "b.yaml"), 0);
	assert_null(tree_child(tree, from, "a.yaml"));
	assert_int_equal(node_id(tree_child(tree, to, "b.yaml")), id);
	assert_place(node->place, "dev/B/b.yaml");
}

static void test_many_names_are_found(void **state)
{
	struct tree *tree = *state;
	struct node *group = add_group(tree, "dev", "APP");
	char name[32];

	for (int i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "config-%d", i);
		assert_non_null(tree_add(tree, group, name, NODE_CONFIG));
	}
	for (int i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "config-%d", i);
		struct node *node = tree_child(tree, group, name);
		assert_non_null(node);
		assert_ptr_equal(tree_node(tree, node_id(node)), node);
	}
	assert_null(tree_child(tree, group, "config-20000"));
}

/* A name that was listed, and nobody opened: what it takes, its place and md5 included. Some mounts list 100,000. */
static void test_a_listed_name_is_small(void **state)
{
	struct tree *tree = *state;
	struct node *group = add_group(tree, "dev", "APP");
	struct node *node = tree_add(tree, group, "application.yaml", NODE_CONFIG);
	size_t size = sizeof(*node) + sizeof(*node->place) + strlen(node->place->name) + 1;

	print_message("a listed name of %zu characters: %zu bytes (node %zu)\n", strlen(node->place->name), size,
		      sizeof(*node));
	assert_int_equal(strlen(node->place->name), 16);
	assert_null(node->config);
	assert_null(node->directory);
	assert_null(node->file);
	assert_null(node->private_name);
	assert_true(size <= 224);
}

static void test_a_held_node_outlives_its_name(void **state)
{
	struct tree *tree = *state;

	lock_take(&tree->lock);
	struct node *group = add_group(tree, "dev", "APP");
	struct node *node = tree_add(tree, group, "a.yaml", NODE_CONFIG);
	uint64_t id = node_id(node);
	{
		cleanup_held struct held held = tree_hold(tree, node);
		{
			cleanup_held struct held again = tree_hold(tree, node);
			tree_unlink(tree, node);
			assert_ptr_equal(tree_find(tree, id), node);
		}
		assert_ptr_equal(tree_find(tree, id), held.node);
		assert_string_equal(node_name(held.node), "a.yaml");
		assert_place(held.node->place, "dev/APP/a.yaml");
		/* Dropped by hand it is not dropped again. */
		tree_drop(&held);
		assert_null(held.node);
		assert_null(tree_find(tree, id));
	}
	lock_give(&tree->lock);
}

/* A group that is gone, and in which somebody still is: it has its place, and nothing can be put into it. */
static void test_a_dead_directory_takes_nothing(void **state)
{
	struct tree *tree = *state;

	lock_take(&tree->lock);
	struct node *group = add_group(tree, "dev", "APP"), *other = add_group(tree, "dev", "OTHER");
	struct node *inside = tree_add(tree, group, "a.yaml", NODE_CONFIG);
	struct node *moved = tree_add(tree, other, "b.yaml", NODE_CONFIG);
	uint64_t inside_id = node_id(inside);
	cleanup_held struct held held = tree_hold(tree, group);
	tree_unlink(tree, group->parent); /* with all that is in it */
	assert_null(tree_find(tree, inside_id));
	assert_false(node_is_there(tree, group));
	assert_place(group->place, "dev/APP");
	assert_int_equal(node_level(group), LEVEL_CONFIGS);
	assert_null(tree_add(tree, group, "c.yaml", NODE_CONFIG));
	assert_null(tree_add(tree, group, ".c.swp", NODE_PRIVATE_FILE));
	assert_null(tree_at(tree, group->place));
	moved = tree_add(tree, add_group(tree, "dev", "OTHER"), "b.yaml", NODE_CONFIG);
	assert_int_equal(tree_move(tree, moved, group, "b.yaml"), -ENOENT);
	assert_string_equal(node_name(moved), "b.yaml");
	assert_true(node_is_there(tree, moved));
	/* A new one of that name is another. */
	struct node *again = add_group(tree, "dev", "APP");
	assert_ptr_not_equal(again, group);
	assert_ptr_equal(again->place, group->place);
	assert_ptr_equal(tree_at(tree, group->place), again);
	tree_drop(&held);
	lock_give(&tree->lock);
}

static void test_a_node_is_gone_with_what_it_is_in(void **state)
{
	struct tree *tree = *state;

	lock_take(&tree->lock);
	struct node *group = add_group(tree, "dev", "APP");
	struct node *node = tree_add(tree, group, "a.yaml", NODE_CONFIG);
	cleanup_held struct held held = tree_hold(tree, node);
	assert_true(node_is_there(tree, node));
	tree_unlink(tree, group->parent);
	assert_false(node_is_there(tree, node));
	assert_null(node->parent);
	/* What was unlinked and is held can be given a name again. */
	assert_int_equal(tree_move(tree, node, add_group(tree, "dev", "NEW"), "b.yaml"), 0);
	assert_place(node->place, "dev/NEW/b.yaml");
	assert_true(node_is_there(tree, node));
	tree_drop(&held);
	lock_give(&tree->lock);
}

static void test_what_vanished_is_remembered(void **state)
{
	struct tree *tree = *state;
	struct node *group = add_group(tree, "dev", "APP");
	struct node *node = tree_add(tree, group, "a.yaml", NODE_CONFIG);
	cleanup_place struct place *place = place_hold(node->place), *other = place_new("dev", "APP", "b.yaml");

	assert_false(tree_has_vanished(tree, place, 0));
	tree_note_vanished(tree, node);
	tree_unlink(tree, node);
	assert_true(tree_has_vanished(tree, place, 0));
	assert_false(tree_has_vanished(tree, other, 0));
	assert_false(tree_has_vanished(tree, place, INT64_MAX)); /* before that */
	/* The last ones, that is. */
	for (int i = 0; i < VANISHED_COUNT; i++) {
		char name[32];
		snprintf(name, sizeof(name), "%d.yaml", i);
		node = tree_add(tree, group, name, NODE_CONFIG);
		tree_note_vanished(tree, node);
		tree_unlink(tree, node);
	}
	assert_false(tree_has_vanished(tree, place, 0));
}

static void test_a_config_becomes_private_and_back(void **state)
{
	struct tree *tree = *state;
	struct node *group = add_group(tree, "dev", "APP");
	struct node *node = tree_add(tree, group, "a.yaml", NODE_CONFIG);
	uint64_t id = node_id(node);

	assert_int_equal(tree_make_private(tree, node), 0);
	assert_null(node->place);
	assert_string_equal(node_name(node), "a.yaml");
	assert_ptr_equal(tree_child(tree, group, "a.yaml"), node);
	assert_int_equal(tree->holdings.total[HOLDING_PRIVATE_FILES], 1);
	assert_int_equal(tree_move(tree, node, group, "a.yaml~"), 0);
	assert_null(tree_child(tree, group, "a.yaml"));
	assert_int_equal(tree_make_config(tree, node), 0);
	assert_int_equal(tree_move(tree, node, group, "b.yaml"), 0);
	assert_place(node->place, "dev/APP/b.yaml");
	assert_null(node->private_name);
	assert_int_equal(node_id(node), id);
	assert_int_equal(tree->holdings.total[HOLDING_PRIVATE_FILES], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_places_follow_the_path, set_up, tear_down),
		cmocka_unit_test(test_the_root_is_as_deep_as_asked),
		cmocka_unit_test_setup_teardown(test_numbers_are_never_reused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_an_unlinked_node_lives_while_it_is_used, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_move_keeps_the_number, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many_names_are_found, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_listed_name_is_small, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_held_node_outlives_its_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_dead_directory_takes_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_node_is_gone_with_what_it_is_in, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_vanished_is_remembered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_config_becomes_private_and_back, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
