/* The set: what callers want of it, and its life. None of them waits for anything here. */
#include "nacos/watch.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/watch_private.h"
#include "util/clock.h"

/* ---- configs ---- */

static bool is_of_place(const struct table_link *link, const void *place)
{
	return ((const struct nacos_watch_entry *)link)->place == place;
}

struct nacos_watch_entry *nacos_watch_find(const struct nacos_watch *watch, const struct place *place)
{
	return (struct nacos_watch_entry *)table_find(&watch->entries, place->link.hash, is_of_place, place);
}

static struct nacos_watch_entry *find_wanted(const struct nacos_watch *watch, const struct place *place)
{
	struct nacos_watch_entry *entry = nacos_watch_find(watch, place);

	return entry && entry->is_wanted ? entry : NULL;
}

void nacos_watch_drop_unused(struct nacos_watch *watch, struct nacos_watch_entry *entry)
{
	if (entry->is_wanted)
		return;
	for (size_t i = 0; i < NACOS_WATCH_WAYS; i++)
		if (entry->parts[i])
			return;
	nacos_watch_move(&entry->report, NULL);
	table_remove(&watch->entries, &entry->link);
	place_drop(entry->place);
	free(entry);
}

static void wake_feeders(struct nacos_watch *watch)
{
	for (size_t i = 0; i < NACOS_WATCH_WAYS; i++)
		if (watch->feeders[i])
			watch->feeders[i]->kind->wake(watch->feeders[i]);
}

static void set_md5(struct nacos_watch *watch, struct nacos_watch_entry *entry, const char *md5)
{
	snprintf(entry->md5, sizeof(entry->md5), "%s", md5);
	entry->md5_tick = ++watch->tick;
}

/* Puts one into the set that was not wanted before. */
static int want(struct nacos_watch *watch, struct place *place, const char *md5)
{
	struct nacos_watch_entry *entry = nacos_watch_find(watch, place);

	if (!entry) {
		entry = calloc(1, sizeof(*entry));
		if (!entry)
			return -ENOMEM;
		entry->place = place_hold(place);
		entry->report.entry = entry;
		table_add(&watch->entries, &entry->link, place->link.hash);
	}
	int error = nacos_watch_give_parts(watch, entry);
	if (error) {
		nacos_watch_drop_unused(watch, entry);
		return error;
	}
	entry->is_wanted = true;
	watch->wanted_count++;
	set_md5(watch, entry, md5);
	for (size_t i = 0; i < NACOS_WATCH_WAYS; i++)
		if (entry->parts[i])
			watch->feeders[i]->kind->want(watch->feeders[i], entry->parts[i]);
	return 0;
}

/* The caller has fetched or published: the feeders may have waited for that. */
static void tell(struct nacos_watch *watch, struct nacos_watch_entry *entry, const char *md5)
{
	bool is_other = strcmp(entry->md5, md5) != 0;

	if (is_other)
		set_md5(watch, entry, md5);
	for (size_t i = 0; i < NACOS_WATCH_WAYS; i++)
		if (entry->parts[i])
			watch->feeders[i]->kind->tell(watch->feeders[i], entry->parts[i], is_other);
}

int nacos_watch_add(struct nacos_watch *watch, struct place *place, const char *md5)
{
	struct nacos_watch_entry *entry;
	int error = 0;

	assert(place->depth == PLACE_CONFIG);
	nacos_watch_lock(watch);
	entry = find_wanted(watch, place);
	if (entry)
		tell(watch, entry, md5);
	else
		error = want(watch, place, md5);
	wake_feeders(watch);
	nacos_watch_unlock(watch);
	return error;
}

void nacos_watch_remove(struct nacos_watch *watch, const struct place *place)
{
	struct nacos_watch_entry *entry;

	nacos_watch_lock(watch);
	entry = find_wanted(watch, place);
	for (size_t i = 0; entry && i < NACOS_WATCH_WAYS; i++) {
		struct nacos_watch_part *part = entry->parts[i];

		if (!part)
			continue;
		part->is_refused = false;
		/* The entry is still wanted, so it can't go with the part. */
		if (watch->feeders[i]->kind->unwant(watch->feeders[i], part))
			nacos_watch_let_go(watch->feeders[i], part);
	}
	if (entry) {
		entry->is_wanted = entry->is_changed = entry->is_refusal = false;
		watch->wanted_count--;
		nacos_watch_move(&entry->report, NULL);
		nacos_watch_drop_unused(watch, entry);
	}
	wake_feeders(watch);
	nacos_watch_unlock(watch);
}

/* With the lock held. */
static bool is_told(const struct nacos_watch *watch, const struct nacos_watch_entry *entry)
{
	for (size_t i = 0; i < NACOS_WATCH_WAYS; i++)
		if (entry->parts[i] && watch->feeders[i]->kind->tells(watch->feeders[i], entry->parts[i]))
			return true;
	return false;
}

bool nacos_watch_tells(struct nacos_watch *watch, const struct place *place)
{
	const struct nacos_watch_entry *entry;
	bool told;

	nacos_watch_lock(watch);
	entry = find_wanted(watch, place);
	told = entry && is_told(watch, entry);
	nacos_watch_unlock(watch);
	return told;
}

static bool is_refused(const struct nacos_watch_entry *entry)
{
	for (size_t i = 0; i < NACOS_WATCH_WAYS; i++)
		if (entry->parts[i] && entry->parts[i]->is_refused)
			return true;
	return false;
}

