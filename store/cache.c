#include "store/cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"

#define BUCKETS 16384
#define IDLE_LIMIT 50000 /* entries without a version */
#define WRITE_RIGHT_MS 60000 /* how long a granted right to write is believed without asking */
#define OUTAGE_PAUSE_MS 3000 /* after a time-out: how long what is known is served without waiting again */
#define LISTING_COST_FACTOR 10
#define FORBIDDEN_LISTING_MS 10000

enum entry_state { ENTRY_UNKNOWN, ENTRY_PRESENT, ENTRY_ABSENT };

/* What is known of one config. */
struct entry {
	struct key *key;
	struct entry *next; /* in the bucket */
	struct entry *newer, *older; /* by use, among those with a version */
	enum entry_state state;
	struct version *version; /* when ENTRY_PRESENT */
	int64_t fresh_until_ms;
	int64_t may_write_until_ms;
	bool fetching;
	unsigned users; /* calls that hold a pointer to it while the lock is not held */
	unsigned puts; /* changes of ours: a fetch that began before one is worth nothing after it */

	/* Our own change, until the server's read path shows it. */
	int64_t own_until_ms;
	char own_before[HASH_MD5_HEX_SIZE]; /* md5 that the read path may still show; "": that there is nothing */
};

/* The last listing of one namespace or group. */
struct scope {
	struct scope *next;
	char *namespace_id;
	char *group; /* NULL: the whole namespace */
	struct listing *listing; /* NULL: none yet */
	int64_t fresh_until_ms;
	int64_t forbidden_until_ms;
	bool fetching;
};

struct cache {
	struct store store;
	struct store *lower;
	struct cache_options options;

	pthread_mutex_t lock; /* all below; never held while lower works */
	pthread_cond_t fetched; /* some entry or scope stopped fetching */
	struct entry *buckets[BUCKETS];
	size_t entry_count, version_count;
	struct entry *newest, *oldest;
	size_t content_size;
	struct scope *scopes;
};

static struct cache *cache_of(struct store *store)
{
	return (struct cache *)store;
}

/* Waits, with the lock, until something was fetched or the next slice of the call is over. */
static int wait_fetched(struct cache *cache, struct call *call)
{
	return call_wait(call, &cache->fetched, &cache->lock);
}

/* ------------------------------------------------------------------ entries */

/*
 * Forgets entries that know nothing worth keeping: names that were asked for once and are not there. Without this, a
 * program that looks for ever new names would fill the memory.
 */
static void forget_idle(struct cache *cache)
{
	int64_t now_ms = clock_monotonic_ms();

	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct entry **place = &cache->buckets[i], *entry; (entry = *place);) {
			if (entry->version || entry->users || entry->fresh_until_ms > now_ms ||
			    entry->own_until_ms > now_ms) {
				place = &entry->next;
				continue;
			}
			*place = entry->next;
			free(entry->key);
			free(entry);
			cache->entry_count--;
		}
	}
}

static struct entry *entry_find(struct cache *cache, const struct key *key, bool create)
{
	if (create && cache->entry_count > IDLE_LIMIT + 2 * cache->version_count)
		forget_idle(cache);
	struct entry **bucket = &cache->buckets[key_hash(key) % BUCKETS];

	for (struct entry *entry = *bucket; entry; entry = entry->next)
		if (key_equals(entry->key, key))
			return entry;
	if (!create)
		return NULL;
	struct entry *entry = calloc(1, sizeof(*entry));
	if (!entry)
		return NULL;
	entry->key = key_copy(key);
	if (!entry->key) {
		free(entry);
		return NULL;
	}
	entry->next = *bucket;
	*bucket = entry;
	cache->entry_count++;
	return entry;
}

static void entry_unlink_use(struct cache *cache, struct entry *entry)
{
	*(entry->newer ? &entry->newer->older : &cache->newest) = entry->older;
	*(entry->older ? &entry->older->newer : &cache->oldest) = entry->newer;
	entry->newer = entry->older = NULL;
}

static void entry_link_newest(struct cache *cache, struct entry *entry)
{
	entry->older = cache->newest;
	entry->newer = NULL;
	*(cache->newest ? &cache->newest->newer : &cache->oldest) = entry;
	cache->newest = entry;
}

