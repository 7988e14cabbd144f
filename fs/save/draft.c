#include "fs/save/draft.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/save/grace.h"
#include "fs/node/names.h"
#include "fs/follow/notify.h"
#include "util/process.h"
#include "fs/save/unsaved.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/hash.h"
#include "util/log.h"
#include "util/text.h"

#define THEIRS_TIMEOUT_MS 2000
#define THEIRS_PAUSE_MS 200

struct handle *handle_new(struct filesystem *filesystem, struct node *node, int flags,
			  struct version *version, const struct writer *writer)
{
	struct handle *handle = calloc(1, sizeof(*handle));

	if (!handle)
		return NULL;
	handle->node = node;
	node_hold(node);
	handle->flags = flags;
	handle->may_write = (flags & O_ACCMODE) != O_RDONLY;
	handle->version = version_hold(version);
	handle->remote_changes = node->remote_changes;
	handle->writer = *writer;
	handle->next_open = filesystem->handles;
	if (filesystem->handles)
		filesystem->handles->previous_open = handle;
	filesystem->handles = handle;
	if (handle->may_write) {
		handle->next_writer = node->writers;
		node->writers = handle;
	}
	return handle;
}

bool draft_is_dirty(const struct node *node)
{
	return node->draft && node->change_count > node->committed_change;
}

bool draft_is_blank(const struct node *node)
{
	const struct draft *draft = node->draft;

	return draft && text_is_utf8(draft->content.data, draft->content.size) &&
	       text_is_blank(draft->content.data, draft->content.size);
}

bool handle_is_dirty(const struct handle *handle)
{
	return handle->node->draft && handle->last_change > handle->node->committed_change;
}

void draft_drop(struct node *node)
{
	struct draft *draft = node->draft;

	if (!draft)
		return;
	node->draft = NULL;
	node->committed_change = node->change_count;
	buffer_wipe(&draft->content);
	version_drop(draft->base);
	free(draft);
}

void handle_fail(struct handle *handle, int error)
{
	struct node *node = handle->node;

	handle->error = error;
	handle->last_change = 0;
	for (const struct handle *other = node->writers; other; other = other->next_writer)
		if (handle_is_dirty(other))
			return;
	if (!node->draft)
		return;
	node->mode = node->draft->mode_before;
	draft_drop(node);
}

/* The last writer is gone: what of the draft stays? */
static void end_writing(struct filesystem *filesystem, struct node *node, bool failed)
{
	version_drop(node->last_commit);
	node->last_commit = NULL;
	if (!node->draft) {
		if (failed && !node->stored && node->parent)
			filesystem_unlink_node(filesystem, node);
		return;
	}
	if (!failed && node->parent && node->deferred && draft_is_dirty(node))
		return; /* saved when its grace is over */
	if (!failed && node->parent && (draft_is_dirty(node) || !node->stored) &&
	    draft_is_blank(node)) {
		grace_keep_empty(filesystem, node);
		return;
	}
	if (failed)
		node->mode = node->draft->mode_before;
	draft_drop(node);
	if (!node->stored && node->parent)
		filesystem_unlink_node(filesystem, node);
}

void handle_free(struct filesystem *filesystem, struct handle *handle)
{
	struct node *node = handle->node;

	if (handle->may_write) {
		struct handle **place = &node->writers;
		while (*place != handle)
			place = &(*place)->next_writer;
		*place = handle->next_writer;
		if (!node->writers && node->kind == NODE_CONFIG)
			end_writing(filesystem, node, handle->error || handle->abandoned);
	}
	*(handle->previous_open ? &handle->previous_open->next_open : &filesystem->handles) =
		handle->next_open;
	if (handle->next_open)
		handle->next_open->previous_open = handle->previous_open;
	version_drop(handle->version);
	tree_drop(&filesystem->tree, node);
	free(handle);
}

void handle_free_all(struct filesystem *filesystem)
{
	while (filesystem->handles) {
		draft_drop(filesystem->handles->node);
		handle_free(filesystem, filesystem->handles);
	}
}

int draft_version_for_reader(struct node *node, struct version *version, struct version **ret_version)
{
	struct draft *draft = node->draft;
	bool emptied = !node->writers && draft_is_blank(node);

	if (!draft || (version && !emptied)) {
		*ret_version = version_hold(version);
		return 0;
	}
	cleanup_buffer_wipe struct buffer copy = BUFFER_INIT_IN(draft->content.memory);
	int error = buffer_append(&copy, draft->content.data, draft->content.size);
	if (error)
		return error;
	struct version *snapshot = version_new(&copy, "", "", 0);
	if (!snapshot)
		return -ENOMEM;
	*ret_version = snapshot;
	return 0;
}

