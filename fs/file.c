#include "fs/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/node/acl.h"
#include "fs/node/attributes.h"
#include "fs/status.h"
#include "fs/save/draft.h"
#include "fs/save/grace.h"
#include "fs/follow/notify.h"
#include "util/process.h"
#include "fs/save/scratch.h"
#include "fs/follow/touch.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"

#define CLOSE_WRITERS_MAX 64
#define RELEASE_TIMEOUT_MS 30000 /* nobody waits for it */

static struct handle *handle_of(const struct fuse_file_info *info)
{
	return (struct handle *)(uintptr_t)info->fh;
}

/* --------------------------------------------------------------- attributes */

void file_getattr(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info)
{
	struct request request;
	struct stat stat;
	cleanup_version struct version *version = NULL;
	int error = 0;

	(void)info; /* fstat never passes the handle */
	request_start(&request, fuse);
	request_lock(&request);
	struct node *node = tree_node(request_tree(&request), id);
	if (node->kind == NODE_CONFIG && node->parent &&
	    !(node->draft && draft_is_visible_to(node, request.thread)))
		error = attributes_load(&request, node, VERSION_ATTRIBUTES, &version);
	/* What can't be read (any more) is there all the same; its mode says so. */
	if ((store_error_is_outage(error) && *node->md5) || error == -EACCES)
		error = 0;
	if (!error)
		error = attributes_load_rights(&request, node);
	/* Gone: who has it open may go on; for others the name may be there again, with another node. */
	if (error == -ENOENT)
		error = node->references ? 0 : -ESTALE;
	double timeout_s = attributes_timeout_s(request.filesystem, node);
	attributes_fill(request.filesystem, node, request.thread, &stat);
	request_unlock(&request);
	if (error)
		request_reply_error(&request, error);
	else
		fuse_reply_attr(fuse, &stat, timeout_s);
	notify_recheck(&request, id);
}

static int set_owner(const struct request *request, struct node *node, const struct stat *stat, int to_set)
{
	if (node_is_scratch(node)) {
		if (to_set & FUSE_SET_ATTR_UID)
			node->uid = stat->st_uid;
		if (to_set & FUSE_SET_ATTR_GID)
			node->gid = stat->st_gid;
		return 0;
	}
	(void)request;
	if ((to_set & FUSE_SET_ATTR_UID) && stat->st_uid != node->uid)
		return -EPERM;
	if ((to_set & FUSE_SET_ATTR_GID) && stat->st_gid != node->gid)
		return -EPERM;
	return 0;
}

/* Times of a config are kept until its content changes; the server has no place for them. */
static void set_times(struct node *node, const struct stat *stat, int to_set)
{
	if (!(to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)))
		return;
	node->modified = to_set & FUSE_SET_ATTR_MTIME_NOW ? clock_now() : stat->st_mtim;
	if (node->draft)
		node->draft->modified = node->modified;
}

/* truncate by path: saved at once, unless somebody is writing; then it is theirs to save. */
static int truncate_directly(struct request *request, struct node *node, size_t size)
{
	cleanup_version struct version *version = NULL;
	const struct writer writer = request_writer(request);
	int error = attributes_load(request, node, size ? VERSION_BASE : VERSION_ATTRIBUTES, &version);

	if (!error && version && version->size == size && !node->draft)
		return 0;
	if (!error)
		error = draft_change_directly(node, version, &writer);
	if (!error)
		error = buffer_resize(&node->draft->content, size);
	if (error || node->writers)
		return error;
	if (draft_is_blank(node)) {
		grace_keep_empty(request->filesystem, node);
		return 0;
	}
	error = draft_commit(request->filesystem, node, &request->call);
	if (!node->writers)
		draft_drop(node);
	return error;
}

