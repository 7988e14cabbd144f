#include "store/cache_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"

#define IDLE_LIMIT 50000 /* entries without a version */

static struct cache *cache_of(struct store *store)
{
	return (struct cache *)store;
}

int cache_wait_fetched(struct cache *cache, struct call *call)
{
	return call_wait(call, &cache->fetched, &cache->lock);
}

/* ------------------------------------------------------------------- events */

void cache_note_untold(struct cache *cache, struct place *place)
{
	struct untold *untold = cache->events ? malloc(sizeof(*untold)) : NULL;

	if (!untold)
		return;
	*untold = (struct untold){ .next = cache->untold, .place = place_hold(place) };
	cache->untold = untold;
}

void cache_tell_untold(struct cache *cache)
{
	struct untold *untold;

	pthread_mutex_lock(&cache->lock);
	untold = cache->untold;
	cache->untold = NULL;
	pthread_mutex_unlock(&cache->lock);
	while (untold) {
		struct untold *next = untold->next;

		cache->events->changed(cache->events_arg, untold->place);
		place_drop(untold->place);
		free(untold);
		untold = next;
	}
}

/* From the layer below. What is not known here is a name that appeared, perhaps. */
static void cache_changed(void *arg, struct place *place)
{
	struct cache *cache = arg;

	pthread_mutex_lock(&cache->lock);
	struct entry *entry = cache_find_entry(cache, place, false);
	if (entry) {
		entry->changed = true;
		entry->told_period = 0;
		entry->fresh_until_ms = 0;
	}
	if (!entry || entry->state != ENTRY_PRESENT)
		cache_note_name(cache, place);
	pthread_mutex_unlock(&cache->lock);
	if (cache->events)
		cache->events->changed(cache->events_arg, place);
}

static void cache_names_watched(void *arg, struct place *place, bool watched)
{
	struct cache *cache = arg;

	pthread_mutex_lock(&cache->lock);
	cache_note_names_watched(cache, place, watched);
	pthread_mutex_unlock(&cache->lock);
	if (cache->events)
		cache->events->names_watched(cache->events_arg, place, watched);
}

static void cache_live(void *arg, bool live)
{
	struct cache *cache = arg;

	pthread_mutex_lock(&cache->lock);
	cache->live_period = live ? ++cache->last_period : 0;
	if (!live)
		cache_note_names_watched(cache, NULL, false);
	pthread_mutex_unlock(&cache->lock);
	if (cache->events)
		cache->events->live(cache->events_arg, live);
}

static const struct store_events events_from_below = {
	.changed = cache_changed,
	.names_watched = cache_names_watched,
	.live = cache_live,
};

static void cache_set_events(struct store *store, const struct store_events *events, void *arg)
{
	struct cache *cache = cache_of(store);

	cache->events = events;
	cache->events_arg = arg;
	store_set_events(cache->store.lower, &events_from_below, cache);
}

/* ------------------------------------------------------------------ entries */

static struct entry *first_entry(const struct cache *cache)
{
	return (struct entry *)table_next(&cache->entries, NULL);
}

static struct entry *next_entry(const struct cache *cache, const struct entry *entry)
{
	return (struct entry *)table_next(&cache->entries, &entry->place_entry.link);
}

/*
 * Has the layer below told us so, if it were otherwise? Once it said that it would, it is not asked again until it says that it
 * is not live any more.
 */
static bool entry_is_watched(const struct cache *cache, struct entry *entry)
{
	if (!entry->watched || entry->changed)
		return false;
	if (entry->told_period && entry->told_period == cache->live_period)
		return true;
	if (!store_is_watched(cache->store.lower, entry->place_entry.place))
		return false;
	entry->told_period = cache->live_period;
	return true;
}

static bool entry_is_fresh(const struct cache *cache, struct entry *entry)
{
	return entry->state != ENTRY_UNKNOWN &&
	       (entry->fresh_until_ms > clock_monotonic_ms() || entry_is_watched(cache, entry));
}

