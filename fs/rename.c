#include "fs/rename.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/node/acl.h"
#include "fs/node/attributes.h"
#include "fs/save/draft.h"
#include "fs/save/grace.h"
#include "fs/node/names.h"
#include "util/process.h"
#include "fs/save/scratch.h"
#include "fs/save/unsaved.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/text.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* How long after a failed save an unlink by the same process means "drop what I wrote", not "remove the config". */
#define FAILED_SAVE_MS 5000

/* Waits until nobody commits the node; the lock is given up meanwhile. */
static int wait_commits(struct request *request, struct node *node)
{
	int error = 0;

	while (!error && node->committing)
		error = tree_wait(request_tree(request), &request->call);
	return error;
}

static int check_write(struct request *request, struct place *place)
{
	int error = acl_check_caller(request, place, RIGHT_WRITE);

	if (error)
		return error;
	request_unlock(request);
	error = store_check_write(request->filesystem->store, place, &request->call);
	request_lock(request);
	return error;
}

/* ------------------------------------------------------------------- unlink */

/* What can't be read can't be kept for a grace: it is removed at once, whatever it is. */
static int remove_unread(struct request *request, struct node *node, struct place *place)
{
	request_unlock(request);
	int error = store_remove(request->filesystem->store, place, NULL, &request->call);
	request_lock(request);
	if (!error && node->parent)
		tree_unlink(request_tree(request), node);
	return error;
}

/* Hides a config that the server has, to be removed when the grace is over. */
static int unlink_stored(struct request *request, struct node *node)
{
	struct tree *tree = request_tree(request);
	cleanup_place struct place *place = place_hold(node->place);
	cleanup_version struct version *version = NULL;

	int error = attributes_load(request, node, VERSION_BASE, &version);
	if (error == -EACCES && node->unreadable) {
		error = check_write(request, place);
		return error ? error : remove_unread(request, node, place);
	}
	if (!error)
		error = check_write(request, place);
	if (error || !node->parent)
		return error == -ENOENT ? 0 : error;
	/* Some programs remove the target of a copy that failed; the server's text has nothing to do with that. */
	bool cleans_up = node->failed_process &&
			 node->failed_process == process_of_thread(request->thread) &&
			 clock_monotonic_ms() - node->failed_ms < FAILED_SAVE_MS;
	error = grace_hide(request->filesystem, node, version, !cleans_up, request->uid);
	if (error)
		return error;
	node->parent->local = true;
	tree_unlink(tree, node);
	return 0;
}

/* A config that is here only, so far. */
static int unlink_unstored(struct request *request, struct node *node)
{
	struct tree *tree = request_tree(request);
	int error = 0;

	if (request->filesystem->per_user) {
		cleanup_place struct place *place = place_hold(node->place);
		error = check_write(request, place);
	}
	if (!error && node->parent)
		tree_unlink(tree, node);
	return error;
}

static int unlink_name(struct request *request, struct node *parent, const char *name)
{
	struct tree *tree = request_tree(request);
	struct node *node = tree_child(tree, parent, name);

	if (!node)
		return -ENOENT;
	if (node_is_directory(node))
		return -EISDIR;
	if (node_is_scratch(node)) {
		unsaved_node_removed(request->filesystem, node);
		tree_unlink(tree, node);
		return 0;
	}
	if (node->kind == NODE_STATUS)
		return -EPERM;
	if (request->filesystem->read_only)
		return -EROFS;
	node_hold(node);
	int error = wait_commits(request, node);
	if (!error && node->parent && node->stored)
		error = unlink_stored(request, node);
	else if (!error && node->parent)
		error = unlink_unstored(request, node);
	if (!error && !node->writers)
		draft_drop(node);
	tree_drop(tree, node);
	return error;
}

void rename_unlink(fuse_req_t fuse, fuse_ino_t parent, const char *name)
{
	struct request request;

	request_start_in_directory(&request, fuse);
	request_lock(&request);
	struct node *directory = tree_node(request_tree(&request), parent);
	int error = unlink_name(&request, directory, name);
	if (!error)
		node_touch_names(directory);
	request_unlock(&request);
	request_reply_error(&request, error);
}

