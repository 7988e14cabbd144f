#include "fs/node/saving.h"

#include <errno.h>
#include <stdlib.h>

struct saving {
	struct table marks;
};

struct mark {
	struct table_link link; /* first */
	struct place *place;
};

int saving_new(struct saving **ret_saving)
{
	*ret_saving = calloc(1, sizeof(**ret_saving));
	return *ret_saving ? 0 : -ENOMEM;
}

void saving_free(struct saving *saving)
{
	if (saving)
		table_release(&saving->marks);
	free(saving);
}

static bool is_of(const struct table_link *link, const void *place)
{
	return ((const struct mark *)link)->place == place;
}

static struct mark *find(const struct tree *tree, const struct place *place) LOCKED
{
	return (struct mark *)table_find(&tree->saving->marks, place->link.hash, is_of, place);
}

bool saving_is_marked(const struct tree *tree, const struct place *place)
{
	return place && find(tree, place);
}

int saving_mark(struct tree *tree, struct place *place)
{
	struct mark *mark = calloc(1, sizeof(*mark));

	if (!mark)
		return -ENOMEM;
	mark->place = place_hold(place);
	table_add(&tree->saving->marks, &mark->link, place->link.hash);
	return 0;
}

void saving_unmark(struct tree *tree, struct place *place)
{
	struct mark *mark = find(tree, place);

	table_remove(&tree->saving->marks, &mark->link);
	place_drop(mark->place);
	free(mark);
	lock_broadcast(&tree->lock);
}
