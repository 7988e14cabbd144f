#include "fs/follow/notify_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/node/attributes.h"
#include "fs/save/draft.h"
#include "fs/save/grace.h"
#include "fs/follow/touch.h"
#include "util/clock.h"

int notify_new(struct filesystem *filesystem)
{
	struct notify *notify = calloc(1, sizeof(*notify));

	if (!notify)
		return -ENOMEM;
	if (absent_init(&notify->absent)) {
		free(notify);
		return -ENOMEM;
	}
	notify->last_noticed = &notify->first_noticed;
	notify->last = &notify->first;
	clock_init_condition(&notify->woken);
	filesystem->notify = notify;
	return 0;
}

/* --------------------------------------------------- what the kernel forgets */

void notify_notice(struct filesystem *filesystem, struct node *node, unsigned wake)
{
	struct notify *notify = filesystem->notify;

	node->wake |= (unsigned char)wake;
	if (node->noticed)
		return;
	node->noticed = true;
	node->next_noticed = NULL;
	node_hold(node);
	*notify->last_noticed = node;
	notify->last_noticed = &node->next_noticed;
	pthread_cond_signal(&notify->woken);
}

bool notify_is_within_sight(const struct node *node)
{
	return node->lookup_count || (node->parent && node->parent->lookup_count);
}

void notify_content(struct filesystem *filesystem, struct node *node)
{
	if (notify_is_within_sight(node))
		notify_notice(filesystem, node, WAKE_CONTENT);
}

void notify_about_attributes(struct filesystem *filesystem, struct node *node)
{
	if (notify_is_within_sight(node))
		notify_notice(filesystem, node, WAKE_ATTRIBUTES);
}

void notify_rights(void *arg)
{
	struct filesystem *filesystem = arg;
	const struct tree *tree = &filesystem->tree;

	atomic_fetch_add(&filesystem->notify->events, 1);
	pthread_mutex_lock(&filesystem->tree.lock);
	for (size_t i = 0; i < tree->bucket_count; i++)
		for (struct node *node = tree->by_id[i]; node; node = node->next_by_id)
			if (node->shown_mode && (node->shown_mode & 07777) != attributes_mode(filesystem, node))
				notify_about_attributes(filesystem, node);
			else if (filesystem->per_user && node->given_long)
				notify_notice(filesystem, node, 0); /* its ACL may be another one with the same mode */
	pthread_mutex_unlock(&filesystem->tree.lock);
}

void notify_created(struct filesystem *filesystem, struct node *node)
{
	struct node *parent = node->parent;

	absent_remove(&filesystem->notify->absent, parent->id, node->name);
	if (!parent->lookup_count)
		return;
	notify_notice(filesystem, parent, 0);
	touch_queue(filesystem, node_is_directory(node) ? TOUCH_CREATED_DIRECTORY : TOUCH_CREATED, parent,
		    node->name, node);
}

void notify_found(struct filesystem *filesystem, struct node *node)
{
	if (absent_remove(&filesystem->notify->absent, node->parent->id, node->name))
		notify_created(filesystem, node);
}

void notify_removed(struct filesystem *filesystem, struct node *node)
{
	struct node *parent = node->parent;

	if (!notify_is_within_sight(node))
		return;
	notify_notice(filesystem, parent, 0);
	notify_notice(filesystem, node, 0);
	touch_queue(filesystem, node_is_directory(node) ? TOUCH_REMOVED_DIRECTORY : TOUCH_REMOVED, parent,
		    node->name, node);
}

bool notify_is_told(const struct filesystem *filesystem, const struct node *node)
{
	if (node_is_directory(node) && !node_is_scratch(node))
		return filesystem->notify->live;
	/* None is empty: one that could not be decrypted shows so. Nobody tells when it can be. */
	if (node->kind != NODE_CONFIG || !node->parent || !node->size)
		return false;
	return store_is_watched(filesystem->store, node->place);
}

