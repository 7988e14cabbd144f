#include "fs/node/wake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/node/draft.h"
#include "fs/node/wake_private.h"
#include "util/clock.h"

int wake_new(struct wake **ret_wake)
{
	struct wake *wake = calloc(1, sizeof(*wake));

	if (!wake)
		return -ENOMEM;
	if (absent_init(&wake->absent)) {
		free(wake);
		return -ENOMEM;
	}
	wake->last_told = &wake->first_told;
	clock_init_condition(&wake->tell_woken);
	wake_init_fetches(wake);
	wake_init_touches(wake);
	*ret_wake = wake;
	return 0;
}

void wake_clear(struct tree *tree)
{
	struct wake *wake = tree->wake;

	while (wake->first_told) {
		struct node *node = wake->first_told;

		wake->first_told = node->next_told;
		node_drop(tree, node);
	}
	wake->last_told = &wake->first_told;
	wake_clear_touches(tree);
	wake_clear_fetches(wake);
}

void wake_free(struct wake *wake)
{
	if (!wake)
		return;
	while (wake->namespaces) {
		struct watched_namespace *first = wake->namespaces;

		wake->namespaces = first->next;
		place_drop(first->place);
		free(first);
	}
	absent_destroy(&wake->absent);
	table_release(&wake->fetches);
	table_release(&wake->touch_names);
	pthread_cond_destroy(&wake->tell_woken);
	pthread_cond_destroy(&wake->fetch_woken);
	pthread_cond_destroy(&wake->touch_woken);
	free(wake);
}

void wake_get_counts(const struct tree *tree, struct wake_counts *ret_counts)
{
	const struct wake *wake = tree->wake;

	*ret_counts = wake->counts;
	ret_counts->live = wake->live;
	ret_counts->touches = wake->touches;
	ret_counts->events = atomic_load(&wake->events);
	ret_counts->fetch_queue = wake->fetches.count;
	ret_counts->touch_queue = wake->touch_names.count;
	ret_counts->absent = wake->absent.count;
}

void wake_stop(struct tree *tree)
{
	struct wake *wake = tree->wake;

	atomic_store(&wake->stopping, true);
	pthread_cond_broadcast(&wake->tell_woken);
	pthread_cond_broadcast(&wake->fetch_woken);
	pthread_cond_broadcast(&wake->touch_woken);
}

bool wake_is_stopping(const struct tree *tree)
{
	return atomic_load(&tree->wake->stopping);
}

/* -------------------------------------------------------------- what the kernel is to forget */

static void tell(struct tree *tree, struct node *node, unsigned wake) LOCKED
{
	node->wake |= (unsigned char)wake;
	if (node->is_told)
		return;
	node->is_told = true;
	node->next_told = NULL;
	node_hold(node);
	*tree->wake->last_told = node;
	tree->wake->last_told = &node->next_told;
	pthread_cond_signal(&tree->wake->tell_woken);
}

bool wake_is_within_sight(const struct node *node)
{
	return node->lookup_count || (node->parent && node->parent->lookup_count);
}

void wake_content(struct tree *tree, struct node *node)
{
	if (wake_is_within_sight(node))
		tell(tree, node, WAKE_CONTENT);
}

void wake_attributes(struct tree *tree, struct node *node)
{
	if (wake_is_within_sight(node))
		tell(tree, node, WAKE_ATTRIBUTES);
}

void wake_forget(struct tree *tree, struct node *node)
{
	tell(tree, node, 0);
}

void wake_created(struct tree *tree, struct node *node)
{
	struct node *parent = node->parent;

	absent_remove(&tree->wake->absent, node_id(parent), node_name(node));
	if (!parent->lookup_count)
		return;
	tell(tree, parent, 0);
	wake_queue_touch(tree, node_is_directory(node) ? TOUCH_CREATED_DIRECTORY : TOUCH_CREATED, parent,
			 node_name(node), node);
}

void wake_found(struct tree *tree, struct node *node)
{
	if (absent_remove(&tree->wake->absent, node_id(node->parent), node_name(node)))
		wake_created(tree, node);
}

void wake_vanish(struct tree *tree, struct node *node)
{
	struct node *parent = node->parent;

	node_touch_names(parent);
	if (wake_is_within_sight(node)) {
		tell(tree, parent, 0);
		tell(tree, node, 0);
		wake_queue_touch(tree, node_is_directory(node) ? TOUCH_REMOVED_DIRECTORY : TOUCH_REMOVED, parent,
				 node_name(node), node);
	}
	tree_unlink(tree, node);
}

bool wake_take_told(struct tree *tree, struct wake_told *ret_told)
{
	struct wake *wake = tree->wake;

	while (!wake->first_told && !wake_is_stopping(tree))
		lock_sleep(&tree->lock, &wake->tell_woken, INT64_MAX);
	if (wake_is_stopping(tree))
		return false;
	struct node *node = wake->first_told;
	*ret_told = (struct wake_told){
		.id = node_id(node),
		.known = node->lookup_count,
		.wake = node->wake,
		.node = tree_hold(tree, node),
	};
	wake->first_told = node->next_told;
	if (!wake->first_told)
		wake->last_told = &wake->first_told;
	node->is_told = node->given_long = false;
	node->wake = 0;
	wake->counts.forgotten += ret_told->known;
	node_drop(tree, node);
	return true;
}