static int set_size(struct request *request, struct node *node, struct handle *handle, off_t size)
{
	if (size < 0)
		return -EINVAL;
	if (node->kind == NODE_STATUS)
		return -EACCES;
	if (node->kind != NODE_CONFIG)
		return scratch_resize(request_tree(request), node, (size_t)size);
	if ((uint64_t)size > store_content_limit(request->filesystem->store))
		return -EFBIG;
	if (!handle || !handle->may_write)
		return truncate_directly(request, node, (size_t)size);
	if (handle->error)
		return handle->error;
	int error = draft_change(handle);
	return error ? error : buffer_resize(&node->draft->content, (size_t)size);
}

void file_setattr(fuse_req_t fuse, fuse_ino_t id, struct stat *stat, int to_set, struct fuse_file_info *info)
{
	struct request request;
	struct stat shown;
	int error = 0;

	request_start(&request, fuse);
	request_lock(&request);
	struct node *node = tree_node(request_tree(&request), id);
	if (request.filesystem->read_only && !node_is_scratch(node))
		error = -EROFS;
	if (!error && (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)))
		error = set_owner(&request, node, stat, to_set);
	if (!error && (to_set & FUSE_SET_ATTR_SIZE))
		error = set_size(&request, node, info ? handle_of(info) : NULL, stat->st_size);
	if (!error && (to_set & FUSE_SET_ATTR_MODE))
		attributes_set_mode(request.filesystem, node, stat->st_mode);
	if (!error) {
		set_times(node, stat, to_set);
		node->changed = clock_now();
	}
	double timeout_s = attributes_timeout_s(request.filesystem, node);
	attributes_fill(request.filesystem, node, request.thread, &shown);
	request_unlock(&request);
	if (error)
		request_reply_error(&request, error);
	else
		fuse_reply_attr(fuse, &shown, timeout_s);
	notify_recheck(&request, id);
}

/* Room is never short; only a longer size shows. */
void file_fallocate(fuse_req_t fuse, fuse_ino_t id, int mode, off_t offset, off_t length,
		    struct fuse_file_info *info)
{
	struct request request;
	struct handle *handle = handle_of(info);
	struct node *node = handle->node;

	(void)id;
	request_start(&request, fuse);
	if (mode) {
		request_reply_error(&request, -EOPNOTSUPP);
		return;
	}
	request_lock(&request);
	const struct buffer *content = node->draft ? &node->draft->content : &node->content;
	size_t size = content->size;
	if (node->kind == NODE_CONFIG && !node->draft && handle->version)
		size = handle->version->content.size;
	int error = 0;
	if ((uint64_t)offset + (uint64_t)length > size)
		error = set_size(&request, node, handle, offset + length);
	request_unlock(&request);
	request_reply_error(&request, error);
}

void file_readlink(fuse_req_t fuse, fuse_ino_t id)
{
	struct request request;

	request_start(&request, fuse);
	request_lock(&request);
	const struct node *node = tree_node(request_tree(&request), id);
	cleanup_free char *target = strdup(node->content.data ? node->content.data : "");
	request_unlock(&request);
	if (target)
		fuse_reply_readlink(fuse, target);
	else
		request_reply_error(&request, -ENOMEM);
}

/* --------------------------------------------------------------------- open */

/*
 * What this account may not do is refused here, because some programs never look at what close says. With the lock, which is
 * given up meanwhile.
 */
static int check_rights(struct request *request, const struct node *node, int flags)
{
	struct store *store = request->filesystem->store;
	bool reads = (flags & O_ACCMODE) != O_WRONLY && node->stored;
	bool writes = (flags & O_ACCMODE) != O_RDONLY;
	int error = 0;

	if (!node->parent)
		return 0;
	cleanup_place struct place *place = place_hold(node->place);
	error = acl_check_caller(request, place, (reads ? RIGHT_READ : 0) | (writes ? RIGHT_WRITE : 0));
	if (error)
		return error;
	request_unlock(request);
	if (reads)
		error = store_check_read(store, place, &request->call);
	if (!error && writes)
		error = store_check_write(store, place, &request->call);
	request_lock(request);
	return error;
}

