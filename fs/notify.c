#include "fs/notify.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "fs/absent.h"
#include "fs/attributes.h"
#include "fs/directory.h"
#include "fs/draft.h"
#include "fs/grace.h"
#include "fs/touch.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"

#define BUCKETS 1024
#define NOTICE_LIMIT 16384 /* configs in the queue; beyond, all are compared */
#define FETCH_TIMEOUT_MS 10000
#define RETRY_FIRST_MS 1000
#define RETRY_LAST_MS 30000
#define UNTOLD_ATTEMPTS 5 /* for what is not watched after it was fetched: perhaps the server showed an old state */
#define COMPARE_COST_FACTOR 10 /* comparing takes no more than that part of the time */

/* What is to be raised once the kernel has forgotten what it knew; bits of node->wake. */
enum { WAKE_CONTENT = 1, WAKE_ATTRIBUTES = 2 };

/* A config that is to be fetched. */
struct notice {
	struct notice *next; /* in the queue, or among the delayed ones */
	struct notice *next_by_key; /* in the bucket */
	struct key *key;
	enum { NOTICE_READY, NOTICE_RUNNING, NOTICE_DELAYED } state;
	bool again; /* told once more while it ran */
	unsigned attempts;
	int64_t due_ms; /* of delayed ones */
};

struct watched_namespace {
	struct watched_namespace *next;
	char *id;
	bool watched;
};

struct notify {
	pthread_cond_t woken;
	pthread_t thread;
	bool started;
	atomic_bool stopping;
	atomic_uint events;
	bool live;

	struct node *first_noticed, **last_noticed; /* held; what the kernel is to forget */
	struct notice *first, **last;
	struct notice *delayed;
	struct notice *buckets[BUCKETS];
	size_t notice_count;
	bool compare_all;
	int64_t compare_due_ms; /* the names that are not told of */
	bool compare_now; /* some directory's names are due */

	struct watched_namespace *namespaces;
	struct absent_names absent;
	struct notify_status counts;
};

int notify_new(struct filesystem *filesystem)
{
	struct notify *notify = calloc(1, sizeof(*notify));
	pthread_condattr_t monotonic;

	if (!notify)
		return -ENOMEM;
	if (absent_init(&notify->absent)) {
		free(notify);
		return -ENOMEM;
	}
	notify->last_noticed = &notify->first_noticed;
	notify->last = &notify->first;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&notify->woken, &monotonic);
	pthread_condattr_destroy(&monotonic);
	filesystem->notify = notify;
	return 0;
}

/* --------------------------------------------------- what the kernel forgets */

/* Makes the kernel forget the node's attributes, and then raises what wake says. */
static void notice(struct filesystem *filesystem, struct node *node, unsigned wake)
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

/* Can anybody watch it? Who does, has looked up the directory at least. */
static bool is_within_sight(const struct node *node)
{
	return node->lookup_count || (node->parent && node->parent->lookup_count);
}

void notify_content(struct filesystem *filesystem, struct node *node)
{
	if (is_within_sight(node))
		notice(filesystem, node, WAKE_CONTENT);
}

void notify_about_attributes(struct filesystem *filesystem, struct node *node)
{
	if (is_within_sight(node))
		notice(filesystem, node, WAKE_ATTRIBUTES);
}

void notify_created(struct filesystem *filesystem, struct node *node)
{
	struct node *parent = node->parent;

	absent_remove(&filesystem->notify->absent, parent->id, node->name);
	if (!parent->lookup_count)
		return;
	notice(filesystem, parent, 0);
	touch_queue(filesystem, node_is_directory(node) ? TOUCH_CREATED_DIRECTORY : TOUCH_CREATED, parent,
		    node->name, node);
}

void notify_removed(struct filesystem *filesystem, struct node *node)
{
	struct node *parent = node->parent;

	if (!is_within_sight(node))
		return;
	notice(filesystem, parent, 0);
	notice(filesystem, node, 0);
	touch_queue(filesystem, node_is_directory(node) ? TOUCH_REMOVED_DIRECTORY : TOUCH_REMOVED, parent,
		    node->name, node);
}

