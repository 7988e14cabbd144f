/*
 * The set of what is watched, and what other threads note in it: callers what they want, the
 * connection's thread what the server says. None of them waits for anything here.
 */
#include "nacos/grpc/watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/grpc/watch_private.h"
#include "util/cleanup.h"
#include "util/clock.h"

/*
 * Beyond so many names that nobody has taken yet, the caller is better off comparing all of them.
 */
#define NAMES_MAX 10000

/* The part of the set's lock that every function here begins and ends with. */
static void unlock_and_wake(struct nacos_watch *watch)
{
	pthread_cond_signal(&watch->changed);
	pthread_mutex_unlock(&watch->lock);
}

const char *nacos_watch_own_namespace(const char *namespace_id)
{
	return namespace_id && namespace_id[0] ? namespace_id : "public";
}

/* ---- the lists ---- */

void nacos_watch_set_pending(struct nacos_watch *watch, struct nacos_watch_entry *entry)
{
	if (entry->pending)
		return;
	entry->pending = true;
	entry->pending_next = NULL;
	entry->pending_link = watch->pending_end;
	*watch->pending_end = entry;
	watch->pending_end = &entry->pending_next;
	watch->pending_count++;
}

void nacos_watch_take_pending(struct nacos_watch *watch, struct nacos_watch_entry *entry)
{
	if (!entry->pending)
		return;
	entry->pending = false;
	*entry->pending_link = entry->pending_next;
	if (entry->pending_next)
		entry->pending_next->pending_link = entry->pending_link;
	else
		watch->pending_end = entry->pending_link;
	watch->pending_count--;
}

void nacos_watch_set_changed(struct nacos_watch *watch, struct nacos_watch_entry *entry)
{
	if (entry->changed)
		return;
	entry->changed = true;
	entry->changed_next = NULL;
	entry->changed_link = watch->reports_end;
	*watch->reports_end = entry;
	watch->reports_end = &entry->changed_next;
}

void nacos_watch_take_changed(struct nacos_watch *watch, struct nacos_watch_entry *entry)
{
	if (!entry->changed)
		return;
	entry->changed = false;
	*entry->changed_link = entry->changed_next;
	if (entry->changed_next)
		entry->changed_next->changed_link = entry->changed_link;
	else
		watch->reports_end = entry->changed_link;
}

void nacos_watch_set_refused(struct nacos_watch *watch, struct nacos_watch_entry *entry,
			     bool refused)
{
	if (entry->refused == refused)
		return;
	entry->refused = refused;
	watch->refused_count += refused ? 1 : -1;
}

/* ---- the table ---- */

struct nacos_watch_entry *nacos_watch_find(struct nacos_watch *watch, const struct nacos_key *key)
{
	return (struct nacos_watch_entry *)nacos_key_table_find(&watch->table, key);
}

static struct nacos_watch_entry *add(struct nacos_watch *watch, const struct nacos_key *key)
{
	struct nacos_watch_entry *entry = calloc(1, sizeof(*entry) + nacos_key_size(key));

	if (!entry)
		return NULL;
	nacos_key_place(key, (char *)(entry + 1), &entry->node.key);
	if (nacos_key_table_add(&watch->table, &entry->node)) {
		free(entry);
		return NULL;
	}
	return entry;
}

void nacos_watch_remove(struct nacos_watch *watch, struct nacos_watch_entry *entry)
{
	nacos_key_table_remove(&watch->table, &entry->node);
	nacos_watch_take_pending(watch, entry);
	nacos_watch_take_changed(watch, entry);
	nacos_watch_set_refused(watch, entry, false);
	free(entry);
}

/* ---- what callers want ---- */

int nacos_grpc_watch(struct nacos_grpc *grpc, const struct nacos_key *key, const char *md5)
{
	struct nacos_watch *watch = grpc->watch;
	struct nacos_watch_entry *entry;

	pthread_mutex_lock(&watch->lock);
	entry = nacos_watch_find(watch, key);
	if (!entry)
		entry = add(watch, key);
	if (!entry) {
		pthread_mutex_unlock(&watch->lock);
		return -ENOMEM;
	}
	snprintf(entry->md5, sizeof(entry->md5), "%s", md5);
	if (!entry->wanted) {
		entry->wanted = true;
		watch->wanted_count++;
		/* One that is busy is put there when the thread sees that it is wanted again. */
		if (!entry->busy)
			nacos_watch_set_pending(watch, entry);
	}
	unlock_and_wake(watch);
	return 0;
}

