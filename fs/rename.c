#include "fs/rename.h"

#include <errno.h>
#include <string.h>

#include "fs/follow/refresh.h"
#include "fs/node/access.h"
#include "fs/node/draft.h"
#include "fs/node/names.h"
#include "fs/node/show.h"
#include "fs/save/ask.h"
#include "fs/save/grace.h"
#include "fs/save/private.h"
#include "fs/save/save.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/text.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/*
 * A rename while it runs. The nodes are held by the request; what is at the two places waits for
 * its end.
 */
struct renaming {
	struct request *request;
	struct saver *saver;
	struct tree *tree;
	struct held *source;
	struct node *parent, *new_parent;
	struct node *target; /* NULL: no such node here */
	struct place *place, *new_place; /* NULL where it is no place for configs */
	struct version *target_version; /* what the server has under the new name; NULL: nothing */
	bool blind; /* that can't be read */
	struct save save; /* of what is to be under the new name */
	uint64_t change; /* of a config: the last one that is in it */
};

/* ------------------------------------------------------------------ the two names */

/* The name leaves its old place and takes the new one, whoever was there. */
static int move_node(const struct renaming *renaming) LOCKED
{
	struct tree *tree = renaming->tree;
	struct node *source = renaming->source->node;
	struct node *target = tree_child(tree, renaming->new_parent, renaming->request->new_name);

	if (target && target != source)
		tree_unlink(tree, target);
	node_touch_names(renaming->parent);
	node_touch_names(renaming->new_parent);
	*node_changed(source) = clock_now();
	return tree_move(tree, source, renaming->new_parent, renaming->request->new_name);
}

/*
 * What is the server's version under the new name? That of a name which was hidden a moment ago
 * counts: the rename brings it back.
 */
static int load_target(struct renaming *renaming, bool private_name) LOCKED
{
	struct tree *tree = renaming->tree;
	const char *name = renaming->request->new_name;

	renaming->target_version = grace_base(renaming->saver, renaming->new_place);
	if (renaming->target_version || (renaming->target && node_is_private(renaming->target)) ||
	    !store_name_is_possible(tree->terms->store, NAME_DATA_ID, name))
		return 0;
	int error = ask_get(tree, &renaming->request->call, renaming->new_place, VERSION_BASE,
			    &renaming->target_version);
	renaming->blind = error == -EACCES && !private_name;
	return error == -ENOENT || error == -EACCES ? 0 : error;
}

/*
 * The node has become the config of the new name, at the version that was just stored: its text as
 * it was at that change.
 */
static void finish_config(const struct renaming *renaming, struct version *version, uint64_t change,
			  struct timespec modified) LOCKED
{
	struct node *node = renaming->source->node;
	mode_t mode = node->mode;

	save_show(node, version, change, modified);
	node->mode = MODE_ANY;
	access_set_mode(renaming->tree, node, mode);
}

/* The name that was hidden is there again, with another node. */
static void forget_hidden(const struct renaming *renaming) LOCKED
{
	cleanup_version struct version *base = NULL;
	mode_t mode;

	grace_take_back(renaming->saver, renaming->new_place, &renaming->request->call, &base, &mode);
}

/* ------------------------------------------------------------------- a temp file is the save */

static int take_private(struct renaming *renaming) LOCKED
{
	const struct private_file *file = renaming->source->node->file;
	struct save *save = &renaming->save;
	struct request *request = renaming->request;

	if (file->error)
		return call_fail(&request->call, file->error, "%s: was not written whole",
				 node_name(renaming->source->node));
	save->content.memory = file->content.memory;
	save->base = version_hold(renaming->target_version);
	save->blind = renaming->blind;
	save->writer = request_writer(request);
	return file->content.size ? buffer_append(&save->content, file->content.data, file->content.size) : 0;
}

/* Has the config changed elsewhere since the temp file was made, from what was shown then? */
static int check_base(struct renaming *renaming) LOCKED
{
	struct save *save = &renaming->save;
	struct call *call = &renaming->request->call;
	const struct config *config = renaming->target ? renaming->target->config : NULL;
	int64_t created_ms = renaming->source->node->file->created_ms;
	const char *name = renaming->request->new_name;

	if (save_is_content_of(renaming->target_version, &save->content))
		return 0;
	if (config && config->remote_changes && config->remote_changed_ms > created_ms) {
		call_fail(call, -EBUSY, "%s: somebody else changed it meanwhile", name);
		save_refuse(save, -EBUSY, renaming->target_version);
		/* What it was made from is not known any more. */
		version_drop(save->base);
		save->base = NULL;
		return -EBUSY;
	}
	if (!renaming->target_version && tree_has_vanished(renaming->tree, renaming->new_place, created_ms)) {
		call_fail(call, -EBUSY, "%s: somebody else removed it meanwhile", name);
		return save_refuse(save, -EBUSY, NULL);
	}
	return 0;
}

