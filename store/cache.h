/*
 * The cache layer: versions and listings that were fetched, in memory.
 *
 * A version is served without asking for as long as it is fresh (fresh_ms after it was fetched or confirmed by a listing, or until
 * the layer below tells of a change, where it watches: the entry says so itself, nobody is asked for a hit); after that one request
 * asks the layer below, however many callers wait for it. When the layer below can't be asked, the last version known is served
 * on, however old: what was readable stays readable. Errors that say no (-ENOENT, -EACCES) are never covered up. Whether it may still
 * be read is the business of the layer above (store/rights.h).
 *
 * Where users are served by logins of their own (store_login_of()), each login is served only what it was told, and asked for each
 * time; the bytes are kept once for all that were told the same.
 *
 * After a put or a remove the server's read path may show the state before it for a second or so; until it shows ours, or
 * CACHE_OWN_MS have passed, ours is served.
 *
 * A listing is fresh for ten times as long as it took to fetch, at least CACHE_FRESH_MS and at most refresh_ms.
 *
 * One lock guards all entries; it is never held while the layer below works: a fetch in progress is a state of the entry.
 * Versions beyond content_limit bytes in all are forgotten, the least recently used first.
 */
#ifndef NACOSFS_STORE_CACHE_H
#define NACOSFS_STORE_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

#define CACHE_FRESH_MS 1000
#define CACHE_OWN_MS 5000

struct cache_options {
	size_t content_limit; /* bytes */
	int64_t fresh_ms; /* how long a version is served without asking; CACHE_FRESH_MS, or less */
	int64_t refresh_ms;
};

/* 0 or -ENOMEM. lower is not owned and must outlive the cache. */
int cache_new(struct store *lower, const struct cache_options *options, struct store **ret_store);

#endif
