/*
 * The set of what is watched over HTTP, and what callers want of it. None of them waits for anything here.
 */
#include "nacos/poll/poll.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "nacos/poll/poll_private.h"
#include "util/clock.h"

#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 30000
#define QUIET_MIN_MS 1000
#define QUIET_MAX_MS 30000

/* ---- lists, and waiting ---- */

static void init_list(struct nacos_poll_list *list)
{
	list->end = &list->first;
}

static void take(struct nacos_poll_entry *entry)
{
	struct nacos_poll_list *list = entry->list;

	if (!list)
		return;
	*entry->link = entry->next;
	if (entry->next)
		entry->next->link = entry->link;
	else
		list->end = entry->link;
	list->count--;
	entry->list = NULL;
}

static void put(struct nacos_poll_entry *entry, struct nacos_poll_list *list)
{
	entry->list = list;
	entry->next = NULL;
	entry->link = list->end;
	*list->end = entry;
	list->end = &entry->next;
	list->count++;
}

void nacos_poll_move(struct nacos_poll_watch *watch, struct nacos_poll_entry *entry, struct nacos_poll_list *list)
{
	take(entry);
	if (!list->is_hold)
		entry->told = false;
	if (list == &watch->ready) {
		entry->is_reported_refused = false;
		if (!list->first) {
			watch->ready_since_ms = clock_monotonic_ms();
			nacos_poll_wake(watch);
		}
	}
	put(entry, list);
}

struct nacos_poll_entry *nacos_poll_find(struct nacos_poll_watch *watch, const struct nacos_key *key)
{
	return (struct nacos_poll_entry *)nacos_key_table_find(&watch->table, key);
}

void nacos_poll_wake(struct nacos_poll_watch *watch)
{
	pthread_cond_broadcast(&watch->changed);
}

void nacos_poll_wait(struct nacos_poll_watch *watch, int64_t until_ms)
{
	struct timespec until;

	if (until_ms == NACOS_POLL_NEVER) {
		pthread_cond_wait(&watch->changed, &watch->lock);
		return;
	}
	until = clock_from_ms(until_ms);
	pthread_cond_timedwait(&watch->changed, &watch->lock, &until);
}

int64_t nacos_poll_delay_ms(unsigned failures)
{
	int64_t delay_ms = RETRY_MIN_MS;
	uint16_t random = 0;

	for (unsigned i = 0; i < failures && delay_ms < RETRY_MAX_MS; i++)
		delay_ms *= 2;
	if (delay_ms > RETRY_MAX_MS)
		delay_ms = RETRY_MAX_MS;
	/* Without random bytes there is no jitter. */
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = 0;
	return delay_ms - delay_ms * random / UINT16_MAX / 4;
}

/* ---- what callers want ---- */

static struct nacos_poll_entry *add(struct nacos_poll_watch *watch, const struct nacos_key *key)
{
	struct nacos_poll_entry *entry = calloc(1, sizeof(*entry) + nacos_key_size(key));

	if (!entry)
		return NULL;
	nacos_key_place(key, (char *)(entry + 1), &entry->node.key);
	if (nacos_key_table_add(&watch->table, &entry->node)) {
		free(entry);
		return NULL;
	}
	put(entry, &watch->pending);
	return entry;
}

/* The caller has found what it had before: it is asked again, but not at once. */
static void keep_quiet(struct nacos_poll_watch *watch, struct nacos_poll_entry *entry)
{
	if (entry->is_answered)
		return;
	entry->is_answered = true;
	entry->quiet_ms = entry->quiet_ms < QUIET_MIN_MS ? QUIET_MIN_MS : 2 * entry->quiet_ms;
	if (entry->quiet_ms > QUIET_MAX_MS)
		entry->quiet_ms = QUIET_MAX_MS;
	entry->resume_at_ms = clock_monotonic_ms() + entry->quiet_ms;
	if (entry->resume_at_ms < watch->resume_at_ms)
		watch->resume_at_ms = entry->resume_at_ms;
}

int nacos_poll_watch(struct nacos_poll_watch *watch, const struct nacos_key *key, const char *md5)
{
	struct nacos_poll_entry *entry;
	int error = 0;

	pthread_mutex_lock(&watch->lock);
	entry = nacos_poll_find(watch, key);
	if (!entry) {
		entry = add(watch, key);
		if (entry)
			snprintf(entry->md5, sizeof(entry->md5), "%s", md5);
		else
			error = -ENOMEM;
	} else if (strcmp(entry->md5, md5) != 0) {
		snprintf(entry->md5, sizeof(entry->md5), "%s", md5);
		entry->md5_tick = ++watch->tick;
		entry->quiet_ms = 0;
		if (entry->list == &watch->waiting || entry->list == &watch->reports)
			nacos_poll_move(watch, entry, &watch->pending);
	} else if (entry->list == &watch->waiting) {
		keep_quiet(watch, entry);
	}
	nacos_poll_wake(watch);
	pthread_mutex_unlock(&watch->lock);
	return error;
}

