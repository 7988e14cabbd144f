/*
 * The server is asked with the login of whoever asks here: two layers, with one cache between them:
 *
 *	file system operations > cipher > identities > rights > cache > bottom of the identities > nacos of the user of the call
 *
 * The upper one chooses whose rights a call goes by: each local user who has a login of his own has rights of his own (store/rights.h),
 * all on the same cache. The lower one asks with his login. The cache between keeps bytes once, and serves them only to logins that
 * were told them by the server (store_login_of()).
 *
 * Content is read, and everything is changed, with the login of the call's user. Names and attributes (what everybody
 * who gets into a directory may see) come with the mount's own, which is told of changes; what that one may not
 * read, with the user's, without its content. A user without a login is served with the mount's: who may come so far,
 * the kernel decides by the modes and the ACL that are made of identity_store_find_access(). A user whose login went, or
 * can't be used, gets -EACCES, also of what the mount's account may read, and has an entry without rights: the kernel may still
 * believe for a moment what he could do before.
 *
 * All logins are known ahead, because rights of everybody are shown to everybody: identity_store_sync() opens those
 * that appeared and closes those that went or changed.
 *
 *	identity_store_new -> build the cache on identity_store_bottom(), and the mount's rights on that -> identity_store_set_stack
 *	-> identity_store_sync (once, before anybody asks) -> identity_store_start (in the background process) -> use
 *	-> identity_store_stop -> store_free of the layer -> store_free of the cache and what is below
 *
 * One lock guards the list; it is held for moments only, never while a store works, and may be taken with the lock of the
 * tree or of the cache held.
 */
#ifndef NACOSFS_STORE_IDENTITY_STORE_H
#define NACOSFS_STORE_IDENTITY_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "model/access.h"
#include "store/rights.h"
#include "store/store.h"

#define IDENTITY_CHECK_MS 1000 /* how often logins are looked for */
#define IDENTITY_OPEN_MS 10000 /* how long opening one login may take */
#define IDENTITY_RETRY_FIRST_MS 2000 /* after a login could not be opened; twice as long each time, up to the last */
#define IDENTITY_RETRY_LAST_MS 60000
#define IDENTITY_MAX 500 /* users; the kernel takes no more entries of one access list */

/* A login that there is. */
struct identity_login {
	uid_t uid;
	uint64_t state; /* another one when the login is another one */
};

/* What asks the server with one login. */
struct identity_account {
	struct store *bottom; /* of the stack */
	void *owner; /* the source's own */
};

/* Where logins come from. Called without a lock, by one thread at a time. */
struct identity_source {
	/* All logins, each user once; to be freed. 0 or an error with a reason: then there are none. */
	int (*list)(void *arg, struct call *call, struct identity_login **ret_logins, size_t *ret_count);

	/* Logs a user in. An error has a reason. */
	int (*open)(void *arg, uid_t uid, struct call *call, struct identity_account *ret_account);

	/* Frees it; nobody uses it any more. */
	void (*close)(void *arg, struct identity_account *account);
	void *arg;
};

struct identity_store;

struct identity_store_options {
	struct store *own; /* what asks with the login of the mount; not owned */
	struct identity_source source;
	struct rights_options rights; /* of the users */
};

/* 0 or -ENOMEM. */
int identity_store_new(const struct identity_store_options *options, struct identity_store **ret_store);

/* The lower layer. Freed with the upper one. */
struct store *identity_store_bottom(struct identity_store *store);

/* What is between the two: the cache, and the rights of the mount. Not owned. */
void identity_store_set_stack(struct identity_store *store, struct store *cache, struct rights *rights);

/* The upper layer; store_free() frees all of it. */
struct store *identity_store_layer(struct identity_store *store);

/* Brings what is open up to the logins that there are now. By one thread at a time. What can't be used is logged once. */
void identity_store_sync(struct identity_store *store, struct call *call);

/* Starts the thread that goes on doing so. 0 or a negative errno. */
int identity_store_start(struct identity_store *store);
void identity_store_stop(struct identity_store *store);

/* Is that a user who has a login of his own, or had one since the mount began? */
bool identity_store_knows(struct identity_store *store, uid_t uid);

/* How many users have a login that can be used. */
size_t identity_store_count(struct identity_store *store);

/*
 * As rights_load() for the mount's account and all logins, that of the call's user first; what takes longer than
 * RIGHTS_ASK_MS in all is left for the next time. Errors are those of the mount's and of the user's.
 */
int identity_store_load_rights(struct identity_store *store, struct place *place, unsigned bits,
			       struct call *call);

/* As rights_are_known(), of all. */
bool identity_store_are_rights_known(struct identity_store *store, struct place *place, unsigned bits);

/*
 * What the users that have, or had, a login may do at a place, as far as is known; also those who may do nothing. Counted for
 * the caller; NULL without users, or without memory.
 */
struct access *identity_store_find_access(struct identity_store *store, struct place *place);

/* As rights_peek(), of what serves that user. */
unsigned identity_store_peek(struct identity_store *store, uid_t uid, struct place *place);

#endif
