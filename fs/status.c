#include "fs/status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/save/draft.h"
#include "fs/save/grace.h"
#include "fs/follow/notify.h"
#include "fs/follow/touch.h"
#include "fs/save/unsaved.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/json.h"

int control_init(struct filesystem *filesystem)
{
	struct tree *tree = &filesystem->tree;
	struct node *directory = tree_add(tree, tree->root, CONTROL_NAME, NODE_SCRATCH_DIRECTORY);
	struct node *status = directory ? tree_add(tree, directory, "status", NODE_STATUS) : NULL;

	if (!status)
		return -ENOMEM;
	directory->hidden = true;
	directory->mode = 0755;
	status->mode = 0440;
	directory->uid = status->uid = filesystem->uid;
	directory->gid = status->gid = filesystem->gid;
	directory->modified = directory->changed = status->modified = status->changed = clock_now();
	return 0;
}

static int append_names(struct buffer *text, const char *name, const struct filesystem *filesystem,
			bool (*wanted)(const struct node *node))
{
	const struct tree *tree = &filesystem->tree;
	const char *separator = "";
	char place_text[PLACE_TEXT_SIZE];
	int error = buffer_append_format(text, ",\n  \"%s\": [", name);

	for (size_t i = 0; i < tree->bucket_count && !error; i++) {
		for (const struct node *node = tree->by_id[i]; node && !error; node = node->next_by_id) {
			if (node->kind != NODE_CONFIG || !node->parent || !wanted(node))
				continue;
			error = buffer_append_text(text, separator);
			if (!error)
				error = json_append_string(text, place_format(node->place, place_text, sizeof(place_text)));
			separator = ", ";
		}
	}
	return error ? error : buffer_append_text(text, "]");
}

static bool is_empty_here(const struct node *node)
{
	return draft_is_blank(node);
}

static bool is_being_written(const struct node *node)
{
	return draft_is_dirty(node) && !draft_is_blank(node);
}

static bool has_failed(const struct node *node)
{
	return node->error_text;
}

/* How changes elsewhere come in, and whom they wake. */
static int append_watch(struct buffer *text, const struct filesystem *filesystem)
{
	struct notify_status notify;
	struct touch_counts touch;

	notify_get_status(filesystem, &notify);
	touch_count(filesystem, &touch);
	return buffer_append_format(text,
				    ",\n  \"watch\": {\"live\": %s, \"events\": %lu, \"queue\": %zu, "
				    "\"fetched\": %lu, \"invalidations\": %lu, \"absent_names\": %zu,\n"
				    "    \"wakes\": %s, \"touches\": %lu, \"touches_failed\": %lu, \"touch_queue\": %zu}",
				    notify.live ? "true" : "false", notify.events, notify.queued,
				    notify.refreshed, notify.forgotten, notify.absent,
				    touch_works(filesystem) ? "true" : "false", touch.done, touch.failed,
				    touch.queued);
}

int control_read_status(struct filesystem *filesystem, struct version **ret_version)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	int error = buffer_append_format(&text, "{\n  \"version\": \"" NACOSFS_VERSION "\",\n  \"server\": ");

	if (!error)
		error = json_append_string(&text, filesystem->server_text);
	if (!error)
		error = buffer_append_format(&text,
					     ",\n  \"read_only\": %s,\n  \"scratch_bytes\": %zu,\n"
					     "  \"removals_pending\": %zu,\n  \"unsaved\": %zu,\n"
					     "  \"rights_questions\": %lu,\n  \"logins_of_users\": %zu",
					     filesystem->read_only ? "true" : "false",
					     filesystem->tree.scratch_size,
					     grace_count_removals(filesystem), unsaved_count(filesystem),
					     rights_question_count(filesystem->rights),
					     filesystem->identities ? identity_store_count(filesystem->identities) : 0);
	if (!error)
		error = append_watch(&text, filesystem);
	if (!error)
		error = append_names(&text, "empty_pending", filesystem, is_empty_here);
	if (!error)
		error = append_names(&text, "being_written", filesystem, is_being_written);
	if (!error)
		error = append_names(&text, "failed", filesystem, has_failed);
	if (!error)
		error = buffer_append_text(&text, "\n}\n");
	if (error)
		return error;
	*ret_version = version_new(&text, "", "json", 0);
	return *ret_version ? 0 : -ENOMEM;
}
