#include "fs/save/closing.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "fs/node/draft.h"
#include "fs/node/wake.h"
#include "fs/save/grace.h"
#include "util/log.h"
#include "util/process.h"

#define WRITERS_MAX 64

/* What must be known of an open file to find out whether its last descriptor was closed. */
struct question {
	pid_t opener;
	pid_t toucher;
	struct process_file file;
	char name[NAME_MAX + 1];
	pid_t writers[WRITERS_MAX]; /* who opened the same file otherwise */
	size_t writer_count;
};

/*
 * Has the process descriptors of this very open file left? Those of other opens of the same file do
 * not count.
 */
static bool has_duplicates(const struct question *question, pid_t process) UNLOCKED
{
	int others = 0;

	for (size_t i = 0; i < question->writer_count; i++)
		others += question->writers[i] == process;
	return process_count_writers(process, &question->file) > others;
}

/* Has a child got it from the opener, or from the child in between? */
static bool was_inherited(const struct question *question) UNLOCKED
{
	pid_t descendants[PROCESS_DESCENDANTS_MAX];
	size_t count = process_list_descendants(question->opener, descendants);

	for (size_t i = 0; i < count; i++)
		if (descendants[i] != question->toucher && has_duplicates(question, descendants[i]))
			return true;
	return false;
}

/*
 * The descriptor that is being closed is out of the table already, so any that is left is another
 * one. Where /proc tells nothing, every close is a last one: a publish too many rather than one too
 * few.
 */
static enum close_kind answer(const struct question *question, pid_t thread) UNLOCKED
{
	pid_t closer = process_of_thread(thread);

	if (process_is_killed(thread))
		return CLOSE_KILLED;
	if (has_duplicates(question, closer) ||
	    (closer != question->opener && has_duplicates(question, question->opener)))
		return CLOSE_DUPLICATE;
	return was_inherited(question) ? CLOSE_INHERITED : CLOSE_LAST;
}

enum close_kind closing_ask(const struct saver *saver, const struct handle *handle, pid_t thread, pid_t toucher)
{
	struct tree *tree = saver->tree;
	struct question question = { .opener = handle->writer.process, .toucher = toucher };

	snprintf(question.name, sizeof(question.name), "%s", node_name(handle->node));
	question.file = (struct process_file){ node_id(handle->node), question.name, tree->terms->device };
	question.writer_count = handle_list_writers(handle->node, handle, question.writers, WRITERS_MAX);
	lock_give(&tree->lock);
	enum close_kind kind = answer(&question, thread);
	lock_take(&tree->lock);
	return kind;
}

bool closing_is_writer(const struct held *held, pid_t thread)
{
	pid_t writers[WRITERS_MAX];
	size_t count = handle_list_writers(held->node, NULL, writers, WRITERS_MAX);
	bool is_writer = false;

	lock_give(&held->tree->lock);
	for (size_t i = 0; i < count && !is_writer; i++)
		is_writer = process_descends_from(thread, writers[i]);
	lock_take(&held->tree->lock);
	return is_writer;
}

void closing_abandon(struct handle *handle)
{
	handle->abandoned = true;
	log_warning("%s: its writer was killed, what it wrote is dropped", node_name(handle->node));
	handle_fail(handle, -EINTR);
}

/* The last writer is gone: what of the draft stays? */
static void end_writing(struct saver *saver, struct node *node, bool failed) LOCKED
{
	struct config *config = node->config;
	bool is_there = node->parent;

	version_drop(config->last_commit);
	config->last_commit = NULL;
	if (config->draft && !failed && is_there) {
		if (config->deferred && draft_is_dirty(node))
			return; /* saved when its grace is over */
		if ((draft_is_dirty(node) || !node->is_stored) && draft_is_blank(node)) {
			grace_keep_empty(saver, node);
			return;
		}
	}
	bool had_draft = config->draft;
	if (failed)
		draft_take_back(node);
	else
		draft_drop(node);
	if (!node->is_stored && is_there && (had_draft || failed))
		wake_vanish(saver->tree, node);
	else
		wake_look_again(saver->tree, node);
}

void closing_end(struct saver *saver, struct handle *handle)
{
	struct node *node = handle->node;

	if (handle->may_write) {
		handle_stop_writing(handle);
		if (!node->writers && node->kind == NODE_CONFIG)
			end_writing(saver, node, handle->error || handle->abandoned);
	}
	handle_free(saver, handle);
}

void closing_end_all(struct saver *saver)
{
	while (saver->handles) {
		struct handle *handle = saver->handles;

		draft_drop(handle->node);
		closing_end(saver, handle);
	}
}
