#include "fs/node/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/node/names.h"
#include "util/clock.h"

static struct node *of_id(struct table_link *link)
{
	return (struct node *)link;
}

static struct node *of_name(struct table_link *link)
{
	return link ? (struct node *)((char *)link - offsetof(struct node, by_name)) : NULL;
}

/* -------------------------------------------------------------------- kinds */

bool node_is_directory(const struct node *node)
{
	return node->directory;
}

bool node_is_private(const struct node *node)
{
	return node->kind == NODE_PRIVATE_FILE || node->kind == NODE_PRIVATE_LINK ||
	       node->kind == NODE_PRIVATE_DIRECTORY;
}

enum directory_level node_level(const struct node *node)
{
	static const enum directory_level levels[] = {
		[PLACE_TOP] = LEVEL_NAMESPACES,
		[PLACE_NAMESPACE] = LEVEL_GROUPS,
		[PLACE_GROUP] = LEVEL_CONFIGS,
	};

	if (!node->directory)
		return LEVEL_NONE;
	return node->place ? levels[node->place->depth] : LEVEL_PRIVATE;
}

const char *node_name(const struct node *node)
{
	return node->place ? node->place->name : node->private_name;
}

bool node_is_there(const struct tree *tree, const struct node *node)
{
	return node->parent || node == tree->root;
}

const struct buffer_memory *node_memory(const struct tree *tree, const struct node *node)
{
	if (node->kind == NODE_CONFIG)
		return name_is_cipher(node_name(node)) ? tree->terms->secret_memory : NULL;
	return node->file ? node->file->content.memory : NULL;
}

/*
 * What a private file holds is a secret where its name says so, or where secrets were opened beside
 * it.
 */
static const struct buffer_memory *memory_of_private(const struct tree *tree, const struct node *parent,
						      const char *name) LOCKED
{
	bool is_secret = name_is_of_cipher(name) || (parent && parent->directory->has_secrets);

	return is_secret ? tree->terms->secret_memory : NULL;
}

struct config *node_config(struct node *node)
{
	if (!node->config)
		node->config = config_new();
	return node->config;
}

struct timespec *node_modified(const struct node *node)
{
	if (node->directory)
		return &node->directory->modified;
	if (node->kind == NODE_CONFIG)
		return node->config ? &node->config->modified : NULL;
	return &node->file->modified;
}

struct timespec *node_changed(const struct node *node)
{
	if (node->directory)
		return &node->directory->changed;
	if (node->kind == NODE_CONFIG)
		return node->config ? &node->config->changed : NULL;
	return &node->file->changed;
}

void node_touch_names(struct node *directory)
{
	directory->directory->modified = directory->directory->changed = clock_now();
}

void node_set_error(struct node *node, const char *reason)
{
	struct config *config = reason ? node_config(node) : node->config;

	if (!config)
		return;
	free(config->error_text);
	config->error_text = reason ? strdup(reason) : NULL;
}

void node_set_failure(struct node *node, const char *reason, pid_t process)
{
	struct config *config = node->kind == NODE_CONFIG ? node_config(node) : NULL;

	if (!config)
		return;
	node_set_error(node, reason);
	config->failed_process = process;
	config->failed_ms = clock_monotonic_ms();
}

/* ------------------------------------------------------------- finding nodes */

struct wanted {
	const struct node *parent;
	const char *name;
};

static uint64_t hash_name(const struct node *parent, const char *name)
{
	return table_hash_more(node_id(parent), name, strlen(name));
}

static bool is_wanted(const struct table_link *link, const void *key) LOCKED
{
	const struct node *node = of_name((struct table_link *)link);
	const struct wanted *wanted = key;

	return node->parent == wanted->parent && !strcmp(node_name(node), wanted->name);
}

static bool is_any(const struct table_link *link, const void *key)
{
	(void)link;
	(void)key;
	return true; /* no two have the same number */
}

struct node *tree_find(const struct tree *tree, uint64_t id)
{
	return of_id(table_find(&tree->by_id, id, is_any, NULL));
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
	const struct wanted wanted = { parent, name };

	return of_name(table_find(&tree->by_name, hash_name(parent, name), is_wanted, &wanted));
}

struct node *tree_at(const struct tree *tree, struct place *place)
{
	if (place == tree->root->place)
		return tree->root;
	if (place->depth <= tree->root->place->depth)
		return NULL;
	struct node *above = tree_at(tree, place->above);
	struct node *node = above ? tree_child(tree, above, place->name) : NULL;
	return node && node->place == place ? node : NULL;
}

struct node *tree_next(const struct tree *tree, const struct node *before)
{
	return of_id(table_next(&tree->by_id, before ? &before->by_id : NULL));
}

