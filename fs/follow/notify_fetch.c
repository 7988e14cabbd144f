#include "fs/follow/notify_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/node/attributes.h"
#include "fs/directory.h"
#include "fs/save/grace.h"
#include "fs/follow/touch.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"

#define NOTICE_LIMIT 16384 /* configs in the queue; beyond, all are compared */
#define FETCH_TIMEOUT_MS 10000
#define RETRY_FIRST_MS 1000
#define RETRY_LAST_MS 30000
#define UNTOLD_ATTEMPTS 5 /* for what is not watched after it was fetched: perhaps the server showed an old state */
#define COMPARE_COST_FACTOR 10 /* comparing takes no more than that part of the time */

/* ----------------------------------------------------------------- the queue */

static void append_ready(struct notify *notify, struct notice *added)
{
	added->state = NOTICE_READY;
	added->next = NULL;
	*notify->last = added;
	notify->last = &added->next;
	pthread_cond_signal(&notify->woken);
}

static void remove_delayed(struct notify *notify, struct notice *delayed)
{
	struct notice **place = &notify->delayed;

	while (*place != delayed)
		place = &(*place)->next;
	*place = delayed->next;
}

static void free_notice(struct notify *notify, struct notice *ended)
{
	place_table_remove(&notify->notices, &ended->place_entry);
	free(ended);
}

void notify_free_notices(struct notify *notify)
{
	for (struct table_link *link; (link = table_next(&notify->notices, NULL));)
		free_notice(notify, (struct notice *)link);
	table_release(&notify->notices);
}

static struct notice *add_notice(struct notify *notify, struct place *place)
{
	struct notice *added = notify->notices.count < NOTICE_LIMIT ? calloc(1, sizeof(*added)) : NULL;

	if (added)
		place_table_add(&notify->notices, &added->place_entry, place);
	return added;
}

void notify_changed(struct filesystem *filesystem, struct place *place)
{
	struct notify *notify = filesystem->notify;
	struct notice *present = (struct notice *)place_table_find(&notify->notices, place);

	if (!present) {
		present = add_notice(notify, place);
		if (present)
			append_ready(notify, present);
		else
			notify->compare_all = true;
		pthread_cond_signal(&notify->woken);
		return;
	}
	present->attempts = 0;
	if (present->state == NOTICE_RUNNING)
		present->again = true;
	if (present->state != NOTICE_DELAYED)
		return;
	remove_delayed(notify, present);
	append_ready(notify, present);
}

/* ----------------------------------------------------------------- fetching */

static bool is_stopping(void *arg)
{
	const struct notify *notify = arg;

	return atomic_load(&notify->stopping);
}

/* A namespace's or group's directory, as far as it is in the tree; NULL. */
static struct node *find_directory(const struct tree *tree, const struct place *place)
{
	const struct place *root = tree->root->place;

	if (place == root)
		return tree->root;
	if (place->depth <= root->depth)
		return NULL;
	struct node *parent = find_directory(tree, place->above);
	return parent ? tree_child(tree, parent, place->name) : NULL;
}

/* Fetches a config that is no node; gives up the lock. */
static int fetch(struct request *request, struct place *place, struct version **ret_version)
{
	request_unlock(request);
	int error = store_get(request->filesystem->store, place, VERSION_ATTRIBUTES, &request->call, ret_version);
	request_lock(request);
	return error;
}

/* A config of a group that has no directory here yet. */
static int refresh_group(struct request *request, struct place *place)
{
	struct tree *tree = request_tree(request);
	struct node *parent = find_directory(tree, place->above->above);
	cleanup_version struct version *version = NULL;

	if (!parent || !parent->lookup_count || !directory_name_fits(place->above->name))
		return 0;
	int error = fetch(request, place, &version);
	parent = find_directory(tree, place->above->above);
	if (error || !parent || tree_child(tree, parent, place->above->name))
		return error == -ENOENT ? 0 : error;
	struct node *node = filesystem_add_node(request->filesystem, parent, place->above->name, NODE_GROUP);
	if (!node)
		return -ENOMEM;
	node_touch_names(parent);
	notify_created(request->filesystem, node);
	return 0;
}

/* A group is there as long as something is in it: is it still? */
static void verify_group(struct request *request, struct node *directory)
{
	if (directory->kind != NODE_GROUP || !directory->parent || directory->first_child || directory->local)
		return;
	node_hold(directory);
	directory_verify(request, directory);
	tree_drop(request_tree(request), directory);
}

