/* OPEN: what a new open file reads, and whether it may be had. */
#include <errno.h>
#include <fcntl.h>

#include "fs/file.h"
#include "fs/follow/refresh.h"
#include "fs/node/draft.h"
#include "fs/save/ask.h"
#include "fs/save/closing.h"
#include "fs/save/private.h"
#include "fs/status.h"
#include "util/cleanup.h"

/*
 * What this account may not do is refused here, because some programs never look at what close
 * says.
 */
static int check_rights(struct request *request, const struct held *held, int flags) LOCKED
{
	struct tree *tree = request_tree(request);
	const struct node *node = held->node;
	bool reads = (flags & O_ACCMODE) != O_WRONLY && node->is_stored;
	bool writes = (flags & O_ACCMODE) != O_RDONLY;

	if (!node->parent)
		return 0;
	cleanup_place struct place *place = place_hold(node->place);
	int error = request_check(request, place, (reads ? RIGHT_READ : 0) | (writes ? RIGHT_WRITE : 0));
	if (!error && reads)
		error = ask_check_read(tree, &request->call, place);
	if (!error && writes)
		error = ask_check_write(tree, &request->call, place);
	return error;
}

/*
 * What was never stored was never asked for: with logins of their own, one user's text is not shown
 * to another before.
 */
static bool is_of_another(const struct request *request, const struct node *node, int flags) LOCKED
{
	const struct draft *draft = node_draft(node);

	return request_terms(request)->identities && !node->is_stored && draft && draft->content.size &&
	       request->asker.uid && draft->writer.uid != request->asker.uid && (flags & O_ACCMODE) != O_WRONLY;
}

/* The version that an open starts from; ret_blind: it can't be read, and is written anew. */
static int load_version(struct request *request, struct held *held, int flags,
			struct version **ret_version, bool *ret_blind) LOCKED
{
	struct tree *tree = request_tree(request);
	struct node *node = held->node;
	bool for_writing = (flags & O_ACCMODE) != O_RDONLY;
	int error = is_of_another(request, node, flags) ? -EACCES : check_rights(request, held, flags);

	if (!error)
		error = refresh_config(tree, &request->call, held,
				       (flags & O_ACCMODE) == O_WRONLY ? VERSION_BASE : VERSION_WHOLE, ret_version);
	/* What may be written but not read can be written anew; so can what can't be decrypted. */
	if (error == -EACCES && for_writing && (flags & O_TRUNC) && node->config && node->config->unreadable) {
		int refused = check_rights(request, held, O_WRONLY);
		*ret_blind = !refused;
		return refused == -EWOULDBLOCK ? refused : refused ? error : 0;
	}
	bool anew = for_writing && ((flags & O_TRUNC) || (error == -EBADMSG && !(flags & (O_RDWR | O_APPEND))));
	if (anew && (error == -EBADMSG || error == -ENOKEY))
		error = refresh_config(tree, &request->call, held, VERSION_ATTRIBUTES, ret_version);
	return error;
}

/* Who opens. Whose process it is matters only of one who writes, and takes a look at /proc. */
static struct writer opener(struct request *request, bool for_writing) LOCKED
{
	return for_writing ? request_writer(request) :
			     (struct writer){ 0, request->asker.uid, request->asker.gid };
}

static int open_config(struct request *request, struct held *held, int flags,
		       struct handle **ret_handle) LOCKED
{
	struct tree *tree = request_tree(request);
	struct saver *saver = &request->filesystem->saver;
	struct node *node = held->node;
	cleanup_version struct version *version = NULL;
	cleanup_version struct version *read = NULL;
	bool for_writing = (flags & O_ACCMODE) != O_RDONLY;
	bool blind = false;

	if (for_writing && request_terms(request)->read_only)
		return -EROFS;
	if (for_writing && request->call.from_memory)
		return -EWOULDBLOCK;
	int error = load_version(request, held, flags, &version, &blind);
	if (error)
		return error;
	if (node->parent && node_memory(tree, node))
		node->parent->directory->has_secrets = true;
	const struct writer writer = opener(request, for_writing);
	if (!for_writing)
		error = draft_version_for_reader(node, version, &read);
	if (error)
		return error;
	struct handle *handle = handle_new(saver, node, flags, for_writing ? version : read, &writer);
	if (!handle)
		return -ENOMEM;
	handle->blind = blind;
	/* It may have got a private name while who asks was looked up. */
	if (for_writing && (flags & O_TRUNC) && node->file)
		private_resize(tree, node, 0);
	if (for_writing && (flags & O_TRUNC) && node->kind == NODE_CONFIG) {
		error = handle_change(tree, handle);
		if (error) {
			closing_end(saver, handle);
			return error;
		}
		buffer_clear(&node_draft(node)->content);
	}
	*ret_handle = handle;
	return 0;
}

static int open_private(struct request *request, struct held *held, int flags,
			struct handle **ret_handle) LOCKED
{
	bool for_writing = (flags & O_ACCMODE) != O_RDONLY;

	if (for_writing && request->call.from_memory)
		return -EWOULDBLOCK;
	const struct writer writer = opener(request, for_writing);
	struct handle *handle = handle_new(&request->filesystem->saver, held->node, flags, NULL, &writer);
	if (!handle)
		return -ENOMEM;
	if (for_writing && (flags & O_TRUNC) && held->node->file)
		private_resize(request_tree(request), held->node, 0);
	*ret_handle = handle;
	return 0;
}

static int open_status(struct request *request, struct held *held, int flags,
		       struct handle **ret_handle) LOCKED
{
	const struct writer writer = { 0, request->asker.uid, request->asker.gid };
	cleanup_version struct version *version = NULL;

	if ((flags & O_ACCMODE) != O_RDONLY)
		return -EACCES;
	int error = status_read(request->filesystem, &version);
	if (error)
		return error;
	*ret_handle = handle_new(&request->filesystem->saver, held->node, flags, version, &writer);
	return *ret_handle ? 0 : -ENOMEM;
}

int file_open_node(struct request *request, struct held *held)
{
	struct tree *tree = request_tree(request);
	struct node *node = held->node;
	struct fuse_file_info *info = &request->info;
	struct handle *handle = NULL;
	int error;

	if (node->kind == NODE_CONFIG)
		error = open_config(request, held, info->flags, &handle);
	else if (node->kind == NODE_STATUS)
		error = open_status(request, held, info->flags, &handle);
	else
		error = open_private(request, held, info->flags, &handle);
	if (error)
		return error;
	info->fh = (uintptr_t)handle;
	/*
	 * The page cache can't hold two versions of one file, and a reader keeps the one that it
	 * opened; nor may it hold a secret, or what is only here.
	 */
	handle->is_cached = request_terms(request)->kernel_cache && node->kind == NODE_CONFIG && !handle->may_write &&
			    !node_memory(tree, node) && !node_draft(node);
	info->direct_io = !handle->is_cached;
	info->keep_cache = handle->is_cached;
	info->noflush = !handle->may_write;
	return 0;
}

int file_open(struct request *request)
{
	int error = file_open_node(request, &request->node);

	/* The name may be there again, with another node: this makes the kernel look once more. */
	if (error)
		return error == -ENOENT ? -ESTALE : error;
	request->answer.kind = ANSWER_OPENED;
	/* Who asks the open file for its size must not get that of the version before. */
	request->answer.forget_first = request->node.node->is_told;
	return 0;
}