void nacos_poll_unwatch(struct nacos_poll_watch *watch, const struct nacos_key *key)
{
	struct nacos_poll_entry *entry;

	pthread_mutex_lock(&watch->lock);
	entry = nacos_poll_find(watch, key);
	if (entry) {
		take(entry);
		nacos_key_table_remove(&watch->table, &entry->node);
		free(entry);
	}
	pthread_mutex_unlock(&watch->lock);
}

bool nacos_poll_is_watched(struct nacos_poll_watch *watch, const struct nacos_key *key)
{
	const struct nacos_poll_entry *entry;
	bool told;

	pthread_mutex_lock(&watch->lock);
	entry = nacos_poll_find(watch, key);
	told = entry && entry->told;
	pthread_mutex_unlock(&watch->lock);
	return told;
}

static struct nacos_poll_names *find_names(struct nacos_poll_watch *watch, const char *namespace_id)
{
	struct nacos_poll_names *names = watch->namespaces;

	while (names && strcmp(names->namespace_id, namespace_id) != 0)
		names = names->next;
	return names;
}

int nacos_poll_watch_names(struct nacos_poll_watch *watch, const char *namespace_id)
{
	struct nacos_poll_names *names;

	pthread_mutex_lock(&watch->lock);
	names = find_names(watch, namespace_id);
	if (!names) {
		size_t size = strlen(namespace_id) + 1;

		names = calloc(1, sizeof(*names) + size);
		if (names) {
			names->namespace_id = memcpy(names + 1, namespace_id, size);
			names->next = watch->namespaces;
			watch->namespaces = names;
		}
	}
	if (names && !names->wanted) {
		names->wanted = true;
		names->reported = false;
	}
	nacos_poll_wake(watch);
	pthread_mutex_unlock(&watch->lock);
	return names ? 0 : -ENOMEM;
}

void nacos_poll_unwatch_names(struct nacos_poll_watch *watch, const char *namespace_id)
{
	struct nacos_poll_names *names;

	pthread_mutex_lock(&watch->lock);
	names = find_names(watch, namespace_id);
	/* It stays in the list: there are few, and they come back. */
	if (names)
		names->wanted = false;
	pthread_mutex_unlock(&watch->lock);
}

void nacos_poll_get_watch_counts(struct nacos_poll_watch *watch, struct nacos_watch_counts *ret_counts)
{
	size_t told = 0;

	pthread_mutex_lock(&watch->lock);
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++)
		for (const struct nacos_poll_entry *entry = watch->slots[i].entries.first; entry; entry = entry->next)
			told += entry->told;
	ret_counts->watched = watch->table.count;
	ret_counts->refused = watch->refused.count + watch->new_refused.count;
	ret_counts->waiting = ret_counts->watched - ret_counts->refused - told;
	pthread_mutex_unlock(&watch->lock);
}

/* ---- life ---- */

static void init(struct nacos_poll_watch *watch)
{
	pthread_mutex_init(&watch->lock, NULL);
	clock_init_condition(&watch->changed);
	init_list(&watch->pending);
	init_list(&watch->ready);
	init_list(&watch->reports);
	init_list(&watch->waiting);
	init_list(&watch->new_refused);
	init_list(&watch->refused);
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++) {
		struct nacos_poll_slot *slot = &watch->slots[i];

		init_list(&slot->entries);
		slot->entries.is_hold = true;
		slot->watch = watch;
		slot->check_at_ms = NACOS_POLL_NEVER;
	}
	watch->resume_at_ms = NACOS_POLL_NEVER;
	watch->rights_round = 1;
}

int nacos_poll_watch_new(struct nacos_client *client, const struct nacos_watch_events *events, void *arg,
			 struct nacos_poll_watch **ret_watch)
{
	struct nacos_poll_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	init(watch);
	watch->client = client;
	watch->events = *events;
	watch->arg = arg;
	if (nacos_key_table_init(&watch->table)) {
		nacos_poll_watch_free(watch);
		return -ENOMEM;
	}
	*ret_watch = watch;
	return 0;
}

int nacos_poll_watch_start(struct nacos_poll_watch *watch)
{
	return thread_start(&watch->thread, nacos_poll_listen_run, watch);
}

static void stop(struct nacos_poll_watch *watch)
{
	if (!watch->thread.is_started)
		return;
	pthread_mutex_lock(&watch->lock);
	atomic_store(&watch->stop, true);
	nacos_poll_wake(watch);
	pthread_mutex_unlock(&watch->lock);
	/* First the one that starts the others. */
	thread_join(&watch->thread);
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++)
		thread_join(&watch->slots[i].thread);
}

void nacos_poll_watch_free(struct nacos_poll_watch *watch)
{
	struct nacos_key_node *node, *next;

	if (!watch)
		return;
	stop(watch);
	for (node = nacos_key_table_next(&watch->table, NULL); node; node = next) {
		next = nacos_key_table_next(&watch->table, node);
		free(node);
	}
	nacos_key_table_release(&watch->table);
	while (watch->namespaces) {
		struct nacos_poll_names *names = watch->namespaces;

		watch->namespaces = names->next;
		free(names);
	}
	nacos_poll_forget_limits(watch);
	pthread_cond_destroy(&watch->changed);
	pthread_mutex_destroy(&watch->lock);
	free(watch);
}
