/* The namespaces that a server has: a value, which is its owner's. */
#ifndef NACOSFS_NACOS_HTTP_NAMESPACE_LIST_H
#define NACOSFS_NACOS_HTTP_NAMESPACE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct nacos_namespace_list {
	char **ids; /* "public" first; never "" */
	size_t count;
};

void nacos_namespace_list_release(struct nacos_namespace_list *list);
#define cleanup_nacos_namespace_list __attribute__((cleanup(nacos_namespace_list_release)))

bool nacos_namespace_list_has(const struct nacos_namespace_list *list, const char *id);

#endif
