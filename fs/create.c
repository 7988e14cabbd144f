#include "fs/create.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/node/acl.h"
#include "fs/node/attributes.h"
#include "fs/save/draft.h"
#include "fs/file.h"
#include "fs/save/grace.h"
#include "fs/node/names.h"
#include "fs/follow/notify.h"
#include "fs/save/scratch.h"
#include "util/cleanup.h"

/* Is there a config beside it whose name it extends as temp files do? */
static bool extends_sibling(const struct tree *tree, const struct node *parent, const char *name)
{
	char prefix[256];

	for (size_t length = strlen(name); length > 1; length--) {
		if (length >= sizeof(prefix))
			continue;
		memcpy(prefix, name, length);
		prefix[length] = '\0';
		if (!name_extends(name, prefix))
			continue;
		const struct node *sibling = tree_child(tree, parent, prefix);
		if (sibling && sibling->kind == NODE_CONFIG && sibling->stored)
			return true;
	}
	return false;
}

/* A config that was hidden a moment ago is written anew: its base is what the server still has. */
static int bring_back(struct request *request, struct node *parent, const char *name, struct node **ret_node)
{
	cleanup_version struct version *base = NULL;
	mode_t mode = 0;
	int error = grace_take_back(request->filesystem, parent, name, &request->call, &base, &mode);

	if (error)
		return error;
	struct node *node = filesystem_add_node(request->filesystem, parent, name, NODE_CONFIG);
	if (!node)
		return -ENOMEM;
	node->mode = mode;
	filesystem_show_version(request->filesystem, node, base);
	error = draft_start(node, base);
	if (error) {
		tree_unlink(request_tree(request), node);
		return error;
	}
	*ret_node = node;
	return 0;
}

/*
 * What does the store say of a name that is to be created? 0: it has such a config; -ENOENT: it has not, and this account
 * may create it; other errors. Gives up the lock.
 */
static int ask_store(struct request *request, struct node *parent, const char *name, bool scratch)
{
	struct store *store = request->filesystem->store;
	cleanup_place struct place *place = place_below(parent->place, name);
	cleanup_version struct version *version = NULL;

	if (!place)
		return -ENOMEM;
	request_unlock(request);
	int error = store_name_is_possible(store, NAME_DATA_ID, name) ?
			    store_get(store, place, VERSION_ATTRIBUTES, &request->call, &version) :
			    -ENOENT;
	/* Some servers don't tell "there is none" from "you may not know": for scratch files both will do. */
	if (error == -EACCES && scratch)
		error = -ENOENT;
	if (error == -ENOENT && !scratch) {
		int may_write = store_name_is_possible(store, NAME_DATA_ID, name) ?
					store_check_write(store, place, &request->call) :
					-EINVAL;
		error = may_write ? may_write : -ENOENT;
	}
	request_lock(request);
	return error;
}

static int create_config(struct request *request, struct node *parent, const char *name,
			 struct node **ret_node)
{
	struct node *node = filesystem_add_node(request->filesystem, parent, name, NODE_CONFIG);

	if (!node)
		return -ENOMEM;
	int error = draft_start(node, NULL);
	if (error) {
		tree_unlink(request_tree(request), node);
		return error;
	}
	node->deferred = extends_sibling(request_tree(request), parent, name);
	*ret_node = node;
	return 0;
}

/* May who asks write there? Gives up the lock. */
static int check_write(struct request *request, struct node *parent, const char *name)
{
	cleanup_place struct place *place = place_below(parent->place, name);

	if (!place)
		return -ENOMEM;
	request_unlock(request);
	int error = store_check_write(request->filesystem->store, place, &request->call);
	request_lock(request);
	return error;
}

/*
 * Makes the node of a new regular file. With the lock, which is given up meanwhile. exclusive: -EEXIST where there is
 * one; otherwise ret_node is that one.
 */
