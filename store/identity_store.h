/*
 * The layer that asks the server with the login of whoever asks here: below it, each local user who has a login of his own
 * has a stack of his own, with its own cache and rights, so that what one may read is never served to another:
 *
 *	file system operations > cipher > identities > (rights > cache > nacos) of the user of the call
 *
 * Content is read, and everything is changed, with the stack of the call's user. Names and attributes (what everybody
 * who gets into a directory may see) come from the mount's own stack, which is told of changes; what that one may not
 * read, from the user's, without its content. A user without a login is served by the mount's stack: who may come so far,
 * the kernel decides by the modes and the ACL that are made of identity_store_find_access(). A user whose login went, or
 * can't be used, gets -EACCES, also of what the mount's account may read, and has an entry without rights: the kernel may still
 * believe for a moment what he could do before.
 *
 * All logins are known ahead, because rights of everybody are shown to everybody: identity_store_sync() opens the stacks of
 * those that appeared and closes those that went or changed.
 *
 *	identity_store_new -> identity_store_sync (once, before anybody asks) -> identity_store_start (in the background
 *	process) -> use -> identity_store_stop -> store_free of the layer
 *
 * One lock guards the list; it is held for moments only, never while a stack works, and may be taken with the lock of the
 * tree held.
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
#define IDENTITY_OPEN_MS 10000 /* how long opening one stack may take */
#define IDENTITY_RETRY_FIRST_MS 2000 /* after a stack could not be opened; twice as long each time, up to the last */
#define IDENTITY_RETRY_LAST_MS 60000
#define IDENTITY_MAX 500 /* users; the kernel takes no more entries of one access list */

/* A login that there is. */
struct identity_login {
	uid_t uid;
	uint64_t state; /* another one when the login is another one */
};

/* The stack of one user. */
struct identity_stack {
	struct store *top;
	struct rights *rights;
	void *owner; /* the source's own */
};

/* Where stacks come from. Called without a lock, by one thread at a time. */
struct identity_source {
	/* All logins, each user once; to be freed. 0 or an error with a reason: then there are none. */
	int (*list)(void *arg, struct call *call, struct identity_login **ret_logins, size_t *ret_count);

	/* Opens the stack of a user. An error has a reason. */
	int (*open)(void *arg, uid_t uid, struct call *call, struct identity_stack *ret_stack);

	/* Frees the whole stack; nobody uses it any more. */
	void (*close)(void *arg, struct identity_stack *stack);
	void *arg;
};

struct identity_store;

struct identity_store_options {
	struct identity_stack own; /* the mount's stack; its store and rights are not owned */
	struct identity_source source;
};

/* 0 or -ENOMEM. */
int identity_store_new(const struct identity_store_options *options, struct identity_store **ret_store);

/* The layer of the stack that this is; store_free() frees all of it. */
struct store *identity_store_layer(struct identity_store *store);

/* Brings the stacks up to the logins that there are now. By one thread at a time. What can't be used is logged once. */
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
