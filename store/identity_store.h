/*
 * The layer that asks the server with the login of whoever asks here: below it, each local user who has a login of his own
 * has a stack of his own, with its own cache, so that what one may read is never served to another:
 *
 *	file system operations > cipher > identities > (cache > rights > nacos) of the user of the call
 *
 * The mount's own stack serves calls on nobody's behalf and those of root, tells of changes (the file system then looks
 * again, with the right of whoever looks), and answers what asks no server. A user without a login of his own gets
 * -EACCES, or, if so wished, the mount's.
 *
 * Stacks are opened when they are first needed and closed when their login has gone or changed, which is looked at once
 * in IDENTITY_CHECK_MS. One lock guards the list; it is held for moments only. One thread opens a stack, the others of that
 * user wait.
 */
#ifndef NACOSFS_STORE_IDENTITY_STORE_H
#define NACOSFS_STORE_IDENTITY_STORE_H

#include <stdbool.h>
#include <sys/types.h>

#include "store/store.h"

#define IDENTITY_CHECK_MS 1000
#define IDENTITY_RETRY_MS 5000 /* after a stack could not be opened */

/* Where stacks come from. Called without a lock. */
struct identity_source {
	/*
	 * Opens the stack of a user, and tells the store at its top. -ENOENT: he has no login; or another error with a
	 * reason: it can't be used.
	 */
	int (*open)(void *arg, uid_t uid, struct call *call, void **ret_stack, struct store **ret_top);

	/* Is the login with which that was opened still the one that the user has? */
	bool (*is_current)(void *arg, void *stack);

	/* Frees the whole stack; nobody uses it any more. */
	void (*close)(void *arg, void *stack);
	void *arg;
};

/*
 * own is the mount's stack, not owned; with others_use_own, it is that of users without a login, too. 0 or -ENOMEM.
 */
int identity_store_new(struct store *own, const struct identity_source *source, bool others_use_own,
		       struct store **ret_store);

#endif
