/*
 * The inside of a struct cache, for cache.c (versions) and cache_listing.c (listings). Nobody else includes this.
 *
 * Everything below the lock is under it. The lock is held while the layer below is told what to watch, or asked whether
 * it watches something, which waits for nothing; never while that layer works, and never while an event is told upwards.
 */
#ifndef NACOSFS_STORE_CACHE_PRIVATE_H
#define NACOSFS_STORE_CACHE_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/place.h"
#include "store/cache.h"

#define CACHE_OUTAGE_PAUSE_MS 3000 /* after a time-out: how long what is known is served without waiting again */

enum entry_state { ENTRY_UNKNOWN, ENTRY_PRESENT, ENTRY_ABSENT };

/*
 * What one login was told of one config. That of the mount is in the table; those of others (store_login_of()) hang on it, and only
 * share its bytes where they were told the same: nobody is served what another one was told.
 */
struct entry {
	struct place_entry place_entry; /* first; only that of the mount holds the place */
	struct entry *own; /* that of the mount for the same config; itself */
	struct entry *next_view; /* that of another login */
	uint64_t login; /* 0: the mount's */
	uid_t uid; /* whose login it is, where it is not the mount's */
	struct entry *newer, *older; /* the mount's only: by use, among those with kept_size */
	bool is_kept; /* the mount's only: it is among them */
	size_t kept_size; /* the mount's only: of the bytes that it and the others have, each text once */
	enum entry_state state;
	struct version *version; /* when ENTRY_PRESENT */
	int64_t fresh_until_ms;
	bool fetching;
	unsigned users; /* calls that hold a pointer to it while the lock is not held */
	unsigned puts; /* changes of ours: a fetch that began before one is worth nothing after it */

	bool watched; /* the layer below is to tell when the config is not what was last known here */
	bool changed; /* it told, and nothing was fetched since; or what was fetched last was not to be believed */
	uint64_t told_period; /* in that one (cache->live_period) it tells of changes; 0: perhaps not, it can be asked */

	/* Our own change, until the server's read path shows it. */
	int64_t own_until_ms;
	char own_before[HASH_MD5_HEX_SIZE]; /* md5 that the read path may still show; "": that there is nothing */
};

/* The last listing of one namespace or group, by one login; as with entries. */
struct scope {
	struct place_entry place_entry; /* first; only that of the mount holds the place */
	struct scope *next_view;
	uint64_t login;
	uid_t uid;
	unsigned users; /* calls that use it while the lock is not held */
	struct listing *listing; /* NULL: none yet */
	int64_t fresh_until_ms;
	int64_t forbidden_until_ms;
	bool fetching;
	bool names_watched; /* the layer below tells what appears or vanishes */
	bool changed; /* it told, and nothing was fetched since */
	bool is_outdated; /* the watch of names began after the last fetch did */
};

/* A config that may have changed, of which nobody was told yet. */
struct untold {
	struct untold *next;
	struct place *place; /* held */
};

struct cache {
	struct store store;
	struct cache_options options;
	const struct store_events *events; /* NULL: nobody wants to know */
	void *events_arg;

	pthread_mutex_t lock; /* all below */
	pthread_cond_t fetched; /* some entry or scope stopped fetching */
	struct table entries; /* by place */
	size_t kept_count;
	struct entry *newest, *oldest;
	size_t content_size;
	struct untold *untold;
	struct table scopes; /* by place */
	uint64_t live_period; /* a number for each time in which the layer below tells of changes; 0: it does not now */
	uint64_t last_period;
};

/* The mount's, with the lock. NULL: none, or no memory. */
struct entry *cache_find_entry(struct cache *cache, struct place *place, bool create);

/* With the lock: does md5 ("": nothing there) say what was there before our own change, which the server may still show? */
bool cache_is_before_own(const struct entry *entry, const char *md5);

/*
 * Notes, with the lock, that those above must be told that the config may have changed; and tells them, without it.
 */
void cache_note_untold(struct cache *cache, struct place *place);
void cache_tell_untold(struct cache *cache);

/* Waits, with the lock, until something was fetched or the next slice of the call is over. */
int cache_wait_fetched(struct cache *cache, struct call *call);

/* ---- cache_listing.c; all with the lock, if not said otherwise */

/* As the operation of the store table. Without the lock. */
int cache_list(struct store *store, struct place *place, struct call *call, struct listing **ret_listing);

/* A name appeared or vanished there. */
void cache_note_name(struct cache *cache, const struct place *place);

/* Names in the namespace are watched from now on, or (place NULL: anywhere) not any more. */
void cache_note_names_watched(struct cache *cache, const struct place *place, bool watched);

void cache_free_scopes(struct cache *cache);

#endif
