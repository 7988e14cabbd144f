#include "fs/node/attributes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/node/acl.h"
#include "fs/save/draft.h"
#include "fs/follow/notify.h"
#include "util/cleanup.h"

#define BLOCK_SIZE 4096

static mode_t type_of(const struct node *node)
{
	if (node_is_directory(node))
		return S_IFDIR;
	return node->kind == NODE_SCRATCH_LINK ? S_IFLNK : S_IFREG;
}

/* The most that can be shown of a node of the store. */
static mode_t granted_mode(const struct filesystem *filesystem, const struct node *node)
{
	struct place *place = node_linked_place(node);
	unsigned bits = RIGHT_READ | RIGHT_WRITE;

	if (place) {
		if (filesystem->per_user)
			return acl_mode(filesystem, node, place);
		bits = rights_peek(filesystem->rights, place);
	} else if (filesystem->per_user) {
		return 0600 & ~filesystem->umask; /* it has no name any more */
	}
	return filesystem_mode(filesystem, node_is_directory(node), bits);
}

static bool is_stored_kind(const struct node *node)
{
	return !node_is_scratch(node) && node->kind != NODE_STATUS;
}

mode_t attributes_mode(const struct filesystem *filesystem, const struct node *node)
{
	return is_stored_kind(node) ? node->mode & granted_mode(filesystem, node) : node->mode;
}

void attributes_set_mode(const struct filesystem *filesystem, struct node *node, mode_t mode)
{
	mode &= 07777;
	if (is_stored_kind(node)) {
		mode_t granted = granted_mode(filesystem, node);
		mode = (node->mode & ~granted) | (mode & granted);
	}
	node->mode = mode;
}

int attributes_load_rights(struct request *request, struct node *node)
{
	cleanup_place struct place *place = place_hold(node_linked_place(node));

	if (!place || filesystem_are_rights_known(request->filesystem, place, RIGHT_READ | RIGHT_WRITE))
		return 0;
	node_hold(node);
	request_unlock(request);
	int error = filesystem_load_rights(request->filesystem, place, RIGHT_READ | RIGHT_WRITE, &request->call);
	request_lock(request);
	tree_drop(request_tree(request), node);
	return error == -EINTR || error == -ENOMEM ? error : 0;
}

void attributes_fill(const struct filesystem *filesystem, struct node *node, pid_t thread,
		     struct stat *ret_stat)
{
	struct stat stat = {
		.st_ino = node->id,
		.st_mode = type_of(node) | attributes_mode(filesystem, node),
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
	node->shown_mode = stat.st_mode;
	*ret_stat = stat;
}

static double timeout_s(const struct filesystem *filesystem, struct node *node)
{
	if (!notify_is_told(filesystem, node) || filesystem->identities)
		return KERNEL_CACHE_S;
	node->given_long = true;
	if (node->place && !rights_are_followed(filesystem->rights, node->place))
		return (double)rights_fresh_ms(filesystem->rights) / 1000;
	return NOTIFY_LONG_S;
}

double attributes_timeout_s(const struct filesystem *filesystem, struct node *node)
{
	/* Who may create names in it can change with the name that is looked up. */
	if (node->draft || (filesystem->identities && node_is_directory(node)))
		return 0;
	return timeout_s(filesystem, node);
}

void attributes_fill_entry(const struct request *request, struct node *node, struct fuse_entry_param *ret_entry)
{
	struct fuse_entry_param entry = {
		.ino = node->id,
		.entry_timeout = timeout_s(request->filesystem, node),
	};

	entry.attr_timeout = attributes_timeout_s(request->filesystem, node);
	attributes_fill(request->filesystem, node, request->thread, &entry.attr);
	*ret_entry = entry;
}

int attributes_load(struct request *request, struct node *node, enum version_part part,
		    struct version **ret_version)
{
	struct tree *tree = request_tree(request);
	cleanup_version struct version *version = NULL;

	if (!node->parent || !node->place)
		return -ENOENT;
	if (!node->stored && node->draft) {
		*ret_version = NULL;
		return 0;
	}
	cleanup_place struct place *place = place_hold(node->place);
	node_hold(node);
	request_unlock(request);
	int error = store_get(request->filesystem->store, place, part, &request->call, &version);
	request_lock(request);
	if (!error)
		filesystem_show_version(request->filesystem, node, version);
	if (!error || error == -EACCES)
		node->unreadable = error;
	if (error == -EBADMSG || error == -ENOKEY)
		node_set_error(node, request->call.reason);
	else if (!error && part != VERSION_ATTRIBUTES && !node->failed_process)
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
