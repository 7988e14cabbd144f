#include "fs/attributes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/draft.h"
#include "fs/notify.h"
#include "util/cleanup.h"

#define BLOCK_SIZE 4096

static mode_t type_of(const struct node *node)
{
	if (node_is_directory(node))
		return S_IFDIR;
	return node->kind == NODE_SCRATCH_LINK ? S_IFLNK : S_IFREG;
}

void attributes_fill(struct node *node, pid_t thread, struct stat *ret_stat)
{
	struct stat stat = {
		.st_ino = node->id,
		.st_mode = type_of(node) | node->mode,
		.st_nlink = node_is_directory(node) ? 2 : node->parent ? 1 : 0,
		.st_uid = node->uid,
		.st_gid = node->gid,
		.st_blksize = BLOCK_SIZE,
		.st_mtim = node->modified,
		.st_atim = node->modified,
		.st_ctim = node->changed,
	};

	if (node->kind == NODE_CONFIG && node->draft && draft_is_visible_to(node, thread)) {
		stat.st_size = (off_t)node->draft->content.size;
		if (draft_is_dirty(node) || !node->stored)
			stat.st_mtim = node->draft->modified;
	} else if (node->kind == NODE_CONFIG) {
		stat.st_size = (off_t)node->size;
	} else {
		stat.st_size = (off_t)node->content.size;
	}
	stat.st_blocks = (stat.st_size + 511) / 512;
	*ret_stat = stat;
}

static double timeout_s(const struct filesystem *filesystem, struct node *node)
{
	if (!notify_is_told(filesystem, node))
		return KERNEL_CACHE_S;
	node->given_long = true;
	return NOTIFY_LONG_S;
}

double attributes_timeout_s(const struct filesystem *filesystem, struct node *node)
{
	return node->draft ? 0 : timeout_s(filesystem, node);
}

void attributes_fill_entry(const struct request *request, struct node *node, struct fuse_entry_param *ret_entry)
{
	struct fuse_entry_param entry = {
		.ino = node->id,
		.entry_timeout = timeout_s(request->filesystem, node),
	};

	entry.attr_timeout = node->draft ? 0 : entry.entry_timeout;
	attributes_fill(node, request->thread, &entry.attr);
	*ret_entry = entry;
}

int attributes_load(struct request *request, struct node *node, enum version_part part,
		    struct version **ret_version)
{
	struct tree *tree = request_tree(request);
	cleanup_version struct version *version = NULL;

	if (!node->parent)
		return -ENOENT;
	if (!node->stored && node->draft) {
		*ret_version = NULL;
		return 0;
	}
	struct key borrowed = tree_key(tree, node->parent, node->name);
	cleanup_free struct key *key = key_copy(&borrowed);
	if (!key)
		return -ENOMEM;
	node_hold(node);
	request_unlock(request);
	int error = store_get(request->filesystem->store, key, part, &request->call, &version);
	request_lock(request);
	if (!error)
		filesystem_show_version(request->filesystem, node, version);
	if (error == -EBADMSG || error == -ENOKEY)
		node_set_error(node, request->call.reason);
	else if (!error && part == VERSION_WHOLE && !node->failed_process)
		node_set_error(node, NULL);
	else if (error == -ENOENT && !node->writers && !node->draft && node->parent && !node->committing) {
		tree_note_vanished(tree, node);
		filesystem_unlink_node(request->filesystem, node);
	}
	tree_drop(tree, node);
	if (error)
		return error;
	*ret_version = steal_pointer(version);
	return 0;
}
