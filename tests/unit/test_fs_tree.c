/* Nodes, their names and their lives. */
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
