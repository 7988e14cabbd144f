#include "fs/follow/fetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/follow/fill.h"
#include "fs/follow/refresh.h"
#include "fs/node/show.h"
#include "fs/node/wake.h"
#include "fs/save/ask.h"
#include "fs/save/grace.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"

#define FETCH_TIMEOUT_MS 10000
#define LISTING_TIMEOUT_MS 300000 /* of which each page may take FETCH_TIMEOUT_MS */
#define RETRY_FIRST_MS 1000
#define RETRY_LAST_MS 30000
#define UNTOLD_ATTEMPTS 5 /* for what is not watched after it was fetched: perhaps the server showed an old state */
#define COMPARE_COST_FACTOR 10 /* comparing takes no more than that part of the time */

static bool is_stopping(void *arg)
{
	return wake_is_stopping(arg);
}

/* A call that nobody waits for. */
static void start_call(struct tree *tree, struct call *call, int64_t timeout_ms)
{
	call_start(call, timeout_ms);
	call->interrupted = is_stopping;
	call->interrupted_arg = tree;
}

/* ----------------------------------------------------------------- fetching */

/* A config of a group that has no directory here yet. */
static int refresh_group(struct tree *tree, struct call *call, struct place *place) LOCKED
{
	struct node *parent = tree_at(tree, place->above->above);
	cleanup_version struct version *version = NULL;

	if (!parent || !parent->lookup_count || !fill_name_fits(place->above->name))
		return 0;
	int error = ask_get(tree, call, place, VERSION_ATTRIBUTES, &version);
	parent = tree_at(tree, place->above->above);
	if (error || !parent || tree_child(tree, parent, place->above->name))
		return error == -ENOENT ? 0 : error;
	struct node *node = tree_add(tree, parent, place->above->name, NODE_GROUP);
	if (!node)
		return -ENOMEM;
	node_touch_names(parent);
	wake_created(tree, node);
	return 0;
}

/* It is not there, or can't be asked for. */
static int take_absence(struct saver *saver, struct call *call, struct node *directory,
			struct place *place, int error) LOCKED
{
	struct tree *tree = saver->tree;

	/* What is not known to be absent any more can't be believed to be. */
	if (error != -ENOENT || !store_is_watched(tree->terms->store, place))
		wake_doubt_absent(tree, directory, place->name);
	if (store_error_is_outage(error))
		directory->directory->names_complete = false;
	if (error != -ENOENT)
		return error;
	cleanup_held struct held held = tree_hold(tree, directory);
	fill_verify_group(tree, call, &held);
	return 0;
}

/* A name that is not there, as far as is known here. */
static int refresh_absent(struct saver *saver, struct call *call, struct place *place) LOCKED
{
	struct tree *tree = saver->tree;
	cleanup_version struct version *version = NULL;
	int error = ask_get(tree, call, place, VERSION_ATTRIBUTES, &version);
	struct node *directory = tree_at(tree, place->above);

	if (!directory || tree_child(tree, directory, place->name) || grace_hides(saver, place))
		return error == -ENOENT ? 0 : error;
	if (error)
		return take_absence(saver, call, directory, place, error);
	if (!fill_name_fits(place->name))
		return 0;
	struct node *node = tree_add(tree, directory, place->name, NODE_CONFIG);
	if (!node)
		return -ENOMEM;
	show_version(tree, node, version);
	show_appeared(node);
	node_touch_names(directory);
	wake_created(tree, node);
	return 0;
}

static int refresh_node(struct tree *tree, struct call *call, struct node *node) LOCKED
{
	cleanup_version struct version *version = NULL;
	cleanup_held struct held held = tree_hold(tree, node);
	cleanup_held struct held directory = tree_hold(tree, node->parent);
	bool was_known = *node_md5(node);

	if (node->given_long)
		wake_forget(tree, node);
	int error = refresh_config(tree, call, &held, VERSION_ATTRIBUTES, &version);
	if (!error && !was_known && version)
		wake_content(tree, node);
	if (error && error != -ENOENT && !store_error_is_outage(error) && error != -EINTR)
		wake_attributes(tree, node);
	if (error == -ENOENT && !node->parent)
		fill_verify_group(tree, call, &directory);
	return error == -ENOENT ? 0 : error;
}

static int refresh(struct saver *saver, struct call *call, struct place *place) LOCKED
{
	struct tree *tree = saver->tree;
	struct node *directory = tree_at(tree, place->above);
	struct node *node = directory ? tree_child(tree, directory, place->name) : NULL;

	if (!directory)
		return tree->terms->group ? 0 : refresh_group(tree, call, place);
	if (node && (node->kind != NODE_CONFIG || !wake_is_within_sight(node)))
		return 0;
	if (node)
		return refresh_node(tree, call, node);
	return wake_is_within_sight(directory) ? refresh_absent(saver, call, place) : 0;
}

