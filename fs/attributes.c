#include "fs/attributes.h"

#include <errno.h>

#include "fs/follow/refresh.h"
#include "fs/node/draft.h"
#include "fs/node/show.h"
#include "fs/node/wake.h"
#include "fs/save/grace.h"
#include "fs/save/private.h"
#include "fs/save/save.h"
#include "util/cleanup.h"
#include "util/clock.h"

int attributes_get(struct request *request)
{
	struct tree *tree = request_tree(request);
	struct held *held = &request->node;
	struct node *node = held->node;
	cleanup_version struct version *version = NULL;
	bool is_writer = false;
	int error = request_is_writer(request, held, &is_writer);

	if (error)
		return error;
	if (node->kind == NODE_CONFIG && node->parent &&
	    !(node_draft(node) && (is_writer || !node->writers || !node->is_stored)))
		error = refresh_config(tree, &request->call, held, VERSION_ATTRIBUTES, &version);
	if (refresh_may_show(node, error))
		error = 0;
	if (!error)
		error = refresh_rights(tree, &request->call, held);
	/*
	 * Gone: who has it open may go on; for others the name may be there again, with another
	 * node.
	 */
	if (error == -ENOENT)
		error = node->references > 1 ? 0 : -ESTALE;
	if (!error)
		request_answer_attributes(request, node, is_writer);
	return error;
}

static int set_owner(const struct request *request, struct node *node, const struct stat *stat,
		     int to_set) LOCKED
{
	const struct terms *terms = request_terms(request);
	bool sets_uid = to_set & FUSE_SET_ATTR_UID, sets_gid = to_set & FUSE_SET_ATTR_GID;

	if (node_is_private(node)) {
		tree_set_owner(request_tree(request), node, sets_uid ? stat->st_uid : node->file->uid,
			       sets_gid ? stat->st_gid : node->file->gid);
		return 0;
	}
	return (sets_uid && stat->st_uid != terms->uid) || (sets_gid && stat->st_gid != terms->gid) ? -EPERM : 0;
}

/* Times of a config are kept until its content changes; the server has no place for them. */
static void set_times(struct node *node, const struct stat *stat, int to_set) LOCKED
{
	struct timespec *modified = node_modified(node);

	if (!modified)
		return;
	*node_changed(node) = clock_now();
	if (!(to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)))
		return;
	*modified = to_set & FUSE_SET_ATTR_MTIME_NOW ? clock_now() : stat->st_mtim;
	if (node_draft(node))
		node_draft(node)->modified = *modified;
}

/* truncate by path: saved at once, unless somebody is writing; then it is theirs to save. */
static int truncate_directly(struct request *request, size_t size) LOCKED
{
	struct tree *tree = request_tree(request);
	struct saver *saver = &request->filesystem->saver;
	struct node *node = request->node.node;
	cleanup_version struct version *version = NULL;
	const struct writer writer = request_writer(request);
	int error = refresh_config(tree, &request->call, &request->node, size ? VERSION_BASE : VERSION_ATTRIBUTES,
				   &version);

	if (!error && version && version->size == size && !node_draft(node))
		return 0;
	if (!error && !node_draft(node))
		error = draft_start_from(tree, node, version);
	if (error)
		return error;
	draft_note_change(node, &writer);
	error = buffer_resize(&node_draft(node)->content, size);
	if (error || node->writers)
		return error;
	if (draft_is_blank(node)) {
		grace_keep_empty(saver, node);
		return 0;
	}
	error = save_draft(saver, &request->call, &request->node);
	if (!node->writers) {
		draft_drop(node);
		wake_look_again(tree, node);
	}
	return error;
}

int attributes_set_size(struct request *request, struct handle *handle, off_t size)
{
	struct tree *tree = request_tree(request);
	struct node *node = request->node.node;

	if (size < 0)
		return -EINVAL;
	if (node->kind == NODE_STATUS)
		return -EACCES;
	if (node->kind != NODE_CONFIG)
		return private_resize(tree, node, (size_t)size);
	if ((uint64_t)size > store_content_limit(request_terms(request)->store))
		return -EFBIG;
	if (!handle || !handle->may_write)
		return request->call.from_memory ? -EWOULDBLOCK : truncate_directly(request, (size_t)size);
	if (handle->error)
		return handle->error;
	int error = handle_change(tree, handle);
	return error ? error : buffer_resize(&node_draft(node)->content, (size_t)size);
}

int attributes_set(struct request *request)
{
	struct tree *tree = request_tree(request);
	struct node *node = request->node.node;
	struct handle *handle = request_handle(request);
	const struct stat *stat = &request->attributes;
	int to_set = request->to_set;
	bool is_writer = handle && handle->may_write;
	int error = is_writer ? 0 : request_is_writer(request, &request->node, &is_writer);

	if (!error && request_terms(request)->read_only && !node_is_private(node))
		error = -EROFS;
	if (!error && (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)))
		error = set_owner(request, node, stat, to_set);
	if (!error && (to_set & FUSE_SET_ATTR_SIZE))
		error = attributes_set_size(request, handle, stat->st_size);
	if (error)
		return error;
	if (to_set & FUSE_SET_ATTR_MODE)
		access_set_mode(tree, node, stat->st_mode);
	set_times(node, stat, to_set);
	request_answer_attributes(request, node, is_writer);
	return 0;
}
