#include "fs/follow/fill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/follow/refresh.h"
#include "fs/node/draft.h"
#include "fs/node/show.h"
#include "fs/node/wake.h"
#include "fs/save/ask.h"
#include "fs/save/grace.h"
#include "model/listing.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/text.h"

/*
 * Who watches a directory may never have read what is in it: what was listed only is watched too.
 * More names than these in a directory are not, until they are read.
 */
#define WATCHED_NAMES_LIMIT 10000

/* Of a long listing others wait for no more names than these at a time. */
#define MERGE_STEP 1000

bool fill_name_fits(const char *name)
{
	size_t length = strlen(name);

	return length && length <= 255 && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..") &&
	       text_is_utf8(name, length);
}

static void report_misfit(const char *namespace_id, const char *group)
{
	log_warning("%s/%s: a name that can't be a file name is left out", namespace_id, group);
}

/* ------------------------------------------------------------------------------ checking names */

int fill_check(struct tree *tree, struct call *call, struct place *place)
{
	enum name_kind kind = place->depth == PLACE_GROUP ? NAME_GROUP : NAME_NAMESPACE;

	if (!store_name_is_possible(tree->terms->store, kind, place->name))
		return -ENOENT;
	return ask_check_any(tree, call, place);
}

int fill_verify(struct tree *tree, struct call *call, struct held *held)
{
	struct node *node = held->node;

	if (node->kind == NODE_CONFIG) {
		cleanup_version struct version *version = NULL;
		return refresh_config(tree, call, held, VERSION_ATTRIBUTES, &version);
	}
	int error = fill_check(tree, call, node->place);
	if (error == -ENOENT && node->parent && !node->directory->first_child && !node->directory->is_local)
		wake_vanish(tree, node);
	return error;
}

void fill_verify_group(struct tree *tree, struct call *call, struct held *held)
{
	struct node *group = held->node;

	if (group->kind != NODE_GROUP || !group->parent || group->directory->first_child)
		return;
	/* Something was in it, so it is not what mkdir made any more. */
	group->directory->is_local = false;
	fill_verify(tree, call, held);
}

/*
 * What a listing does not have may have been created after it, or skipped by its pages: each such
 * child is asked for.
 */
static int verify_absent(struct tree *tree, struct call *call, struct node *directory) LOCKED
{
	cleanup_free struct held *absent = calloc(directory->directory->child_count + 1, sizeof(*absent));
	size_t count = 0;
	int error = 0;

	if (!absent)
		return -ENOMEM;
	for (struct node *node = directory->directory->first_child; node; node = node->next_sibling) {
		if (node->listed || (node->directory && node->directory->is_local) || node_draft(node) || !node->place)
			continue;
		absent[count++] = tree_hold(tree, node);
	}
	for (size_t i = 0; i < count; i++) {
		if (!error && absent[i].node->parent)
			error = fill_verify(tree, call, &absent[i]);
		if (error != -ETIMEDOUT && error != -EINTR && error != -EWOULDBLOCK)
			error = 0;
		tree_drop(&absent[i]);
	}
	return error;
}

/* --------------------------------------------------------------------------------- adding names */

/* What comes after the first listing was made by somebody else since. */
static void note_added(struct tree *tree, struct node *node) LOCKED
{
	struct node *parent = node->parent;

	if (!parent->directory->names_listed) {
		wake_found(tree, node);
		return;
	}
	show_appeared(node);
	node_touch_names(parent);
	wake_created(tree, node);
}

static int add_directory(struct tree *tree, struct node *parent, const char *name,
			 enum node_kind kind, bool is_local) LOCKED
{
	struct node *node = tree_child(tree, parent, name);

	if (!node) {
		node = tree_add(tree, parent, name, kind);
		if (!node)
			return -ENOMEM;
		note_added(tree, node);
	}
	if (node->directory)
		node->directory->is_local |= is_local;
	node->listed = true;
	return 0;
}

static void watch_listed(const struct tree *tree, const struct node *node) LOCKED
{
	if (node->kind != NODE_CONFIG || *node_md5(node) || !*node->listed_md5 ||
	    node->parent->directory->child_count > WATCHED_NAMES_LIMIT)
		return;
	store_watch(tree->terms->store, node->place, node->listed_md5);
}