/* Asks the layer below to tell when the config is not what the entry says any more; after each fetch, as it wants to know. */
static void entry_watch(struct cache *cache, struct entry *entry)
{
	const char *md5 = entry->state == ENTRY_PRESENT ? entry->version->md5 : "";

	if (entry->state == ENTRY_UNKNOWN || entry->own != entry)
		return;
	entry->watched = true;
	store_watch(cache->store.lower, entry->place_entry.place, md5);
}

/* Takes what is known of a name away. */
static void entry_forget(struct cache *cache, struct entry *entry)
{
	if (entry->watched) {
		store_watch(cache->store.lower, entry->place_entry.place, NULL);
		cache_note_untold(cache, entry->place_entry.place);
	}
	place_table_remove(&cache->entries, &entry->place_entry);
	free(entry);
}

static bool entry_is_idle(const struct entry *entry, int64_t now_ms)
{
	return !entry->version && !entry->users && entry->fresh_until_ms <= now_ms && entry->own_until_ms <= now_ms;
}

/*
 * Forgets entries that know nothing worth keeping: names that were asked for once and are not there. Without this, a
 * program that looks for ever new names would fill the memory.
 */
static void forget_idle(struct cache *cache)
{
	int64_t now_ms = clock_monotonic_ms();

	for (struct entry *entry = first_entry(cache), *next; entry; entry = next) {
		next = next_entry(cache, entry);
		for (struct entry **link = &entry->next_view, *view; (view = *link);) {
			if (!entry_is_idle(view, now_ms)) {
				link = &view->next_view;
				continue;
			}
			*link = view->next_view;
			free(view);
		}
		if (!entry->next_view && entry_is_idle(entry, now_ms))
			entry_forget(cache, entry);
	}
}

struct entry *cache_find_entry(struct cache *cache, struct place *place, bool create)
{
	if (create && cache->entries.count > IDLE_LIMIT + 2 * cache->kept_count)
		forget_idle(cache);
	struct entry *entry = (struct entry *)place_table_find(&cache->entries, place);

	if (entry || !create)
		return entry;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return NULL;
	entry->own = entry;
	place_table_add(&cache->entries, &entry->place_entry, place);
	return entry;
}

static const struct version *bytes_of(const struct entry *entry)
{
	return entry->version && entry->version->shared ? entry->version->shared : entry->version;
}

/* Are they counted with an entry before it? */
static bool are_bytes_counted(const struct entry *own, const struct entry *entry)
{
	const struct version *bytes = bytes_of(entry);

	for (const struct entry *before = own; before != entry; before = before->next_view)
		if (bytes_of(before) == bytes)
			return true;
	return false;
}

static void unlink_kept(struct cache *cache, struct entry *own)
{
	*(own->newer ? &own->newer->older : &cache->newest) = own->older;
	*(own->older ? &own->older->newer : &cache->oldest) = own->newer;
	own->newer = own->older = NULL;
}

static void link_newest(struct cache *cache, struct entry *own)
{
	own->older = cache->newest;
	own->newer = NULL;
	*(cache->newest ? &cache->newest->newer : &cache->oldest) = own;
	cache->newest = own;
}

/* Counts what is kept of the config, by the mount and by others. */
static void count_kept(struct cache *cache, struct entry *own)
{
	size_t size = 0;
	bool is_kept = false;

	for (const struct entry *entry = own; entry; entry = entry->next_view) {
		is_kept |= entry->version != NULL;
		if (entry->version && !are_bytes_counted(own, entry))
			size += bytes_of(entry)->content.size;
	}
	cache->content_size += size - own->kept_size;
	own->kept_size = size;
	if (own->is_kept != is_kept) {
		cache->kept_count += is_kept ? 1 : (size_t)-1;
		if (is_kept)
			link_newest(cache, own);
		else
			unlink_kept(cache, own);
	}
	own->is_kept = is_kept;
}

static void entry_change(struct entry *entry, enum entry_state state, struct version *version)
{
	version_hold(version);
	version_drop(entry->version);
	entry->version = version;
	entry->state = state;
}

