#include "nacos/http/namespace_list.h"

#include <stdlib.h>
#include <string.h>

void nacos_namespace_list_release(struct nacos_namespace_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->ids[i]);
	free(list->ids);
	memset(list, 0, sizeof(*list));
}

bool nacos_namespace_list_has(const struct nacos_namespace_list *list, const char *id)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->ids[i], id) == 0)
			return true;
	}
	return false;
}