/* What was never stored was never asked for: with logins of their own, one user's text is not shown to another before. */
static bool is_of_another(const struct request *request, const struct node *node, int flags)
{
	const struct draft *draft = node->draft;

	return request->filesystem->identities && !node->stored && draft && draft->content.size && request->uid &&
	       draft->writer.uid != request->uid && (flags & O_ACCMODE) != O_WRONLY;
}

static int open_config(struct request *request, struct node *node, int flags, struct handle **ret_handle)
{
	cleanup_version struct version *version = NULL;
	cleanup_version struct version *read = NULL;
	bool for_writing = (flags & O_ACCMODE) != O_RDONLY;
	bool blind = false;

	if (for_writing && request->filesystem->read_only)
		return -EROFS;
	int error = is_of_another(request, node, flags) ? -EACCES : check_rights(request, node, flags);
	if (!error)
		error = attributes_load(request, node, (flags & O_ACCMODE) == O_WRONLY ? VERSION_BASE : VERSION_WHOLE, &version);
	/* What may be written but not read can be written anew; so can what can't be decrypted. */
	if (error == -EACCES && for_writing && (flags & O_TRUNC) && node->unreadable &&
	    !check_rights(request, node, O_WRONLY)) {
		error = 0;
		blind = true;
	}
	bool anew = for_writing && ((flags & O_TRUNC) ||
				    (error == -EBADMSG && !(flags & (O_RDWR | O_APPEND))));
	if (anew && (error == -EBADMSG || error == -ENOKEY))
		error = attributes_load(request, node, VERSION_ATTRIBUTES, &version);
	if (!error && node->parent && node->content.memory)
		node->parent->has_secrets = true;
	if (!error)
		error = for_writing ? 0 : draft_version_for_reader(node, version, &read);
	if (error)
		return error;
	const struct writer writer = request_writer(request);
	struct handle *handle = handle_new(request->filesystem, node, flags, for_writing ? version : read, &writer);
	if (!handle)
		return -ENOMEM;
	handle->blind = blind;
	if (for_writing && (flags & O_TRUNC)) {
		error = draft_change(handle);
		if (error) {
			handle_free(request->filesystem, handle);
			return error;
		}
		buffer_clear(&node->draft->content);
	}
	*ret_handle = handle;
	return 0;
}

static int open_scratch(struct request *request, struct node *node, int flags, struct handle **ret_handle)
{
	const struct writer writer = request_writer(request);
	struct handle *handle = handle_new(request->filesystem, node, flags, NULL, &writer);

	if (!handle)
		return -ENOMEM;
	if (handle->may_write && (flags & O_TRUNC))
		scratch_resize(request_tree(request), node, 0);
	*ret_handle = handle;
	return 0;
}

static int open_status(struct request *request, struct node *node, int flags, struct handle **ret_handle)
{
	const struct writer writer = request_writer(request);
	cleanup_version struct version *version = NULL;

	if ((flags & O_ACCMODE) != O_RDONLY)
		return -EACCES;
	int error = control_read_status(request->filesystem, &version);
	if (error)
		return error;
	*ret_handle = handle_new(request->filesystem, node, flags, version, &writer);
	return *ret_handle ? 0 : -ENOMEM;
}

int file_open_node(struct request *request, struct node *node, struct fuse_file_info *info)
{
	struct handle *handle = NULL;
	int error;

	if (node->kind == NODE_CONFIG)
		error = open_config(request, node, info->flags, &handle);
	else if (node->kind == NODE_STATUS)
		error = open_status(request, node, info->flags, &handle);
	else
		error = open_scratch(request, node, info->flags, &handle);

	if (error)
		return error;
	info->fh = (uintptr_t)handle;
	/*
	 * The page cache can't hold two versions of one file, and a reader keeps the one that it opened; nor may it hold a
	 * secret, or what is only here.
	 */
	handle->is_cached = request->filesystem->kernel_cache && node->kind == NODE_CONFIG && !handle->may_write &&
			    !node->content.memory && !node->draft;
	info->direct_io = !handle->is_cached;
	info->keep_cache = handle->is_cached;
	info->noflush = !handle->may_write;
	return 0;
}

