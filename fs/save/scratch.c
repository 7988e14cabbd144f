#include "fs/save/scratch.h"

#include <errno.h>

#include "fs/save/draft.h"
#include "util/clock.h"

struct node *scratch_add(struct filesystem *filesystem, struct node *parent, const char *name,
			 enum node_kind kind, mode_t mode, uid_t uid, gid_t gid)
{
	if (filesystem->tree.scratch_count >= SCRATCH_COUNT_LIMIT)
		return NULL;
	struct node *node = tree_add(&filesystem->tree, parent, name, kind);
	if (!node)
		return NULL;
	node->mode = mode & 07777;
	node->uid = uid;
	node->gid = gid;
	node->modified = node->changed = clock_now();
	node->created_ms = clock_monotonic_ms();
	filesystem_guard_node(filesystem, node);
	return node;
}

/* Room for a file of that size? Remembers a refusal. */
static int check_room(const struct tree *tree, struct node *node, size_t size)
{
	int error = 0;

	if (size > SCRATCH_FILE_LIMIT)
		error = -EFBIG;
	else if (size > node->content.size &&
		 tree->scratch_size + (size - node->content.size) > SCRATCH_TOTAL_LIMIT)
		error = -ENOSPC;
	if (error)
		node->error = error;
	return error;
}

static void touch(struct tree *tree, struct node *node, size_t size_before)
{
	tree->scratch_size += node->content.size - size_before;
	node->modified = node->changed = clock_now();
}

int scratch_write(struct tree *tree, struct node *node, const void *data, size_t size, off_t offset,
		  bool append)
{
	size_t before = node->content.size;
	size_t start = append ? before : (size_t)offset;

	if (start > SCRATCH_FILE_LIMIT)
		return node->error = -EFBIG;
	size_t end = start + size;
	int error = check_room(tree, node, end > before ? end : before);
	if (!error)
		error = node->error = buffer_write(&node->content, data, size, start);
	if (!error)
		touch(tree, node, before);
	return error;
}

int scratch_resize(struct tree *tree, struct node *node, size_t size)
{
	size_t before = node->content.size;
	int error = check_room(tree, node, size);

	if (!error)
		error = buffer_resize(&node->content, size);
	if (!error) {
		if (!size)
			node->error = 0; /* written anew */
		touch(tree, node, before);
	}
	return error;
}

int scratch_from_config(struct tree *tree, struct node *node, const void *data, size_t size)
{
	int error = size ? buffer_append(&node->content, data, size) : 0;

	if (error)
		return error;
	tree->scratch_size += size;
	tree->scratch_count++;
	node->kind = NODE_SCRATCH_FILE;
	place_drop(node->place);
	node->place = NULL;
	node->created_ms = clock_monotonic_ms();
	node->error = 0;
	node->stored = false;
	node->deferred = false;
	*node->md5 = *node->listed_md5 = '\0';
	draft_drop(node);
	return 0;
}

void scratch_to_config(struct tree *tree, struct node *node, struct place *place)
{
	tree->scratch_size -= node->content.size;
	tree->scratch_count--;
	buffer_wipe(&node->content);
	node->kind = NODE_CONFIG;
	node->place = place_hold(place);
}
