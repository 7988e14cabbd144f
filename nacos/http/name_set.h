/*
 * The set of names that a listing has seen so far, each once: namespace, group and dataId, as the
 * server wrote them.
 *
 * The set owns its names. Not thread-safe. All zeros is an empty one.
 */
#ifndef NACOSFS_NACOS_HTTP_NAME_SET_H
#define NACOSFS_NACOS_HTTP_NAME_SET_H

#include <stdbool.h>
#include <stddef.h>

#include "nacos/config.h"
#include "util/table.h"

struct nacos_name {
	struct table_link link; /* first; the hash is that of all three parts */
	struct nacos_name *next; /* that was added after it */
	struct nacos_listed listed;
	unsigned pass; /* the last one that saw it */
	bool is_wanted; /* false: only counted, because it is not what was asked for */
};

struct nacos_name_set {
	struct table names;
	struct nacos_name *first, *last;
};

void nacos_name_set_release(struct nacos_name_set *set);
#define cleanup_nacos_name_set __attribute__((cleanup(nacos_name_set_release)))

/*
 * Finds the name, or adds it with pass 0 and is_wanted as given. Names that are not wanted keep no
 * text: they are told apart by their hash alone, which is enough to count them. 0 or -ENOMEM.
 */
int nacos_name_set_add(struct nacos_name_set *set, const char *namespace_id, const char *group,
		       const char *data_id, bool is_wanted, struct nacos_name **ret_name);

/*
 * Moves the wanted names of one pass (0: of all passes) to an array of the caller's, in the order in which they
 * were added; the set is empty afterwards. 0 or -ENOMEM.
 */
int nacos_name_set_take(struct nacos_name_set *set, unsigned pass, struct nacos_listed **ret_items,
			size_t *ret_count);

#endif
