#include "nacos/http/name_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void free_name(struct nacos_name *name)
{
	free(name->listed.group);
	free(name->listed.data_id);
	free(name);
}

void nacos_name_set_release(struct nacos_name_set *set)
{
	for (struct nacos_name *name = set->first, *next; name; name = next) {
		next = name->next;
		free_name(name);
	}
	table_release(&set->names);
	*set = (struct nacos_name_set){ .first = NULL };
}

/* With the NUL of each part, so that "a", "bc" is not "ab", "c". */
static uint64_t hash_name(const char *namespace_id, const char *group, const char *data_id)
{
	uint64_t hash = table_hash(namespace_id, strlen(namespace_id) + 1);

	hash = table_hash_more(hash, group, strlen(group) + 1);
	return table_hash_more(hash, data_id, strlen(data_id) + 1);
}

struct wanted {
	const char *group, *data_id; /* NULL: it is not wanted */
};

static bool is_same(const struct table_link *link, const void *key)
{
	const struct nacos_name *name = (const struct nacos_name *)link;
	const struct wanted *wanted = key;

	if (!wanted->group || !name->is_wanted)
		return !wanted->group && !name->is_wanted;
	return strcmp(name->listed.data_id, wanted->data_id) == 0 && strcmp(name->listed.group, wanted->group) == 0;
}

static struct nacos_name *new_name(const struct wanted *wanted)
{
	struct nacos_name *name = calloc(1, sizeof(*name));

	if (!name || !wanted->group)
		return name;
	name->is_wanted = true;
	name->listed.group = strdup(wanted->group);
	name->listed.data_id = strdup(wanted->data_id);
	if (name->listed.group && name->listed.data_id)
		return name;
	free_name(name);
	return NULL;
}

int nacos_name_set_add(struct nacos_name_set *set, const char *namespace_id, const char *group,
		       const char *data_id, bool is_wanted, struct nacos_name **ret_name)
{
	const struct wanted wanted = { is_wanted ? group : NULL, is_wanted ? data_id : NULL };
	uint64_t hash = hash_name(namespace_id, group, data_id);
	struct nacos_name *name = (struct nacos_name *)table_find(&set->names, hash, is_same, &wanted);

	if (!name) {
		name = new_name(&wanted);
		if (!name)
			return -ENOMEM;
		table_add(&set->names, &name->link, hash);
		*(set->last ? &set->last->next : &set->first) = name;
		set->last = name;
	}
	*ret_name = name;
	return 0;
}

int nacos_name_set_take(struct nacos_name_set *set, unsigned pass, struct nacos_listed **ret_items,
			size_t *ret_count)
{
	struct nacos_listed *items = calloc(set->names.count + 1, sizeof(*items));
	size_t count = 0;

	if (!items)
		return -ENOMEM;
	for (struct nacos_name *name = set->first; name; name = name->next) {
		if (!name->is_wanted || (pass != 0 && name->pass != pass))
			continue;
		items[count++] = name->listed;
		memset(&name->listed, 0, sizeof(name->listed));
	}
	nacos_name_set_release(set);
	*ret_items = items;
	*ret_count = count;
	return 0;
}