void file_open(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info)
{
	struct request request;

	request_start(&request, fuse);
	request_lock(&request);
	struct node *node = tree_node(request_tree(&request), id);
	node_hold(node);
	int error = file_open_node(&request, node, info);
	/* The name may be there again, with another node: this makes the kernel look once more. */
	if (error == -ENOENT)
		error = -ESTALE;
	bool is_stale = node->noticed;
	tree_drop(request_tree(&request), node);
	request_unlock(&request);
	/* Who asks the open file for its size must not get that of the version before; this waits for nobody. */
	if (!error && is_stale)
		fuse_lowlevel_notify_inval_inode(request.filesystem->session, id, -1, 0);
	if (error) {
		request_reply_error(&request, error);
	} else if (fuse_reply_open(fuse, info) == -ENOENT) {
		/* The caller is gone: there will be no release. */
		request_lock(&request);
		handle_free(request.filesystem, handle_of(info));
		request_unlock(&request);
	}
}

/* ------------------------------------------------------------ read and write */

/* Copies what is at offset, so that the answer can be sent without the lock. */
static void reply_copy(const struct request *request, const struct buffer *content, size_t size,
		       off_t offset)
{
	size_t start = (uint64_t)offset < content->size ? (size_t)offset : content->size;
	size_t length = content->size - start < size ? content->size - start : size;
	cleanup_buffer_wipe struct buffer copy = BUFFER_INIT_IN(content->memory);
	int error = length ? buffer_append(&copy, content->data + start, length) : 0;

	request_unlock(request);
	if (error)
		request_reply_error(request, error);
	else
		fuse_reply_buf(request->fuse, copy.data, length);
}

/* Does it read on behind the end of its version, while there is another one? As tail -f does. */
static bool is_past_end(const struct handle *handle, off_t offset)
{
	const struct version *version = handle->version;

	return version && handle->node->stored && handle->node->kind == NODE_CONFIG && !handle->may_write &&
	       (uint64_t)offset >= version->content.size && strcmp(version->md5, handle->node->md5) != 0;
}

/* Does a version begin with all of another? Who has read that one may read on in this one. */
static bool is_continued_by(const struct version *version, const struct version *later)
{
	size_t size = version->content.size;

	return later->content.size > size && (!size || !memcmp(version->content.data, later->content.data, size));
}

/*
 * What goes to the page cache must be the current version whoever asks for it, or the pages would be stale for all; when
 * there is none any more, the last one goes on. Who reads behind the end goes on with what was appended.
 */
static void follow_version(struct request *request, struct handle *handle)
{
	cleanup_version struct version *current = NULL;
	cleanup_version struct version *read = NULL;

	if (attributes_load(request, handle->node, VERSION_WHOLE, &current) ||
	    draft_version_for_reader(handle->node, current, &read) || !read ||
	    (!handle->is_cached && !is_continued_by(handle->version, read)))
		return;
	version_drop(handle->version);
	handle->version = steal_pointer(read);
}

void file_read(fuse_req_t fuse, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info)
{
	struct request request;
	struct handle *handle = handle_of(info);

	(void)id;
	request_start(&request, fuse);
	request_lock(&request);
	const struct node *node = handle->node;
	if (node->kind != NODE_CONFIG && (handle->may_write || !handle->version)) {
		reply_copy(&request, &node->content, size, offset);
		return;
	}
	if (handle->may_write && node->draft) {
		reply_copy(&request, &node->draft->content, size, offset);
		return;
	}
	/* Opened as a scratch file, which was renamed onto a config since. */
	if (!handle->version && node->stored)
		attributes_load(&request, handle->node, VERSION_WHOLE, &handle->version);
	if (handle->is_cached || is_past_end(handle, offset))
		follow_version(&request, handle);
	cleanup_version struct version *version = version_hold(handle->version);
	request_unlock(&request);
	if (!version || (uint64_t)offset >= version->content.size) {
		fuse_reply_buf(fuse, NULL, 0);
		return;
	}
	size_t left = version->content.size - (size_t)offset;
	fuse_reply_buf(fuse, version->content.data + offset, left < size ? left : size);
}