/* ------------------------------------------------------------------- rename */

/* A rename while it runs. Nodes are held. */
struct renaming {
	struct request *request;
	struct node *source;
	struct node *parent, *new_parent;
	const char *new_name;
	struct node *target; /* NULL: no such node here */
	struct version *target_version; /* what the server has under the new name; NULL: nothing */
	bool target_is_theirs; /* it is newer than the temp file; what that was made from is not known any more */
	bool blind; /* that can't be read */
	struct place *place, *new_place; /* NULL where it is no place for configs */
};

/* The name leaves its old place and takes the new one, whoever was there. */
static int move_node(const struct renaming *renaming)
{
	struct tree *tree = request_tree(renaming->request);
	struct node *target = tree_child(tree, renaming->new_parent, renaming->new_name);

	if (target && target != renaming->source)
		tree_unlink(tree, target);
	node_touch_names(renaming->parent);
	node_touch_names(renaming->new_parent);
	renaming->source->changed = clock_now();
	return tree_move(tree, renaming->source, renaming->new_parent, renaming->new_name);
}

static int store_version(const struct renaming *renaming, const struct put *put, struct place *place,
			 struct version **ret_version)
{
	struct request *request = renaming->request;

	request_unlock(request);
	filesystem_grant_time(&request->call, put->size);
	int error = store_put(request->filesystem->store, place, put, &request->call, ret_version);
	char text[PLACE_TEXT_SIZE];
	place_format(place, text, sizeof(text));
	if (error)
		log_error("%s: not saved: %s", text, request->call.reason);
	else
		log_info("%s: saved, %zu bytes", text, put->size);
	request_lock(request);
	return error;
}

/*
 * What is the server's version under the new name? That of a name which was hidden a moment ago counts: the rename brings it back.
 */
static int load_target(struct renaming *renaming, bool scratch_name)
{
	struct request *request = renaming->request;
	struct store *store = request->filesystem->store;
	int error = 0;

	renaming->target_version =
		grace_base(request->filesystem, renaming->new_parent, renaming->new_name);
	if (renaming->target_version || (renaming->target && node_is_scratch(renaming->target)))
		return 0;
	if (!store_name_is_possible(store, NAME_DATA_ID, renaming->new_name))
		return 0;
	request_unlock(request);
	error = store_get(store, renaming->new_place, VERSION_BASE, &request->call,
			  &renaming->target_version);
	request_lock(request);
	renaming->blind = error == -EACCES && !scratch_name;
	if (error == -ENOENT || error == -EACCES)
		return 0;
	return error;
}

/* The node becomes the config of the new name, at the version that was just stored. */
static void finish_config(const struct renaming *renaming, struct version *version,
			  struct timespec modified)
{
	struct node *node = renaming->source;

	filesystem_guard_node(renaming->request->filesystem, node);
	draft_show_committed(node, version, modified);
	node->uid = renaming->request->filesystem->uid;
	node->gid = renaming->request->filesystem->gid;
	mode_t mode = node->mode;
	node->mode = MODE_ANY;
	attributes_set_mode(renaming->request->filesystem, node, mode);
	for (struct handle *writer = node->writers; writer; writer = writer->next_writer) {
		version_drop(writer->version);
		writer->version = version_hold(version);
		writer->remote_changes = node->remote_changes;
	}
}

/* The name that was hidden is there again, with another node. */
static void forget_hidden(const struct renaming *renaming)
{
	struct request *request = renaming->request;
	cleanup_version struct version *base = NULL;
	mode_t mode;

	grace_take_back(request->filesystem, renaming->new_parent, renaming->new_name, &request->call, &base,
			&mode);
}

static bool has_content(const struct version *version, const struct buffer *content)
{
	return version && version->content.size == content->size &&
	       !memcmp(version->content.data, content->data, content->size);
}

