#include "fs/node/absent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/clock.h"

#define BUCKETS 4096

int absent_init(struct absent_names *names)
{
	names->count = 0;
	names->buckets = calloc(BUCKETS, sizeof(struct absent_name *));
	return names->buckets ? 0 : -ENOMEM;
}

static struct absent_name *take_any(struct absent_names *names)
{
	if (!names->buckets || !names->count)
		return NULL;
	for (size_t i = 0; i < BUCKETS; i++) {
		struct absent_name *name = names->buckets[i];
		if (!name)
			continue;
		names->buckets[i] = name->next;
		names->count--;
		return name;
	}
	return NULL;
}

struct absent_name *absent_take(struct absent_names *names)
{
	return take_any(names);
}

void absent_destroy(struct absent_names *names)
{
	struct absent_name *name;

	while ((name = take_any(names)))
		free(name);
	free(names->buckets);
	names->buckets = NULL;
}

/* Where the pointer to it is, or would be. */
static struct absent_name **find(struct absent_names *names, uint64_t parent_id, const char *name) LOCKED
{
	uint64_t hash = UINT64_C(14695981039346656037) ^ parent_id;

	for (const char *byte = name; *byte; byte++)
		hash = (hash ^ (unsigned char)*byte) * UINT64_C(1099511628211);
	struct absent_name **place = &names->buckets[(hash ^ hash >> 29) % BUCKETS];
	while (*place && ((*place)->parent_id != parent_id || strcmp((*place)->name, name)))
		place = &(*place)->next;
	return place;
}

static void forget_outlived(struct absent_names *names) LOCKED
{
	int64_t now_ms = clock_monotonic_ms();

	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct absent_name **place = &names->buckets[i], *name; (name = *place);) {
			if (name->until_ms > now_ms) {
				place = &name->next;
				continue;
			}
			*place = name->next;
			names->count--;
			free(name);
		}
	}
}

bool absent_add(struct absent_names *names, uint64_t parent_id, const char *name, int64_t timeout_ms)
{
	struct absent_name **place = find(names, parent_id, name);
	size_t size = strlen(name) + 1;

	if (!*place) {
		if (names->count >= ABSENT_LIMIT)
			forget_outlived(names);
		struct absent_name *added = names->count < ABSENT_LIMIT ? malloc(sizeof(*added) + size) : NULL;
		if (!added)
			return false;
		added->parent_id = parent_id;
		memcpy(added->name, name, size);
		place = find(names, parent_id, name);
		added->next = *place;
		*place = added;
		names->count++;
	}
	(*place)->until_ms = clock_monotonic_ms() + timeout_ms;
	return true;
}

bool absent_remove(struct absent_names *names, uint64_t parent_id, const char *name)
{
	struct absent_name **place = find(names, parent_id, name);
	struct absent_name *absent = *place;

	if (!absent)
		return false;
	*place = absent->next;
	names->count--;
	free(absent);
	return true;
}
