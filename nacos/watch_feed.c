/* The feeders of the set: their lists, their coming and going, and what they note. None of it waits for anything. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "nacos/watch_private.h"

/* Beyond so many names that nobody has taken yet, the caller is better off comparing all of them. */
#define NAMED_MAX 10000

/* ---- lists ---- */

void nacos_watch_list_init(struct nacos_watch_list *list)
{
	*list = (struct nacos_watch_list){ .end = &list->first };
}

void nacos_watch_move(struct nacos_watch_part *part, struct nacos_watch_list *list)
{
	if (part->list) {
		*part->link = part->next;
		if (part->next)
			part->next->link = part->link;
		else
			part->list->end = part->link;
		part->list->count--;
	}
	part->list = list;
	if (!list)
		return;
	part->next = NULL;
	part->link = list->end;
	*list->end = part;
	list->end = &part->next;
	list->count++;
}

/* The caller of the entry is to be told. */
static void report(struct nacos_watch *watch, struct nacos_watch_entry *entry)
{
	if (!entry->report.list)
		nacos_watch_move(&entry->report, &watch->reports);
	worker_wake(&watch->reporter);
}

/* ---- coming and going ---- */

/* 0 or -ENOMEM. */
static int give_part(struct nacos_watch_feeder *feeder, struct nacos_watch_entry *entry)
{
	struct nacos_watch_part *part = calloc(1, feeder->kind->part_size);

	if (!part)
		return -ENOMEM;
	part->entry = entry;
	entry->parts[feeder->kind->way] = part;
	return 0;
}

static void take_part(struct nacos_watch_part *part, enum nacos_watch_way way)
{
	part->entry->parts[way] = NULL;
	nacos_watch_move(part, NULL);
	free(part);
}

int nacos_watch_give_parts(struct nacos_watch *watch, struct nacos_watch_entry *entry)
{
	bool is_new[NACOS_WATCH_WAYS] = { false };
	int error = 0;

	for (size_t i = 0; !error && i < NACOS_WATCH_WAYS; i++) {
		if (!watch->feeders[i] || entry->parts[i])
			continue;
		error = give_part(watch->feeders[i], entry);
		is_new[i] = !error;
	}
	for (size_t i = 0; error && i < NACOS_WATCH_WAYS; i++)
		if (is_new[i])
			take_part(entry->parts[i], (enum nacos_watch_way)i);
	return error;
}

void nacos_watch_let_go(struct nacos_watch_feeder *feeder, struct nacos_watch_part *part)
{
	struct nacos_watch_entry *entry = part->entry;

	take_part(part, feeder->kind->way);
	nacos_watch_drop_unused(feeder->watch, entry);
}

/* Takes all parts of a feeder away. */
static void take_parts(struct nacos_watch *watch, struct nacos_watch_feeder *feeder)
{
	struct table_link *link, *next;

	for (link = table_next(&watch->entries, NULL); link; link = next) {
		struct nacos_watch_part *part = ((struct nacos_watch_entry *)link)->parts[feeder->kind->way];

		next = table_next(&watch->entries, link);
		if (part)
			nacos_watch_let_go(feeder, part);
	}
}

int nacos_watch_attach(struct nacos_watch *watch, const struct nacos_watch_feeder_kind *kind,
		       struct nacos_watch_feeder *feeder)
{
	struct table_link *link = NULL;
	int error = 0;

	*feeder = (struct nacos_watch_feeder){ .kind = kind, .watch = watch };
	nacos_watch_lock(watch);
	assert(!watch->feeders[kind->way]);
	while (!error && (link = table_next(&watch->entries, link)))
		if (((struct nacos_watch_entry *)link)->is_wanted)
			error = give_part(feeder, (struct nacos_watch_entry *)link);
	if (error) {
		take_parts(watch, feeder);
		feeder->watch = NULL;
	} else {
		watch->feeders[kind->way] = feeder;
	}
	while (!error && (link = table_next(&watch->entries, link))) {
		struct nacos_watch_part *part = ((struct nacos_watch_entry *)link)->parts[kind->way];

		if (part)
			kind->want(feeder, part);
	}
	nacos_watch_unlock(watch);
	return error;
}

/* What this feeder told of and the one that stays may not watch: its caller must hear of it again. */
static void repeat_refusals(struct nacos_watch *watch, const struct nacos_watch_feeder *leaving)
{
	struct table_link *link = NULL;

	while ((link = table_next(&watch->entries, link))) {
		struct nacos_watch_entry *entry = (struct nacos_watch_entry *)link;
		const struct nacos_watch_part *part = entry->parts[leaving->kind->way];

		if (!part || !entry->is_wanted || !leaving->kind->tells(leaving, part))
			continue;
		for (size_t i = 0; i < NACOS_WATCH_WAYS; i++) {
			if (entry->parts[i] && entry->parts[i]->is_refused) {
				entry->is_refusal = true;
				report(watch, entry);
			}
		}
	}
}

void nacos_watch_detach(struct nacos_watch_feeder *feeder)
{
	struct nacos_watch *watch = feeder->watch;

	if (!watch)
		return;
	nacos_watch_lock(watch);
	repeat_refusals(watch, feeder);
	nacos_watch_note_live(feeder, false);
	take_parts(watch, feeder);
	watch->feeders[feeder->kind->way] = NULL;
	nacos_watch_unlock(watch);
	feeder->watch = NULL;
}

/* ---- notes ---- */

void nacos_watch_note_change(struct nacos_watch *watch, struct nacos_watch_entry *entry)
{
	if (!entry->is_wanted)
		return;
	entry->is_changed = true;
	report(watch, entry);
}

void nacos_watch_note_refusal(struct nacos_watch *watch, struct nacos_watch_part *part, bool is_refused)
{
	bool is_news = is_refused && !part->is_refused && part->entry->is_wanted;

	part->is_refused = is_refused;
	if (!is_news)
		return;
	part->entry->is_refusal = true;
	report(watch, part->entry);
}

void nacos_watch_note_names(struct nacos_watch *watch, struct nacos_watch_names *names, int error)
{
	names->error = error;
	names->is_settled = names->has_news = true;
	worker_wake(&watch->reporter);
}

void nacos_watch_note_names_lost(struct nacos_watch *watch)
{
	for (struct nacos_watch_names *names = watch->namespaces; names; names = names->next)
		if (names->is_told && names->is_settled)
			nacos_watch_note_names(watch, names, names->error);
}

void nacos_watch_note_named(struct nacos_watch *watch, struct place *place, bool exists)
{
	struct nacos_watch_named *named = NULL;

	if (place && watch->named_count < NAMED_MAX)
		named = calloc(1, sizeof(*named));
	if (!named) {
		nacos_watch_note_names_lost(watch);
		return;
	}
	named->place = place_hold(place);
	named->exists = exists;
	*watch->named_end = named;
	watch->named_end = &named->next;
	watch->named_count++;
	worker_wake(&watch->reporter);
}

void nacos_watch_note_live(struct nacos_watch_feeder *feeder, bool is_live)
{
	struct nacos_watch *watch = feeder->watch;

	if (feeder->is_live == is_live)
		return;
	feeder->is_live = is_live;
	watch->is_live = false;
	for (size_t i = 0; i < NACOS_WATCH_WAYS; i++)
		if (watch->feeders[i] && watch->feeders[i]->is_live)
			watch->is_live = true;
	if (!watch->is_live)
		watch->was_lost = true;
	pthread_cond_broadcast(&watch->live_changed);
	worker_wake(&watch->reporter);
}
