/*
 * A place: the namespace, the group and the dataId that name a config; or less of them, for a whole
 * group, a whole namespace, or (the top) where namespaces are. The public namespace is always
 * called "public" here.
 *
 * Places are interned: while anybody holds a place, all who ask for it get the same one, so places
 * are compared by pointer and hashed once. They are counted, immutable, and safe from any thread;
 * each holds the one above it.
 *
 *	cleanup_place struct place *place = place_new("public", "APP", "db.yaml");
 *	place_group(place)         "APP"
 *	place->above               that of the group, held by the place
 *
 * One lock guards the table of them. It is held for moments, and may be taken with any other lock
 * held.
 */
#ifndef NACOSFS_MODEL_PLACE_H
#define NACOSFS_MODEL_PLACE_H

#include <stdatomic.h>
#include <stddef.h>

#include "util/table.h"

enum place_depth { PLACE_TOP, PLACE_NAMESPACE, PLACE_GROUP, PLACE_CONFIG };

struct place {
	/* in the table of all; link.hash is the place's, for other tables too */
	struct table_link link;
	struct place *above; /* NULL: this is the top */
	atomic_uint references;
	unsigned char depth; /* enum place_depth */
	char name[]; /* of the namespace, group or config; "" at the top */
};

/* The top, counted once more. */
struct place *place_top(void);

/*
 * The one called name in above, counted for the caller. above may not be a config's. NULL without
 * memory.
 */
struct place *place_below(struct place *above, const char *name);

/*
 * The place of those names, the last of which may be NULL, counted for the caller. NULL without
 * memory.
 */
struct place *place_new(const char *namespace_id, const char *group, const char *data_id);

/* Counts one more holder and returns place; and one less. NULL is fine for both. */
struct place *place_hold(struct place *place);
void place_drop(struct place *place);

static inline void place_drop_pointer(struct place **place)
{
	place_drop(*place);
}
#define cleanup_place __attribute__((cleanup(place_drop_pointer)))

/*
 * The one of that depth that it is in, or is; NULL where it is not so deep. Not counted: the place
 * holds it.
 */
struct place *place_at(struct place *place, enum place_depth depth);

/* The parts of its name; NULL where the place is not so deep. They live as long as the place. */
const char *place_namespace_id(const struct place *place);
const char *place_group(const struct place *place);
const char *place_data_id(const struct place *place);

/*
 * "namespace/group/dataId", as deep as the place is, cut to size, for logs and reasons. Returns
 * text.
 */
char *place_format(const struct place *place, char *text, size_t size);
#define PLACE_TEXT_SIZE 400

/*
 * What is known of a place, in a table by places, begins with this. It holds its place from
 * place_table_add() until place_table_remove(); with the whole table, whoever owns it drops the
 * places.
 */
struct place_entry {
	struct table_link link;
	struct place *place;
};

/* That of the place; NULL: there is none. */
struct place_entry *place_table_find(const struct table *table, const struct place *place);

/* Adds one for a place that has none. */
void place_table_add(struct table *table, struct place_entry *entry, struct place *place);
void place_table_remove(struct table *table, struct place_entry *entry);

/* How many there are now, for tests and metrics. */
size_t place_count(void);

#endif
