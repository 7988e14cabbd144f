/* The thread that tells callers what the feeders have noted. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/watch_private.h"
#include "util/log.h"

/* So many events are told before the next that it is live. */
#define REPORTS_AT_ONCE 256

/* All with the lock held, which is given up while an event is told. Each tells one; false: there is none. */

static void tell_live(struct nacos_watch *watch, bool is_live)
{
	const struct nacos_watch_events *events = watch->events;

	watch->is_told_live = is_live;
	nacos_watch_unlock(watch);
	log_debug("changes are %s", is_live ? "told" : "not told for now");
	if (events && events->live)
		events->live(watch->arg, is_live);
	nacos_watch_lock(watch);
}

/* First of all: what was told of a lost connection must not be told after that. */
static bool report_loss(struct nacos_watch *watch)
{
	if (!watch->was_lost)
		return false;
	watch->was_lost = false;
	if (!watch->is_told_live)
		return false;
	tell_live(watch, false);
	return true;
}

static bool report_entry(struct nacos_watch *watch)
{
	const struct nacos_watch_events *events = watch->events;
	struct nacos_watch_entry *entry = watch->reports.first ? watch->reports.first->entry : NULL;

	if (!entry)
		return false;
	cleanup_place struct place *place = place_hold(entry->place);
	bool is_changed = entry->is_changed, is_refusal = entry->is_refusal;
	nacos_watch_move(&entry->report, NULL);
	entry->is_changed = entry->is_refusal = false;
	nacos_watch_unlock(watch);
	if (is_refusal && events && events->refused)
		events->refused(watch->arg, place);
	if (is_changed && events && events->changed)
		events->changed(watch->arg, place);
	nacos_watch_lock(watch);
	return true;
}

static bool report_named(struct nacos_watch *watch)
{
	const struct nacos_watch_events *events = watch->events;
	struct nacos_watch_named *named = watch->named;

	if (!named)
		return false;
	watch->named = named->next;
	watch->named_count--;
	if (!watch->named)
		watch->named_end = &watch->named;
	nacos_watch_unlock(watch);
	if (events && events->named)
		events->named(watch->arg, named->place, named->exists);
	place_drop(named->place);
	free(named);
	nacos_watch_lock(watch);
	return true;
}

static bool report_names(struct nacos_watch *watch)
{
	const struct nacos_watch_events *events = watch->events;
	struct nacos_watch_names *names = watch->namespaces;

	while (names && !(names->has_news && names->is_wanted))
		names = names->next;
	if (!names)
		return false;
	int error = names->error;
	names->has_news = false;
	nacos_watch_unlock(watch);
	if (error)
		log_debug("%s: the names in it are not watched: %s", names->namespace_id, strerror(-error));
	if (events && events->names_watched)
		events->names_watched(watch->arg, names->namespace_id, error);
	nacos_watch_lock(watch);
	return true;
}

int64_t nacos_watch_report(void *arg)
{
	struct nacos_watch *watch = arg;
	int count = 0;

	while (count < REPORTS_AT_ONCE && !worker_is_stopped(&watch->reporter) &&
	       (report_loss(watch) || report_entry(watch) || report_named(watch) || report_names(watch)))
		count++;
	if (watch->is_live && !watch->was_lost && !watch->is_told_live && !worker_is_stopped(&watch->reporter))
		tell_live(watch, true);
	return count < REPORTS_AT_ONCE ? WORKER_WHEN_WOKEN : WORKER_AT_ONCE;
}