static int write_to_draft(struct handle *handle, size_t limit, const char *data, size_t size, off_t offset)
{
	struct node *node = handle->node;

	if ((uint64_t)offset + size > limit && !(handle->flags & O_APPEND))
		return -EFBIG;
	int error = draft_change(handle);
	if (error)
		return error;
	/* The kernel computes the offset of an append from the size that it knows, which may be another version's. */
	if (handle->flags & O_APPEND)
		offset = (off_t)node->draft->content.size;
	if ((uint64_t)offset + size > limit)
		return -EFBIG;
	return buffer_write(&node->draft->content, data, size, (size_t)offset);
}

static int write_config(struct handle *handle, size_t limit, const char *data, size_t size, off_t offset)
{
	int error = handle->error ? handle->error : write_to_draft(handle, limit, data, size, offset);

	if (error && !handle->error)
		handle_fail(handle, error);
	return error;
}

void file_write(fuse_req_t fuse, fuse_ino_t id, const char *data, size_t size, off_t offset,
		struct fuse_file_info *info)
{
	struct request request;
	struct handle *handle = handle_of(info);
	int error;

	(void)id;
	request_start(&request, fuse);
	request_lock(&request);
	if (handle->node->kind == NODE_CONFIG)
		error = write_config(handle, store_content_limit(request.filesystem->store), data, size, offset);
	else
		error = scratch_write(request_tree(&request), handle->node, data, size, offset,
				      handle->flags & O_APPEND);
	bool secret = handle->node->content.memory;
	request_unlock(&request);
	/* It is libfuse's own buffer, which goes on living: no copy of a secret may stay there. */
	if (secret)
		explicit_bzero((char *)data, size);
	if (error)
		request_reply_error(&request, error);
	else
		fuse_reply_write(fuse, size);
}

/* -------------------------------------------------------------------- commit */

/* What must be known of an open file to find out whether its last descriptor was closed. */
struct close_question {
	pid_t opener;
	pid_t toucher; /* opens files for writing too, and may be a descendant of anybody who started the daemon */
	struct process_file file;
	char name[NAME_MAX + 1];
	pid_t writers[CLOSE_WRITERS_MAX]; /* who opened the same file otherwise */
	size_t writer_count;
};

static void ask_of_close(const struct request *request, const struct handle *handle,
			 struct close_question *question)
{
	const struct node *node = handle->node;

	question->opener = handle->writer.process;
	question->toucher = touch_process(request->filesystem);
	snprintf(question->name, sizeof(question->name), "%s", node->name);
	question->file = (struct process_file){ node->id, question->name, request->filesystem->device };
	question->writer_count = 0;
	for (const struct handle *other = node->writers; other; other = other->next_writer)
		if (other != handle && question->writer_count < CLOSE_WRITERS_MAX)
			question->writers[question->writer_count++] = other->writer.process;
}

/* Has the process descriptors of this very open file left? Those of other opens of the same file do not count. */
static bool has_duplicates(const struct close_question *question, pid_t process)
{
	int others = 0;

	for (size_t i = 0; i < question->writer_count; i++)
		others += question->writers[i] == process;
	return process_count_writers(process, &question->file) > others;
}

/* Has a child got it from the opener, or from the child in between? */
static bool was_inherited(const struct close_question *question)
{
	pid_t descendants[PROCESS_DESCENDANTS_MAX];
	size_t count = process_list_descendants(question->opener, descendants);

	for (size_t i = 0; i < count; i++)
		if (descendants[i] != question->toucher && has_duplicates(question, descendants[i]))
			return true;
	return false;
}

enum close_kind { CLOSE_LAST, CLOSE_DUPLICATE, CLOSE_INHERITED, CLOSE_KILLED };

/*
 * FLUSH comes for each close of each duplicate: `echo x > file` sends two, the first while the file is empty. The
 * descriptor that is being closed is out of the table already, so any that is left is another one. Where /proc tells
 * nothing, every close is a last one: a publish too many rather than one too few.
 */
