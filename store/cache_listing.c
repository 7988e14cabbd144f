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

static struct scope *scope_find(struct cache *cache, const char *namespace_id, const char *group)
{
	for (struct scope *scope = cache->scopes; scope; scope = scope->next)
		if (!strcmp(scope->namespace_id, namespace_id) &&
		    (group ? scope->group && !strcmp(scope->group, group) : !scope->group))
			return scope;
	struct scope *scope = calloc(1, sizeof(*scope));
	if (!scope)
		return NULL;
	scope->namespace_id = strdup(namespace_id);
	scope->group = group ? strdup(group) : NULL;
	if (!scope->namespace_id || (group && !scope->group)) {
		free(scope->namespace_id);
		free(scope->group);
		free(scope);
		return NULL;
	}
	scope->next = cache->scopes;
	cache->scopes = scope;
	return scope;
}

/* What a listing says of the versions that are known: confirmed, changed, or there after all. */
static void confirm_entries(struct cache *cache, const char *namespace_id, const struct listing *listing,
			    int64_t fresh_until_ms)
{
	for (size_t i = 0; i < listing->count; i++) {
		const struct listing_item *item = &listing->items[i];
		const struct key key = { namespace_id, item->group, item->data_id };
		struct entry *entry = cache_find_entry(cache, &key, false);

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
			cache_note_untold(cache, key_copy(&key));
		}
	}
}

static int scope_fetch(struct cache *cache, struct scope *scope, struct call *call)
{
	cleanup_listing struct listing *listing = NULL;
	int64_t started_ms = clock_monotonic_ms();

	scope->fetching = true;
	scope->changed = false;
	pthread_mutex_unlock(&cache->lock);
	int error = store_list(cache->store.lower, scope->namespace_id, scope->group, call, &listing);
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
	scope->fresh_until_ms = now_ms + fresh_ms;
	listing_drop(scope->listing);
	scope->listing = listing_hold(listing);
	/* Not longer than any other version: somebody may have changed one right after the sweep read it. */
	confirm_entries(cache, scope->namespace_id, listing, now_ms + cache->options.fresh_ms);
	return 0;
}

static bool scope_is_fresh(const struct scope *scope)
{
	return scope->listing && (scope->fresh_until_ms > clock_monotonic_ms() ||
				  (scope->names_watched && !scope->changed));
}

int cache_list(struct store *store, const char *namespace_id, const char *group, struct call *call,
	       struct listing **ret_listing)
{
	struct cache *cache = (struct cache *)store;
	int error = 0;

	pthread_mutex_lock(&cache->lock);
	struct scope *scope = scope_find(cache, namespace_id, group);
	struct scope *wide = group && scope ? scope_find(cache, namespace_id, NULL) : scope;
	if (!scope || !wide)
		error = -ENOMEM;
	else if (scope_is_fresh(wide))
		scope = wide; /* the sweep of the whole namespace has this group's names */
	else if (scope->forbidden_until_ms > clock_monotonic_ms())
		error = call_fail(call, -EACCES, "%s%s%s: this account may not list it", namespace_id,
				  group ? "/" : "", group ? group : "");
	while (!error && !scope_is_fresh(scope))
		error = scope->fetching ? cache_wait_fetched(cache, call) : scope_fetch(cache, scope, call);
	if (!error)
		*ret_listing = listing_hold(scope->listing);
	pthread_mutex_unlock(&cache->lock);
	cache_tell_untold(cache);
	return error;
}

void cache_note_name(struct cache *cache, const struct key *key)
{
	for (struct scope *scope = cache->scopes; scope; scope = scope->next)
		if (!strcmp(scope->namespace_id, key->namespace_id) &&
		    (!scope->group || !strcmp(scope->group, key->group)))
			scope->changed = true;
}

void cache_note_names_watched(struct cache *cache, const char *namespace_id, bool watched)
{
	for (struct scope *scope = cache->scopes; scope; scope = scope->next) {
		if (namespace_id && strcmp(scope->namespace_id, namespace_id))
			continue;
		scope->names_watched = watched;
		scope->changed = true;
	}
}

void cache_free_scopes(struct cache *cache)
{
	for (struct scope *scope = cache->scopes, *next; scope; scope = next) {
		next = scope->next;
		listing_drop(scope->listing);
		free(scope->namespace_id);
		free(scope->group);
		free(scope);
	}
}