bool notify_add_absent(struct filesystem *filesystem, const struct node *parent, const char *name,
		       bool name_possible)
{
	if (node_level(parent) != LEVEL_CONFIGS || grace_hides(filesystem, parent, name))
		return false;
	if (!name_possible)
		return true; /* only a request of the kernel can make it appear */
	cleanup_place struct place *place = place_below(parent->place, name);
	return place && touch_works(filesystem) && store_is_watched(filesystem->store, place) &&
	       absent_add(&filesystem->notify->absent, parent->id, name, (int64_t)(NOTIFY_LONG_S * 1000));
}

unsigned notify_count_events(const struct filesystem *filesystem)
{
	return atomic_load(&filesystem->notify->events);
}

static bool was_event(const struct request *request)
{
	return notify_count_events(request->filesystem) != request->events;
}

void notify_recheck(const struct request *request, uint64_t id)
{
	if (!was_event(request))
		return;
	request_lock(request);
	struct node *node = tree_find(request_tree(request), id);
	if (node && node->given_long)
		notify_notice(request->filesystem, node, 0);
	request_unlock(request);
}

void notify_recheck_absent(const struct request *request, uint64_t parent_id, const char *name)
{
	struct filesystem *filesystem = request->filesystem;

	if (!was_event(request))
		return;
	request_lock(request);
	struct node *parent = tree_find(&filesystem->tree, parent_id);
	if (parent && absent_remove(&filesystem->notify->absent, parent_id, name))
		touch_queue(filesystem, TOUCH_FORGET_ABSENT, parent, name, NULL);
	request_unlock(request);
}

void notify_run_noticed(struct filesystem *filesystem)
{
	struct notify *notify = filesystem->notify;
	struct node *node = notify->first_noticed;
	struct tree *tree = &filesystem->tree;
	unsigned wake = node->wake;
	bool known = node->lookup_count;

	notify->first_noticed = node->next_noticed;
	if (!notify->first_noticed)
		notify->last_noticed = &notify->first_noticed;
	node->noticed = node->given_long = false;
	node->wake = 0;
	if (known) {
		pthread_mutex_unlock(&tree->lock);
		fuse_lowlevel_notify_inval_inode(filesystem->session, node->id, -1, 0);
		pthread_mutex_lock(&tree->lock);
		notify->counts.forgotten++;
	}
	/* An emptied config reads as empty until it is forgotten that it was: what others do shows then. */
	bool emptied = node->draft && !node->writers && draft_is_blank(node);
	if (node->parent && wake && !emptied)
		touch_queue(filesystem, wake & WAKE_CONTENT ? TOUCH_CONTENT : TOUCH_ATTRIBUTES,
			    node->parent, node->name, node);
	tree_drop(tree, node);
}

/* -------------------------------------------------- what the store tells us */

static void on_changed(void *arg, struct place *place)
{
	struct filesystem *filesystem = arg;

	atomic_fetch_add(&filesystem->notify->events, 1);
	pthread_mutex_lock(&filesystem->tree.lock);
	filesystem->notify->counts.events++;
	notify_changed(filesystem, place);
	pthread_mutex_unlock(&filesystem->tree.lock);
}

bool notify_watches_names(const struct filesystem *filesystem, struct place *place)
{
	const struct place *namespace = place_at(place, PLACE_NAMESPACE);
	const struct watched_namespace *found =
		namespace ? (struct watched_namespace *)place_table_find(&filesystem->notify->namespaces, namespace) : NULL;

	return found && found->watched;
}

static void set_names_watched(struct notify *notify, struct place *namespace, bool watched)
{
	struct watched_namespace *found = (struct watched_namespace *)place_table_find(&notify->namespaces, namespace);

	if (!found) {
		found = calloc(1, sizeof(*found));
		if (!found)
			return; /* compared from time to time, as if nobody told */
		place_table_add(&notify->namespaces, &found->place_entry, namespace);
	}
	found->watched = watched;
}

static struct watched_namespace *next_namespace(const struct notify *notify, const struct watched_namespace *before)
{
	return (struct watched_namespace *)table_next(&notify->namespaces, before ? &before->place_entry.link : NULL);
}

void notify_visit_nodes(struct filesystem *filesystem, const struct place *namespace,
			void (*visit)(struct filesystem *filesystem, struct node *node))
{
	struct tree *tree = &filesystem->tree;

	for (size_t i = 0; i < tree->bucket_count; i++)
		for (struct node *node = tree->by_id[i]; node; node = node->next_by_id)
			if (!namespace || (node->place && place_at(node->place, PLACE_NAMESPACE) == namespace))
				visit(filesystem, node);
}