static enum close_kind answer_of_close(const struct close_question *question, pid_t thread)
{
	pid_t closer = process_of_thread(thread);

	if (process_is_killed(thread))
		return CLOSE_KILLED;
	if (has_duplicates(question, closer) ||
	    (closer != question->opener && has_duplicates(question, question->opener)))
		return CLOSE_DUPLICATE;
	return was_inherited(question) ? CLOSE_INHERITED : CLOSE_LAST;
}

static void abandon(struct handle *handle)
{
	struct node *node = handle->node;

	handle->abandoned = true;
	log_warning("%s: its writer was killed, what it wrote is dropped", node->name);
	handle_fail(handle, -EINTR);
}

/* Saves what the handle changed; a failure stays with the handle, unless the file is only empty so far. */
static int commit_handle(struct request *request, struct handle *handle)
{
	struct node *node = handle->node;

	if (node->deferred && node->parent)
		return 0;
	int error = draft_commit(request->filesystem, node, &request->call);
	if (error && !(error == -EINVAL && draft_is_blank(node)))
		handle_fail(handle, error);
	return error;
}

/* With the lock, which is given up while /proc is asked. */
static int flush_handle(struct request *request, struct handle *handle)
{
	struct close_question question;

	ask_of_close(request, handle, &question);
	request_unlock(request);
	enum close_kind kind = answer_of_close(&question, request->thread);
	request_lock(request);
	if (handle->error || handle->node->kind != NODE_CONFIG || !handle_is_dirty(handle))
		return handle->error;
	switch (kind) {
	case CLOSE_LAST:
		return commit_handle(request, handle);
	case CLOSE_KILLED:
		abandon(handle);
		break;
	case CLOSE_INHERITED:
		grace_save_open(request->filesystem, handle->node);
		break;
	case CLOSE_DUPLICATE:
		break;
	}
	return 0;
}

void file_flush(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info)
{
	struct request request;
	struct handle *handle = handle_of(info);

	(void)id;
	request_start(&request, fuse);
	request_lock(&request);
	int error = handle->error;
	if (!error && handle->node->kind == NODE_CONFIG && handle_is_dirty(handle))
		error = flush_handle(&request, handle);
	request_unlock(&request);
	request_reply_error(&request, error);
}

void file_fsync(fuse_req_t fuse, fuse_ino_t id, int data_only, struct fuse_file_info *info)
{
	struct request request;
	struct handle *handle = handle_of(info);

	(void)id;
	(void)data_only;
	request_start(&request, fuse);
	request_lock(&request);
	int error = handle->error;
	if (!error && handle->node->kind == NODE_CONFIG && handle_is_dirty(handle))
		error = commit_handle(&request, handle);
	request_unlock(&request);
	request_reply_error(&request, error);
}

/* Changes that no close saved: whoever made them left without one (a descriptor sent away, a daemon's child). */
static void commit_late(struct request *request, struct handle *handle)
{
	struct node *node = handle->node;

	if (node->kind != NODE_CONFIG || handle->error || !handle_is_dirty(handle))
		return;
	if (node->deferred) {
		grace_save_later(request->filesystem, node);
		return;
	}
	if (draft_is_blank(node))
		return;
	call_start(&request->call, RELEASE_TIMEOUT_MS);
	handle->error = draft_commit(request->filesystem, node, &request->call);
}

void file_release(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info)
{
	struct request request;
	struct handle *handle = handle_of(info);

	request_start(&request, fuse);
	request_lock(&request);
	bool is_secret = handle->node->content.memory;
	commit_late(&request, handle);
	handle_free(request.filesystem, handle);
	request_unlock(&request);
	request_reply_error(&request, 0);
	/* What was mapped (privately; the kernel refuses the rest) is in the page cache. Nobody waits for this any more. */
	if (is_secret)
		fuse_lowlevel_notify_inval_inode(request.filesystem->session, id, 0, 0);
}
