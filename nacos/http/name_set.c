#include "nacos/http/name_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FIRST_SLOT_COUNT 256
#define FIRST_NAME_COUNT 64

static void release_listed(struct nacos_listed *listed)
{
	free(listed->group);
	free(listed->data_id);
}

void nacos_name_set_release(struct nacos_name_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		release_listed(&set->names[i].listed);
	free(set->names);
	free(set->slots);
	memset(set, 0, sizeof(*set));
}

/* FNV-1a from a seed, with the NUL of each part, so that "a", "bc" is not "ab", "c". */
static uint64_t hash_part(uint64_t hash, const char *part)
{
	size_t size = strlen(part) + 1;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (unsigned char)part[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static uint64_t hash_name(const struct nacos_name_set *set, const char *namespace_id,
			  const char *group, const char *data_id)
{
	uint64_t hash = hash_part(hash_part(hash_part(set->seed, namespace_id), group), data_id);

	/* FNV leaves the low bits, which choose the slot, the weakest. */
	hash ^= hash >> 32;
	hash *= UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 29;
}

/* The slot that holds the name, or the free one where it belongs. */
static size_t find_slot(const struct nacos_name_set *set, uint64_t hash, const char *group,
			const char *data_id, bool wanted)
{
	size_t slot = hash & (set->slot_count - 1);

	for (; set->slots[slot]; slot = (slot + 1) & (set->slot_count - 1)) {
		const struct nacos_name *name = &set->names[set->slots[slot] - 1];

		if (name->hash != hash || name->wanted != wanted)
			continue;
		if (!wanted || (strcmp(name->listed.data_id, data_id) == 0 &&
				strcmp(name->listed.group, group) == 0))
			break;
	}
	return slot;
}

static int grow_slots(struct nacos_name_set *set)
{
	size_t slot_count = set->slot_count ? set->slot_count * 2 : FIRST_SLOT_COUNT;
	size_t *slots = calloc(slot_count, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	if (!set->slot_count && getrandom(&set->seed, sizeof(set->seed), GRND_NONBLOCK) < 0)
		set->seed = (uint64_t)(uintptr_t)slots;
	for (size_t i = 0; i < set->count; i++) {
		size_t slot = set->names[i].hash & (slot_count - 1);

		while (slots[slot])
			slot = (slot + 1) & (slot_count - 1);
		slots[slot] = i + 1;
	}
	free(set->slots);
	set->slots = slots;
	set->slot_count = slot_count;
	return 0;
}

/* Makes room for one more name and for the slot that points to it. */
static int make_room(struct nacos_name_set *set)
{
	if (set->count == set->allocated) {
		size_t allocated = set->allocated ? set->allocated * 2 : FIRST_NAME_COUNT;
		struct nacos_name *names = reallocarray(set->names, allocated, sizeof(*names));

		if (!names)
			return -ENOMEM;
		set->names = names;
		set->allocated = allocated;
	}
	if (set->count >= set->slot_count / 2)
		return grow_slots(set);
	return 0;
}

int nacos_name_set_add(struct nacos_name_set *set, const char *namespace_id, const char *group,
		       const char *data_id, bool wanted, struct nacos_name **ret_name)
{
	int error = make_room(set);
	struct nacos_name *name;
	uint64_t hash;
	size_t slot;

	if (error)
		return error;
	hash = hash_name(set, namespace_id, group, data_id);
	slot = find_slot(set, hash, group, data_id, wanted);
	if (set->slots[slot]) {
		*ret_name = &set->names[set->slots[slot] - 1];
		return 0;
	}

	name = &set->names[set->count];
	*name = (struct nacos_name){ .hash = hash, .wanted = wanted };
	if (wanted) {
		name->listed.group = strdup(group);
		name->listed.data_id = strdup(data_id);
		if (!name->listed.group || !name->listed.data_id) {
			release_listed(&name->listed);
			return -ENOMEM;
		}
	}
	set->slots[slot] = ++set->count;
	*ret_name = name;
	return 0;
}

int nacos_name_set_take(struct nacos_name_set *set, unsigned pass, struct nacos_listed **ret_items,
			size_t *ret_count)
{
	struct nacos_listed *items = calloc(set->count + 1, sizeof(*items));
	size_t count = 0;

	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < set->count; i++) {
		struct nacos_name *name = &set->names[i];

		if (!name->wanted || (pass != 0 && name->pass != pass))
			continue;
		items[count++] = name->listed;
		memset(&name->listed, 0, sizeof(name->listed));
	}
	nacos_name_set_release(set);
	*ret_items = items;
	*ret_count = count;
	return 0;
}
