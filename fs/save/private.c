#include "fs/save/private.h"

#include <errno.h>

#include "util/clock.h"

struct node *private_add(struct tree *tree, struct node *parent, const char *name, enum node_kind kind, mode_t mode,
			 uid_t uid, gid_t gid)
{
	if (tree->holdings.total[HOLDING_PRIVATE_FILES] >= PRIVATE_COUNT_LIMIT)
		return NULL;
	struct node *node = tree_add(tree, parent, name, kind);
	if (!node)
		return NULL;
	node->mode = mode & 07777;
	tree_set_owner(tree, node, uid, gid);
	return node;
}

/* Room for a file of that size? Remembers a refusal. */
static int check_room(const struct tree *tree, struct private_file *file, size_t size) LOCKED
{
	int error = 0;

	if (size > PRIVATE_FILE_LIMIT)
		error = -EFBIG;
	else if (size > file->content.size &&
		 tree->holdings.total[HOLDING_PRIVATE_BYTES] + (size - file->content.size) > PRIVATE_TOTAL_LIMIT)
		error = -ENOSPC;
	if (error)
		file->error = error;
	return error;
}

static void touch(struct tree *tree, struct node *node, size_t size_before) LOCKED
{
	tree_count_bytes(tree, node, size_before);
	node->file->modified = node->file->changed = clock_now();
}

int private_write(struct tree *tree, struct node *node, const void *data, size_t size, off_t offset, bool append)
{
	struct private_file *file = node->file;
	size_t before = file->content.size;
	size_t start = append ? before : (size_t)offset;

	if (start > PRIVATE_FILE_LIMIT)
		return file->error = -EFBIG;
	size_t end = start + size;
	int error = check_room(tree, file, end > before ? end : before);
	if (!error)
		error = file->error = buffer_write(&file->content, data, size, start);
	if (!error)
		touch(tree, node, before);
	return error;
}

int private_resize(struct tree *tree, struct node *node, size_t size)
{
	struct private_file *file = node->file;
	size_t before = file->content.size;
	int error = check_room(tree, file, size);

	if (!error)
		error = buffer_resize(&file->content, size);
	if (!error) {
		if (!size)
			file->error = 0; /* written anew */
		touch(tree, node, before);
	}
	return error;
}

int private_from_config(struct tree *tree, struct node *node, const void *data, size_t size)
{
	cleanup_buffer_wipe struct buffer content = BUFFER_INIT_IN(node_memory(tree, node));
	/* The data may belong to the draft, which goes with the config. */
	int error = size ? buffer_append(&content, data, size) : 0;

	if (!error)
		error = tree_make_private(tree, node);
	if (error)
		return error;
	buffer_move(&node->file->content, &content);
	tree_count_bytes(tree, node, 0);
	return 0;
}