/*
 * What was written to the temp file while it was stored is unsaved: of who has it open, or, closed
 * since, of the grace.
 */
static int start_draft(const struct renaming *renaming, struct version *version,
		       struct buffer *content) LOCKED
{
	struct node *node = renaming->source->node;
	int error = draft_start(renaming->tree, node, version);

	if (error)
		return error;
	buffer_move(&node_draft(node)->content, content);
	draft_note_change(node, &renaming->save.writer);
	for (struct handle *writer = node->writers; writer; writer = writer->next_writer)
		writer->last_change = node->config->change_count;
	if (!node->writers) {
		node->config->deferred = true;
		grace_save_later(renaming->saver, node);
	}
	return 0;
}

/* It is the config now. */
static int become_config(struct renaming *renaming, struct version *version) LOCKED
{
	struct node *source = renaming->source->node;
	const struct buffer *content = &source->file->content;
	struct timespec modified = source->file->modified;
	cleanup_buffer_wipe struct buffer later = BUFFER_INIT_IN(content->memory);
	bool is_changed = !save_is_content_of(version, content);
	int error = is_changed && content->size ? buffer_append(&later, content->data, content->size) : 0;

	if (error)
		return error;
	forget_hidden(renaming);
	error = tree_make_config(renaming->tree, source);
	if (!error)
		error = move_node(renaming);
	if (error)
		return error;
	finish_config(renaming, version, source->config->change_count, modified);
	return is_changed ? start_draft(renaming, version, &later) : 0;
}

/*
 * A private file is renamed onto a config: this is the save of an editor that writes a temp file.
 * What it started from is the version that was shown when the temp file was made.
 */
static int save_private(struct renaming *renaming, int refused) LOCKED
{
	struct request *request = renaming->request;
	struct save *save = &renaming->save;
	int error = take_private(renaming);

	if (error)
		goto failed;
	error = refused;
	if (error) {
		/* Who may not write it may not read it either, perhaps: its text is not for him. */
		version_drop(save->base);
		save->base = NULL;
		save_refuse(save, error, NULL);
		goto failed;
	}
	error = check_base(renaming);
	if (!error && !save_is_content_of(renaming->target_version, &save->content)) {
		error = save_run(renaming->saver, &request->call, save);
		if (error == -EINVAL)
			save->is_kept = false; /* empty: nothing to keep */
	}
	if (!error)
		error = become_config(renaming, save->version ? save->version : renaming->target_version);
failed:
	if (error && renaming->target)
		node_set_failure(renaming->target, request->call.reason, save->writer.process);
	return error;
}

/* ------------------------------------------------------------------------- a backup is made */

/*
 * A config is renamed to a private name: the first half of a save with a backup. It stays on the
 * server.
 */
static int hide_config(struct renaming *renaming) LOCKED
{
	struct request *request = renaming->request;
	struct tree *tree = renaming->tree;
	struct node *source = renaming->source->node;
	cleanup_version struct version *version = NULL;
	int error = refresh_config(tree, &request->call, renaming->source, VERSION_WHOLE, &version);

	if (!error && source->is_stored)
		error = request_check_write(request, renaming->place);
	if (error)
		return error;
	const struct buffer *content = node_draft(source) ? &node_draft(source)->content : &version->content;
	if (source->is_stored)
		error = grace_hide(renaming->saver, source, version, false, request->asker.uid);
	mode_t mode = access_mode(tree, source);
	if (!error)
		error = private_from_config(tree, source, content->data, content->size);
	if (error)
		return error;
	source->mode = (uint16_t)mode;
	if (tree->terms->per_user) {
		/* It has no ACL any more: it belongs to whoever renamed it, alone. */
		source->mode = 0600;
		tree_set_owner(tree, source, request->asker.uid, request->asker.gid);
	}
	return move_node(renaming);
}

/* ---------------------------------------------------------------------------------- a move */

