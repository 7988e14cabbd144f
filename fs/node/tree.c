#include "fs/node/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/listing.h"
#include "util/clock.h"

#define FIRST_BUCKETS 1024

int tree_init(struct tree *tree, const char *namespace_id, const char *group)
{
	memset(tree, 0, sizeof(*tree));
	tree->next_id = 1;
	tree->bucket_count = FIRST_BUCKETS;
	tree->by_id = calloc(tree->bucket_count, sizeof(*tree->by_id));
	tree->by_name = calloc(tree->bucket_count, sizeof(*tree->by_name));
	pthread_mutex_init(&tree->lock, NULL);
	clock_init_condition(&tree->changed);
	if (tree->by_id && tree->by_name)
		tree->root = tree_add(tree, NULL, "", NODE_ROOT);
	if (tree->root)
		tree->root->place = place_new(namespace_id, group, NULL);
	if (!tree->root || !tree->root->place) {
		tree_destroy(tree);
		return -ENOMEM;
	}
	tree->root->lookup_count = 1; /* the kernel never forgets it */
	return 0;
}

bool node_is_directory(const struct node *node)
{
	return node->kind == NODE_ROOT || node->kind == NODE_NAMESPACE || node->kind == NODE_GROUP ||
	       node->kind == NODE_SCRATCH_DIRECTORY;
}

bool node_is_scratch(const struct node *node)
{
	return node->kind == NODE_SCRATCH_FILE || node->kind == NODE_SCRATCH_LINK ||
	       node->kind == NODE_SCRATCH_DIRECTORY;
}

enum directory_level node_level(const struct node *node)
{
	static const enum directory_level levels[] = {
		[PLACE_TOP] = LEVEL_NAMESPACES,
		[PLACE_NAMESPACE] = LEVEL_GROUPS,
		[PLACE_GROUP] = LEVEL_CONFIGS,
		[PLACE_CONFIG] = LEVEL_NONE,
	};

	if (node->place)
		return levels[node->place->depth];
	return node->kind == NODE_SCRATCH_DIRECTORY ? LEVEL_SCRATCH : LEVEL_NONE;
}

struct place *node_linked_place(const struct node *node)
{
	return node->parent || node->kind == NODE_ROOT ? node->place : NULL;
}

/* ------------------------------------------------------------------ buckets */

static struct node **bucket_of_id(const struct tree *tree, uint64_t id)
{
	return &tree->by_id[id % tree->bucket_count];
}

static struct node **bucket_of_name(const struct tree *tree, const struct node *parent, const char *name)
{
	uint64_t hash = UINT64_C(14695981039346656037) ^ parent->id;

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * UINT64_C(1099511628211);
	return &tree->by_name[(hash ^ hash >> 29) % tree->bucket_count];
}

static void link_name(struct tree *tree, struct node *node)
{
	struct node **bucket = bucket_of_name(tree, node->parent, node->name);

	node->next_by_name = *bucket;
	*bucket = node;
}

static void unlink_name(struct tree *tree, struct node *node)
{
	struct node **place = bucket_of_name(tree, node->parent, node->name);

	while (*place != node)
		place = &(*place)->next_by_name;
	*place = node->next_by_name;
	node->next_by_name = NULL;
}

/* Doubles the buckets when chains grow; without memory they just stay long. */
static void grow_buckets(struct tree *tree)
{
	size_t old_count = tree->bucket_count;
	struct node **old_by_id = tree->by_id;
	struct node **by_id = calloc(old_count * 2, sizeof(*by_id));
	struct node **by_name = calloc(old_count * 2, sizeof(*by_name));

	if (!by_id || !by_name) {
		free(by_id);
		free(by_name);
		return;
	}
	free(tree->by_name);
	tree->by_id = by_id;
	tree->by_name = by_name;
	tree->bucket_count = old_count * 2;
	for (size_t i = 0; i < old_count; i++) {
		for (struct node *node = old_by_id[i], *next; node; node = next) {
			next = node->next_by_id;
			struct node **bucket = bucket_of_id(tree, node->id);
			node->next_by_id = *bucket;
			*bucket = node;
			if (node->parent)
				link_name(tree, node);
		}
	}
	free(old_by_id);
}

struct node *tree_find(const struct tree *tree, uint64_t id)
{
	struct node *node = *bucket_of_id(tree, id);

	while (node && node->id != id)
		node = node->next_by_id;
	return node;
}

struct node *tree_node(struct tree *tree, uint64_t id)
{
	struct node *node = tree_find(tree, id);

	if (!node)
		abort();
	return node;
}

struct node *tree_child(const struct tree *tree, const struct node *parent, const char *name)
{
	struct node *node = *bucket_of_name(tree, parent, name);

	while (node && (node->parent != parent || strcmp(node->name, name)))
		node = node->next_by_name;
	return node;
}

/* -------------------------------------------------------------------- nodes */

static void link_child(struct tree *tree, struct node *node, struct node *parent)
{
	node->parent = parent;
	node->previous_sibling = NULL;
	node->next_sibling = parent->first_child;
	if (parent->first_child)
		parent->first_child->previous_sibling = node;
	parent->first_child = node;
	parent->child_count++;
	link_name(tree, node);
}