bool notify_is_told(const struct filesystem *filesystem, const struct node *node)
{
	if (node_is_directory(node) && !node_is_scratch(node))
		return filesystem->notify->live;
	if (node->kind != NODE_CONFIG || !node->parent)
		return false;
	struct key key = tree_key(&filesystem->tree, node->parent, node->name);
	return store_is_watched(filesystem->store, &key);
}

bool notify_add_absent(struct filesystem *filesystem, const struct node *parent, const char *name,
		       bool name_possible)
{
	struct tree *tree = &filesystem->tree;

	if (tree_level(tree, parent) != LEVEL_CONFIGS || grace_hides(filesystem, parent, name))
		return false;
	if (!name_possible)
		return true; /* only a request of the kernel can make it appear */
	struct key key = tree_key(tree, parent, name);
	return touch_works(filesystem) && store_is_watched(filesystem->store, &key) &&
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
		notice(request->filesystem, node, 0);
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

static void run_noticed(struct filesystem *filesystem, struct node *node)
{
	struct notify *notify = filesystem->notify;
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

/* ------------------------------------------------------------- the key queue */

static struct notice **bucket_of(struct notify *notify, const struct key *key)
{
	return &notify->buckets[key_hash(key) % BUCKETS];
}

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
	struct notice **place = bucket_of(notify, ended->key);

	while (*place != ended)
		place = &(*place)->next_by_key;
	*place = ended->next_by_key;
	notify->notice_count--;
	free(ended->key);
	free(ended);
}

static struct notice *add_notice(struct notify *notify, const struct key *key)
{
	struct notice *added = notify->notice_count < NOTICE_LIMIT ? calloc(1, sizeof(*added)) : NULL;

	if (!added)
		return NULL;
	added->key = key_copy(key);
	if (!added->key) {
		free(added);
		return NULL;
	}
	struct notice **bucket = bucket_of(notify, key);
	added->next_by_key = *bucket;
	*bucket = added;
	notify->notice_count++;
	return added;
}

void notify_changed(struct filesystem *filesystem, const struct key *key)
{
	struct notify *notify = filesystem->notify;
	struct notice *present = *bucket_of(notify, key);

	while (present && !key_equals(present->key, key))
		present = present->next_by_key;
	if (!present) {
		present = add_notice(notify, key);
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

/* -------------------------------------------------- what the store tells us */

static void on_changed(void *arg, const struct key *key)
{
	struct filesystem *filesystem = arg;

	atomic_fetch_add(&filesystem->notify->events, 1);
	pthread_mutex_lock(&filesystem->tree.lock);
	filesystem->notify->counts.events++;
	notify_changed(filesystem, key);
	pthread_mutex_unlock(&filesystem->tree.lock);
}

static struct watched_namespace *find_namespace(const struct notify *notify, const char *namespace_id)
{
	struct watched_namespace *found = notify->namespaces;

	while (found && strcmp(found->id, namespace_id))
		found = found->next;
	return found;
}

bool notify_watches_names(const struct filesystem *filesystem, const char *namespace_id)
{
	const struct watched_namespace *found = find_namespace(filesystem->notify, namespace_id);

	return found && found->watched;
}

static void set_names_watched(struct notify *notify, const char *namespace_id, bool watched)
{
	struct watched_namespace *found = find_namespace(notify, namespace_id);

	if (!found) {
		found = calloc(1, sizeof(*found));
		if (!found)
			return; /* compared from time to time, as if nobody told */
		found->id = strdup(namespace_id);
		if (!found->id) {
			free(found);
			return;
		}
		found->next = notify->namespaces;
		notify->namespaces = found;
	}
	found->watched = watched;
}

/* Calls visit for each node. It must not free any. */
static void visit_nodes(struct filesystem *filesystem, const char *namespace_id,
			void (*visit)(struct filesystem *filesystem, struct node *node))
{
	struct tree *tree = &filesystem->tree;

	for (size_t i = 0; i < tree->bucket_count; i++) {
		for (struct node *node = tree->by_id[i]; node; node = node->next_by_id) {
			const char *id = namespace_id ? tree_namespace_id(tree, node) : NULL;
			if (!namespace_id || (id && !strcmp(id, namespace_id)))
				visit(filesystem, node);
		}
	}
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
		notice(filesystem, node, 0);
}

static void on_names_watched(void *arg, const char *namespace_id, bool watched)
{
	struct filesystem *filesystem = arg;

	atomic_fetch_add(&filesystem->notify->events, 1);
	pthread_mutex_lock(&filesystem->tree.lock);
	set_names_watched(filesystem->notify, namespace_id, watched);
	visit_nodes(filesystem, namespace_id, doubt_names);
	pthread_cond_signal(&filesystem->notify->woken);
	pthread_mutex_unlock(&filesystem->tree.lock);
}

static void take_back(struct filesystem *filesystem, struct node *node)
{
	if (node->given_long && node->lookup_count)
		notice(filesystem, node, 0);
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

static void on_live(void *arg, bool live)
{
	struct filesystem *filesystem = arg;
	struct notify *notify = filesystem->notify;

	atomic_fetch_add(&notify->events, 1);
	pthread_mutex_lock(&filesystem->tree.lock);
	notify->live = live;
	if (!live) {
		for (struct watched_namespace *each = notify->namespaces; each; each = each->next)
			each->watched = false;
		visit_nodes(filesystem, NULL, take_back);
		forget_absent(filesystem);
	}
	pthread_mutex_unlock(&filesystem->tree.lock);
}

const struct store_events notify_events = {
	.changed = on_changed,
	.names_watched = on_names_watched,
	.live = on_live,
};

/* ----------------------------------------------------------------- fetching */

static bool is_stopping(void *arg)
{
	const struct notify *notify = arg;

	return atomic_load(&notify->stopping);
}

/* A namespace's or group's directory, as far as it is in the tree; NULL. group NULL: the namespace's. */
static struct node *find_directory(const struct tree *tree, const char *namespace_id, const char *group)
{
	struct node *node = tree->root;

	if (tree->namespace_id && strcmp(tree->namespace_id, namespace_id))
		return NULL;
	if (!tree->namespace_id)
		node = tree_child(tree, node, namespace_id);
	if (!node || !group)
		return tree->group ? NULL : node;
	if (tree->group)
		return strcmp(tree->group, group) ? NULL : node;
	return tree_child(tree, node, group);
}

/* Fetches a config that is no node; gives up the lock. */
static int fetch(struct request *request, const struct key *key, struct version **ret_version)
{
	request_unlock(request);
	int error = store_get(request->filesystem->store, key, VERSION_ATTRIBUTES, &request->call, ret_version);
	request_lock(request);
	return error;
}

/* A config of a group that has no directory here yet. */
static int refresh_group(struct request *request, const struct key *key)
{
	struct tree *tree = request_tree(request);
	struct node *parent = find_directory(tree, key->namespace_id, NULL);
	cleanup_version struct version *version = NULL;

	if (!parent || !parent->lookup_count || !directory_name_fits(key->group))
		return 0;
	int error = fetch(request, key, &version);
	parent = find_directory(tree, key->namespace_id, NULL);
	if (error || !parent || tree_child(tree, parent, key->group))
		return error == -ENOENT ? 0 : error;
	struct node *node = filesystem_add_node(request->filesystem, parent, key->group, NODE_GROUP);
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
static int refresh_absent(struct request *request, const struct key *key)
{
	struct filesystem *filesystem = request->filesystem;
	struct tree *tree = request_tree(request);
	cleanup_version struct version *version = NULL;
	int error = fetch(request, key, &version);
	struct node *directory = find_directory(tree, key->namespace_id, key->group);
	struct node *node = directory ? tree_child(tree, directory, key->data_id) : NULL;

	if (!directory || node || grace_hides(filesystem, directory, key->data_id))
		return error == -ENOENT ? 0 : error;
	if (error) {
		/* What is not known to be absent any more can't be believed to be. */
		if ((error != -ENOENT || !store_is_watched(filesystem->store, key)) &&
		    absent_remove(&filesystem->notify->absent, directory->id, key->data_id))
			touch_queue(filesystem, TOUCH_FORGET_ABSENT, directory, key->data_id, NULL);
		if (store_error_is_outage(error))
			directory->names_complete = false;
		if (error == -ENOENT)
			verify_group(request, directory);
		return error == -ENOENT ? 0 : error;
	}
	if (!directory_name_fits(key->data_id))
		return 0;
	node = filesystem_add_node(filesystem, directory, key->data_id, NODE_CONFIG);
	if (!node)
		return -ENOMEM;
	filesystem_show_version(filesystem, node, version);
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
		notice(filesystem, node, 0);
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

static int refresh(struct request *request, const struct key *key)
{
	struct tree *tree = request_tree(request);
	struct node *directory = find_directory(tree, key->namespace_id, key->group);
	struct node *node = directory ? tree_child(tree, directory, key->data_id) : NULL;

	request->filesystem->notify->counts.refreshed++;
	if (!directory)
		return tree->group ? 0 : refresh_group(request, key);
	if (node && (node->kind != NODE_CONFIG || !is_within_sight(node)))
		return 0;
	if (node)
		return refresh_node(request, node);
	return is_within_sight(directory) ? refresh_absent(request, key) : 0;
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
		      !store_is_watched(filesystem->store, ran->key);
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
	int error = refresh(&request, ran->key);
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
	return node->kind == NODE_CONFIG && node->parent && is_within_sight(node);
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
	const char *namespace_id = tree_namespace_id(&filesystem->tree, node);
	if (namespace_id && notify_watches_names(filesystem, namespace_id))
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
		struct key key = tree_key(&filesystem->tree, directory, node->name);
		if (!store_is_watched(filesystem->store, &key))
			notify_changed(filesystem, &key);
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
	visit_nodes(filesystem, NULL, doubt_names);
	forget_absent(filesystem);
	collect(filesystem, &list, is_config_in_sight);
	for (size_t i = 0; i < list.count && !is_stopping(notify); i++) {
		struct node *node = list.nodes[i];
		struct request request;

		if (!node->parent)
			continue;
		request_start_in_background(&request, filesystem, FETCH_TIMEOUT_MS, is_stopping, notify);
		int error = refresh_node(&request, node);
		if (store_error_is_outage(error) && node->parent) {
			struct key key = tree_key(&filesystem->tree, node->parent, node->name);
			notify_changed(filesystem, &key);
		}
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
		run_noticed(filesystem, notify->first_noticed);
	} else if (notify->first) {
		run_notice(filesystem, notify->first);
	} else if (notify->compare_all) {
		compare_everything(filesystem);
	} else if (notify->compare_now) {
		compare_names(filesystem);
	} else if (notify->compare_due_ms <= clock_monotonic_ms()) {
		notify->compare_due_ms = clock_monotonic_ms() + filesystem->refresh_ms;
		visit_nodes(filesystem, NULL, make_names_due);
	} else {
		*ret_next_ms = next_ms < notify->compare_due_ms ? next_ms : notify->compare_due_ms;
		return false;
	}
	return true;
}

static void *run_notify(void *argument)
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

int notify_start(struct filesystem *filesystem)
{
	int error = pthread_create(&filesystem->notify->thread, NULL, run_notify, filesystem);

	filesystem->notify->started = !error;
	return -error;
}

void notify_stop(struct filesystem *filesystem)
{
	struct notify *notify = filesystem->notify;

	pthread_mutex_lock(&filesystem->tree.lock);
	atomic_store(&notify->stopping, true);
	pthread_cond_signal(&notify->woken);
	pthread_mutex_unlock(&filesystem->tree.lock);
	if (notify->started)
		pthread_join(notify->thread, NULL);
	notify->started = false;
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
	for (size_t i = 0; i < BUCKETS; i++)
		while (notify->buckets[i])
			free_notice(notify, notify->buckets[i]);
	while (notify->namespaces) {
		struct watched_namespace *first = notify->namespaces;
		notify->namespaces = first->next;
		free(first->id);
		free(first);
	}
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
	ret_status->queued = notify->notice_count;
	ret_status->absent = notify->absent.count;
}