bool draft_is_visible_to(const struct node *node, pid_t process)
{
	if (!node->writers || !node->stored)
		return true;
	for (const struct handle *writer = node->writers; writer; writer = writer->next_writer)
		if (process_descends_from(process, writer->writer.process))
			return true;
	return false;
}

int draft_start(struct node *node, struct version *base)
{
	struct draft *draft = calloc(1, sizeof(*draft));

	if (!draft)
		return -ENOMEM;
	draft->base = version_hold(base);
	draft->modified = clock_now();
	draft->mode_before = node->mode;
	draft->content.memory = node->content.memory;
	node->draft = draft;
	return 0;
}

static int start_from(struct node *node, struct version *base)
{
	int error = draft_start(node, base);

	if (!error && base)
		error = buffer_append(&node->draft->content, base->content.data, base->content.size);
	if (error)
		draft_drop(node);
	return error;
}

int draft_change_directly(struct node *node, struct version *base, const struct writer *writer)
{
	int error = node->draft ? 0 : start_from(node, base);

	if (error)
		return error;
	node->change_count++;
	node->draft->modified = clock_now();
	node->draft->writer = *writer;
	return 0;
}

int draft_change(struct handle *handle)
{
	struct node *node = handle->node;
	struct version *base = handle->version;

	/* Others here saved since this handle was opened, nobody elsewhere: go on from what they saved. */
	if (node->last_commit && handle->remote_changes == node->remote_changes)
		base = node->last_commit;
	bool is_new = !node->draft;
	int error = draft_change_directly(node, base, &handle->writer);
	if (!error && is_new)
		node->draft->blind = handle->blind;
	if (!error)
		handle->last_change = node->change_count;
	return error;
}

void draft_show_committed(struct node *node, struct version *version, struct timespec modified)
{
	node->stored = true;
	node->unreadable = version->unconfirmed;
	node->deferred = false;
	node->failed_process = 0;
	node_set_error(node, NULL);
	if (version->serial < node->shown_serial)
		return; /* somebody changed it again before we came to say so */
	node->shown_serial = version->serial;
	strcpy(node->md5, version->md5);
	node->size = version->size;
	node->modified = modified;
	node->changed = modified;
}

/* What a commit carries while the lock is not held. */
struct commit {
	struct place *place;
	struct buffer content;
	struct version *base;
	bool blind;
	struct version *theirs; /* what the store has instead, after a conflict */
	struct writer writer;
	uint64_t change; /* number of the last change in content */
	struct timespec modified;
};

static void commit_release(struct commit *commit)
{
	place_drop(commit->place);
	buffer_wipe(&commit->content);
	version_drop(commit->base);
	version_drop(commit->theirs);
}

static int commit_prepare(const struct node *node, struct commit *commit)
{
	const struct draft *draft = node->draft;

	commit->content.memory = draft->content.memory;
	commit->place = place_hold(node->place);
	if (buffer_append(&commit->content, draft->content.data, draft->content.size))
		return -ENOMEM;
	commit->blind = draft->blind;
	commit->base = draft->blind ? NULL : version_hold(draft->base);
	commit->writer = draft->writer;
	commit->change = node->change_count;
	commit->modified = draft->modified;
	return 0;
}

static bool content_equals(const struct version *version, const struct buffer *content)
{
	return version && version->content.size == content->size &&
	       (!content->size || !memcmp(version->content.data, content->data, content->size));
}

/* Takes over what the store has now. Changes that were written meanwhile stay uncommitted, on the new base. */
static void commit_finish(struct node *node, struct commit *commit, struct version *version)
{
	node->committed_change = commit->change;
	draft_show_committed(node, version, commit->modified);
	version_drop(node->last_commit);
	node->last_commit = node->writers ? version_hold(version) : NULL;
	if (!node->draft)
		return;
	if (draft_is_dirty(node)) {
		version_drop(node->draft->base);
		node->draft->base = version_hold(version);
		return;
	}
	draft_drop(node);
	for (struct handle *writer = node->writers; writer; writer = writer->next_writer) {
		version_drop(writer->version);
		writer->version = version_hold(version);
		writer->remote_changes = node->remote_changes;
	}
}

