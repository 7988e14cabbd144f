#include "fs/save/save.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/node/draft.h"
#include "fs/node/names.h"
#include "fs/node/saving.h"
#include "fs/node/show.h"
#include "fs/node/wake.h"
#include "fs/save/ask.h"
#include "fs/save/handle.h"
#include "fs/save/kept.h"
#include "util/cleanup.h"
#include "util/log.h"

#define THEIRS_TIMEOUT_MS 2000
#define THEIRS_PAUSE_MS 200

/* ---------------------------------------------------------------------------- the three steps */

int save_wait(struct saver *saver, struct call *call, struct place *place)
{
	int error = 0;

	while (!error && saving_is_marked(saver->tree, place))
		error = tree_wait(saver->tree, call);
	return error;
}

int save_begin(struct saver *saver, struct call *call, struct save *save, struct place *also)
{
	struct tree *tree = saver->tree;
	int error = 0;

	if (also == save->place)
		also = NULL;
	/* Nobody waits with one of two marks in his hands. */
	while (!error && (saving_is_marked(tree, save->place) || saving_is_marked(tree, also)))
		error = tree_wait(tree, call);
	if (!error)
		error = saving_mark(tree, save->place);
	if (error)
		return error;
	error = also ? saving_mark(tree, also) : 0;
	if (error) {
		saving_unmark(tree, save->place);
		return error;
	}
	save->also = also;
	save->is_begun = true;
	return 0;
}

/* The server's read path may show the base for a moment longer. */
static void load_theirs(struct saver *saver, const struct call *call, struct save *save) LOCKED
{
	struct call part;

	call_start_part(&part, call, THEIRS_TIMEOUT_MS);
	for (;;) {
		struct version *theirs = NULL;

		if (ask_get(saver->tree, &part, save->place, VERSION_WHOLE, &theirs))
			return;
		if (!save->base || strcmp(theirs->md5, save->base->md5)) {
			save->theirs = theirs;
			return;
		}
		version_drop(theirs);
		if (ask_pause(saver->tree, &part, THEIRS_PAUSE_MS))
			return;
	}
}

int save_run(struct saver *saver, struct call *call, struct save *save)
{
	const struct put put = {
		.content = save->content.data,
		.size = save->content.size,
		.base = save->base,
		.new_type = name_type(place_data_id(save->place)),
		.metadata_of = save->metadata_of,
		.blind = save->blind,
	};
	char text[PLACE_TEXT_SIZE];

	place_format(save->place, text, sizeof(text));
	/* whoever closes last, or has it saved later: it is what the writer wrote */
	call->uid = save->writer.uid;
	ask_grant_time(call, put.size);
	save->error = ask_put(saver->tree, call, save->place, &put, &save->version);
	save->is_kept = save->error;
	if (save->error)
		log_error("%s: not saved: %s", text, call->reason);
	else
		log_info("%s: saved, %zu bytes", text, put.size);
	if (save->error == -EBUSY)
		load_theirs(saver, call, save);
	return save->error;
}

int save_refuse(struct save *save, int error, struct version *theirs)
{
	save->error = error;
	save->is_kept = true;
	save->theirs = version_hold(theirs);
	return error;
}

static void keep(struct saver *saver, const struct save *save, const char *reason) LOCKED
{
	const struct kept_text text = {
		.place = save->place,
		.yours = save->content.data,
		.size = save->content.size,
		.base = save->base,
		.theirs = save->theirs,
		.memory = save->content.memory,
		.uid = save->writer.uid,
		.gid = save->writer.gid,
		.reason = reason,
	};

	kept_keep(saver, &text);
}

/* What was seen there while it was marked is looked at again. */
static void unmark(struct tree *tree, struct place *place) LOCKED
{
	struct node *node = tree_at(tree, place);

	saving_unmark(tree, place);
	if (node)
		wake_look_again(tree, node);
}

void save_end(struct saver *saver, struct call *call, struct save *save)
{
	if (!save->is_begun)
		return;
	if (save->is_kept)
		keep(saver, save, call->reason);
	else if (!save->error && save->version)
		kept_forget(saver, save->place, save->content.data, save->content.size);
	unmark(saver->tree, save->place);
	if (save->also)
		unmark(saver->tree, save->also);
	save->is_begun = false;
	if (save->error == -EBUSY)
		/* another was faster: see at once what is there */
		wake_changed(saver->tree, save->place);
	kept_sync(saver);
}

void save_release(struct save *save)
{
	buffer_wipe(&save->content);
	version_drop(save->base);
	version_drop(save->version);
	version_drop(save->theirs);
	save->base = save->version = save->theirs = NULL;
}