/* Takes all bytes of the config. */
static void drop_kept(struct cache *cache, struct entry *own)
{
	for (struct entry *entry = own; entry; entry = entry->next_view) {
		if (!entry->version)
			continue;
		entry_change(entry, ENTRY_UNKNOWN, NULL);
		entry->fresh_until_ms = 0;
	}
	count_kept(cache, own);
}

static void entry_touch(struct cache *cache, struct entry *entry)
{
	if (cache->newest == entry->own || !entry->own->is_kept)
		return;
	unlink_kept(cache, entry->own);
	link_newest(cache, entry->own);
}

static void entry_set(struct cache *cache, struct entry *entry, enum entry_state state,
		      struct version *version)
{
	entry_change(entry, state, version);
	count_kept(cache, entry->own);
	if (version)
		entry_touch(cache, entry);
	while (cache->content_size > cache->options.content_limit && cache->oldest != cache->newest)
		drop_kept(cache, cache->oldest);
}

/* A version that nobody has yet: if it has the bytes that another login was told, they are kept once. */
static void share_bytes(struct entry *entry, struct version *version)
{
	for (struct entry *other = entry->own; other; other = other->next_view) {
		const struct version *kept = other->version;

		if (!kept || kept == version || strcmp(kept->md5, version->md5) || kept->content.size != version->content.size ||
		    (kept->content.size && memcmp(kept->content.data, version->content.data, kept->content.size)))
			continue;
		version_share_content(version, other->version);
		return;
	}
}

/* What was told to the login that serves the user; as cache_find_entry(). */
static struct entry *find_entry_of(struct cache *cache, struct place *place, uid_t uid, bool create)
{
	uint64_t login = store_login_of(cache->store.lower, uid);
	struct entry *own = cache_find_entry(cache, place, create);

	if (!own || !login)
		return own;
	struct entry *view = own->next_view;
	/* Another login of the same user: nothing of the one before is his any more. */
	while (view && view->login != login && (view->uid != uid || view->users))
		view = view->next_view;
	if (view && view->login != login) {
		entry_set(cache, view, ENTRY_UNKNOWN, NULL);
		view->fresh_until_ms = view->own_until_ms = 0;
		view->login = login;
	}
	if (view || !create)
		return view;
	view = calloc(1, sizeof(*view));
	if (!view)
		return NULL;
	view->place_entry.place = place;
	view->own = own;
	view->login = login;
	view->uid = uid;
	view->next_view = own->next_view;
	own->next_view = view;
	return view;
}

/* How long it is served without asking. Other logins are asked each time: nobody tells what they may read, and of changes. */
static int64_t fresh_ms_of(const struct cache *cache, const struct entry *entry)
{
	return entry->login ? 0 : cache->options.fresh_ms;
}

bool cache_is_before_own(const struct entry *entry, const char *md5)
{
	return entry->own_until_ms > clock_monotonic_ms() && !strcmp(entry->own_before, md5);
}

static void entry_set_own(struct cache *cache, struct entry *entry, enum entry_state state,
			  struct version *version, const struct version *before)
{
	int64_t now_ms = clock_monotonic_ms();

	entry->puts++;
	entry_set(cache, entry, state, version);
	entry->fresh_until_ms = now_ms + fresh_ms_of(cache, entry);
	entry->own_until_ms = now_ms + CACHE_OWN_MS;
	strcpy(entry->own_before, before ? before->md5 : "");
	entry->changed = false;
	entry_watch(cache, entry);
}

/* What the entry answers. The caller's reference is counted. */
static int entry_answer(struct cache *cache, struct entry *entry, struct call *call,
			struct version **ret_version)
{
	if (entry->state != ENTRY_PRESENT) {
		char text[PLACE_TEXT_SIZE];
		return call_fail(call, -ENOENT, "%s: no such config",
				 place_format(entry->place_entry.place, text, sizeof(text)));
	}
	entry_touch(cache, entry);
	*ret_version = version_hold(entry->version);
	return 0;
}

/*
 * Is what a fetch brought (NULL: nothing there) the state before our own change? The same text again, but stored later, is
 * somebody's who took our change back.
 */