static void unlink_child(struct tree *tree, struct node *node)
{
	struct node *parent = node->parent;

	unlink_name(tree, node);
	*(node->previous_sibling ? &node->previous_sibling->next_sibling : &parent->first_child) =
		node->next_sibling;
	if (node->next_sibling)
		node->next_sibling->previous_sibling = node->previous_sibling;
	node->previous_sibling = node->next_sibling = NULL;
	parent->child_count--;
	node->parent = NULL;
}

static bool has_place(enum node_kind kind)
{
	return kind == NODE_NAMESPACE || kind == NODE_GROUP || kind == NODE_CONFIG;
}

struct node *tree_add(struct tree *tree, struct node *parent, const char *name, enum node_kind kind)
{
	struct node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->name = strdup(name);
	if (has_place(kind))
		node->place = place_below(parent->place, name);
	if (!node->name || (has_place(kind) && !node->place)) {
		place_drop(node->place);
		free(node->name);
		free(node);
		return NULL;
	}
	if (tree->node_count > 2 * tree->bucket_count)
		grow_buckets(tree);
	node->id = tree->next_id++;
	node->kind = kind;
	struct node **bucket = bucket_of_id(tree, node->id);
	node->next_by_id = *bucket;
	*bucket = node;
	tree->node_count++;
	if (kind == NODE_SCRATCH_FILE || kind == NODE_SCRATCH_LINK || kind == NODE_SCRATCH_DIRECTORY)
		tree->scratch_count++;
	if (parent)
		link_child(tree, node, parent);
	return node;
}

static void free_node(struct tree *tree, struct node *node)
{
	if (node_is_scratch(node))
		tree->scratch_count--;
	tree->scratch_size -= node->content.size;
	buffer_wipe(&node->content);
	listing_drop(node->merged);
	version_drop(node->last_commit);
	free(node->error_text);
	place_drop(node->place);
	free(node->name);
	free(node);
	tree->node_count--;
}

static void free_if_unused(struct tree *tree, struct node *node)
{
	if (node->parent || node == tree->root || node->lookup_count || node->references)
		return;
	struct node **place = bucket_of_id(tree, node->id);
	while (*place != node)
		place = &(*place)->next_by_id;
	*place = node->next_by_id;
	free_node(tree, node);
}

void node_touch_names(struct node *directory)
{
	directory->modified = directory->changed = clock_now();
}

void tree_unlink(struct tree *tree, struct node *node)
{
	while (node->first_child)
		tree_unlink(tree, node->first_child);
	unlink_child(tree, node);
	free_if_unused(tree, node);
}

int tree_move(struct tree *tree, struct node *node, struct node *parent, const char *name)
{
	char *copy = strdup(name);
	struct place *place = has_place(node->kind) ? place_below(parent->place, name) : NULL;

	if (!copy || (has_place(node->kind) && !place)) {
		place_drop(place);
		free(copy);
		return -ENOMEM;
	}
	if (node->parent)
		unlink_child(tree, node);
	free(node->name);
	place_drop(node->place);
	node->name = copy;
	node->place = place;
	link_child(tree, node, parent);
	return 0;
}

void tree_note_vanished(struct tree *tree, const struct node *node)
{
	struct vanished *vanished = &tree->vanished[tree->vanished_next++ % VANISHED_COUNT];

	free(vanished->name);
	vanished->name = strdup(node->name);
	vanished->parent_id = node->parent->id;
	vanished->seen_ms = clock_monotonic_ms();
}

bool tree_has_vanished(const struct tree *tree, const struct node *parent, const char *name,
		       int64_t since_ms)
{
	for (size_t i = 0; i < VANISHED_COUNT; i++) {
		const struct vanished *vanished = &tree->vanished[i];
		if (vanished->name && vanished->parent_id == parent->id && vanished->seen_ms > since_ms &&
		    !strcmp(vanished->name, name))
			return true;
	}
	return false;
}

void node_hold(struct node *node)
{
	node->references++;
}

void tree_drop(struct tree *tree, struct node *node)
{
	node->references--;
	free_if_unused(tree, node);
}

void node_count_lookup(struct node *node)
{
	node->lookup_count++;
}

void tree_forget(struct tree *tree, uint64_t id, uint64_t count)
{
	struct node *node = tree_node(tree, id);

	node->lookup_count -= count < node->lookup_count ? count : node->lookup_count;
	free_if_unused(tree, node);
}

void tree_destroy(struct tree *tree)
{
	for (size_t i = 0; tree->by_id && i < tree->bucket_count; i++) {
		for (struct node *node = tree->by_id[i], *next; node; node = next) {
			next = node->next_by_id;
			free_node(tree, node);
		}
	}
	for (size_t i = 0; i < VANISHED_COUNT; i++)
		free(tree->vanished[i].name);
	free(tree->by_id);
	free(tree->by_name);
	pthread_cond_destroy(&tree->changed);
	pthread_mutex_destroy(&tree->lock);
}

int tree_wait(struct tree *tree, struct call *call)
{
	return call_wait(call, &tree->changed, &tree->lock);
}

/* -------------------------------------------------------------------- names */

void node_set_error(struct node *node, const char *reason)
{
	free(node->error_text);
	node->error_text = reason ? strdup(reason) : NULL;
}

void node_set_failure(struct node *node, const char *reason, pid_t process)
{
	node_set_error(node, reason);
	node->failed_process = process;
	node->failed_ms = clock_monotonic_ms();
}