void draft_load_theirs(struct filesystem *filesystem, struct place *place, const struct version *base,
		       const struct call *call, struct version **ret_theirs)
{
	struct call part;

	/* The server's read path may show the base for a moment longer. */
	call_start_part(&part, call, THEIRS_TIMEOUT_MS);
	for (;;) {
		struct version *theirs = NULL;
		if (store_get(filesystem->store, place, VERSION_WHOLE, &part, &theirs))
			return;
		if (!base || strcmp(theirs->md5, base->md5)) {
			*ret_theirs = theirs;
			return;
		}
		version_drop(theirs);
		if (call_sleep(&part, THEIRS_PAUSE_MS))
			return;
	}
}

static int commit_store(struct filesystem *filesystem, struct commit *commit, struct call *call,
			struct version **ret_version)
{
	const struct put put = {
		.content = commit->content.data,
		.size = commit->content.size,
		.base = commit->base,
		.new_type = name_type(place_data_id(commit->place)),
		.blind = commit->blind,
	};
	char text[PLACE_TEXT_SIZE];
	/* Whoever closes last, or has it saved later: it is what the writer wrote. */
	call->uid = commit->writer.uid;
	filesystem_grant_time(call, commit->content.size);
	int error = store_put(filesystem->store, commit->place, &put, call, ret_version);

	place_format(commit->place, text, sizeof(text));
	if (error)
		log_error("%s: not saved: %s", text, call->reason);
	else
		log_info("%s: saved, %zu bytes", text, commit->content.size);
	if (error == -EBUSY)
		draft_load_theirs(filesystem, commit->place, commit->base, call, &commit->theirs);
	return error;
}

static void commit_fail(struct filesystem *filesystem, struct node *node, const struct commit *commit,
			const char *reason)
{
	const struct unsaved unsaved = {
		.place = commit->place,
		.yours = commit->content.data,
		.size = commit->content.size,
		.base = commit->base,
		.theirs = commit->theirs,
		.uid = commit->writer.uid,
		.gid = commit->writer.gid,
		.memory = commit->content.memory,
		.reason = reason,
	};

	node_set_failure(node, reason, commit->writer.process);
	unsaved_keep(filesystem, &unsaved);
}

int draft_commit(struct filesystem *filesystem, struct node *node, struct call *call)
{
	struct tree *tree = &filesystem->tree;
	struct commit commit = { 0 };
	cleanup_version struct version *version = NULL;
	int error = 0;

	while (!error && node->committing)
		error = tree_wait(tree, call);
	if (error || !draft_is_dirty(node) || !node->parent || node->kind != NODE_CONFIG)
		return error;
	if (draft_is_blank(node))
		return call_fail(call, -EINVAL, "%s: a config can't be empty", node->name);
	error = commit_prepare(node, &commit);
	if (error)
		goto out;
	if (content_equals(commit.base, &commit.content)) {
		version = version_hold(commit.base);
		/* Nothing was saved, so the time is that of the server's text, or the one that was set here. */
		commit.modified = node->modified;
		commit_finish(node, &commit, version);
		goto out;
	}
	node->committing = true;
	node_hold(node);
	pthread_mutex_unlock(&tree->lock);
	error = commit_store(filesystem, &commit, call, &version);
	pthread_mutex_lock(&tree->lock);
	node->committing = false;
	pthread_cond_broadcast(&tree->changed);
	if (error) {
		commit_fail(filesystem, node, &commit, call->reason);
	} else {
		commit_finish(node, &commit, version);
		/* Who was woken by the writes has read what was there before. */
		notify_content(filesystem, node);
		unsaved_forget(filesystem, commit.place, commit.content.data, commit.content.size);
	}
	tree_drop(tree, node);
out:
	commit_release(&commit);
	return error;
}

void draft_keep_all(struct filesystem *filesystem)
{
	struct tree *tree = &filesystem->tree;

	for (size_t i = 0; i < tree->bucket_count; i++) {
		for (struct node *node = tree->by_id[i]; node; node = node->next_by_id) {
			struct commit commit = { 0 };
			if (node->kind != NODE_CONFIG || !node->parent || !draft_is_dirty(node) ||
			    draft_is_blank(node))
				continue;
			if (commit_prepare(node, &commit))
				log_error("%s: out of memory, what was written is lost", node->name);
			else
				commit_fail(filesystem, node, &commit, "unmounted while it was written");
			commit_release(&commit);
		}
	}
}