/* How long until it is tried again; 0: never. */
static int64_t retry_delay_ms(const struct tree *tree, const struct wake_fetch *fetch, int error) LOCKED
{
	unsigned attempts = wake_fetch_attempts(fetch);
	int64_t delay_ms = (int64_t)RETRY_FIRST_MS << (attempts < 5 ? attempts : 5);
	struct wake_counts counts;

	if (delay_ms > RETRY_LAST_MS)
		delay_ms = RETRY_LAST_MS;
	if (store_error_is_outage(error) || error == -ENOMEM)
		return delay_ms;
	wake_get_counts(tree, &counts);
	bool untold = !error && counts.live && attempts < UNTOLD_ATTEMPTS &&
		      !store_is_watched(tree->terms->store, wake_fetch_place(fetch));
	return untold ? delay_ms : 0;
}

static void fetch_one(struct saver *saver, struct wake_fetch *fetch) LOCKED
{
	struct call call;

	start_call(saver->tree, &call, FETCH_TIMEOUT_MS);
	int error = refresh(saver, &call, wake_fetch_place(fetch));
	wake_fetched(saver->tree, fetch, retry_delay_ms(saver->tree, fetch, error));
}

/* ---------------------------------------------------------------- comparing */

/*
 * Lists of nodes that something is to be done with, one after the other, while the lock is given
 * up.
 */
struct node_list {
	struct held *nodes;
	size_t count;
};

static void collect(struct tree *tree, struct node_list *list,
		    bool (*wanted)(const struct tree *tree, const struct node *node)) LOCKED
{
	list->nodes = calloc(tree->by_id.count + 1, sizeof(*list->nodes));
	list->count = 0;
	if (!list->nodes)
		return;
	for (struct node *node = tree_next(tree, NULL); node; node = tree_next(tree, node))
		if (wanted(tree, node))
			list->nodes[list->count++] = tree_hold(tree, node);
}

static void release_list(struct node_list *list) LOCKED
{
	for (size_t i = 0; i < list->count; i++)
		tree_drop(&list->nodes[i]);
	free(list->nodes);
}

static bool is_config_in_sight(const struct tree *tree, const struct node *node) LOCKED
{
	(void)tree;
	return node->kind == NODE_CONFIG && node->parent && wake_is_within_sight(node);
}

static bool has_names_due(const struct tree *tree, const struct node *node) LOCKED
{
	return node->directory && node->directory->names_due && node->lookup_count && node_is_there(tree, node);
}

/* What a listing shows to be other than what is shown is fetched. */
static void compare_contents(struct tree *tree, const struct node *directory) LOCKED
{
	for (const struct node *node = directory->directory->first_child; node; node = node->next_sibling) {
		if (node->kind != NODE_CONFIG || !*node_md5(node) || !*node->listed_md5 ||
		    !strcmp(node_md5(node), node->listed_md5))
			continue;
		if (!store_is_watched(tree->terms->store, node->place))
			wake_changed(tree, node->place);
	}
}

static int64_t compare_names(struct saver *saver) LOCKED
{
	struct tree *tree = saver->tree;
	int64_t started_ms = clock_monotonic_ms();
	struct node_list list;

	collect(tree, &list, has_names_due);
	for (size_t i = 0; i < list.count && !wake_is_stopping(tree); i++) {
		struct node *directory = list.nodes[i].node;
		struct call call;

		directory->directory->names_due = false;
		if (!node_is_there(tree, directory))
			continue;
		start_call(tree, &call, LISTING_TIMEOUT_MS);
		call.step_ms = FETCH_TIMEOUT_MS;
		if (!fill_directory(saver, &call, &list.nodes[i]))
			compare_contents(tree, directory);
	}
	release_list(&list);
	int64_t pause_ms = (clock_monotonic_ms() - started_ms) * COMPARE_COST_FACTOR;
	return pause_ms > tree->terms->refresh_ms ? pause_ms : tree->terms->refresh_ms;
}

/* More changed than the queue holds. */
static void compare_everything(struct saver *saver) LOCKED
{
	struct tree *tree = saver->tree;
	struct node_list list;

	log_info("many configs changed at once: comparing all that are known");
	wake_doubt_all_names(tree);
	collect(tree, &list, is_config_in_sight);
	for (size_t i = 0; i < list.count && !wake_is_stopping(tree); i++) {
		struct node *node = list.nodes[i].node;
		struct call call;

		if (!node->parent || node->kind != NODE_CONFIG)
			continue;
		start_call(tree, &call, FETCH_TIMEOUT_MS);
		int error = refresh_node(tree, &call, node);
		if (store_error_is_outage(error) && node->parent && node->place)
			wake_changed(tree, node->place);
	}
	release_list(&list);
}

/* --------------------------------------------------------------- the worker */

void fetch_run(struct saver *saver)
{
	struct tree *tree = saver->tree;
	struct wake_fetch *fetch = NULL;
	enum wake_task task;

	lock_take(&tree->lock);
	while ((task = wake_take_task(tree, &fetch)) != WAKE_STOP) {
		int64_t pause_ms = 0;

		switch (task) {
		case WAKE_FETCH:
			fetch_one(saver, fetch);
			continue;
		case WAKE_COMPARE_NAMES:
			pause_ms = compare_names(saver);
			break;
		case WAKE_COMPARE_ALL:
			compare_everything(saver);
			break;
		case WAKE_STOP:
			break;
		}
		wake_compared(tree, task, pause_ms);
	}
	lock_give(&tree->lock);
}
