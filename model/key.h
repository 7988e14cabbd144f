/*
 * What names a config: namespace, group and dataId. A value; the strings belong to whoever made the key and must outlive
 * the call that it is given to. The public namespace is always called "public" here.
 */
#ifndef NACOSFS_MODEL_KEY_H
#define NACOSFS_MODEL_KEY_H

#include <stdbool.h>
#include <stddef.h>

struct key {
	const char *namespace_id;
	const char *group;
	const char *data_id;
};

/* A copy of key in one allocation, to be freed with free(). NULL without memory. */
struct key *key_copy(const struct key *key);

bool key_equals(const struct key *a, const struct key *b);

/* A hash of the three names, for hash tables. */
size_t key_hash(const struct key *key);

/* "namespace/group/dataId", cut to size, for logs and reasons. Returns text. */
char *key_format(const struct key *key, char *text, size_t size);
#define KEY_TEXT_SIZE 400

#endif
