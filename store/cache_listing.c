/*
 * The listings that the cache holds.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/cache_private.h"
#include "util/clock.h"
#include "util/log.h"

#define LISTING_COST_FACTOR 10
#define FORBIDDEN_LISTING_MS 10000

static struct scope *scope_find(struct cache *cache, struct place *place)
{
	struct scope *scope = (struct scope *)place_table_find(&cache->scopes, place);

	if (scope)
		return scope;
	scope = calloc(1, sizeof(*scope));
	if (scope)
		place_table_add(&cache->scopes, &scope->place_entry, place);
	return scope;
}

/* What the login that serves the user was told. NULL without memory. */
static struct scope *scope_of(struct cache *cache, struct place *place, uid_t uid, uint64_t login)
{
	struct scope *own = scope_find(cache, place);

	if (!own || !login)
		return own;
	struct scope *view = own->next_view;
	while (view && view->login != login && (view->uid != uid || view->users))
		view = view->next_view;
	if (!view) {
		view = calloc(1, sizeof(*view));
		if (!view)
			return NULL;
		view->place_entry.place = place;
		view->next_view = own->next_view;
		own->next_view = view;
	} else if (view->login != login) {
		listing_drop(view->listing);
		view->listing = NULL;
		view->forbidden_until_ms = 0;
	}
	view->login = login;
	view->uid = uid;
	return view;
}

static struct scope *next_scope(const struct cache *cache, const struct scope *scope)
{
	return (struct scope *)table_next(&cache->scopes, scope ? &scope->place_entry.link : NULL);
}

/* What a listing says of the versions that are known: confirmed, changed, or there after all. */
static void confirm_entries(struct cache *cache, const char *namespace_id, const struct listing *listing,
			    int64_t fresh_until_ms)
{
	for (size_t i = 0; i < listing->count; i++) {
		const struct listing_item *item = &listing->items[i];
		cleanup_place struct place *place = place_new(namespace_id, item->group, item->data_id);
		struct entry *entry = place ? cache_find_entry(cache, place, false) : NULL;

		if (!entry || !*item->md5 || entry->fetching)
			continue;
		bool same = entry->state == ENTRY_PRESENT && !strcmp(entry->version->md5, item->md5);
		if (same && entry->fresh_until_ms < fresh_until_ms)
			entry->fresh_until_ms = fresh_until_ms;
		if (same || cache_is_before_own(entry, item->md5))
			continue;
		entry->fresh_until_ms = 0;
		/* A push that was lost, or comes yet. */
		if (entry->watched && !entry->changed) {
			entry->changed = true;
			cache_note_untold(cache, place);
		}
	}
}

static int scope_fetch(struct cache *cache, struct scope *scope, struct call *call)
{
	cleanup_listing struct listing *listing = NULL;
	int64_t started_ms = clock_monotonic_ms();

	scope->fetching = true;
	scope->changed = scope->is_outdated = false;
	pthread_mutex_unlock(&cache->lock);
	int error = store_list(cache->store.lower, scope->place_entry.place, call, &listing);
	pthread_mutex_lock(&cache->lock);
	scope->fetching = false;
	pthread_cond_broadcast(&cache->fetched);

	int64_t now_ms = clock_monotonic_ms();
	if (error)
		scope->changed = true;
	if (error == -EACCES)
		scope->forbidden_until_ms = now_ms + FORBIDDEN_LISTING_MS;
	if (store_error_is_outage(error) && scope->listing) {
		log_warning("%s; showing the last listing known", call->reason);
		scope->fresh_until_ms = now_ms + (error == -ETIMEDOUT ? CACHE_OUTAGE_PAUSE_MS : CACHE_FRESH_MS);
		return 0;
	}
	if (error)
		return error;
	int64_t fresh_ms = (now_ms - started_ms) * LISTING_COST_FACTOR;
	if (fresh_ms > cache->options.refresh_ms)
		fresh_ms = cache->options.refresh_ms;
	if (fresh_ms < CACHE_FRESH_MS)
		fresh_ms = CACHE_FRESH_MS;
	scope->fresh_until_ms = scope->is_outdated ? 0 : now_ms + fresh_ms;
	listing_drop(scope->listing);
	scope->listing = listing_hold(listing);
	/* Not longer than any other version: somebody may have changed one right after the sweep read it. */
	if (!scope->login)
		confirm_entries(cache, place_namespace_id(scope->place_entry.place), listing, now_ms + cache->options.fresh_ms);
	return 0;
}

static bool scope_is_fresh(const struct scope *scope)
{
	return scope->listing && (scope->fresh_until_ms > clock_monotonic_ms() ||
				  (scope->names_watched && !scope->changed));
}

int cache_list(struct store *store, struct place *place, struct call *call, struct listing **ret_listing)
{
	struct cache *cache = (struct cache *)store;
	char text[PLACE_TEXT_SIZE];
	int error = 0;

	pthread_mutex_lock(&cache->lock);
	uint64_t login = store_login_of(cache->store.lower, call->uid);
	struct scope *scope = scope_of(cache, place, call->uid, login);
	struct scope *wide = place->depth == PLACE_GROUP && scope ? scope_of(cache, place->above, call->uid, login) : scope;
	if (!scope || !wide)
		error = -ENOMEM;
	else if (scope_is_fresh(wide))
		scope = wide; /* the sweep of the whole namespace has this group's names */
	else if (scope->forbidden_until_ms > clock_monotonic_ms())
		error = call_fail(call, -EACCES, "%s: this account may not list it",
				  place_format(place, text, sizeof(text)));
	if (!error)
		scope->users++;
	bool is_used = !error;
	while (!error && !scope_is_fresh(scope))
		error = scope->fetching || call->from_memory ? cache_wait_fetched(cache, call) :
							       scope_fetch(cache, scope, call);
	if (!error)
		*ret_listing = listing_hold(scope->listing);
	if (is_used)
		scope->users--;
	pthread_mutex_unlock(&cache->lock);
	if (!call->from_memory)
		cache_tell_untold(cache);
	return error;
}

void cache_note_name(struct cache *cache, const struct place *place)
{
	for (const struct place *above = place->above; above; above = above->above) {
		struct scope *scope = (struct scope *)place_table_find(&cache->scopes, above);

		if (scope)
			scope->changed = true;
	}
}

void cache_note_names_watched(struct cache *cache, const struct place *place, bool watched)
{
	for (struct scope *scope = next_scope(cache, NULL); scope; scope = next_scope(cache, scope)) {
		if (place && scope->place_entry.place != place && scope->place_entry.place->above != place)
			continue;
		scope->names_watched = watched;
		scope->changed = true;
		/* What appeared before the watch began is not told: who compares the names must not get those of before. */
		scope->is_outdated = watched;
		scope->fresh_until_ms = watched ? 0 : scope->fresh_until_ms;
	}
}

void cache_free_scopes(struct cache *cache)
{
	for (struct scope *scope = next_scope(cache, NULL), *next; scope; scope = next) {
		next = next_scope(cache, scope);
		place_drop(scope->place_entry.place);
		for (struct scope *view = scope, *after; view; view = after) {
			after = view->next_view;
			listing_drop(view->listing);
			free(view);
		}
	}
	table_release(&cache->scopes);
}