static void entry_set(struct cache *cache, struct entry *entry, enum entry_state state,
		      struct version *version)
{
	if (entry->version) {
		entry_unlink_use(cache, entry);
		cache->content_size -= entry->version->content.size;
		cache->version_count--;
	}
	version_hold(version);
	version_drop(entry->version);
	entry->version = version;
	entry->state = state;
	if (version) {
		entry_link_newest(cache, entry);
		cache->content_size += version->content.size;
		cache->version_count++;
	}
	while (cache->content_size > cache->options.content_limit && cache->oldest != cache->newest) {
		struct entry *victim = cache->oldest;
		entry_set(cache, victim, ENTRY_UNKNOWN, NULL);
		victim->fresh_until_ms = 0;
	}
}

static void entry_touch(struct cache *cache, struct entry *entry)
{
	if (cache->newest == entry)
		return;
	entry_unlink_use(cache, entry);
	entry_link_newest(cache, entry);
}

/* Does md5 ("": nothing there) say what was there before our own change, which the server may still show? */
static bool entry_is_before_own(const struct entry *entry, const char *md5)
{
	return entry->own_until_ms > clock_monotonic_ms() && !strcmp(entry->own_before, md5);
}

static void entry_set_own(struct cache *cache, struct entry *entry, enum entry_state state,
			  struct version *version, const struct version *before)
{
	int64_t now_ms = clock_monotonic_ms();

	entry->puts++;
	entry_set(cache, entry, state, version);
	entry->fresh_until_ms = now_ms + CACHE_FRESH_MS;
	entry->own_until_ms = now_ms + CACHE_OWN_MS;
	strcpy(entry->own_before, before ? before->md5 : "");
}

/* What the entry answers. The caller's reference is counted. */
static int entry_answer(struct cache *cache, struct entry *entry, struct call *call,
			struct version **ret_version)
{
	if (entry->state != ENTRY_PRESENT) {
		char text[KEY_TEXT_SIZE];
		return call_fail(call, -ENOENT, "%s: no such config",
				 key_format(entry->key, text, sizeof(text)));
	}
	entry_touch(cache, entry);
	*ret_version = version_hold(entry->version);
	return 0;
}

/* Takes what a fetch brought. Returns the error to answer with, 0 for what the entry says now. */
static int entry_take(struct cache *cache, struct entry *entry, int error, struct version *version)
{
	int64_t now_ms = clock_monotonic_ms();

	if (!error || error == -ENOENT) {
		bool known = entry->state != ENTRY_UNKNOWN;

		entry->fresh_until_ms = now_ms + CACHE_FRESH_MS;
		if (known && entry_is_before_own(entry, error ? "" : version->md5))
			return 0;
		entry->own_until_ms = 0;
		if (error)
			entry_set(cache, entry, ENTRY_ABSENT, NULL);
		else if (entry->state != ENTRY_PRESENT || strcmp(entry->version->md5, version->md5))
			entry_set(cache, entry, ENTRY_PRESENT, version);
		return 0;
	}
	if (store_error_is_outage(error) && entry->state == ENTRY_PRESENT) {
		entry->fresh_until_ms = now_ms + (error == -ETIMEDOUT ? OUTAGE_PAUSE_MS : CACHE_FRESH_MS);
		return 0;
	}
	if (error == -EACCES)
		entry_set(cache, entry, ENTRY_UNKNOWN, NULL);
	return error;
}

/* Fetches, with the lock at entry and exit. */
static int entry_fetch(struct cache *cache, struct entry *entry, struct call *call)
{
	cleanup_version struct version *version = NULL;
	unsigned puts = entry->puts;

	entry->fetching = true;
	pthread_mutex_unlock(&cache->lock);
	int error = store_get(cache->lower, entry->key, VERSION_WHOLE, call, &version);
	pthread_mutex_lock(&cache->lock);
	entry->fetching = false;
	pthread_cond_broadcast(&cache->fetched);
	if (entry->puts != puts)
		return 0;
	if (store_error_is_outage(error) && entry->state == ENTRY_PRESENT)
		log_warning("%s; serving the last version known", call->reason);
	return entry_take(cache, entry, error, version);
}

