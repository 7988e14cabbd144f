/*
 * What is to be fetched: the queue, and what is to be compared when there is too much for it, or
 * nobody tells.
 */
#include <stdlib.h>

#include "fs/node/wake_private.h"
#include "util/clock.h"

#define FETCH_LIMIT 16384 /* places in the queue; beyond, all are compared */

struct wake_fetch {
	struct table_link link; /* first; by place */
	struct wake_fetch *next; /* in the queue, or among the delayed ones */
	struct place *place;
	enum { FETCH_READY, FETCH_RUNNING, FETCH_DELAYED } state;
	bool again; /* told once more while it ran */
	unsigned attempts;
	int64_t due_ms; /* of delayed ones */
};

void wake_init_fetches(struct wake *wake)
{
	wake->last = &wake->first;
	wake->compare_due_ms = INT64_MAX; /* till the first round begins */
	clock_init_condition(&wake->fetch_woken);
}

static bool is_of(const struct table_link *link, const void *place)
{
	return ((const struct wake_fetch *)link)->place == place;
}

static void append_ready(struct wake *wake, struct wake_fetch *fetch) LOCKED
{
	fetch->state = FETCH_READY;
	fetch->next = NULL;
	*wake->last = fetch;
	wake->last = &fetch->next;
	pthread_cond_signal(&wake->fetch_woken);
}

static void remove_delayed(struct wake *wake, struct wake_fetch *delayed) LOCKED
{
	struct wake_fetch **place = &wake->delayed;

	while (*place != delayed)
		place = &(*place)->next;
	*place = delayed->next;
}

static void free_fetch(struct wake *wake, struct wake_fetch *fetch) LOCKED
{
	table_remove(&wake->fetches, &fetch->link);
	place_drop(fetch->place);
	free(fetch);
}

void wake_clear_fetches(struct wake *wake)
{
	struct table_link *link;

	while ((link = table_next(&wake->fetches, NULL)))
		free_fetch(wake, (struct wake_fetch *)link);
	wake->first = wake->delayed = NULL;
	wake->last = &wake->first;
}

static struct wake_fetch *add_fetch(struct wake *wake, struct place *place) LOCKED
{
	struct wake_fetch *fetch = wake->fetches.count < FETCH_LIMIT ? calloc(1, sizeof(*fetch)) : NULL;

	if (!fetch)
		return NULL;
	fetch->place = place_hold(place);
	table_add(&wake->fetches, &fetch->link, place->link.hash);
	return fetch;
}

void wake_changed(struct tree *tree, struct place *place)
{
	struct wake *wake = tree->wake;
	struct wake_fetch *fetch = (struct wake_fetch *)table_find(&wake->fetches, place->link.hash, is_of, place);

	if (!fetch) {
		fetch = add_fetch(wake, place);
		if (fetch)
			append_ready(wake, fetch);
		else
			wake->compare_all = true;
		pthread_cond_signal(&wake->fetch_woken);
		return;
	}
	fetch->attempts = 0;
	if (fetch->state == FETCH_RUNNING)
		fetch->again = true;
	if (fetch->state != FETCH_DELAYED)
		return;
	remove_delayed(wake, fetch);
	append_ready(wake, fetch);
}

void wake_look_again(struct tree *tree, struct node *node)
{
	if (!node->config || !node->config->look_again)
		return;
	node->config->look_again = false;
	if (node->parent)
		wake_changed(tree, node->place);
}

/* Readies what is due; returns when the next one is, INT64_MAX for none. */
static int64_t ready_delayed(struct wake *wake) LOCKED
{
	int64_t now_ms = clock_monotonic_ms(), next_ms = INT64_MAX;

	for (struct wake_fetch **place = &wake->delayed, *delayed; (delayed = *place);) {
		if (delayed->due_ms > now_ms) {
			if (delayed->due_ms < next_ms)
				next_ms = delayed->due_ms;
			place = &delayed->next;
			continue;
		}
		*place = delayed->next;
		append_ready(wake, delayed);
	}
	return next_ms;
}

/*
 * The names that are due by time: of directories that somebody has listed, where nobody tells of
 * names.
 */
static void make_names_due(struct tree *tree) LOCKED
{
	for (struct node *node = tree_next(tree, NULL); node; node = tree_next(tree, node)) {
		if (!node->directory || !node->place || !node->directory->names_listed || !node->lookup_count ||
		    wake_names_are_watched(tree, node->place))
			continue;
		node->directory->names_due = true;
		tree->wake->compare_names = true;
	}
}

static struct wake_fetch *take_first(struct wake *wake) LOCKED
{
	struct wake_fetch *fetch = wake->first;

	wake->first = fetch->next;
	if (!wake->first)
		wake->last = &wake->first;
	fetch->state = FETCH_RUNNING;
	fetch->again = false;
	wake->counts.fetched++;
	return fetch;
}

enum wake_task wake_take_task(struct tree *tree, struct wake_fetch **ret_fetch)
{
	struct wake *wake = tree->wake;

	if (wake->compare_due_ms == INT64_MAX)
		wake->compare_due_ms = clock_monotonic_ms() + tree->terms->refresh_ms;
	while (!wake_is_stopping(tree)) {
		int64_t next_ms = ready_delayed(wake);

		if (wake->first) {
			*ret_fetch = take_first(wake);
			return WAKE_FETCH;
		}
		if (wake->is_comparing) {
			lock_sleep(&tree->lock, &wake->fetch_woken, next_ms);
			continue;
		}
		if (wake->compare_due_ms <= clock_monotonic_ms()) {
			wake->compare_due_ms = clock_monotonic_ms() + tree->terms->refresh_ms;
			make_names_due(tree);
		}
		if (wake->compare_all || wake->compare_names) {
			bool all = wake->compare_all;

			*(all ? &wake->compare_all : &wake->compare_names) = false;
			wake->is_comparing = true;
			return all ? WAKE_COMPARE_ALL : WAKE_COMPARE_NAMES;
		}
		lock_sleep(&tree->lock, &wake->fetch_woken,
			   next_ms < wake->compare_due_ms ? next_ms : wake->compare_due_ms);
	}
	return WAKE_STOP;
}

struct place *wake_fetch_place(const struct wake_fetch *fetch)
{
	return fetch->place;
}

unsigned wake_fetch_attempts(const struct wake_fetch *fetch)
{
	return fetch->attempts;
}

void wake_fetched(struct tree *tree, struct wake_fetch *fetch, int64_t again_ms)
{
	struct wake *wake = tree->wake;

	if (fetch->again) {
		append_ready(wake, fetch);
	} else if (!again_ms) {
		free_fetch(wake, fetch);
	} else {
		fetch->attempts++;
		fetch->due_ms = clock_monotonic_ms() + again_ms;
		fetch->state = FETCH_DELAYED;
		fetch->next = wake->delayed;
		wake->delayed = fetch;
		pthread_cond_signal(&wake->fetch_woken); /* who sleeps may sleep too long for it */
	}
}

void wake_compared(struct tree *tree, enum wake_task task, int64_t pause_ms)
{
	struct wake *wake = tree->wake;

	wake->is_comparing = false;
	if (task == WAKE_COMPARE_NAMES)
		wake->compare_due_ms = clock_monotonic_ms() + pause_ms;
	pthread_cond_signal(&wake->fetch_woken);
}
