#include "model/place.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct place top = { .references = 1 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the table; a count that becomes 0 does so with it */
static struct table places;

struct wanted {
	const struct place *above;
	const char *name;
};

static bool is_wanted(const struct table_link *link, const void *key)
{
	const struct place *place = (const struct place *)link;
	const struct wanted *wanted = key;

	return place->above == wanted->above && !strcmp(place->name, wanted->name);
}

struct place *place_top(void)
{
	return place_hold(&top);
}

struct place *place_below(struct place *above, const char *name)
{
	const struct wanted wanted = { above, name };
	size_t size = strlen(name) + 1;
	uint64_t hash = table_hash_more(above->link.hash, name, size);

	pthread_mutex_lock(&lock);
	struct place *place = (struct place *)table_find(&places, hash, is_wanted, &wanted);
	if (place) {
		place_hold(place);
	} else if ((place = malloc(sizeof(*place) + size))) {
		place->above = place_hold(above);
		atomic_init(&place->references, 1);
		place->depth = (unsigned char)(above->depth + 1);
		memcpy(place->name, name, size);
		table_add(&places, &place->link, hash);
	}
	pthread_mutex_unlock(&lock);
	return place;
}

struct place *place_new(const char *namespace_id, const char *group, const char *data_id)
{
	const char *const names[] = { namespace_id, group, data_id };
	struct place *place = place_top();

	for (size_t i = 0; place && i < sizeof(names) / sizeof(*names) && names[i]; i++) {
		struct place *above = place;

		place = place_below(above, names[i]);
		place_drop(above);
	}
	return place;
}

struct place *place_hold(struct place *place)
{
	if (place)
		atomic_fetch_add_explicit(&place->references, 1, memory_order_relaxed);
	return place;
}

void place_drop(struct place *place)
{
	while (place) {
		unsigned count = atomic_load_explicit(&place->references, memory_order_relaxed);

		/* Only the last holder needs the lock: who looks it up in the table meanwhile must not find it half gone. */
		while (count > 1)
			if (atomic_compare_exchange_weak_explicit(&place->references, &count, count - 1,
								  memory_order_release, memory_order_relaxed))
				return;
		pthread_mutex_lock(&lock);
		bool is_last = atomic_fetch_sub_explicit(&place->references, 1, memory_order_acq_rel) == 1;
		if (is_last)
			table_remove(&places, &place->link);
		if (is_last && !places.count)
			table_release(&places);
		pthread_mutex_unlock(&lock);
		if (!is_last)
			return;
		struct place *above = place->above;
		free(place);
		place = above;
	}
}

struct place *place_at(struct place *place, enum place_depth depth)
{
	while (place && place->depth > depth)
		place = place->above;
	return place && place->depth == depth ? place : NULL;
}

static const char *name_at(const struct place *place, enum place_depth depth)
{
	while (place && place->depth > depth)
		place = place->above;
	return place && place->depth == depth ? place->name : NULL;
}

const char *place_namespace_id(const struct place *place)
{
	return name_at(place, PLACE_NAMESPACE);
}

const char *place_group(const struct place *place)
{
	return name_at(place, PLACE_GROUP);
}

const char *place_data_id(const struct place *place)
{
	return name_at(place, PLACE_CONFIG);
}

char *place_format(const struct place *place, char *text, size_t size)
{
	const char *namespace_id = place_namespace_id(place), *group = place_group(place);
	const char *data_id = place_data_id(place);

	snprintf(text, size, "%s%s%s%s%s", namespace_id ? namespace_id : "", group ? "/" : "", group ? group : "",
		 data_id ? "/" : "", data_id ? data_id : "");
	return text;
}

static bool is_of_place(const struct table_link *link, const void *place)
{
	return ((const struct place_entry *)link)->place == place;
}

struct place_entry *place_table_find(const struct table *table, const struct place *place)
{
	return (struct place_entry *)table_find(table, place->link.hash, is_of_place, place);
}

void place_table_add(struct table *table, struct place_entry *entry, struct place *place)
{
	entry->place = place_hold(place);
	table_add(table, &entry->link, place->link.hash);
}

void place_table_remove(struct table *table, struct place_entry *entry)
{
	table_remove(table, &entry->link);
	place_drop(entry->place);
	entry->place = NULL;
}

size_t place_count(void)
{
	pthread_mutex_lock(&lock);
	size_t count = places.count;
	pthread_mutex_unlock(&lock);
	return count;
}