/* Who renames a temp file over a config removes it when the rename fails: the text is kept. */
static void keep_scratch(const struct renaming *renaming, int why)
{
	struct request *request = renaming->request;
	const struct node *source = renaming->source;
	cleanup_version struct version *theirs = NULL;

	if (renaming->target)
		node_set_failure(renaming->target, request->call.reason,
				 process_of_thread(request->thread));
	if (why == -EINVAL || source->error)
		return; /* empty, or not whole: nothing to keep */
	if (renaming->target_is_theirs) {
		theirs = version_hold(renaming->target_version);
	} else if (why == -EBUSY) {
		request_unlock(request);
		draft_load_theirs(request->filesystem, renaming->new_place, renaming->target_version,
				  &request->call, &theirs);
		request_lock(request);
	}
	const struct unsaved unsaved = {
		.place = renaming->new_place,
		.yours = source->content.data,
		.size = source->content.size,
		.base = renaming->target_is_theirs ? NULL : renaming->target_version,
		.theirs = theirs,
		.uid = request->uid,
		.gid = request->gid,
		.memory = source->content.memory,
		.reason = request->call.reason,
	};
	unsaved_keep(request->filesystem, &unsaved);
}

/*
 * A scratch file is renamed onto a config: this is the save of an editor that writes a temp file. What it started from is
 * the version that was shown when the temp file was made.
 */
static int save_scratch(struct renaming *renaming)
{
	struct request *request = renaming->request;
	struct node *source = renaming->source;
	struct node *target = renaming->target;
	cleanup_version struct version *version = NULL;
	cleanup_buffer_wipe struct buffer content = BUFFER_INIT_IN(source->content.memory);

	if (source->error)
		return call_fail(&request->call, source->error, "%s: was not written whole", source->name);
	renaming->target_is_theirs = target && target->remote_changes &&
				     target->remote_changed_ms > source->created_ms &&
				     !has_content(renaming->target_version, &source->content);
	if (renaming->target_is_theirs)
		return call_fail(&request->call, -EBUSY, "%s: somebody else changed it meanwhile",
				 renaming->new_name);
	if (!renaming->target_version && tree_has_vanished(request_tree(request), renaming->new_parent,
							   renaming->new_name, source->created_ms))
		return call_fail(&request->call, -EBUSY, "%s: somebody else removed it meanwhile",
				 renaming->new_name);
	if (has_content(renaming->target_version, &source->content)) {
		version = version_hold(renaming->target_version);
	} else {
		int error = buffer_append(&content, source->content.data, source->content.size);
		if (error)
			return error;
		const struct put put = {
			.content = content.data,
			.size = content.size,
			.base = renaming->target_version,
			.new_type = name_type(renaming->new_name),
			.blind = renaming->blind,
		};
		error = store_version(renaming, &put, renaming->new_place, &version);
		if (error)
			return error;
		unsaved_forget(request->filesystem, renaming->new_place, content.data, content.size);
	}
	struct timespec modified = source->modified;
	forget_hidden(renaming);
	int error = move_node(renaming);
	if (error)
		return error;
	scratch_to_config(request_tree(request), source, renaming->new_place);
	finish_config(renaming, version, modified);
	return 0;
}

/* A config is renamed to a scratch name: the first half of a save with a backup. It stays on the server. */
static int hide_config(struct renaming *renaming)
{
	struct request *request = renaming->request;
	struct node *source = renaming->source;
	cleanup_version struct version *version = NULL;
	int error = attributes_load(request, source, VERSION_WHOLE, &version);

	if (!error && source->stored)
		error = check_write(request, renaming->place);
	if (error)
		return error;
	const struct buffer *content = source->draft ? &source->draft->content : &version->content;
	if (source->stored)
		error = grace_hide(request->filesystem, source, version, false, request->uid);
	mode_t mode = attributes_mode(request->filesystem, source);
	if (!error)
		error = scratch_from_config(request_tree(request), source, content->data, content->size);
	if (error)
		return error;
	source->mode = mode;
	if (request->filesystem->per_user) {
		/* It has no ACL any more: it belongs to whoever renamed it, alone. */
		source->mode = 0600;
		source->uid = request->uid;
		source->gid = request->gid;
	}
	return move_node(renaming);
}

