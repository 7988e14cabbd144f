#include "nacos/watch_rights.h"

#include <assert.h>
#include <stdlib.h>

#include "util/log.h"

struct known {
	struct table_link link; /* first; the hash is the place's */
	struct place *place; /* of a namespace or a group; held */
	bool is_granted;
};

static bool is_of_place(const struct table_link *link, const void *place)
{
	return ((const struct known *)link)->place == place;
}

/* What the server is asked about: the place above the config, or the one above that. */
static struct place *place_of(const struct place *config, enum nacos_watch_scope scope)
{
	assert(config->depth == PLACE_CONFIG && scope < NACOS_WATCH_CONFIG);
	return scope == NACOS_WATCH_GROUP ? config->above : config->above->above;
}

enum nacos_watch_right nacos_watch_rights_find(const struct nacos_watch_rights *rights, const struct place *config,
					       enum nacos_watch_scope scope)
{
	const struct place *place = place_of(config, scope);
	const struct known *known =
		(const struct known *)table_find(&rights->known, place->link.hash, is_of_place, place);

	if (!known)
		return NACOS_WATCH_UNKNOWN;
	return known->is_granted ? NACOS_WATCH_GRANTED : NACOS_WATCH_REFUSED;
}

void nacos_watch_rights_keep(struct nacos_watch_rights *rights, const struct place *config,
			     enum nacos_watch_scope scope, bool is_granted)
{
	struct place *place = place_of(config, scope);
	struct known *known = (struct known *)table_find(&rights->known, place->link.hash, is_of_place, place);
	char text[PLACE_TEXT_SIZE];

	if (!known) {
		known = calloc(1, sizeof(*known));
		if (!known)
			return;
		known->place = place_hold(place);
		table_add(&rights->known, &known->link, place->link.hash);
	}
	known->is_granted = is_granted;
	if (!is_granted)
		log_debug("no right to watch all of %s", place_format(place, text, sizeof(text)));
}

void nacos_watch_rights_forget(struct nacos_watch_rights *rights)
{
	struct table_link *link, *next;

	for (link = table_next(&rights->known, NULL); link; link = next) {
		struct known *known = (struct known *)link;

		next = table_next(&rights->known, link);
		place_drop(known->place);
		free(known);
	}
	table_release(&rights->known);
}