/* Puts back what was under the new name, after the second half of a move failed. */
static void undo_move(struct renaming *renaming) LOCKED
{
	struct version *before = renaming->target_version;
	cleanup_version struct version *version = NULL;
	struct call call;
	char text[PLACE_TEXT_SIZE];
	int error;

	call_start(&call, renaming->tree->terms->timeout_ms);
	call.uid = renaming->request->asker.uid;
	if (before) {
		const struct put put = {
			.content = before->content.data,
			.size = before->content.size,
			.base = renaming->save.version,
			.new_type = before->type,
		};
		ask_grant_time(&call, put.size);
		error = ask_put(renaming->tree, &call, renaming->new_place, &put, &version);
	} else {
		error = ask_remove(renaming->tree, &call, renaming->new_place, renaming->save.version);
	}
	if (error)
		log_error("%s: holds the content of a move that failed, and can't be put back: %s",
			  place_format(renaming->new_place, text, sizeof(text)), call.reason);
}

/*
 * The old config could not be removed. Only where it is known to be there is the new one taken
 * back: otherwise that may be the last copy.
 */
static int fail_move(struct renaming *renaming, int error) LOCKED
{
	char text[PLACE_TEXT_SIZE];

	if (error == -EEXIST || error == -EBUSY || error == -EACCES) {
		undo_move(renaming);
		return error == -EEXIST ? -EIO : error;
	}
	log_error("%s: was moved there, but whether it is still under its old name too could not be learnt: %s",
		  place_format(renaming->new_place, text, sizeof(text)), renaming->request->call.reason);
	return error;
}

/*
 * The text of the source, with what is written to it. version: what the server has of it, NULL:
 * nothing.
 */
static int take_config(struct renaming *renaming, const struct version *version) LOCKED
{
	struct request *request = renaming->request;
	struct save *save = &renaming->save;
	const struct node *source = renaming->source->node;
	const struct buffer *from = node_draft(source) ? &node_draft(source)->content : &version->content;

	renaming->change = source->config->change_count;
	save->content.memory = node_memory(renaming->tree, source);
	int error = from->size ? buffer_append(&save->content, from->data, from->size) : 0;
	if (error)
		return error;
	save->base = version_hold(renaming->target_version);
	save->metadata_of = version ? renaming->place : NULL;
	save->writer = (struct writer){ 0, request->asker.uid, request->asker.gid };
	return 0;
}

static bool is_blank(const struct buffer *content)
{
	return text_is_utf8(content->data, content->size) && text_is_blank(content->data, content->size);
}

/*
 * A config is renamed to another config's name: publish there with all metadata, then remove here.
 */
static int move_config(struct renaming *renaming) LOCKED
{
	struct request *request = renaming->request;
	struct save *save = &renaming->save;
	struct node *source = renaming->source->node;
	cleanup_version struct version *version = NULL;
	int error = refresh_config(renaming->tree, &request->call, renaming->source, VERSION_WHOLE, &version);

	if (!error && renaming->blind)
		error = call_fail(&request->call, -EACCES, "%s: can't be read, so it can't be replaced by another config",
				  request->new_name);
	if (!error)
		error = take_config(renaming, version);
	if (!error && version)
		error = request_check_write(request, renaming->place);
	if (error)
		return error;
	if (is_blank(&save->content)) {
		if (version || renaming->target_version)
			return call_fail(&request->call, -EINVAL, "%s: a config can't be empty", node_name(source));
		return move_node(renaming);
	}
	struct timespec modified = node_draft(source) ? node_draft(source)->modified : source->config->modified;
	error = save_run(renaming->saver, &request->call, save);
	save->is_kept = false; /* it is still under its old name */
	if (error)
		return error;
	if (version)
		error = ask_remove(renaming->tree, &request->call, renaming->place, version);
	if (error)
		return fail_move(renaming, error);
	forget_hidden(renaming);
	error = move_node(renaming);
	if (!error)
		finish_config(renaming, save->version, renaming->change, modified);
	return error;
}

/* ---------------------------------------------------------------------------------- which */

/* May a private file of another user become a config? Its text would be his. */
static bool is_of_another(const struct renaming *renaming) LOCKED
{
	const struct request *request = renaming->request;
	const struct node *source = renaming->source->node;

	return source->kind == NODE_PRIVATE_FILE && request_terms(request)->per_user && request->asker.uid &&
	       request->asker.uid != source->file->uid;
}

