/*
 * Asking the store: the only way from fs/ to a server. Each function gives the tree's lock up while
 * the store works, and takes it again; so everything may be otherwise afterwards, but what is held.
 * A call that may not wait (from_memory) is answered with the lock, as then nothing is asked of
 * anybody: -EWOULDBLOCK where memory does not know.
 *
 * All want tree->lock, and return what the store says (store/store.h).
 */
#ifndef NACOSFS_FS_SAVE_ASK_H
#define NACOSFS_FS_SAVE_ASK_H

#include "fs/node/tree.h"
#include "store/store.h"

int ask_get(struct tree *tree, struct call *call, struct place *place, enum version_part part,
	    struct version **ret_version) LOCKED;
int ask_put(struct tree *tree, struct call *call, struct place *place, const struct put *put,
	    struct version **ret_version) LOCKED;
int ask_remove(struct tree *tree, struct call *call, struct place *place, const struct version *base) LOCKED;
int ask_check_read(struct tree *tree, struct call *call, struct place *place) LOCKED;
int ask_check_write(struct tree *tree, struct call *call, struct place *place) LOCKED;
int ask_check_any(struct tree *tree, struct call *call, struct place *place) LOCKED;
int ask_list(struct tree *tree, struct call *call, struct place *place, struct listing **ret_listing) LOCKED;
int ask_list_namespaces(struct tree *tree, struct call *call, struct namespace_names *ret_names) LOCKED;
int ask_create_namespace(struct tree *tree, struct call *call, struct place *place) LOCKED;
int ask_remove_namespace(struct tree *tree, struct call *call, struct place *place) LOCKED;

/*
 * Makes sure that these rights at a place are known, of all accounts with whose rights it is shown.
 */
int ask_rights(struct tree *tree, struct call *call, struct place *place, unsigned bits) LOCKED;

/* Waits, without the lock. 0, -ETIMEDOUT or -EINTR. */
int ask_pause(struct tree *tree, struct call *call, int64_t pause_ms) LOCKED;

/*
 * Gives a call that saves size bytes the time that a server takes for so many, beyond its deadline.
 */
void ask_grant_time(struct call *call, size_t size) LOCKED;

#endif