/* ------------------------------------------------------------ adding, freeing */

static void link_child(struct tree *tree, struct node *node, struct node *parent) LOCKED
{
	struct directory *directory = parent->directory;

	node->parent = parent;
	node->previous_sibling = NULL;
	node->next_sibling = directory->first_child;
	if (directory->first_child)
		directory->first_child->previous_sibling = node;
	directory->first_child = node;
	directory->child_count++;
	table_add(&tree->by_name, &node->by_name, hash_name(parent, node_name(node)));
}

static void unlink_child(struct tree *tree, struct node *node) LOCKED
{
	struct directory *directory = node->parent->directory;

	table_remove(&tree->by_name, &node->by_name);
	*(node->previous_sibling ? &node->previous_sibling->next_sibling : &directory->first_child) =
		node->next_sibling;
	if (node->next_sibling)
		node->next_sibling->previous_sibling = node->previous_sibling;
	node->previous_sibling = node->next_sibling = NULL;
	directory->child_count--;
	node->parent = NULL;
}

static void free_file(struct tree *tree, struct private_file *file) LOCKED
{
	if (!file)
		return;
	holding_take(&tree->holdings, file->uid, HOLDING_PRIVATE_BYTES, file->content.size);
	holding_take(&tree->holdings, file->uid, HOLDING_PRIVATE_FILES, 1);
	buffer_wipe(&file->content);
	free(file);
}

static void free_node(struct tree *tree, struct node *node) LOCKED
{
	if (node->directory)
		listing_drop(node->directory->merged);
	free(node->directory);
	config_free(node->config);
	free_file(tree, node->file);
	place_drop(node->place);
	free(node->private_name);
	free(node);
}

static int name_place(struct tree *tree, struct node *node, struct node *parent, const char *name) LOCKED
{
	const struct terms *terms = tree->terms;

	node->place = parent ? place_below(parent->place, name) : place_new(terms->namespace_id, terms->group, NULL);
	return node->place ? 0 : -ENOMEM;
}

static int make_file(struct tree *tree, struct node *node, struct node *parent, const char *name) LOCKED
{
	char *copy = strdup(name);
	struct private_file *file = copy ? calloc(1, sizeof(*file)) : NULL;

	if (!file) {
		free(copy);
		return -ENOMEM;
	}
	node->private_name = copy;
	node->file = file;
	node->file->uid = tree->terms->uid;
	node->file->gid = tree->terms->gid;
	holding_add(&tree->holdings, node->file->uid, HOLDING_PRIVATE_FILES, 1);
	node->file->modified = node->file->changed = clock_now();
	node->file->created_ms = clock_monotonic_ms();
	node->file->content.memory = memory_of_private(tree, parent, name);
	return 0;
}

/* What a node of its kind has. */
static int fill_node(struct tree *tree, struct node *node, struct node *parent, const char *name) LOCKED
{
	bool is_of_store = node->kind == NODE_ROOT || node->kind == NODE_NAMESPACE || node->kind == NODE_GROUP ||
			   node->kind == NODE_CONFIG;
	int error = is_of_store ? name_place(tree, node, parent, name) : make_file(tree, node, parent, name);

	if (error || node->kind == NODE_CONFIG || (!is_of_store && node->kind != NODE_PRIVATE_DIRECTORY))
		return error;
	node->directory = calloc(1, sizeof(*node->directory));
	if (!node->directory)
		return -ENOMEM;
	node->directory->modified = node->directory->changed = clock_now();
	return 0;
}

struct node *tree_add(struct tree *tree, struct node *parent, const char *name, enum node_kind kind)
{
	struct node *node = parent && !node_is_there(tree, parent) ? NULL : calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->kind = (unsigned char)kind;
	node->mode = MODE_ANY;
	if (fill_node(tree, node, parent, name)) {
		free_node(tree, node);
		return NULL;
	}
	table_add(&tree->by_id, &node->by_id, tree->next_id++);
	if (parent)
		link_child(tree, node, parent);
	return node;
}

static void free_if_unused(struct tree *tree, struct node *node) LOCKED
{
	if (node_is_there(tree, node) || node->lookup_count || node->references)
		return;
	table_remove(&tree->by_id, &node->by_id);
	free_node(tree, node);
}

void tree_unlink(struct tree *tree, struct node *node)
{
	while (node->directory && node->directory->first_child)
		tree_unlink(tree, node->directory->first_child);
	unlink_child(tree, node);
	free_if_unused(tree, node);
}

/* ------------------------------------------------------------- other names, other kinds */