/* A name that is not there, as far as is known here. */
static int refresh_absent(struct request *request, struct place *place)
{
	struct filesystem *filesystem = request->filesystem;
	struct tree *tree = request_tree(request);
	cleanup_version struct version *version = NULL;
	int error = fetch(request, place, &version);
	struct node *directory = find_directory(tree, place->above);
	struct node *node = directory ? tree_child(tree, directory, place->name) : NULL;

	if (!directory || node || grace_hides(filesystem, directory, place->name))
		return error == -ENOENT ? 0 : error;
	if (error) {
		/* What is not known to be absent any more can't be believed to be. */
		if ((error != -ENOENT || !store_is_watched(filesystem->store, place)) &&
		    absent_remove(&filesystem->notify->absent, directory->id, place->name))
			touch_queue(filesystem, TOUCH_FORGET_ABSENT, directory, place->name, NULL);
		if (store_error_is_outage(error))
			directory->names_complete = false;
		if (error == -ENOENT)
			verify_group(request, directory);
		return error == -ENOENT ? 0 : error;
	}
	if (!directory_name_fits(place->name))
		return 0;
	node = filesystem_add_node(filesystem, directory, place->name, NODE_CONFIG);
	if (!node)
		return -ENOMEM;
	filesystem_show_version(filesystem, node, version);
	filesystem_note_appeared(node);
	node_touch_names(directory);
	notify_created(filesystem, node);
	return 0;
}

static int refresh_node(struct request *request, struct node *node)
{
	struct filesystem *filesystem = request->filesystem;
	struct node *directory = node->parent;
	cleanup_version struct version *version = NULL;
	bool was_known = *node->md5;

	if (node->given_long)
		notify_notice(filesystem, node, 0);
	node_hold(node);
	node_hold(directory);
	int error = attributes_load(request, node, VERSION_ATTRIBUTES, &version);
	if (!error && !was_known && version)
		notify_content(filesystem, node);
	if (error && error != -ENOENT && !store_error_is_outage(error) && error != -EINTR)
		notify_about_attributes(filesystem, node);
	if (error == -ENOENT && !node->parent)
		verify_group(request, directory);
	tree_drop(&filesystem->tree, node);
	tree_drop(&filesystem->tree, directory);
	return error == -ENOENT ? 0 : error;
}

static int refresh(struct request *request, struct place *place)
{
	struct tree *tree = request_tree(request);
	struct node *directory = find_directory(tree, place->above);
	struct node *node = directory ? tree_child(tree, directory, place->name) : NULL;

	request->filesystem->notify->counts.refreshed++;
	if (!directory)
		return refresh_group(request, place);
	if (node && (node->kind != NODE_CONFIG || !notify_is_within_sight(node)))
		return 0;
	if (node)
		return refresh_node(request, node);
	return notify_is_within_sight(directory) ? refresh_absent(request, place) : 0;
}

/* How long until it is tried again; 0: never. */
static int64_t retry_delay_ms(const struct filesystem *filesystem, const struct notice *ran, int error)
{
	int64_t delay_ms = (int64_t)RETRY_FIRST_MS << (ran->attempts < 5 ? ran->attempts : 5);

	if (delay_ms > RETRY_LAST_MS)
		delay_ms = RETRY_LAST_MS;
	if (store_error_is_outage(error) || error == -ENOMEM)
		return delay_ms;
	bool untold = !error && filesystem->notify->live && ran->attempts < UNTOLD_ATTEMPTS &&
		      !store_is_watched(filesystem->store, ran->place_entry.place);
	return untold ? delay_ms : 0;
}

static void run_notice(struct filesystem *filesystem, struct notice *ran)
{
	struct notify *notify = filesystem->notify;
	struct request request;

	notify->first = ran->next;
	if (!notify->first)
		notify->last = &notify->first;
	ran->state = NOTICE_RUNNING;
	ran->again = false;
	request_start_in_background(&request, filesystem, FETCH_TIMEOUT_MS, is_stopping, notify);
	int error = refresh(&request, ran->place_entry.place);
	if (ran->again) {
		append_ready(notify, ran);
		return;
	}
	int64_t delay_ms = retry_delay_ms(filesystem, ran, error);
	if (!delay_ms) {
		free_notice(notify, ran);
		return;
	}
	ran->attempts++;
	ran->due_ms = clock_monotonic_ms() + delay_ms;
	ran->state = NOTICE_DELAYED;
	ran->next = notify->delayed;
	notify->delayed = ran;
}

/* Readies what is due; returns when the next one is, INT64_MAX for none. */
static int64_t ready_delayed(struct notify *notify)
{
	int64_t now_ms = clock_monotonic_ms(), next_ms = INT64_MAX;

	for (struct notice **place = &notify->delayed, *delayed; (delayed = *place);) {
		if (delayed->due_ms > now_ms) {
			if (delayed->due_ms < next_ms)
				next_ms = delayed->due_ms;
			place = &delayed->next;
			continue;
		}
		*place = delayed->next;
		append_ready(notify, delayed);
	}
	return next_ms;
}

/* ---------------------------------------------------------------- comparing */

/* Lists of nodes that something is to be done with, one after the other, while the lock is given up. */
struct node_list {
	struct node **nodes; /* held */
	size_t count;
};

static void collect(struct filesystem *filesystem, struct node_list *list,
		    bool (*wanted)(const struct filesystem *filesystem, const struct node *node))
{
	struct tree *tree = &filesystem->tree;

	list->nodes = calloc(tree->node_count + 1, sizeof(*list->nodes));
	list->count = 0;
	if (!list->nodes)
		return;
	for (size_t i = 0; i < tree->bucket_count; i++) {
		for (struct node *node = tree->by_id[i]; node; node = node->next_by_id) {
			if (!wanted(filesystem, node))
				continue;
			node_hold(node);
			list->nodes[list->count++] = node;
		}
	}
}

