#include "fs/remove.h"

#include <errno.h>

#include "fs/follow/refresh.h"
#include "fs/node/draft.h"
#include "fs/save/ask.h"
#include "fs/save/grace.h"
#include "fs/save/kept.h"
#include "fs/save/save.h"
#include "util/cleanup.h"
#include "util/clock.h"

/*
 * How long after a failed save an unlink by the same process means "drop what I wrote", not "remove
 * the config".
 */
#define FAILED_SAVE_MS 5000

/* What can't be read can't be kept for a grace: it is removed at once, whatever it is. */
static int remove_unread(struct request *request, struct node *node, struct place *place) LOCKED
{
	struct tree *tree = request_tree(request);
	int error = ask_remove(tree, &request->call, place, NULL);

	if (!error && node->parent)
		tree_unlink(tree, node);
	return error;
}

/*
 * Some programs remove the target of a copy that failed; the server's text has nothing to do with
 * that.
 */
static bool cleans_up(const struct node *node, pid_t process) LOCKED
{
	const struct config *config = node->config;

	return config && config->failed_process && config->failed_process == process &&
	       clock_monotonic_ms() - config->failed_ms < FAILED_SAVE_MS;
}

/* Hides a config that the server has, to be removed when the grace is over. */
static int remove_stored(struct request *request, struct held *held) LOCKED
{
	struct tree *tree = request_tree(request);
	struct node *node = held->node;
	cleanup_place struct place *place = place_hold(node->place);
	cleanup_version struct version *version = NULL;
	pid_t process = request_writer(request).process;
	int error = refresh_config(tree, &request->call, held, VERSION_BASE, &version);

	if (error == -EACCES && node->config && node->config->unreadable) {
		error = request_check_write(request, place);
		return error ? error : remove_unread(request, node, place);
	}
	if (!error)
		error = request_check_write(request, place);
	/* Gone already; but what is written to it keeps its name until then. */
	if (error == -ENOENT && node->parent && node->place == place)
		tree_unlink(tree, node);
	if (error || !node->parent || node->place != place)
		return error == -ENOENT ? 0 : error;
	error = grace_hide(&request->filesystem->saver, node, version, !cleans_up(node, process), request->asker.uid);
	if (error)
		return error;
	node->parent->directory->is_local = true;
	tree_unlink(tree, node);
	return 0;
}

/* A config that is here only, so far. */
static int remove_unstored(struct request *request, struct node *node) LOCKED
{
	int error = request_terms(request)->per_user ? request_check_write(request, node->place) : 0;

	if (!error && node->parent)
		tree_unlink(request_tree(request), node);
	return error;
}

static int remove_config(struct request *request, struct held *held) LOCKED
{
	struct node *node = held->node;
	int error = request_terms(request)->read_only ? -EROFS : 0;

	if (!error)
		error = save_wait(&request->filesystem->saver, &request->call, node->place);
	if (!error && node->parent && node->is_stored)
		error = remove_stored(request, held);
	else if (!error && node->parent)
		error = remove_unstored(request, node);
	if (!error && !node->writers)
		draft_drop(node);
	return error;
}

int remove_file(struct request *request)
{
	struct saver *saver = &request->filesystem->saver;
	struct tree *tree = request_tree(request);
	struct node *parent = request->node.node;
	struct node *node = tree_child(tree, parent, request->name);
	int error = 0;

	if (!node)
		return -ENOENT;
	if (node_is_directory(node))
		return -EISDIR;
	if (node->kind == NODE_STATUS)
		return -EPERM;
	struct held *held = request_hold(request, node);
	if (node_is_private(node)) {
		kept_node_removed(saver, node);
		tree_unlink(tree, node);
	} else {
		error = remove_config(request, held);
	}
	if (!error)
		node_touch_names(parent);
	kept_sync(saver);
	return error;
}