static int add_config(struct saver *saver, struct node *parent, const struct listing_item *item) LOCKED
{
	struct tree *tree = saver->tree;
	struct node *node = tree_child(tree, parent, item->data_id);

	if (!node) {
		cleanup_place struct place *place = place_below(parent->place, item->data_id);
		if (!place)
			return -ENOMEM;
		if (grace_hides(saver, place))
			return 0;
		node = tree_add(tree, parent, item->data_id, NODE_CONFIG);
		if (!node)
			return -ENOMEM;
		note_added(tree, node);
	}
	node->is_stored |= node->kind == NODE_CONFIG;
	node->listed = true;
	strcpy(node->listed_md5, item->md5);
	watch_listed(tree, node);
	return 0;
}

/* Lets others have the lock. */
static void let_others(struct tree *tree) LOCKED
{
	lock_give(&tree->lock);
	lock_take(&tree->lock);
}

/* The names of a listing that belong into this directory become children. */
static int merge_listing(struct saver *saver, struct call *call, struct node *directory,
			 struct listing *listing) LOCKED
{
	struct tree *tree = saver->tree;
	bool groups = node_level(directory) == LEVEL_GROUPS;
	const char *group = place_group(directory->place);
	int error = 0;

	if (directory->directory->merged == listing)
		return 0;
	if (call->from_memory && listing->count > MERGE_STEP)
		return -EWOULDBLOCK;
	for (size_t i = 0; !error && i < listing->count; i++) {
		const struct listing_item *item = &listing->items[i];
		const char *name = groups ? item->group : item->data_id;

		if (i % MERGE_STEP == MERGE_STEP - 1 && !call->from_memory)
			let_others(tree);
		if (!node_is_there(tree, directory))
			return -ENOENT;
		if (group && strcmp(item->group, group))
			continue;
		if (!fill_name_fits(name)) {
			report_misfit(place_namespace_id(directory->place), item->group);
			continue;
		}
		error = groups ? add_directory(tree, directory, name, NODE_GROUP, false) :
				 add_config(saver, directory, item);
	}
	if (!error) {
		listing_drop(directory->directory->merged);
		directory->directory->merged = listing_hold(listing);
	}
	return error;
}

static void forget_listed(struct node *directory) LOCKED
{
	for (struct node *node = directory->directory->first_child; node; node = node->next_sibling) {
		node->listed = false;
		*node->listed_md5 = '\0';
	}
}

/* ------------------------------------------------------------------------------------- listings */

static int fill_namespaces(struct tree *tree, struct call *call, struct node *root) LOCKED
{
	cleanup_namespace_names struct namespace_names names = { 0 };
	const char *const *configured = tree->terms->namespaces;
	int error = ask_list_namespaces(tree, call, &names);

	if ((error == -EACCES || error == -EOPNOTSUPP) && configured && *configured) {
		for (error = 0; !error && *configured; configured++)
			error = add_directory(tree, root, *configured, NODE_NAMESPACE, true);
		return error;
	}
	if (!error)
		forget_listed(root);
	for (size_t i = 0; !error && i < names.count; i++) {
		if (fill_name_fits(names.ids[i]))
			error = add_directory(tree, root, names.ids[i], NODE_NAMESPACE, false);
		else
			report_misfit(names.ids[i], "");
	}
	return error ? error : verify_absent(tree, call, root);
}

static int fill_configs(struct saver *saver, struct call *call, struct node *node) LOCKED
{
	struct tree *tree = saver->tree;
	struct directory *directory = node->directory;
	cleanup_listing struct listing *listing = NULL;
	bool watched = wake_names_are_watched(tree, node->place);
	unsigned events = wake_count_events(tree);

	store_watch_names(tree->terms->store, node->place->depth == PLACE_NAMESPACE ? node->place : node->place->above);
	int error = ask_list(tree, call, node->place, &listing);
	if (error)
		return error;
	if (directory->merged != listing && !(call->from_memory && listing->count > MERGE_STEP))
		forget_listed(node);
	error = merge_listing(saver, call, node, listing);
	if (!error)
		error = verify_absent(tree, call, node);
	directory->names_complete = !error && watched && events == wake_count_events(tree);
	return error;
}

int fill_directory(struct saver *saver, struct call *call, struct held *held)
{
	struct node *node = held->node;
	int error = -ENOTDIR;

	switch (node_level(node)) {
	case LEVEL_NAMESPACES:
		error = fill_namespaces(saver->tree, call, node);
		break;
	case LEVEL_GROUPS:
	case LEVEL_CONFIGS:
		error = fill_configs(saver, call, node);
		break;
	case LEVEL_PRIVATE:
		error = 0;
		break;
	case LEVEL_NONE:
		break;
	}
	node->directory->names_listed |= !error;
	return error;
}