static void release_list(struct filesystem *filesystem, struct node_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		tree_drop(&filesystem->tree, list->nodes[i]);
	free(list->nodes);
}

static bool is_config_in_sight(const struct filesystem *filesystem, const struct node *node)
{
	(void)filesystem;
	return node->kind == NODE_CONFIG && node->parent && notify_is_within_sight(node);
}

static bool has_names_due(const struct filesystem *filesystem, const struct node *node)
{
	(void)filesystem;
	return node->names_due && node->lookup_count && (node->parent || node->kind == NODE_ROOT);
}

/* Its names are not told of, and somebody has listed it. */
static void make_names_due(struct filesystem *filesystem, struct node *node)
{
	if (!node->names_listed || !node->lookup_count)
		return;
	if (node->place && notify_watches_names(filesystem, node->place))
		return;
	node->names_due = true;
	filesystem->notify->compare_now = true;
}

/* What a listing shows to be other than what is shown is fetched. */
static void compare_contents(struct filesystem *filesystem, const struct node *directory)
{
	for (const struct node *node = directory->first_child; node; node = node->next_sibling) {
		if (node->kind != NODE_CONFIG || !*node->md5 || !*node->listed_md5 ||
		    !strcmp(node->md5, node->listed_md5))
			continue;
		if (!store_is_watched(filesystem->store, node->place))
			notify_changed(filesystem, node->place);
	}
}

/* Gives up the lock. */
static void compare_names(struct filesystem *filesystem)
{
	struct notify *notify = filesystem->notify;
	int64_t started_ms = clock_monotonic_ms();
	struct node_list list;

	notify->compare_now = false;
	collect(filesystem, &list, has_names_due);
	for (size_t i = 0; i < list.count && !is_stopping(notify); i++) {
		struct node *directory = list.nodes[i];
		struct request request;

		directory->names_due = false;
		request_start_in_background(&request, filesystem, FETCH_TIMEOUT_MS, is_stopping, notify);
		request_extend_for_listing(&request);
		if (!directory_load(&request, directory))
			compare_contents(filesystem, directory);
	}
	release_list(filesystem, &list);
	int64_t now_ms = clock_monotonic_ms();
	int64_t pause_ms = (now_ms - started_ms) * COMPARE_COST_FACTOR;
	notify->compare_due_ms = now_ms + (pause_ms > filesystem->refresh_ms ? pause_ms : filesystem->refresh_ms);
}

/* More changed than the queue holds. Gives up the lock. */
static void compare_everything(struct filesystem *filesystem)
{
	struct notify *notify = filesystem->notify;
	struct node_list list;

	log_info("many configs changed at once: comparing all that are known");
	notify->compare_all = false;
	notify_doubt_all_names(filesystem);
	collect(filesystem, &list, is_config_in_sight);
	for (size_t i = 0; i < list.count && !is_stopping(notify); i++) {
		struct node *node = list.nodes[i];
		struct request request;

		if (!node->parent)
			continue;
		request_start_in_background(&request, filesystem, FETCH_TIMEOUT_MS, is_stopping, notify);
		int error = refresh_node(&request, node);
		if (store_error_is_outage(error) && node->parent && node->place)
			notify_changed(filesystem, node->place);
	}
	release_list(filesystem, &list);
}

/* --------------------------------------------------------------- the thread */

/* One thing that is to be done; false: nothing is, until ret_next_ms. */
static bool run_one(struct filesystem *filesystem, int64_t *ret_next_ms)
{
	struct notify *notify = filesystem->notify;
	int64_t next_ms = ready_delayed(notify);

	if (notify->first_noticed) {
		notify_run_noticed(filesystem);
	} else if (notify->first) {
		run_notice(filesystem, notify->first);
	} else if (notify->compare_all) {
		compare_everything(filesystem);
	} else if (notify->compare_now) {
		compare_names(filesystem);
	} else if (notify->compare_due_ms <= clock_monotonic_ms()) {
		notify->compare_due_ms = clock_monotonic_ms() + filesystem->refresh_ms;
		notify_visit_nodes(filesystem, NULL, make_names_due);
	} else {
		*ret_next_ms = next_ms < notify->compare_due_ms ? next_ms : notify->compare_due_ms;
		return false;
	}
	return true;
}

void *notify_run(void *argument)
{
	struct filesystem *filesystem = argument;
	struct notify *notify = filesystem->notify;
	int64_t next_ms;

	pthread_mutex_lock(&filesystem->tree.lock);
	notify->compare_due_ms = clock_monotonic_ms() + filesystem->refresh_ms;
	while (!is_stopping(notify)) {
		if (run_one(filesystem, &next_ms))
			continue;
		struct timespec until = clock_from_ms(next_ms);
		pthread_cond_timedwait(&notify->woken, &filesystem->tree.lock, &until);
	}
	pthread_mutex_unlock(&filesystem->tree.lock);
	return NULL;
}