static int cache_get(struct store *store, const struct key *key, enum version_part part,
		     struct call *call, struct version **ret_version)
{
	struct cache *cache = cache_of(store);
	int error = 0;

	(void)part;
	pthread_mutex_lock(&cache->lock);
	struct entry *entry = entry_find(cache, key, true);
	if (entry)
		entry->users++;
	else
		error = -ENOMEM;
	while (!error && (entry->state == ENTRY_UNKNOWN || entry->fresh_until_ms <= clock_monotonic_ms()))
		error = entry->fetching ? wait_fetched(cache, call) : entry_fetch(cache, entry, call);
	if (!error)
		error = entry_answer(cache, entry, call, ret_version);
	if (entry)
		entry->users--;
	pthread_mutex_unlock(&cache->lock);
	return error;
}

static int cache_put(struct store *store, const struct key *key, const struct put *put, struct call *call,
		     struct version **ret_version)
{
	struct cache *cache = cache_of(store);
	cleanup_version struct version *version = NULL;
	int error = store_put(cache->lower, key, put, call, &version);

	pthread_mutex_lock(&cache->lock);
	struct entry *entry = entry_find(cache, key, !error);
	if (!error && entry) {
		entry_set_own(cache, entry, ENTRY_PRESENT, version, put->base);
	} else if (entry) {
		entry->fresh_until_ms = 0;
		if (error == -EACCES)
			entry->may_write_until_ms = 0;
	}
	pthread_mutex_unlock(&cache->lock);
	if (error)
		return error;
	*ret_version = steal_pointer(version);
	return 0;
}

static int cache_remove(struct store *store, const struct key *key, const struct version *base,
			struct call *call)
{
	struct cache *cache = cache_of(store);
	int error = store_remove(cache->lower, key, base, call);

	pthread_mutex_lock(&cache->lock);
	struct entry *entry = entry_find(cache, key, !error);
	if (!error && entry)
		entry_set_own(cache, entry, ENTRY_ABSENT, NULL, base);
	else if (entry)
		entry->fresh_until_ms = 0;
	pthread_mutex_unlock(&cache->lock);
	return error;
}

static int cache_check_write(struct store *store, const struct key *key, struct call *call)
{
	struct cache *cache = cache_of(store);

	pthread_mutex_lock(&cache->lock);
	struct entry *entry = entry_find(cache, key, true);
	bool known = entry && entry->may_write_until_ms > clock_monotonic_ms();
	pthread_mutex_unlock(&cache->lock);
	if (known)
		return 0;
	int error = store_check_write(cache->lower, key, call);
	pthread_mutex_lock(&cache->lock);
	entry = entry_find(cache, key, false);
	if (!error && entry)
		entry->may_write_until_ms = clock_monotonic_ms() + WRITE_RIGHT_MS;
	pthread_mutex_unlock(&cache->lock);
	return error;
}

/* ----------------------------------------------------------------- listings */

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
		struct entry *entry = entry_find(cache, &key, false);

		if (!entry || !*item->md5 || entry->fetching)
			continue;
		bool same = entry->state == ENTRY_PRESENT && !strcmp(entry->version->md5, item->md5);
		if (same && entry->fresh_until_ms < fresh_until_ms)
			entry->fresh_until_ms = fresh_until_ms;
		else if (!same && !entry_is_before_own(entry, item->md5))
			entry->fresh_until_ms = 0;
	}
}