static bool entry_is_outdated(const struct entry *entry, const struct version *version)
{
	if (entry->own_until_ms <= clock_monotonic_ms())
		return false;
	if (version && entry->version && version->modified_ms && entry->version->modified_ms &&
	    version->modified_ms != entry->version->modified_ms)
		return version->modified_ms < entry->version->modified_ms;
	return cache_is_before_own(entry, version ? version->md5 : "");
}

/* Takes what a fetch brought. Returns the error to answer with, 0 for what the entry says now. */
static int entry_take(struct cache *cache, struct entry *entry, int error, struct version *version)
{
	int64_t now_ms = clock_monotonic_ms();

	if (!error || error == -ENOENT) {
		bool known = entry->state != ENTRY_UNKNOWN;

		if (known && entry_is_outdated(entry, version)) {
			entry->fresh_until_ms = now_ms + fresh_ms_of(cache, entry);
			entry->changed = true;
			return 0;
		}
		/* What was told while it was fetched may not be in it. */
		entry->fresh_until_ms = entry->changed ? 0 : now_ms + fresh_ms_of(cache, entry);
		entry->own_until_ms = 0;
		if (known && !entry->login && !error != (entry->state == ENTRY_PRESENT))
			cache_note_name(cache, entry->place_entry.place);
		if (!error)
			share_bytes(entry, version);
		if (error)
			entry_set(cache, entry, ENTRY_ABSENT, NULL);
		else if (entry->state != ENTRY_PRESENT || strcmp(entry->version->md5, version->md5))
			entry_set(cache, entry, ENTRY_PRESENT, version);
		entry_watch(cache, entry);
		return 0;
	}
	entry->changed = true;
	if (store_error_is_outage(error) && entry->state == ENTRY_PRESENT) {
		entry->fresh_until_ms = now_ms + (error == -ETIMEDOUT ? CACHE_OUTAGE_PAUSE_MS : CACHE_FRESH_MS);
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
	entry->changed = false;
	pthread_mutex_unlock(&cache->lock);
	int error = store_get(cache->store.lower, entry->place_entry.place, VERSION_BASE, call, &version);
	pthread_mutex_lock(&cache->lock);
	entry->fetching = false;
	pthread_cond_broadcast(&cache->fetched);
	if (entry->puts != puts)
		return 0;
	if (store_error_is_outage(error) && entry->state == ENTRY_PRESENT)
		log_warning("%s; serving the last version known", call->reason);
	return entry_take(cache, entry, error, version);
}

static int cache_get(struct store *store, struct place *place, enum version_part part,
		     struct call *call, struct version **ret_version)
{
	struct cache *cache = cache_of(store);
	int error = 0;

	(void)part;
	pthread_mutex_lock(&cache->lock);
	struct entry *entry = find_entry_of(cache, place, call->uid, true);
	if (entry)
		entry->users++;
	else
		error = -ENOMEM;
	bool fetched = false; /* what came then is new enough, even if another change was told meanwhile */
	while (!error && !entry_is_fresh(cache, entry) && !(fetched && entry->state != ENTRY_UNKNOWN)) {
		fetched = !entry->fetching && !call->from_memory;
		error = fetched ? entry_fetch(cache, entry, call) : cache_wait_fetched(cache, call);
	}
	if (!error)
		error = entry_answer(cache, entry, call, ret_version);
	if (entry)
		entry->users--;
	bool untold = cache->untold && !call->from_memory; /* who may not wait has a lock that those who are told take */
	pthread_mutex_unlock(&cache->lock);
	if (untold)
		cache_tell_untold(cache);
	return error;
}

/* A change of ours failed. With -EBUSY it is not what it was, whether that was told yet or not. */
static void entry_doubt(struct entry *entry, int error)
{
	entry->fresh_until_ms = 0;
	if (error == -EBUSY)
		entry->changed = true;
}

static int cache_put(struct store *store, struct place *place, const struct put *put, struct call *call,
		     struct version **ret_version)
{
	struct cache *cache = cache_of(store);
	cleanup_version struct version *version = NULL;
	int error = store_put(cache->store.lower, place, put, call, &version);

	pthread_mutex_lock(&cache->lock);
	struct entry *entry = find_entry_of(cache, place, call->uid, !error);
	if (!error && entry)
		share_bytes(entry, version);
	if (!error && entry && version->unconfirmed) {
		entry_set(cache, entry, ENTRY_UNKNOWN, NULL); /* not to be read here either */
	} else if (!error && entry) {
		entry_set_own(cache, entry, ENTRY_PRESENT, version, put->base);
	} else if (entry) {
		entry_doubt(entry, error);
	}
	pthread_mutex_unlock(&cache->lock);
	if (error)
		return error;
	*ret_version = steal_pointer(version);
	return 0;
}

static int cache_remove(struct store *store, struct place *place, const struct version *base,
			struct call *call)
{
	struct cache *cache = cache_of(store);
	int error = store_remove(cache->store.lower, place, base, call);

	pthread_mutex_lock(&cache->lock);
	struct entry *entry = find_entry_of(cache, place, call->uid, !error);
	if (!error && entry)
		entry_set_own(cache, entry, ENTRY_ABSENT, NULL, base);
	else if (entry)
		entry_doubt(entry, error);
	pthread_mutex_unlock(&cache->lock);
	return error;
}

static void cache_note_put(struct store *store, struct place *place, struct version *version,
			   const struct version *base)
{
	struct cache *cache = cache_of(store);

	pthread_mutex_lock(&cache->lock);
	struct entry *entry = cache_find_entry(cache, place, true);
	if (entry) {
		entry_set_own(cache, entry, version ? ENTRY_PRESENT : ENTRY_ABSENT, version, base);
		entry->changed = true; /* what was told while the other one stored it is not known: it is asked for once more */
	}
	pthread_mutex_unlock(&cache->lock);
}

/* What it holds is watched already, for the version that it holds. */
static void cache_watch(struct store *store, struct place *place, const char *md5)
{
	struct cache *cache = cache_of(store);

	pthread_mutex_lock(&cache->lock);
	const struct entry *entry = cache_find_entry(cache, place, false);
	if (!entry || !entry->watched)
		store_watch(cache->store.lower, place, md5);
	pthread_mutex_unlock(&cache->lock);
}

static bool cache_is_watched(struct store *store, struct place *place)
{
	struct cache *cache = cache_of(store);

	pthread_mutex_lock(&cache->lock);
	struct entry *entry = cache_find_entry(cache, place, false);
	bool watched = entry && entry_is_watched(cache, entry);
	pthread_mutex_unlock(&cache->lock);
	return watched;
}

static void cache_free(struct store *store)
{
	struct cache *cache = cache_of(store);

	for (struct entry *entry = first_entry(cache), *next; entry; entry = next) {
		next = next_entry(cache, entry);
		place_drop(entry->place_entry.place);
		for (struct entry *view = entry, *after; view; view = after) {
			after = view->next_view;
			version_drop(view->version);
			free(view);
		}
	}
	table_release(&cache->entries);
	while (cache->untold) {
		struct untold *untold = cache->untold;

		cache->untold = untold->next;
		place_drop(untold->place);
		free(untold);
	}
	cache_free_scopes(cache);
	pthread_cond_destroy(&cache->fetched);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}

static const struct store_operations cache_operations = {
	.get = cache_get,
	.put = cache_put,
	.remove = cache_remove,
	.list = cache_list,
	.set_events = cache_set_events,
	.watch = cache_watch,
	.is_watched = cache_is_watched,
	.note_put = cache_note_put,
	.free = cache_free,
};

int cache_new(struct store *lower, const struct cache_options *options, struct store **ret_store)
{
	struct cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return -ENOMEM;
	cache->store.operations = &cache_operations;
	cache->store.lower = lower;
	cache->options = *options;
	pthread_mutex_init(&cache->lock, NULL);
	clock_init_condition(&cache->fetched);
	*ret_store = &cache->store;
	return 0;
}