void nacos_grpc_unwatch(struct nacos_grpc *grpc, const struct nacos_key *key)
{
	struct nacos_watch *watch = grpc->watch;
	struct nacos_watch_entry *entry;

	pthread_mutex_lock(&watch->lock);
	entry = nacos_watch_find(watch, key);
	if (entry && entry->wanted) {
		entry->wanted = false;
		watch->wanted_count--;
		nacos_watch_take_changed(watch, entry);
		nacos_watch_set_refused(watch, entry, false);
		/* One that is busy is dealt with by the thread, when it sees that. */
		if (!entry->busy && watch->epoch != 0 && entry->told_epoch == watch->epoch)
			nacos_watch_set_pending(watch, entry);
		else if (!entry->busy)
			nacos_watch_remove(watch, entry);
	}
	unlock_and_wake(watch);
}

bool nacos_grpc_is_watched(struct nacos_grpc *grpc, const struct nacos_key *key)
{
	struct nacos_watch *watch = grpc->watch;
	const struct nacos_watch_entry *entry;
	bool watched;

	pthread_mutex_lock(&watch->lock);
	entry = nacos_watch_find(watch, key);
	watched = entry && entry->wanted && !entry->refused && watch->epoch != 0 &&
		  (entry->told_epoch == watch->epoch || watch->failures == 0);
	pthread_mutex_unlock(&watch->lock);
	return watched;
}

static struct nacos_watch_names *find_names(struct nacos_watch *watch, const char *namespace_id)
{
	struct nacos_watch_names *names = watch->namespaces;

	while (names && strcmp(names->namespace_id, namespace_id) != 0)
		names = names->next;
	return names;
}

int nacos_grpc_watch_names(struct nacos_grpc *grpc, const char *namespace_id)
{
	struct nacos_watch *watch = grpc->watch;
	struct nacos_watch_names *names;
	int error = 0;

	pthread_mutex_lock(&watch->lock);
	names = find_names(watch, namespace_id);
	if (!names) {
		size_t size = strlen(namespace_id) + 1;

		names = calloc(1, sizeof(*names) + size);
		if (names) {
			names->namespace_id = memcpy(names + 1, namespace_id, size);
			names->next = watch->namespaces;
			watch->namespaces = names;
		} else {
			error = -ENOMEM;
		}
	}
	if (names && !names->wanted) {
		names->wanted = true;
		names->tried = names->reported = false;
	}
	unlock_and_wake(watch);
	return error;
}

void nacos_grpc_unwatch_names(struct nacos_grpc *grpc, const char *namespace_id)
{
	struct nacos_watch *watch = grpc->watch;
	struct nacos_watch_names *names;

	pthread_mutex_lock(&watch->lock);
	names = find_names(watch, namespace_id);
	/* The thread tells the server. It stays in the list: there are few, and they come back. */
	if (names && names->wanted) {
		names->wanted = false;
		names->tried = false;
	}
	unlock_and_wake(watch);
}

void nacos_grpc_each_watched(struct nacos_grpc *grpc,
			     void (*function)(void *arg, const struct nacos_key *key, const char *md5), void *arg)
{
	struct nacos_watch *watch = grpc->watch;
	struct nacos_key_node *node = NULL;

	pthread_mutex_lock(&watch->lock);
	while ((node = nacos_key_table_next(&watch->table, node))) {
		const struct nacos_watch_entry *entry = (const struct nacos_watch_entry *)node;

		if (entry->wanted)
			function(arg, &entry->node.key, entry->md5);
	}
	pthread_mutex_unlock(&watch->lock);
}

void nacos_grpc_get_watch_counts(struct nacos_grpc *grpc, struct nacos_watch_counts *ret_counts)
{
	struct nacos_watch *watch = grpc->watch;

	pthread_mutex_lock(&watch->lock);
	ret_counts->watched = watch->wanted_count;
	ret_counts->waiting = watch->pending_count + watch->busy_count;
	if (watch->epoch == 0)
		ret_counts->waiting = watch->wanted_count;
	ret_counts->refused = watch->refused_count;
	pthread_mutex_unlock(&watch->lock);
}

/* ---- what the connection's thread notes ---- */

void nacos_watch_connection_up(struct nacos_watch *watch, uint64_t epoch, bool can_narrow,
			       bool has_fuzzy_watch)
{
	pthread_mutex_lock(&watch->lock);
	watch->epoch = epoch;
	watch->can_narrow = can_narrow;
	watch->has_fuzzy_watch = has_fuzzy_watch;
	unlock_and_wake(watch);
}

void nacos_watch_connection_down(struct nacos_watch *watch)
{
	pthread_mutex_lock(&watch->lock);
	watch->epoch = 0;
	unlock_and_wake(watch);
}

