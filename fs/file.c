#include "fs/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fs/attributes.h"
#include "fs/follow/refresh.h"
#include "fs/node/draft.h"
#include "fs/save/closing.h"
#include "fs/save/grace.h"
#include "fs/save/private.h"
#include "fs/save/save.h"
#include "util/cleanup.h"

#define RELEASE_TIMEOUT_MS 30000 /* nobody waits for it */

int file_readlink(struct request *request)
{
	const struct node *node = request->node.node;

	request->answer.kind = ANSWER_TARGET;
	return node->kind == NODE_PRIVATE_LINK ?
		       buffer_append(&request->answer.bytes, node->file->content.data, node->file->content.size) :
		       -EINVAL;
}

/* Room is never short; only a longer size shows. */
int file_allocate(struct request *request)
{
	const struct node *node = request->node.node;
	struct handle *handle = request_handle(request);
	uint64_t end = (uint64_t)request->offset + request->size, size = 0;

	if (request->mode)
		return -EOPNOTSUPP;
	if (node_draft(node))
		size = node_draft(node)->content.size;
	else if (node->file)
		size = node->file->content.size;
	else if (handle->version)
		size = handle->version->content.size;
	return end > size ? attributes_set_size(request, handle, (off_t)end) : 0;
}

/* ------------------------------------------------------------------ reading */

/* Copies what is at offset, as it may change before the answer is sent. */
static int answer_copy(struct request *request, const struct buffer *content)
{
	size_t start = (uint64_t)request->offset < content->size ? (size_t)request->offset : content->size;
	size_t left = content->size - start;
	size_t length = left < request->size ? left : request->size;

	request->answer.kind = ANSWER_BYTES;
	request->answer.bytes.memory = content->memory;
	return length ? buffer_append(&request->answer.bytes, content->data + start, length) : 0;
}

/* Does it read on behind the end of its version, while there is another one? As tail -f does. */
static bool is_past_end(const struct handle *handle, off_t offset) LOCKED
{
	const struct version *version = handle->version;
	const struct node *node = handle->node;

	return version && node->is_stored && node->kind == NODE_CONFIG && !handle->may_write &&
	       (uint64_t)offset >= version->content.size && strcmp(version->md5, node_md5(node)) != 0;
}

/* Does a version begin with all of another? Who has read that one may read on in this one. */
static bool is_continued_by(const struct version *version, const struct version *later)
{
	size_t size = version->content.size;

	return later->content.size > size && (!size || !memcmp(version->content.data, later->content.data, size));
}

/*
 * What goes to the page cache must be the current version whoever asks for it, or the pages would
 * be stale for all; when there is none any more, the last one goes on. Who reads behind the end
 * goes on with what was appended.
 */
static int follow_version(struct request *request, struct handle *handle) LOCKED
{
	cleanup_version struct version *current = NULL;
	cleanup_version struct version *read = NULL;
	int error = refresh_config(request_tree(request), &request->call, &request->node, VERSION_WHOLE, &current);

	if (error)
		return error == -EWOULDBLOCK ? error : 0;
	if (draft_version_for_reader(handle->node, current, &read) || !read ||
	    (!handle->is_cached && !is_continued_by(handle->version, read)))
		return 0;
	version_drop(handle->version);
	handle->version = steal_pointer(read);
	return 0;
}

int file_read(struct request *request)
{
	struct handle *handle = request_handle(request);
	struct node *node = request->node.node;
	int error = 0;

	if (!handle)
		return -EBADF; /* the toucher reads nothing */
	if (node->kind != NODE_CONFIG && (handle->may_write || !handle->version))
		return answer_copy(request, &node->file->content);
	if (handle->may_write && node_draft(node))
		return answer_copy(request, &node_draft(node)->content);
	/* Opened as a private file, which was renamed onto a config since. */
	if (!handle->version && node->is_stored)
		error = refresh_config(request_tree(request), &request->call, &request->node, VERSION_WHOLE,
				       &handle->version);
	if (error == -EWOULDBLOCK)
		return error;
	if (handle->is_cached || is_past_end(handle, request->offset))
		error = follow_version(request, handle);
	if (error == -EWOULDBLOCK)
		return error;
	request->answer.kind = ANSWER_BYTES;
	request->answer.version = version_hold(handle->version);
	request->answer.offset = request->offset;
	request->answer.size = request->size;
	return 0;
}

/* ------------------------------------------------------------------ writing */