/* Puts back what was under the new name, after the second half of a move failed. */
static void undo_move(struct renaming *renaming, struct version *stored)
{
	struct request *request = renaming->request;
	struct store *store = request->filesystem->store;
	struct version *before = renaming->target_version;
	cleanup_version struct version *version = NULL;
	struct call call;
	char text[PLACE_TEXT_SIZE];
	int error;

	call_start(&call, request->filesystem->timeout_ms);
	call.uid = request->uid;
	request_unlock(request);
	if (before) {
		const struct put put = {
			.content = before->content.data,
			.size = before->content.size,
			.base = stored,
			.new_type = before->type,
		};
		filesystem_grant_time(&call, put.size);
		error = store_put(store, renaming->new_place, &put, &call, &version);
	} else {
		error = store_remove(store, renaming->new_place, stored, &call);
	}
	if (error)
		log_error("%s: holds the content of a move that failed, and can't be put back: %s",
			  place_format(renaming->new_place, text, sizeof(text)), call.reason);
	request_lock(request);
}

/*
 * The old config could not be removed. Only where it is known to be there is the new one taken back: otherwise that may be
 * the last copy.
 */
static int fail_move(struct renaming *renaming, int error, struct version *stored)
{
	char text[PLACE_TEXT_SIZE];

	if (error == -EEXIST || error == -EBUSY || error == -EACCES) {
		undo_move(renaming, stored);
		return error == -EEXIST ? -EIO : error;
	}
	log_error("%s: was moved there, but whether it is still under its old name too could not be learnt: %s",
		  place_format(renaming->new_place, text, sizeof(text)), renaming->request->call.reason);
	return error;
}

/* A config is renamed to another config's name: publish there with all metadata, then remove here. */
static int move_config(struct renaming *renaming)
{
	struct request *request = renaming->request;
	struct node *source = renaming->source;
	cleanup_version struct version *version = NULL;
	cleanup_version struct version *stored = NULL;
	cleanup_buffer_wipe struct buffer content = BUFFER_INIT_IN(source->content.memory);
	int error = attributes_load(request, source, VERSION_WHOLE, &version);

	if (!error && renaming->blind)
		error = call_fail(&request->call, -EACCES, "%s: can't be read, so it can't be replaced by another config",
				  renaming->new_name);
	if (error)
		return error;
	bool was_stored = version;
	bool dirty = draft_is_dirty(source);
	const struct buffer *from = source->draft ? &source->draft->content : &version->content;
	struct timespec modified = source->draft ? source->draft->modified : source->modified;
	error = buffer_append(&content, from->data, from->size);
	if (!error && was_stored)
		error = check_write(request, renaming->place);
	if (error)
		return error;
	if (text_is_utf8(content.data, content.size) && text_is_blank(content.data, content.size)) {
		if (was_stored || renaming->target_version)
			return call_fail(&request->call, -EINVAL, "%s: a config can't be empty", source->name);
		return move_node(renaming);
	}
	const struct put put = {
		.content = content.data,
		.size = content.size,
		.base = renaming->target_version,
		.new_type = name_type(renaming->new_name),
		.metadata_of = was_stored ? renaming->place : NULL,
	};
	error = store_version(renaming, &put, renaming->new_place, &stored);
	if (error)
		return error;
	if (was_stored) {
		request_unlock(request);
		error = store_remove(request->filesystem->store, renaming->place, version, &request->call);
		request_lock(request);
	}
	if (error)
		return fail_move(renaming, error, stored);
	forget_hidden(renaming);
	if (dirty || source->draft)
		draft_drop(source);
	error = move_node(renaming);
	if (!error)
		finish_config(renaming, stored, modified);
	return error;
}

