/*
 * What is to be raised: events about names, in the order in which they were first queued.
 */
#include <stdlib.h>
#include <string.h>

#include "fs/node/wake_private.h"
#include "util/clock.h"
#include "util/log.h"

void wake_init_touches(struct wake *wake)
{
	wake->last_touch = &wake->first_touch;
	clock_init_condition(&wake->touch_woken);
}

static bool is_removal(enum touch_kind kind)
{
	return kind == TOUCH_REMOVED || kind == TOUCH_REMOVED_DIRECTORY;
}

struct wanted {
	const struct node *parent;
	const char *name;
	bool removal;
};

static bool is_wanted(const struct table_link *link, const void *key)
{
	const struct wake_touch *touch = (const struct wake_touch *)link;
	const struct wanted *wanted = key;

	return touch->parent == wanted->parent && is_removal(touch->kind) == wanted->removal &&
	       !strcmp(touch->name, wanted->name);
}

static uint64_t hash_of(const struct node *parent, const char *name)
{
	return table_hash_more(node_id(parent), name, strlen(name));
}

static struct wake_touch *find(const struct wake *wake, const struct node *parent, const char *name,
			       bool removal) LOCKED
{
	const struct wanted wanted = { parent, name, removal };

	return (struct wake_touch *)table_find(&wake->touch_names, hash_of(parent, name), is_wanted, &wanted);
}

static void take_out(struct wake *wake, struct wake_touch *touch) LOCKED
{
	struct wake_touch **place = &wake->first_touch;

	while (*place != touch)
		place = &(*place)->next;
	*place = touch->next;
	if (!touch->next)
		wake->last_touch = place;
	table_remove(&wake->touch_names, &touch->link);
}

static void free_touch(struct tree *tree, struct wake_touch *touch) LOCKED
{
	if (touch->node)
		node_drop(tree, touch->node);
	node_drop(tree, touch->parent);
	free(touch->name);
	free(touch);
}

static void append(struct tree *tree, enum touch_kind kind, struct node *parent, const char *name,
		   struct node *node) LOCKED
{
	struct wake *wake = tree->wake;
	struct wake_touch *touch = calloc(1, sizeof(*touch));
	char *copy = strdup(name);

	if (!touch || !copy) {
		free(touch);
		free(copy);
		log_error("%s: out of memory, programs that watch it are not woken", name);
		return;
	}
	*touch = (struct wake_touch){ .kind = kind, .parent = parent, .name = copy, .node = node };
	node_hold(parent);
	if (node)
		node_hold(node);
	*wake->last_touch = touch;
	wake->last_touch = &touch->next;
	table_add(&wake->touch_names, &touch->link, hash_of(parent, name));
	pthread_cond_signal(&wake->touch_woken);
}

/* That it appeared, or has other content, says all that its attributes changing would. */
static void merge(struct tree *tree, struct wake_touch *present, enum touch_kind kind,
		  struct node *node) LOCKED
{
	if (kind == TOUCH_CREATED || present->kind == TOUCH_ATTRIBUTES)
		present->kind = kind;
	if (present->kind == TOUCH_FORGET_ABSENT && node)
		present->kind = TOUCH_CREATED;
	if (!node || present->node == node)
		return;
	node_hold(node);
	if (present->node)
		node_drop(tree, present->node);
	present->node = node;
}

void wake_queue_touch(struct tree *tree, enum touch_kind kind, struct node *parent, const char *name, struct node *node)
{
	struct wake *wake = tree->wake;

	if (!wake->touches || wake_is_stopping(tree))
		return;
	struct wake_touch *present = find(wake, parent, name, false);
	if (!is_removal(kind) && present) {
		merge(tree, present, kind, node);
		return;
	}
	if (present) {
		take_out(wake, present);
		free_touch(tree, present);
	}
	if (!is_removal(kind) || !find(wake, parent, name, true))
		append(tree, kind, parent, name, node);
}

struct wake_touch *wake_take_touch(struct tree *tree)
{
	struct wake *wake = tree->wake;

	while (!wake->first_touch && !wake_is_stopping(tree))
		lock_sleep(&tree->lock, &wake->touch_woken, INT64_MAX);
	if (wake_is_stopping(tree))
		return NULL;
	struct wake_touch *touch = wake->first_touch;
	take_out(wake, touch);
	wake->current_touch = touch;
	return touch;
}

void wake_touched(struct tree *tree, struct wake_touch *touch, bool failed)
{
	*(failed ? &tree->wake->counts.failed : &tree->wake->counts.touched) += 1;
	tree->wake->current_touch = NULL;
	free_touch(tree, touch);
}

const struct wake_touch *wake_touch_under_way(const struct tree *tree)
{
	return tree->wake->current_touch;
}

void wake_pause_touches(struct tree *tree, int64_t pause_ms)
{
	int64_t until_ms = clock_monotonic_ms() + pause_ms;

	while (!wake_is_stopping(tree) && clock_monotonic_ms() < until_ms)
		lock_sleep(&tree->lock, &tree->wake->touch_woken, until_ms);
}

const struct wake_touch *wake_current_touch(const struct tree *tree, const struct node *parent, const char *name)
{
	const struct wake_touch *touch = tree->wake->current_touch;

	return touch && touch->parent == parent && !strcmp(touch->name, name) ? touch : NULL;
}

bool wake_has_touch(const struct tree *tree, const struct node *parent, const char *name)
{
	return find(tree->wake, parent, name, false);
}

void wake_set_touches(struct tree *tree, bool touches)
{
	tree->wake->touches = touches;
	if (!touches)
		wake_clear_touches(tree);
}

void wake_clear_touches(struct tree *tree)
{
	while (tree->wake->first_touch) {
		struct wake_touch *first = tree->wake->first_touch;

		take_out(tree->wake, first);
		free_touch(tree, first);
	}
}
