#include "fs/follow/events.h"

#include "fs/node/access.h"
#include "fs/node/wake.h"

static void on_changed(void *arg, struct place *place)
{
	struct tree *tree = arg;

	wake_count_event(tree);
	lock_take(&tree->lock);
	wake_changed(tree, place);
	lock_give(&tree->lock);
}

static void on_names_watched(void *arg, struct place *namespace, bool watched)
{
	struct tree *tree = arg;

	wake_count_event(tree);
	lock_take(&tree->lock);
	wake_set_names_watched(tree, namespace, watched);
	lock_give(&tree->lock);
}

static void on_live(void *arg, bool live)
{
	struct tree *tree = arg;

	wake_count_event(tree);
	lock_take(&tree->lock);
	wake_set_live(tree, live);
	lock_give(&tree->lock);
}

const struct store_events events_of_store = {
	.changed = on_changed,
	.names_watched = on_names_watched,
	.live = on_live,
};

void events_rights_changed(void *arg)
{
	struct tree *tree = arg;

	wake_count_event(tree);
	lock_take(&tree->lock);
	for (struct node *node = tree_next(tree, NULL); node; node = tree_next(tree, node)) {
		if (node->shown_mode && (node->shown_mode & 07777) != access_mode(tree, node))
			wake_attributes(tree, node);
		else if (tree->terms->per_user && node->given_long)
			wake_forget(tree, node); /* its ACL may be another one with the same mode */
	}
	lock_give(&tree->lock);
}