int tree_move(struct tree *tree, struct node *node, struct node *parent, const char *name)
{
	bool is_of_store = node->kind == NODE_CONFIG;
	struct place *place = is_of_store ? place_below(parent->place, name) : NULL;
	char *copy = is_of_store ? NULL : strdup(name);

	if ((!place && !copy) || !node_is_there(tree, parent)) {
		place_drop(place);
		free(copy);
		return place || copy ? -ENOENT : -ENOMEM;
	}
	if (node->parent)
		unlink_child(tree, node);
	place_drop(node->place);
	free(node->private_name);
	node->place = place;
	node->private_name = copy;
	link_child(tree, node, parent);
	return 0;
}

int tree_make_config(struct tree *tree, struct node *node)
{
	if (!node_config(node))
		return -ENOMEM;
	free_file(tree, node->file);
	node->file = NULL;
	node->kind = NODE_CONFIG;
	return 0;
}

int tree_make_private(struct tree *tree, struct node *node)
{
	struct place *place = node->place;

	/* Its name stays that of the place until it is moved. */
	if (make_file(tree, node, node->parent, place->name))
		return -ENOMEM;
	/* It is found by the same name as before. */
	node->place = NULL;
	place_drop(place);
	config_free(node->config);
	node->config = NULL;
	node->kind = NODE_PRIVATE_FILE;
	node->is_stored = false;
	*node->listed_md5 = '\0';
	return 0;
}

void tree_set_owner(struct tree *tree, struct node *node, uid_t uid, gid_t gid)
{
	struct private_file *file = node->file;

	holding_take(&tree->holdings, file->uid, HOLDING_PRIVATE_BYTES, file->content.size);
	holding_take(&tree->holdings, file->uid, HOLDING_PRIVATE_FILES, 1);
	file->uid = uid;
	file->gid = gid;
	holding_add(&tree->holdings, uid, HOLDING_PRIVATE_FILES, 1);
	holding_add(&tree->holdings, uid, HOLDING_PRIVATE_BYTES, file->content.size);
}

void tree_count_bytes(struct tree *tree, const struct node *node, size_t size_before)
{
	const struct private_file *file = node->file;

	holding_take(&tree->holdings, file->uid, HOLDING_PRIVATE_BYTES, size_before);
	holding_add(&tree->holdings, file->uid, HOLDING_PRIVATE_BYTES, file->content.size);
}

void tree_note_vanished(struct tree *tree, const struct node *node)
{
	struct vanished *vanished = &tree->vanished[tree->vanished_next++ % VANISHED_COUNT];

	place_drop(vanished->place);
	vanished->place = place_hold(node->place);
	vanished->seen_ms = clock_monotonic_ms();
}

bool tree_has_vanished(const struct tree *tree, const struct place *place, int64_t since_ms)
{
	for (size_t i = 0; i < VANISHED_COUNT; i++)
		if (tree->vanished[i].place == place && tree->vanished[i].seen_ms > since_ms)
			return true;
	return false;
}

/* --------------------------------------------------------------- their lives */

void node_hold(struct node *node)
{
	node->references++;
}

void node_drop(struct tree *tree, struct node *node)
{
	node->references--;
	free_if_unused(tree, node);
}

struct held tree_hold(struct tree *tree, struct node *node)
{
	lock_assert_held(&tree->lock);
	node_hold(node);
	return (struct held){ tree, node };
}

void tree_drop(struct held *held)
{
	if (!held->node)
		return;
	lock_assert_held(&held->tree->lock);
	node_drop(held->tree, held->node);
	held->node = NULL;
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

int tree_init(struct tree *tree, const struct terms *terms)
{
	memset(tree, 0, sizeof(*tree));
	tree->terms = terms;
	tree->next_id = 1;
	lock_init(&tree->lock);
	lock_take(&tree->lock);
	tree->root = tree_add(tree, NULL, "", NODE_ROOT);
	lock_give(&tree->lock);
	if (!tree->root) {
		tree_destroy(tree);
		return -ENOMEM;
	}
	tree->root->lookup_count = 1; /* the kernel never forgets it */
	return 0;
}

void tree_destroy(struct tree *tree)
{
	lock_take(&tree->lock);
	for (struct node *node = tree_next(tree, NULL), *next; node; node = next) {
		next = tree_next(tree, node);
		free_node(tree, node);
	}
	lock_give(&tree->lock);
	for (size_t i = 0; i < VANISHED_COUNT; i++)
		place_drop(tree->vanished[i].place);
	table_release(&tree->by_id);
	table_release(&tree->by_name);
	holding_release(&tree->holdings);
	lock_destroy(&tree->lock);
	tree->root = NULL;
}