static int make_file(struct request *request, struct node *parent, const char *name, mode_t mode,
		     bool exclusive, struct node **ret_node)
{
	struct filesystem *filesystem = request->filesystem;
	struct tree *tree = request_tree(request);
	enum directory_level level = node_level(parent);
	struct node *node = tree_child(tree, parent, name);
	bool scratch = level == LEVEL_SCRATCH || name_is_scratch(name);
	int error = -ENOENT;

	if (level != LEVEL_CONFIGS && level != LEVEL_SCRATCH)
		return -EPERM;
	if (filesystem->read_only && !scratch)
		return -EROFS;
	if (!scratch) {
		cleanup_place struct place *place = place_below(parent->place, name);
		error = place ? acl_check_caller(request, place, RIGHT_WRITE) : -ENOMEM;
		if (error)
			return error;
		error = -ENOENT;
	}
	if (!node && level == LEVEL_CONFIGS) {
		if (filesystem->identities && grace_hides(filesystem, parent, name))
			error = check_write(request, parent, name);
		if (error && error != -ENOENT)
			return error;
		error = bring_back(request, parent, name, ret_node);
		if (error != -ENOENT)
			return error;
		error = ask_store(request, parent, name, scratch);
		node = tree_child(tree, parent, name); /* somebody else may have made it meanwhile */
	}
	if (node || !error) {
		if (exclusive)
			return -EEXIST;
		*ret_node = node ? node : filesystem_add_node(filesystem, parent, name, NODE_CONFIG);
		return *ret_node ? 0 : -ENOMEM;
	}
	if (error != -ENOENT)
		return error;
	if (!scratch)
		return create_config(request, parent, name, ret_node);
	*ret_node = scratch_add(filesystem, parent, name, NODE_SCRATCH_FILE, mode, request->uid,
				request->gid);
	return *ret_node ? 0 : -ENOSPC;
}

static void reply_created(struct request *request, struct node *node, struct fuse_file_info *info,
			  const struct fuse_entry_param *entry)
{
	int refused = info ? fuse_reply_create(request->fuse, entry, info) :
			     fuse_reply_entry(request->fuse, entry);

	if (refused != -ENOENT) {
		notify_recheck(request, entry->ino);
		return;
	}
	/* The caller is gone: there will be neither a release nor a forget. */
	request_lock(request);
	if (info)
		handle_free(request->filesystem, (struct handle *)(uintptr_t)info->fh);
	tree_forget(request_tree(request), node->id, 1);
	request_unlock(request);
}

static void create(fuse_req_t fuse, fuse_ino_t parent_id, const char *name, mode_t mode, bool exclusive,
		   struct fuse_file_info *info)
{
	struct request request;
	struct fuse_entry_param entry;
	struct node *node = NULL;

	request_start_in_directory(&request, fuse);
	request_lock(&request);
	struct node *parent = tree_node(request_tree(&request), parent_id);
	int error = make_file(&request, parent, name, mode, exclusive, &node);
	if (!error) {
		node_hold(node);
		node_count_lookup(node);
		node_touch_names(parent);
		if (info)
			error = file_open_node(&request, node, info);
		else if (node->draft)
			grace_keep_empty(request.filesystem, node);
		attributes_fill_entry(&request, node, &entry);
		if (error)
			node->lookup_count--;
		tree_drop(request_tree(&request), node);
	}
	request_unlock(&request);
	if (error)
		request_reply_error(&request, error);
	else
		reply_created(&request, node, info, &entry);
}

void create_create(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode,
		   struct fuse_file_info *info)
{
	create(fuse, parent, name, mode, info->flags & O_EXCL, info);
}

void create_mknod(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
	(void)device;
	if (S_ISREG(mode) || !(mode & S_IFMT))
		create(fuse, parent, name, mode, true, NULL);
	else
		fuse_reply_err(fuse, EPERM);
}

/* Links are refused, but for editors' lock files (.#name of emacs), whose target is a text. */
static int make_link(struct request *request, struct node *parent, const char *name, const char *target,
		     struct node **ret_node)
{
	struct tree *tree = request_tree(request);
	enum directory_level level = node_level(parent);

	if (level != LEVEL_SCRATCH && !(level == LEVEL_CONFIGS && name_is_scratch(name)))
		return -EPERM;
	if (tree_child(tree, parent, name))
		return -EEXIST;
	struct node *node = scratch_add(request->filesystem, parent, name, NODE_SCRATCH_LINK, 0777,
					request->uid, request->gid);
	if (!node)
		return -ENOSPC;
	int error = scratch_write(tree, node, target, strlen(target), 0, false);
	if (error) {
		tree_unlink(tree, node);
		return error;
	}
	*ret_node = node;
	return 0;
}

void create_symlink(fuse_req_t fuse, const char *target, fuse_ino_t parent_id, const char *name)
{
	struct request request;
	struct fuse_entry_param entry;
	struct node *node = NULL;

	request_start_in_directory(&request, fuse);
	request_lock(&request);
	struct node *parent = tree_node(request_tree(&request), parent_id);
	int error = make_link(&request, parent, name, target, &node);
	if (!error) {
		node_count_lookup(node);
		node_touch_names(parent);
		attributes_fill_entry(&request, node, &entry);
	}
	request_unlock(&request);
	if (error)
		request_reply_error(&request, error);
	else
		reply_created(&request, node, NULL, &entry);
}