static int write_to_draft(struct request *request, struct handle *handle) LOCKED
{
	struct node *node = handle->node;
	size_t limit = store_content_limit(request_terms(request)->store);
	off_t offset = request->offset;
	bool appends = handle->flags & O_APPEND;

	if ((uint64_t)offset + request->size > limit && !appends)
		return -EFBIG;
	int error = handle_change(request_tree(request), handle);
	if (error)
		return error;
	struct buffer *content = &node_draft(node)->content;
	/*
	 * The kernel computes the offset of an append from the size that it knows, which may be
	 * another version's.
	 */
	if (appends)
		offset = (off_t)content->size;
	if ((uint64_t)offset + request->size > limit)
		return -EFBIG;
	return buffer_write(content, request->value, request->size, (size_t)offset);
}

static int write_config(struct request *request, struct handle *handle) LOCKED
{
	int error = handle->error ? handle->error : write_to_draft(request, handle);

	if (error && !handle->error)
		handle_fail(handle, error);
	return error;
}

int file_write(struct request *request)
{
	struct handle *handle = request_handle(request);
	struct node *node = request->node.node;
	int error;

	if (!handle)
		return -EBADF;
	if (node->kind == NODE_CONFIG)
		error = write_config(request, handle);
	else
		error = private_write(request_tree(request), node, request->value, request->size, request->offset,
				      handle->flags & O_APPEND);
	/* It is libfuse's own buffer, which goes on living: no copy of a secret may stay there. */
	if (node_memory(request_tree(request), node))
		explicit_bzero((char *)request->value, request->size);
	request->answer.kind = ANSWER_WRITTEN;
	request->answer.size = request->size;
	return error;
}

/* -------------------------------------------------------------------- saving */

/*
 * Saves what the handle changed; a failure stays with the handle, unless the file is only empty so
 * far.
 */
static int save_handle(struct request *request, struct handle *handle) LOCKED
{
	struct node *node = handle->node;

	if (node->config->deferred && node->parent)
		return 0;
	int error = save_draft(&request->filesystem->saver, &request->call, &request->node);
	if (error && !(error == -EINVAL && draft_is_blank(node)))
		handle_fail(handle, error);
	return error;
}

static bool has_nothing_to_save(const struct handle *handle) LOCKED
{
	return !handle || handle->error || handle->node->kind != NODE_CONFIG || !handle_is_dirty(handle);
}

int file_flush(struct request *request)
{
	struct filesystem *filesystem = request->filesystem;
	struct handle *handle = request_handle(request);

	if (has_nothing_to_save(handle))
		return handle ? handle->error : 0;
	if (request->call.from_memory)
		return -EWOULDBLOCK;
	enum close_kind kind = closing_ask(&filesystem->saver, handle, request->thread,
					   toucher_process(&filesystem->follower.toucher));
	if (has_nothing_to_save(handle))
		return handle->error;
	switch (kind) {
	case CLOSE_LAST:
		return save_handle(request, handle);
	case CLOSE_KILLED:
		closing_abandon(handle);
		break;
	case CLOSE_INHERITED:
		grace_save_open(&filesystem->saver, handle->node);
		break;
	case CLOSE_DUPLICATE:
		break;
	}
	return 0;
}

int file_fsync(struct request *request)
{
	struct handle *handle = request_handle(request);

	if (has_nothing_to_save(handle))
		return handle ? handle->error : 0;
	return request->call.from_memory ? -EWOULDBLOCK : save_handle(request, handle);
}

/*
 * Changes that no close saved: whoever made them left without one (a descriptor sent away, a
 * daemon's child).
 */
static int save_late(struct request *request, struct handle *handle) LOCKED
{
	struct node *node = handle->node;

	if (has_nothing_to_save(handle))
		return 0;
	if (node->config->deferred) {
		grace_save_later(&request->filesystem->saver, node);
		return 0;
	}
	if (draft_is_blank(node))
		return 0;
	if (request->call.from_memory)
		return -EWOULDBLOCK;
	request->call.deadline_ms += RELEASE_TIMEOUT_MS;
	handle->error = save_draft(&request->filesystem->saver, &request->call, &request->node);
	return 0;
}

int file_release(struct request *request)
{
	struct handle *handle = request_handle(request);
	bool is_secret = node_memory(request_tree(request), request->node.node);

	if (!handle)
		return 0;
	/*
	 * What was mapped (privately; the kernel refuses the rest) is in the page cache. Nobody
	 * waits for its end.
	 */
	if (is_secret && request->call.from_memory)
		return -EWOULDBLOCK;
	int error = save_late(request, handle);
	if (error)
		return error;
	closing_end(&request->filesystem->saver, handle);
	request->answer.drop_pages = is_secret;
	return 0;
}