/* What is known of its names may be wrong from now on, or was before. */
static void doubt_names(struct filesystem *filesystem, struct node *node)
{
	if (!node_is_directory(node) || node_is_scratch(node))
		return;
	node->names_complete = false;
	if (!node->names_listed)
		return;
	node->names_due = true;
	filesystem->notify->compare_now = true;
	if (node->lookup_count)
		notify_notice(filesystem, node, 0);
}

static void on_names_watched(void *arg, struct place *namespace, bool watched)
{
	struct filesystem *filesystem = arg;

	atomic_fetch_add(&filesystem->notify->events, 1);
	pthread_mutex_lock(&filesystem->tree.lock);
	set_names_watched(filesystem->notify, namespace, watched);
	notify_visit_nodes(filesystem, namespace, doubt_names);
	pthread_cond_signal(&filesystem->notify->woken);
	pthread_mutex_unlock(&filesystem->tree.lock);
}

static void take_back(struct filesystem *filesystem, struct node *node)
{
	if (node->given_long && node->lookup_count)
		notify_notice(filesystem, node, 0);
	node->names_complete = false;
}

static void forget_absent(struct filesystem *filesystem)
{
	struct absent_name *name;

	while ((name = absent_take(&filesystem->notify->absent))) {
		struct node *parent = tree_find(&filesystem->tree, name->parent_id);
		if (parent)
			touch_queue(filesystem, TOUCH_FORGET_ABSENT, parent, name->name, NULL);
		free(name);
	}
}

void notify_doubt_all_names(struct filesystem *filesystem)
{
	notify_visit_nodes(filesystem, NULL, doubt_names);
	forget_absent(filesystem);
}

static void on_live(void *arg, bool live)
{
	struct filesystem *filesystem = arg;
	struct notify *notify = filesystem->notify;

	atomic_fetch_add(&notify->events, 1);
	pthread_mutex_lock(&filesystem->tree.lock);
	notify->live = live;
	if (!live) {
		for (struct watched_namespace *each = NULL; (each = next_namespace(notify, each));)
			each->watched = false;
		notify_visit_nodes(filesystem, NULL, take_back);
		forget_absent(filesystem);
	}
	pthread_mutex_unlock(&filesystem->tree.lock);
}

const struct store_events notify_events = {
	.changed = on_changed,
	.names_watched = on_names_watched,
	.live = on_live,
};

/* ---------------------------------------------------------- start and end */

int notify_start(struct filesystem *filesystem)
{
	return thread_start(&filesystem->notify->thread, notify_run, filesystem);
}

void notify_stop(struct filesystem *filesystem)
{
	struct notify *notify = filesystem->notify;

	pthread_mutex_lock(&filesystem->tree.lock);
	atomic_store(&notify->stopping, true);
	pthread_cond_signal(&notify->woken);
	pthread_mutex_unlock(&filesystem->tree.lock);
	thread_join(&notify->thread);
}

void notify_free(struct filesystem *filesystem)
{
	struct notify *notify = filesystem->notify;

	if (!notify)
		return;
	while (notify->first_noticed) {
		struct node *node = notify->first_noticed;
		notify->first_noticed = node->next_noticed;
		tree_drop(&filesystem->tree, node);
	}
	notify_free_notices(notify);
	for (struct watched_namespace *each = next_namespace(notify, NULL), *next; each; each = next) {
		next = next_namespace(notify, each);
		place_drop(each->place_entry.place);
		free(each);
	}
	table_release(&notify->namespaces);
	absent_destroy(&notify->absent);
	pthread_cond_destroy(&notify->woken);
	free(notify);
	filesystem->notify = NULL;
}

void notify_get_status(const struct filesystem *filesystem, struct notify_status *ret_status)
{
	const struct notify *notify = filesystem->notify;

	*ret_status = notify->counts;
	ret_status->live = notify->live;
	ret_status->queued = notify->notices.count;
	ret_status->absent = notify->absent.count;
}