void nacos_watch_note_change(struct nacos_watch *watch, const char *namespace_id, const char *group,
			     const char *data_id)
{
	const struct nacos_key key = {
		.namespace_id = nacos_watch_own_namespace(namespace_id),
		.group = group,
		.data_id = data_id,
	};
	struct nacos_watch_entry *entry;

	pthread_mutex_lock(&watch->lock);
	entry = nacos_watch_find(watch, &key);
	if (entry && entry->wanted)
		nacos_watch_set_changed(watch, entry);
	unlock_and_wake(watch);
}

/* In place: %2B is '+', %25 is '%'. */
static void decode_part(char *part)
{
	char *out = part;

	for (; *part; part++) {
		if (strncmp(part, "%2B", 3) == 0 || strncmp(part, "%25", 3) == 0) {
			*out++ = part[2] == 'B' ? '+' : '%';
			part += 2;
		} else {
			*out++ = *part;
		}
	}
	*out = '\0';
}

/* Splits "dataId+group+namespace", in place. False when it is no such thing. */
static bool split_group_key(char *group_key, struct nacos_key *ret_key)
{
	char *group = strchr(group_key, '+'), *namespace_id;

	if (!group)
		return false;
	*group++ = '\0';
	namespace_id = strchr(group, '+');
	if (namespace_id)
		*namespace_id++ = '\0';
	if (!group_key[0] || !group[0])
		return false;
	decode_part(group_key);
	decode_part(group);
	if (namespace_id)
		decode_part(namespace_id);
	ret_key->data_id = group_key;
	ret_key->group = group;
	ret_key->namespace_id = nacos_watch_own_namespace(namespace_id);
	return true;
}

struct nacos_watch_name *nacos_watch_name_new(const struct nacos_key *key, bool exists)
{
	struct nacos_watch_name *name = malloc(sizeof(*name) + nacos_key_size(key));

	if (!name)
		return NULL;
	name->next = NULL;
	name->exists = exists;
	nacos_key_place(key, (char *)(name + 1), &name->key);
	return name;
}

void nacos_watch_note_names_untold(struct nacos_watch *watch)
{
	pthread_mutex_lock(&watch->lock);
	watch->names_lost = true;
	unlock_and_wake(watch);
}

void nacos_watch_note_name(struct nacos_watch *watch, const char *group_key, bool exists)
{
	cleanup_free char *copy = strdup(group_key);
	struct nacos_watch_name *name = NULL;
	struct nacos_key key;

	if (copy && !split_group_key(copy, &key))
		return;
	if (copy)
		name = nacos_watch_name_new(&key, exists);
	pthread_mutex_lock(&watch->lock);
	if (!name || watch->name_count == NAMES_MAX) {
		watch->names_lost = true;
		free(name);
	} else {
		*watch->names_end = name;
		watch->names_end = &name->next;
		watch->name_count++;
	}
	unlock_and_wake(watch);
}

/* ---- life ---- */

int nacos_watch_new(struct nacos_grpc *grpc, const struct nacos_watch_events *events, void *arg,
		    struct nacos_watch **ret_watch)
{
	struct nacos_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	watch->grpc = grpc;
	watch->events = *events;
	watch->arg = arg;
	watch->pending_end = &watch->pending;
	watch->reports_end = &watch->reports;
	watch->names_end = &watch->names;
	pthread_mutex_init(&watch->lock, NULL);
	clock_init_condition(&watch->changed);
	if (nacos_key_table_init(&watch->table)) {
		nacos_watch_free(watch);
		return -ENOMEM;
	}
	*ret_watch = watch;
	return 0;
}

int nacos_watch_start(struct nacos_watch *watch)
{
	return thread_start(&watch->thread, nacos_watch_run, watch);
}

void nacos_watch_stop(struct nacos_watch *watch)
{
	if (!watch || !watch->thread.is_started)
		return;
	atomic_store(&watch->stop, true);
	pthread_mutex_lock(&watch->lock);
	unlock_and_wake(watch);
	thread_join(&watch->thread);
}

void nacos_watch_free(struct nacos_watch *watch)
{
	struct nacos_key_node *node, *next;

	if (!watch)
		return;
	for (node = nacos_key_table_next(&watch->table, NULL); node; node = next) {
		next = nacos_key_table_next(&watch->table, node);
		free(node);
	}
	nacos_key_table_release(&watch->table);
	while (watch->names) {
		struct nacos_watch_name *name = watch->names;

		watch->names = name->next;
		free(name);
	}
	while (watch->namespaces) {
		struct nacos_watch_names *names = watch->namespaces;

		watch->namespaces = names->next;
		free(names);
	}
	nacos_watch_forget_limits(watch);
	pthread_cond_destroy(&watch->changed);
	pthread_mutex_destroy(&watch->lock);
	free(watch);
}
