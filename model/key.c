#include "model/key.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct key *key_copy(const struct key *key)
{
	size_t namespace_size = strlen(key->namespace_id) + 1;
	size_t group_size = strlen(key->group) + 1;
	size_t data_id_size = strlen(key->data_id) + 1;
	struct key *copy = malloc(sizeof(*copy) + namespace_size + group_size + data_id_size);

	if (!copy)
		return NULL;
	char *text = (char *)(copy + 1);
	copy->namespace_id = memcpy(text, key->namespace_id, namespace_size);
	text += namespace_size;
	copy->group = memcpy(text, key->group, group_size);
	text += group_size;
	copy->data_id = memcpy(text, key->data_id, data_id_size);
	return copy;
}

bool key_equals(const struct key *a, const struct key *b)
{
	return !strcmp(a->data_id, b->data_id) && !strcmp(a->group, b->group) &&
	       !strcmp(a->namespace_id, b->namespace_id);
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
	return (hash ^ 0xff) * UINT64_C(1099511628211);
}

size_t key_hash(const struct key *key)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	hash = hash_text(hash, key->namespace_id);
	hash = hash_text(hash, key->group);
	hash = hash_text(hash, key->data_id);
	return (size_t)hash;
}

char *key_format(const struct key *key, char *text, size_t size)
{
	snprintf(text, size, "%s/%s/%s", key->namespace_id, key->group, key->data_id);
	return text;
}