/* Between places for configs, or from memory to one. */
static int rename_file(struct renaming *renaming)
{
	struct request *request = renaming->request;
	struct node *source = renaming->source;
	bool to_scratch = node_level(renaming->new_parent) == LEVEL_SCRATCH;
	bool scratch_name = to_scratch || name_is_scratch(renaming->new_name);
	bool possible = store_name_is_possible(request->filesystem->store, NAME_DATA_ID, renaming->new_name);
	int error = wait_commits(request, source);

	if (!error && renaming->target)
		error = wait_commits(request, renaming->target);
	if (!error && !to_scratch)
		error = load_target(renaming, scratch_name);
	bool to_config = !to_scratch && (renaming->target_version || !scratch_name ||
					 (renaming->target && renaming->target->kind == NODE_CONFIG));
	if (to_config && !possible)
		return -EINVAL;
	if (request->filesystem->read_only && (to_config || source->kind == NODE_CONFIG))
		return -EROFS;
	if (!error && to_config && source->kind == NODE_SCRATCH_LINK)
		return -EPERM;
	if (!error && to_config)
		error = check_write(request, renaming->new_place);
	/* What is moved can be read at its new place. */
	if (!error && source->kind == NODE_CONFIG)
		error = acl_check_caller(request, renaming->place, RIGHT_READ | RIGHT_WRITE);
	if (!error && source->kind == NODE_SCRATCH_FILE && to_config && request->filesystem->per_user &&
	    request->uid && request->uid != source->uid)
		return -EACCES;
	if (source->kind == NODE_CONFIG) {
		if (error)
			return error;
		return to_config ? move_config(renaming) : hide_config(renaming);
	}
	if (!error)
		error = to_config ? save_scratch(renaming) : move_node(renaming);
	if (error && to_config && source->kind == NODE_SCRATCH_FILE)
		keep_scratch(renaming, error);
	return error;
}

/* Directories: what is in memory only moves; what is on the server would be many moves, which the caller does better. */
static int rename_directory(struct renaming *renaming)
{
	struct node *source = renaming->source;
	enum directory_level level = node_level(renaming->new_parent);

	if (renaming->target) {
		if (!node_is_directory(renaming->target))
			return -ENOTDIR;
		if (renaming->target->first_child || renaming->target->kind != source->kind)
			return -ENOTEMPTY;
	}
	if (source->kind == NODE_SCRATCH_DIRECTORY) {
		bool fits = level == LEVEL_SCRATCH || (level == LEVEL_CONFIGS &&
						       name_is_scratch_directory(renaming->new_name));
		return fits ? move_node(renaming) : -EPERM;
	}
	return -EXDEV;
}

static int check_kinds(const struct renaming *renaming, unsigned flags)
{
	const struct node *target = renaming->target;

	if (flags & ~RENAME_NOREPLACE)
		return -EINVAL;
	if (target && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (target && node_is_directory(target) && !node_is_directory(renaming->source))
		return -EISDIR;
	if (strlen(renaming->new_name) > 255)
		return -ENAMETOOLONG;
	return 0;
}

static int rename_held(struct renaming *renaming, unsigned flags)
{
	int error = check_kinds(renaming, flags);

	if (error)
		return error;
	if (node_is_directory(renaming->source))
		return rename_directory(renaming);
	enum directory_level level = node_level(renaming->new_parent);
	if (level != LEVEL_CONFIGS && level != LEVEL_SCRATCH)
		return -EPERM;
	if (level == LEVEL_CONFIGS) {
		renaming->new_place = place_below(renaming->new_parent->place, renaming->new_name);
		if (!renaming->new_place)
			return -ENOMEM;
	}
	if (renaming->source->kind == NODE_CONFIG)
		renaming->place = place_hold(renaming->source->place);
	return rename_file(renaming);
}

void rename_rename(fuse_req_t fuse, fuse_ino_t parent_id, const char *name, fuse_ino_t new_parent_id,
		   const char *new_name, unsigned flags)
{
	struct request request;
	struct renaming renaming = { .request = &request, .new_name = new_name };
	int error = -ENOENT;

	request_start_in_directory(&request, fuse);
	request_lock(&request);
	struct tree *tree = request_tree(&request);
	renaming.parent = tree_node(tree, parent_id);
	renaming.new_parent = tree_node(tree, new_parent_id);
	renaming.source = tree_child(tree, renaming.parent, name);
	renaming.target = tree_child(tree, renaming.new_parent, new_name);
	if (renaming.source) {
		node_hold(renaming.source);
		if (renaming.target)
			node_hold(renaming.target);
		error = rename_held(&renaming, flags);
		tree_drop(tree, renaming.source);
		if (renaming.target)
			tree_drop(tree, renaming.target);
	}
	request_unlock(&request);
	version_drop(renaming.target_version);
	place_drop(renaming.place);
	place_drop(renaming.new_place);
	request_reply_error(&request, error);
}