void wake_raise_told(struct tree *tree, struct wake_told *told)
{
	struct node *node = told->node.node;
	/*
	 * An emptied config reads as empty until it is forgotten that it was: what others do shows
	 * then.
	 */
	bool emptied = node_draft(node) && !node->writers && draft_is_blank(node);

	if (node->parent && told->wake && !emptied)
		wake_queue_touch(tree, told->wake & WAKE_CONTENT ? TOUCH_CONTENT : TOUCH_ATTRIBUTES, node->parent,
				 node_name(node), node);
	tree_drop(&told->node);
}

/* -------------------------------------------------------------------- what may be believed */

bool wake_is_told(const struct tree *tree, const struct node *node)
{
	if (node->directory && node->place)
		return tree->wake->live;
	/* None is empty: one that could not be decrypted shows so. Nobody tells when it can be. */
	if (node->kind != NODE_CONFIG || !node->parent || !node->config || !node->config->size)
		return false;
	return store_is_watched(tree->terms->store, node->place);
}

bool wake_add_absent(struct tree *tree, const struct node *parent, const char *name, struct place *place)
{
	if (!place)
		return true; /* only a request of the kernel can make it appear */
	return tree->wake->touches && store_is_watched(tree->terms->store, place) &&
	       absent_add(&tree->wake->absent, node_id(parent), name, (int64_t)(WAKE_LONG_S * 1000));
}

void wake_doubt_absent(struct tree *tree, struct node *parent, const char *name)
{
	if (absent_remove(&tree->wake->absent, node_id(parent), name))
		wake_queue_touch(tree, TOUCH_FORGET_ABSENT, parent, name, NULL);
}

unsigned wake_count_events(const struct tree *tree)
{
	return atomic_load(&tree->wake->events);
}

void wake_count_event(struct tree *tree)
{
	atomic_fetch_add(&tree->wake->events, 1);
}

void wake_recheck(struct tree *tree, uint64_t id, unsigned events_before)
{
	if (wake_count_events(tree) == events_before)
		return;
	struct node *node = tree_find(tree, id);
	if (node && node->given_long)
		tell(tree, node, 0);
}

void wake_recheck_absent(struct tree *tree, uint64_t parent_id, const char *name, unsigned events_before)
{
	struct node *parent = wake_count_events(tree) == events_before ? NULL : tree_find(tree, parent_id);

	if (parent)
		wake_doubt_absent(tree, parent, name);
}

/* --------------------------------------------------------------------- names of namespaces */

static const struct place *namespace_of(const struct place *place)
{
	while (place->depth > PLACE_NAMESPACE)
		place = place->above;
	return place;
}

static struct watched_namespace *find_namespace(const struct wake *wake, const struct place *namespace) LOCKED
{
	struct watched_namespace *found = wake->namespaces;

	while (found && found->place != namespace)
		found = found->next;
	return found;
}

bool wake_names_are_watched(const struct tree *tree, const struct place *place)
{
	const struct watched_namespace *found = find_namespace(tree->wake, namespace_of(place));

	return found && found->watched;
}

/* What is known of its names may be wrong from now on, or was before. */
static void doubt_names(struct tree *tree, struct node *node) LOCKED
{
	struct directory *directory = node->directory;

	directory->names_complete = false;
	if (!directory->names_listed)
		return;
	directory->names_due = true;
	tree->wake->compare_names = true;
	if (node->lookup_count)
		tell(tree, node, 0);
}

/* In a namespace; NULL: in all. */
static void doubt_names_in(struct tree *tree, const struct place *namespace) LOCKED
{
	for (struct node *node = tree_next(tree, NULL); node; node = tree_next(tree, node))
		if (node->directory && node->place && (!namespace || namespace_of(node->place) == namespace))
			doubt_names(tree, node);
	pthread_cond_signal(&tree->wake->fetch_woken);
}

void wake_set_names_watched(struct tree *tree, struct place *namespace, bool watched)
{
	struct wake *wake = tree->wake;
	struct watched_namespace *found = find_namespace(wake, namespace);

	if (!found && (found = calloc(1, sizeof(*found)))) {
		*found = (struct watched_namespace){ .next = wake->namespaces, .place = place_hold(namespace) };
		wake->namespaces = found;
	}
	/* Without memory: compared from time to time, as if nobody told. */
	if (found)
		found->watched = watched;
	doubt_names_in(tree, namespace);
}

static void forget_absent(struct tree *tree) LOCKED
{
	struct absent_name *name;

	while ((name = absent_take(&tree->wake->absent))) {
		struct node *parent = tree_find(tree, name->parent_id);

		if (parent)
			wake_queue_touch(tree, TOUCH_FORGET_ABSENT, parent, name->name, NULL);
		free(name);
	}
}

void wake_doubt_all_names(struct tree *tree)
{
	doubt_names_in(tree, NULL);
	forget_absent(tree);
}

void wake_set_live(struct tree *tree, bool live)
{
	tree->wake->live = live;
	if (live)
		return;
	for (struct watched_namespace *each = tree->wake->namespaces; each; each = each->next)
		each->watched = false;
	for (struct node *node = tree_next(tree, NULL); node; node = tree_next(tree, node)) {
		if (node->given_long && node->lookup_count)
			tell(tree, node, 0);
		if (node->directory)
			node->directory->names_complete = false;
	}
	forget_absent(tree);
}