/* Between places for configs, or from memory to one; with both places marked. */
static int rename_marked(struct renaming *renaming) LOCKED
{
	struct request *request = renaming->request;
	const struct terms *terms = renaming->tree->terms;
	struct node *source = renaming->source->node;
	bool is_config = source->kind == NODE_CONFIG;
	bool private_name = !renaming->new_place || name_is_private(request->new_name);
	int error = renaming->new_place ? load_target(renaming, private_name) : 0;
	bool to_config = renaming->new_place && (renaming->target_version || !private_name ||
						 (renaming->target && renaming->target->kind == NODE_CONFIG));

	if (to_config && !store_name_is_possible(terms->store, NAME_DATA_ID, request->new_name))
		return -EINVAL;
	if (terms->read_only && (to_config || is_config))
		return -EROFS;
	if (!error && to_config && source->kind == NODE_PRIVATE_LINK)
		return -EPERM;
	if (!error && to_config)
		error = request_check_write(request, renaming->new_place);
	/* What is moved can be read at its new place. */
	if (!error && is_config)
		error = request_check(request, renaming->place, RIGHT_READ | RIGHT_WRITE);
	if (!error && to_config && is_of_another(renaming))
		return -EACCES;
	if (!is_config && to_config && source->kind == NODE_PRIVATE_FILE)
		return save_private(renaming, error);
	if (error)
		return error;
	if (is_config)
		return to_config ? move_config(renaming) : hide_config(renaming);
	return move_node(renaming);
}

static int rename_file(struct renaming *renaming) LOCKED
{
	struct request *request = renaming->request;
	struct save *save = &renaming->save;
	int error = 0;

	/*
	 * What is removed is not to be removed any more when it is saved, and what waits for its
	 * grace not to be saved here.
	 */
	save->place = renaming->new_place ? renaming->new_place : renaming->place;
	if (save->place)
		error = save_begin(renaming->saver, &request->call, save, renaming->place);
	if (!error && (!renaming->source->node->parent || !node_is_there(renaming->tree, renaming->new_parent)))
		error = -ENOENT;
	if (!error)
		error = rename_marked(renaming);
	save_end(renaming->saver, &request->call, save);
	return error;
}

/*
 * Directories: what is in memory only moves; what is on the server would be many moves, which the
 * caller does better.
 */
static int rename_directory(struct renaming *renaming) LOCKED
{
	const struct node *source = renaming->source->node, *target = renaming->target;
	enum directory_level level = node_level(renaming->new_parent);

	/* .nacosfs and what it is made of stay where tools look for them. */
	if (source->directory->hidden || renaming->parent->directory->hidden)
		return -EPERM;
	if (target && !target->directory)
		return -ENOTDIR;
	if (target && (target->directory->first_child || target->kind != source->kind))
		return -ENOTEMPTY;
	if (source->kind != NODE_PRIVATE_DIRECTORY)
		return -EXDEV;
	bool fits = level == LEVEL_PRIVATE ||
		    (level == LEVEL_CONFIGS && name_is_private_directory(renaming->request->new_name));
	return fits ? move_node(renaming) : -EPERM;
}

static int check_kinds(const struct renaming *renaming) LOCKED
{
	const struct request *request = renaming->request;
	const struct node *target = renaming->target;

	if (request->flags & ~RENAME_NOREPLACE)
		return -EINVAL;
	if (target && (request->flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (target && node_is_directory(target) && !node_is_directory(renaming->source->node))
		return -EISDIR;
	return strlen(request->new_name) > 255 ? -ENAMETOOLONG : 0;
}

int rename_node(struct request *request)
{
	struct tree *tree = request_tree(request);
	struct node *parent = request->node.node, *new_parent = request->new_parent.node;
	struct node *source = tree_child(tree, parent, request->name);
	struct node *target = tree_child(tree, new_parent, request->new_name);
	enum directory_level level = node_level(new_parent);

	if (!source || !node_is_there(tree, new_parent))
		return -ENOENT;
	if (target)
		request_hold(request, target);
	cleanup_place struct place *place = source->kind == NODE_CONFIG ? place_hold(source->place) : NULL;
	cleanup_place struct place *new_place =
		level == LEVEL_CONFIGS ? place_below(new_parent->place, request->new_name) : NULL;
	struct renaming renaming = {
		.request = request,
		.saver = &request->filesystem->saver,
		.tree = tree,
		.source = request_hold(request, source),
		.parent = parent,
		.new_parent = new_parent,
		.target = target,
		.place = place,
		.new_place = new_place,
	};
	int error = check_kinds(&renaming);
	if (error)
		return error;
	if (node_is_directory(source))
		return rename_directory(&renaming);
	if (level != LEVEL_CONFIGS && level != LEVEL_PRIVATE)
		return -EPERM;
	error = rename_file(&renaming);
	version_drop(renaming.target_version);
	save_release(&renaming.save);
	return error;
}
