#include "fs/status.h"

#include <errno.h>

#include "fs/node/draft.h"
#include "fs/node/names.h"
#include "fs/node/wake.h"
#include "fs/save/grace.h"
#include "fs/save/kept.h"
#include "util/json.h"

int status_init(struct filesystem *filesystem, struct node **ret_directory)
{
	struct tree *tree = &filesystem->tree;
	struct node *directory = tree_add(tree, tree->root, NAMES_CONTROL, NODE_PRIVATE_DIRECTORY);
	struct node *status = directory ? tree_add(tree, directory, "status", NODE_STATUS) : NULL;

	if (!status)
		return -ENOMEM;
	directory->directory->hidden = true;
	directory->mode = 0755;
	status->mode = 0440;
	*ret_directory = directory;
	return 0;
}

static int append_names(struct buffer *text, const char *name, const struct tree *tree,
			bool (*wanted)(const struct node *node)) LOCKED
{
	const char *separator = "";
	char place_text[PLACE_TEXT_SIZE];
	int error = buffer_append_format(text, ",\n  \"%s\": [", name);

	for (const struct node *node = tree_next(tree, NULL); node && !error; node = tree_next(tree, node)) {
		if (node->kind != NODE_CONFIG || !node->parent || !wanted(node))
			continue;
		error = buffer_append_text(text, separator);
		if (!error)
			error = json_append_string(text, place_format(node->place, place_text, sizeof(place_text)));
		separator = ", ";
	}
	return error ? error : buffer_append_text(text, "]");
}

static bool is_being_written(const struct node *node) LOCKED
{
	return draft_is_dirty(node) && !draft_is_blank(node);
}

static bool has_failed(const struct node *node) LOCKED
{
	return node->config && node->config->error_text;
}

/* How changes elsewhere come in, and whom they wake. */
static int append_watch(struct buffer *text, const struct tree *tree) LOCKED
{
	struct wake_counts counts;

	wake_get_counts(tree, &counts);
	return buffer_append_format(text,
				    ",\n  \"watch\": {\"live\": %s, \"events\": %lu, \"queue\": %zu, "
				    "\"fetched\": %lu, \"invalidations\": %lu, \"absent_names\": %zu,\n"
				    "    \"wakes\": %s, \"touches\": %lu, \"touches_failed\": %lu, \"touch_queue\": %zu}",
				    counts.live ? "true" : "false", counts.events, counts.fetch_queue, counts.fetched,
				    counts.forgotten, counts.absent, counts.touches ? "true" : "false", counts.touched,
				    counts.failed, counts.touch_queue);
}

int status_read(struct filesystem *filesystem, struct version **ret_version)
{
	const struct terms *terms = &filesystem->terms;
	const struct tree *tree = &filesystem->tree;
	const struct saver *saver = &filesystem->saver;
	cleanup_buffer struct buffer text = BUFFER_INIT;
	int error = buffer_append_format(&text, "{\n  \"version\": \"" NACOSFS_VERSION "\",\n  \"server\": ");

	if (!error)
		error = json_append_string(&text, terms->server_text);
	if (!error)
		error = buffer_append_format(&text,
					     ",\n  \"read_only\": %s,\n  \"scratch_bytes\": %zu,\n"
					     "  \"removals_pending\": %zu,\n  \"unsaved\": %zu,\n"
					     "  \"rights_questions\": %lu,\n  \"logins_of_users\": %zu",
					     terms->read_only ? "true" : "false", tree->holdings.total[HOLDING_PRIVATE_BYTES],
					     grace_count_removals(saver), kept_count(saver),
					     rights_question_count(terms->rights),
					     terms->identities ? identity_store_count(terms->identities) : 0);
	if (!error)
		error = append_watch(&text, tree);
	if (!error)
		error = append_names(&text, "empty_pending", tree, draft_is_blank);
	if (!error)
		error = append_names(&text, "being_written", tree, is_being_written);
	if (!error)
		error = append_names(&text, "failed", tree, has_failed);
	if (!error)
		error = buffer_append_text(&text, "\n}\n");
	if (error)
		return error;
	*ret_version = version_new(&text, "", "json", 0);
	return *ret_version ? 0 : -ENOMEM;
}
