#include "fs/node/snapshot.h"

#include <errno.h>
#include <stdlib.h>

struct snapshot *snapshot_new(struct snapshot **list)
{
	struct snapshot *snapshot = calloc(1, sizeof(*snapshot));

	if (!snapshot)
		return NULL;
	snapshot->next = *list;
	if (snapshot->next)
		snapshot->next->previous = snapshot;
	*list = snapshot;
	return snapshot;
}

static void drop_names(struct tree *tree, struct snapshot *snapshot) LOCKED
{
	for (size_t i = 0; i < snapshot->count; i++)
		node_drop(tree, snapshot->nodes[i]);
	free(snapshot->nodes);
	snapshot->nodes = NULL;
	snapshot->count = 0;
}

int snapshot_take(struct tree *tree, struct snapshot *snapshot, struct node *directory)
{
	drop_names(tree, snapshot);
	snapshot->nodes = calloc(directory->directory->child_count + 1, sizeof(*snapshot->nodes));
	if (!snapshot->nodes)
		return -ENOMEM;
	for (struct node *node = directory->directory->first_child; node; node = node->next_sibling) {
		if (node->directory && node->directory->hidden)
			continue;
		node_hold(node);
		snapshot->nodes[snapshot->count++] = node;
	}
	snapshot->parent_id = node_id(directory->parent ? directory->parent : directory);
	return 0;
}

void snapshot_end(struct tree *tree, struct snapshot **list, struct snapshot *snapshot)
{
	*(snapshot->previous ? &snapshot->previous->next : list) = snapshot->next;
	if (snapshot->next)
		snapshot->next->previous = snapshot->previous;
	drop_names(tree, snapshot);
	free(snapshot);
}

void snapshot_end_all(struct tree *tree, struct snapshot **list)
{
	while (*list)
		snapshot_end(tree, list, *list);
}