static int scope_fetch(struct cache *cache, struct scope *scope, struct call *call)
{
	cleanup_listing struct listing *listing = NULL;
	int64_t started_ms = clock_monotonic_ms();

	scope->fetching = true;
	pthread_mutex_unlock(&cache->lock);
	int error = store_list(cache->lower, scope->namespace_id, scope->group, call, &listing);
	pthread_mutex_lock(&cache->lock);
	scope->fetching = false;
	pthread_cond_broadcast(&cache->fetched);

	int64_t now_ms = clock_monotonic_ms();
	if (error == -EACCES)
		scope->forbidden_until_ms = now_ms + FORBIDDEN_LISTING_MS;
	if (store_error_is_outage(error) && scope->listing) {
		log_warning("%s; showing the last listing known", call->reason);
		scope->fresh_until_ms = now_ms + (error == -ETIMEDOUT ? OUTAGE_PAUSE_MS : CACHE_FRESH_MS);
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
	confirm_entries(cache, scope->namespace_id, listing, now_ms + CACHE_FRESH_MS);
	return 0;
}

static int cache_list(struct store *store, const char *namespace_id, const char *group, struct call *call,
		      struct listing **ret_listing)
{
	struct cache *cache = cache_of(store);
	int error = 0;

	pthread_mutex_lock(&cache->lock);
	struct scope *scope = scope_find(cache, namespace_id, group);
	struct scope *wide = group && scope ? scope_find(cache, namespace_id, NULL) : scope;
	if (!scope || !wide)
		error = -ENOMEM;
	else if (wide->listing && wide->fresh_until_ms > clock_monotonic_ms())
		scope = wide; /* the sweep of the whole namespace has this group's names */
	else if (scope->forbidden_until_ms > clock_monotonic_ms())
		error = call_fail(call, -EACCES, "%s%s%s: this account may not list it", namespace_id,
				  group ? "/" : "", group ? group : "");
	while (!error && (!scope->listing || scope->fresh_until_ms <= clock_monotonic_ms()))
		error = scope->fetching ? wait_fetched(cache, call) : scope_fetch(cache, scope, call);
	if (!error)
		*ret_listing = listing_hold(scope->listing);
	pthread_mutex_unlock(&cache->lock);
	return error;
}

/* ------------------------------------------------------------ handed through */

static int cache_check_any(struct store *store, const char *namespace_id, const char *group,
			   struct call *call)
{
	return store_check_any(cache_of(store)->lower, namespace_id, group, call);
}

static int cache_list_namespaces(struct store *store, struct call *call, struct namespace_names *ret_names)
{
	return store_list_namespaces(cache_of(store)->lower, call, ret_names);
}

static int cache_create_namespace(struct store *store, const char *namespace_id, struct call *call)
{
	return store_create_namespace(cache_of(store)->lower, namespace_id, call);
}

static int cache_remove_namespace(struct store *store, const char *namespace_id, struct call *call)
{
	return store_remove_namespace(cache_of(store)->lower, namespace_id, call);
}

static bool cache_name_is_possible(struct store *store, enum name_kind kind, const char *name)
{
	return store_name_is_possible(cache_of(store)->lower, kind, name);
}

static void cache_free(struct store *store)
{
	struct cache *cache = cache_of(store);

	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct entry *entry = cache->buckets[i], *next; entry; entry = next) {
			next = entry->next;
			version_drop(entry->version);
			free(entry->key);
			free(entry);
		}
	}
	for (struct scope *scope = cache->scopes, *next; scope; scope = next) {
		next = scope->next;
		listing_drop(scope->listing);
		free(scope->namespace_id);
		free(scope->group);
		free(scope);
	}
	pthread_cond_destroy(&cache->fetched);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}

static const struct store_operations cache_operations = {
	.get = cache_get,
	.put = cache_put,
	.remove = cache_remove,
	.check_write = cache_check_write,
	.list = cache_list,
	.check_any = cache_check_any,
	.list_namespaces = cache_list_namespaces,
	.create_namespace = cache_create_namespace,
	.remove_namespace = cache_remove_namespace,
	.name_is_possible = cache_name_is_possible,
	.free = cache_free,
};

int cache_new(struct store *lower, const struct cache_options *options, struct store **ret_store)
{
	struct cache *cache = calloc(1, sizeof(*cache));
	pthread_condattr_t monotonic;

	if (!cache)
		return -ENOMEM;
	cache->store.operations = &cache_operations;
	cache->lower = lower;
	cache->options = *options;
	pthread_mutex_init(&cache->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&cache->fetched, &monotonic);
	pthread_condattr_destroy(&monotonic);
	*ret_store = &cache->store;
	return 0;
}