bool save_is_content_of(const struct version *version, const struct buffer *content)
{
	return version && version->content.size == content->size &&
	       (!content->size || !memcmp(version->content.data, content->data, content->size));
}

/* ------------------------------------------------------------------------------- of a draft */

/* The draft as it is now. */
static int take_draft(const struct node *node, struct save *save) LOCKED
{
	const struct draft *draft = node_draft(node);

	save->content.memory = draft->content.memory;
	if (buffer_append(&save->content, draft->content.data, draft->content.size))
		return -ENOMEM;
	save->blind = draft->blind;
	save->base = draft->blind ? NULL : version_hold(draft->base);
	save->writer = draft->writer;
	return 0;
}

void save_show(struct node *node, struct version *version, uint64_t change, struct timespec modified)
{
	struct config *config = node->config;

	config->committed_change = change;
	show_saved(node, version, modified);
	version_drop(config->last_commit);
	config->last_commit = node->writers ? version_hold(version) : NULL;
	if (draft_is_dirty(node)) {
		version_drop(config->draft->base);
		config->draft->base = version_hold(version);
		return;
	}
	draft_drop(node);
	handle_refresh_writers(node, version);
}

/* With the place marked. */
static int save_marked_draft(struct saver *saver, struct call *call, struct node *node,
			     struct save *save) LOCKED
{
	uint64_t change = node->config->change_count;
	int error = take_draft(node, save);

	if (error)
		return error;
	struct timespec modified = node_draft(node)->modified;
	if (save_is_content_of(save->base, &save->content)) {
		/*
		 * Nothing is saved, so the time is that of the server's text, or the one that was
		 * set here.
		 */
		save_show(node, save->base, change, node->config->modified);
		return 0;
	}
	error = save_run(saver, call, save);
	/*
	 * Whoever failed stays failed: what he wrote meanwhile is not saved later either, so it is
	 * kept with the rest.
	 */
	if (error && node_draft(node) && node->config->change_count > change) {
		buffer_clear(&save->content);
		version_drop(save->base);
		save->base = NULL;
		if (take_draft(node, save))
			log_error("%s: out of memory, what was written last is lost", node_name(node));
	}
	if (error) {
		node_set_failure(node, call->reason, save->writer.process);
		return error;
	}
	/* It may have become something else meanwhile, or nothing. */
	if (node->kind == NODE_CONFIG && node->place == save->place) {
		save_show(node, save->version, change, modified);
		/* Who was woken by the writes has read what was there before. */
		wake_content(saver->tree, node);
	}
	return 0;
}

/*
 * Waits until nothing is under way at the place of the node, which is another one when that was a
 * rename.
 */
static int wait_for_turn(struct saver *saver, struct call *call, const struct node *node) LOCKED
{
	int error = 0;

	while (!error && saving_is_marked(saver->tree, node->place))
		error = tree_wait(saver->tree, call);
	return error;
}

int save_draft(struct saver *saver, struct call *call, struct held *held)
{
	struct node *node = held->node;
	int error = wait_for_turn(saver, call, node);

	if (error == -EWOULDBLOCK || !draft_is_dirty(node) || !node->parent)
		return error;
	if (draft_is_blank(node))
		return error ? error : call_fail(call, -EINVAL, "%s: a config can't be empty", node_name(node));
	cleanup_place struct place *place = place_hold(node->place);
	cleanup_save struct save save = { .place = place };
	if (!error)
		error = save_begin(saver, call, &save, NULL);
	if (!error) {
		error = save_marked_draft(saver, call, node, &save);
		save_end(saver, call, &save);
		return error;
	}
	/* What had to wait for too long failed as well. */
	if (take_draft(node, &save))
		log_error("%s: out of memory, what was written is lost", node_name(node));
	else
		keep(saver, &save, call->reason);
	return error;
}

void save_keep_all(struct saver *saver)
{
	struct tree *tree = saver->tree;
	struct node *node = tree_next(tree, NULL);

	/*
	 * Keeping adds nodes and gives the lock up: begin anew after each. Each draft is dropped,
	 * so it is found only once.
	 */
	while (node) {
		if (!draft_is_dirty(node) || !node->parent || draft_is_blank(node)) {
			node = tree_next(tree, node);
			continue;
		}
		cleanup_save struct save save = { .place = node->place };
		cleanup_held struct held held = tree_hold(tree, node);
		if (take_draft(node, &save))
			log_error("%s: out of memory, what was written is lost", node_name(node));
		else
			keep(saver, &save, "unmounted while it was written");
		draft_drop(node);
		node = tree_next(tree, NULL);
	}
}
