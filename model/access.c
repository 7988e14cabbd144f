#include "model/access.h"

#include <stdlib.h>

struct access *access_hold(struct access *access)
{
	if (access)
		atomic_fetch_add_explicit(&access->references, 1, memory_order_relaxed);
	return access;
}

void access_drop(struct access *access)
{
	if (access && atomic_fetch_sub_explicit(&access->references, 1, memory_order_acq_rel) == 1)
		free(access);
}

unsigned access_rights(const struct access *access, bool is_group, unsigned id)
{
	for (size_t i = 0; access && i < access->count; i++)
		if (access->entries[i].is_group == is_group && access->entries[i].id == id)
			return access->entries[i].rights;
	return 0;
}
