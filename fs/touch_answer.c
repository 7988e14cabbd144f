#include "fs/touch_answer.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fs/node/attributes.h"
#include "fs/create.h"
#include "fs/directory.h"
#include "fs/file.h"
#include "fs/follow/notify.h"
#include "fs/rename.h"
#include "fs/follow/touch.h"

/* Is it the toucher? Then the request is started. */
static bool is_toucher(struct request *request, fuse_req_t fuse)
{
	request_start(request, fuse);
	return touch_asks(request);
}

static void reply_entry(struct request *request, struct node *node, bool linked)
{
	struct fuse_entry_param entry;
	uint64_t id = node->id;

	node_count_lookup(node);
	attributes_fill_entry(request, node, &entry);
	if (!linked)
		entry.attr_timeout = entry.entry_timeout = 0;
	request_unlock(request);
	if (fuse_reply_entry(request->fuse, &entry) == -ENOENT) {
		request_lock(request);
		tree_forget(request_tree(request), id, 1);
		request_unlock(request);
	}
}

/*
 * What does a name lead to, for the toucher? What is to be created must not be there yet, or the kernel would not let it be
 * created; what is to be removed still is.
 */
static struct node *find_for_toucher(struct request *request, struct node *parent, const char *name)
{
	const struct touch_item *item = touch_current(request->filesystem, parent, name);

	if (!item)
		return tree_child(request_tree(request), parent, name);
	switch (item->kind) {
	case TOUCH_REMOVED:
	case TOUCH_REMOVED_DIRECTORY:
		return item->node;
	case TOUCH_CONTENT:
	case TOUCH_ATTRIBUTES:
		return tree_child(request_tree(request), parent, name);
	case TOUCH_CREATED:
	case TOUCH_CREATED_DIRECTORY:
	case TOUCH_FORGET_ABSENT:
	case TOUCH_HELLO:
		break;
	}
	return NULL;
}

void touch_answer_lookup(fuse_req_t fuse, fuse_ino_t parent_id, const char *name)
{
	struct request request;
	bool is_known = is_toucher(&request, fuse);
	struct tree *tree = request_tree(&request);

	if (!is_known && parent_id != tree->root->id) {
		directory_lookup(fuse, parent_id, name);
		return;
	}
	request_lock(&request);
	struct node *parent = tree_node(tree, parent_id);
	bool is_hello = !is_known && touch_meets(request.filesystem, &request, name);
	if (!is_known && !is_hello) {
		request_unlock(&request);
		directory_lookup(fuse, parent_id, name);
		return;
	}
	struct node *node = is_hello ? NULL : find_for_toucher(&request, parent, name);
	if (node) {
		reply_entry(&request, node, node->parent == parent);
		return;
	}
	request_unlock(&request);
	request_reply_error(&request, -ENOENT);
}

/*
 * A daemon that is not root owns its files, but may show them read-only: to the toucher, and for this moment, they show as
 * what the owner may write to.
 */
static void show_writable(const struct request *request, struct stat *stat)
{
	if (request->uid && stat->st_uid == request->uid)
		stat->st_mode |= S_ISDIR(stat->st_mode) ? 0700 : 0600;
}

void touch_answer_getattr(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info)
{
	struct request request;
	struct stat stat;

	if (!is_toucher(&request, fuse)) {
		file_getattr(fuse, id, info);
		return;
	}
	request_lock(&request);
	attributes_fill(request.filesystem, tree_node(request_tree(&request), id), request.thread, &stat);
	request_unlock(&request);
	show_writable(&request, &stat);
	fuse_reply_attr(fuse, &stat, 0);
}

void touch_answer_setattr(fuse_req_t fuse, fuse_ino_t id, struct stat *stat, int to_set, struct fuse_file_info *info)
{
	struct request request;
	struct stat shown;

	if (!is_toucher(&request, fuse)) {
		file_setattr(fuse, id, stat, to_set, info);
		return;
	}
	request_lock(&request);
	struct node *node = tree_node(request_tree(&request), id);
	double timeout_s = attributes_timeout_s(request.filesystem, node);
	attributes_fill(request.filesystem, node, request.thread, &shown);
	request_unlock(&request);
	fuse_reply_attr(fuse, &shown, timeout_s);
	notify_recheck(&request, id);
}

/* Its files have no handle. */
static void fill_info(struct fuse_file_info *info)
{
	info->fh = 0;
	info->direct_io = 1;
	info->noflush = 1;
}

void touch_answer_open(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info)
{
	struct request request;

	if (!is_toucher(&request, fuse)) {
		file_open(fuse, id, info);
		return;
	}
	fill_info(info);
	fuse_reply_open(fuse, info);
}

/* What is to appear with that name: it is there already, only the kernel does not know it. */
static struct node *find_created(struct request *request, fuse_ino_t parent_id, const char *name, enum touch_kind kind)
{
	struct tree *tree = request_tree(request);
	struct node *parent = tree_node(tree, parent_id);
	const struct touch_item *item = touch_current(request->filesystem, parent, name);

	return item && item->kind == kind ? tree_child(tree, parent, name) : NULL;
}

void touch_answer_create(fuse_req_t fuse, fuse_ino_t parent_id, const char *name, mode_t mode,
			 struct fuse_file_info *info)
{
	struct request request;
	struct fuse_entry_param entry;

	if (!is_toucher(&request, fuse)) {
		create_create(fuse, parent_id, name, mode, info);
		return;
	}
	request_lock(&request);
	struct node *node = find_created(&request, parent_id, name, TOUCH_CREATED);
	if (!node) {
		request_unlock(&request);
		request_reply_error(&request, -ECANCELED);
		return;
	}
	node_count_lookup(node);
	attributes_fill_entry(&request, node, &entry);
	request_unlock(&request);
	fill_info(info);
	fuse_reply_create(fuse, &entry, info);
	notify_recheck(&request, entry.ino);
}

void touch_answer_mkdir(fuse_req_t fuse, fuse_ino_t parent_id, const char *name, mode_t mode)
{
	struct request request;

	if (!is_toucher(&request, fuse)) {
		directory_mkdir(fuse, parent_id, name, mode);
		return;
	}
	request_lock(&request);
	struct node *node = find_created(&request, parent_id, name, TOUCH_CREATED_DIRECTORY);
	if (node) {
		reply_entry(&request, node, true);
		return;
	}
	request_unlock(&request);
	request_reply_error(&request, -ECANCELED);
}

/* It is gone already. */
void touch_answer_unlink(fuse_req_t fuse, fuse_ino_t parent_id, const char *name)
{
	struct request request;

	if (is_toucher(&request, fuse))
		fuse_reply_err(fuse, 0);
	else
		rename_unlink(fuse, parent_id, name);
}

void touch_answer_rmdir(fuse_req_t fuse, fuse_ino_t parent_id, const char *name)
{
	struct request request;

	if (is_toucher(&request, fuse))
		fuse_reply_err(fuse, 0);
	else
		directory_rmdir(fuse, parent_id, name);
}

void touch_answer_flush(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info)
{
	if (info->fh)
		file_flush(fuse, id, info);
	else
		fuse_reply_err(fuse, 0);
}

void touch_answer_release(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info)
{
	if (info->fh)
		file_release(fuse, id, info);
	else
		fuse_reply_err(fuse, 0);
}