void nacos_watch_count(struct nacos_watch *watch, struct nacos_watch_counts *ret_counts)
{
	struct nacos_watch_counts counts = { 0 };
	struct table_link *link = NULL;

	nacos_watch_lock(watch);
	while ((link = table_next(&watch->entries, link))) {
		const struct nacos_watch_entry *entry = (const struct nacos_watch_entry *)link;

		if (!entry->is_wanted)
			continue;
		counts.watched++;
		if (is_told(watch, entry))
			continue;
		if (is_refused(entry))
			counts.refused++;
		else
			counts.waiting++;
	}
	nacos_watch_unlock(watch);
	*ret_counts = counts;
}

/* ---- names ---- */

static struct nacos_watch_names *find_names(const struct nacos_watch *watch, const char *namespace_id)
{
	struct nacos_watch_names *names = watch->namespaces;

	while (names && strcmp(names->namespace_id, namespace_id) != 0)
		names = names->next;
	return names;
}

static struct nacos_watch_names *new_names(struct nacos_watch *watch, const char *namespace_id)
{
	size_t size = strlen(namespace_id) + 1;
	struct nacos_watch_names *names = calloc(1, sizeof(*names) + size);

	if (!names)
		return NULL;
	names->namespace_id = memcpy(names + 1, namespace_id, size);
	names->next = watch->namespaces;
	watch->namespaces = names;
	return names;
}

int nacos_watch_add_names(struct nacos_watch *watch, const char *namespace_id)
{
	struct nacos_watch_names *names;

	nacos_watch_lock(watch);
	names = find_names(watch, namespace_id);
	if (!names)
		names = new_names(watch, namespace_id);
	if (names && !names->is_wanted) {
		names->is_wanted = true;
		names->is_tried = names->is_settled = names->has_news = false;
		wake_feeders(watch);
	}
	nacos_watch_unlock(watch);
	return names ? 0 : -ENOMEM;
}

void nacos_watch_remove_names(struct nacos_watch *watch, const char *namespace_id)
{
	struct nacos_watch_names *names;

	nacos_watch_lock(watch);
	names = find_names(watch, namespace_id);
	if (names && names->is_wanted) {
		names->is_wanted = names->is_tried = false;
		wake_feeders(watch);
	}
	nacos_watch_unlock(watch);
}

/* ---- life ---- */

int nacos_watch_new(struct nacos_watch **ret_watch)
{
	struct nacos_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	pthread_mutex_init(&watch->lock, NULL);
	clock_init_condition(&watch->live_changed);
	worker_init(&watch->reporter, &watch->lock);
	nacos_watch_list_init(&watch->reports);
	watch->named_end = &watch->named;
	*ret_watch = watch;
	return 0;
}

void nacos_watch_set_events(struct nacos_watch *watch, const struct nacos_watch_events *events, void *arg)
{
	watch->events = events;
	watch->arg = arg;
}

int nacos_watch_start(struct nacos_watch *watch)
{
	return worker_start(&watch->reporter, nacos_watch_report, watch);
}

void nacos_watch_stop(struct nacos_watch *watch)
{
	worker_tell_to_stop(&watch->reporter);
	nacos_watch_lock(watch);
	pthread_cond_broadcast(&watch->live_changed);
	nacos_watch_unlock(watch);
	worker_stop(&watch->reporter);
}

bool nacos_watch_is_stopped(const struct nacos_watch *watch)
{
	return worker_is_stopped(&watch->reporter);
}

static void free_names(struct nacos_watch *watch)
{
	while (watch->named) {
		struct nacos_watch_named *named = watch->named;

		watch->named = named->next;
		place_drop(named->place);
		free(named);
	}
	while (watch->namespaces) {
		struct nacos_watch_names *names = watch->namespaces;

		watch->namespaces = names->next;
		free(names);
	}
}

void nacos_watch_free(struct nacos_watch *watch)
{
	struct table_link *link, *next;

	if (!watch)
		return;
	nacos_watch_stop(watch);
	for (size_t i = 0; i < NACOS_WATCH_WAYS; i++)
		assert(!watch->feeders[i]);
	for (link = table_next(&watch->entries, NULL); link; link = next) {
		struct nacos_watch_entry *entry = (struct nacos_watch_entry *)link;

		next = table_next(&watch->entries, link);
		place_drop(entry->place);
		free(entry);
	}
	table_release(&watch->entries);
	free_names(watch);
	worker_release(&watch->reporter);
	pthread_cond_destroy(&watch->live_changed);
	pthread_mutex_destroy(&watch->lock);
	free(watch);
}

/* ---- who is live ---- */

bool nacos_watch_is_live(struct nacos_watch *watch)
{
	bool is_live;

	nacos_watch_lock(watch);
	is_live = watch->is_live;
	nacos_watch_unlock(watch);
	return is_live;
}

bool nacos_watch_wait(struct nacos_watch *watch, enum nacos_watch_way way, bool live, int64_t until_ms)
{
	struct timespec until = clock_from_ms(until_ms);
	bool is_so;

	nacos_watch_lock(watch);
	for (;;) {
		is_so = (watch->feeders[way] && watch->feeders[way]->is_live) == live;
		if (is_so || nacos_watch_is_stopped(watch) || clock_monotonic_ms() >= until_ms)
			break;
		if (until_ms == INT64_MAX)
			pthread_cond_wait(&watch->live_changed, &watch->lock);
		else
			pthread_cond_timedwait(&watch->live_changed, &watch->lock, &until);
	}
	nacos_watch_unlock(watch);
	return is_so;
}
