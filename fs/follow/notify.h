/*
 * What somebody else changed, brought into the mount at once: the store tells of it (struct store_events); a thread fetches
 * it, shows it, makes the kernel forget what it knew, and has programs woken that watch (touch.h).
 *
 * Because of that the kernel may believe what it was told for long (NOTIFY_LONG_S) where the store would tell of a change; it
 * is asked anew every second (KERNEL_CACHE_S) where not. When the store is cut off, the kernel forgets all that it was given
 * for long.
 *
 * The queue has one entry for each config, however often it changes. When there are too many for it, everything that
 * the kernel knows is compared instead. What can't be fetched is tried again until it can. Names in namespaces where the
 * store does not tell of them are compared every refresh_ms, in directories that somebody has listed.
 *
 * An answer that was made before a change may reach the kernel after it was told to forget: so who gives an answer for long
 * notes at the start how many events there were, and calls notify_recheck() after the answer.
 *
 *	notify_new -> store_set_events -> notify_start (in the INIT request: after the program went to the background)
 *	-> notify_stop (when the loop has ended) -> notify_free
 *
 * Everything is guarded by tree->lock; functions want it held unless they say otherwise. No FUSE handler calls into the kernel:
 * they queue, and the thread calls, without the lock. It only ever makes the kernel forget attributes
 * (inval_inode with a negative offset), which waits for nobody. inval_entry, or dropping pages, would wait for handlers of
 * ours, and a daemon killed meanwhile would never end. Entries are made to be forgotten by the toucher, pages by its open and by the new time.
 */
#ifndef NACOSFS_FS_FOLLOW_NOTIFY_H
#define NACOSFS_FS_FOLLOW_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>

#include "fs/filesystem.h"
#include "fs/request.h"
#include "fs/node/tree.h"
#include "store/store.h"

/* How long the kernel may believe what we are told changes of, in seconds. */
#define NOTIFY_LONG_S 3600.0

struct notify_status {
	bool live; /* changes are told */
	size_t queued; /* configs that are to be fetched */
	size_t absent; /* names that the kernel believes not to exist */
	unsigned long events, refreshed, forgotten; /* since the start: told; fetched; answers taken back */
};

/* For store_set_events(), with the filesystem as arg. */
extern const struct store_events notify_events;

/* Makes the thing. No lock. 0 or -ENOMEM. */
int notify_new(struct filesystem *filesystem);

/* Starts the thread. No lock. 0 or a negative errno. */
int notify_start(struct filesystem *filesystem);

/* Ends it; what it is fetching is interrupted. No lock. */
void notify_stop(struct filesystem *filesystem);
void notify_free(struct filesystem *filesystem);

/* May the kernel believe what it is told of this node for long? */
bool notify_is_told(const struct filesystem *filesystem, const struct node *node);

/*
 * May the kernel believe for long that there is no such name? It is remembered then. name_possible: the store could hold
 * it.
 */
bool notify_add_absent(struct filesystem *filesystem, const struct node *parent, const char *name,
		       bool name_possible);

/* Does the store tell of all that appears or vanishes in the namespace that this is, or is in? */
bool notify_watches_names(const struct filesystem *filesystem, struct place *place);

/* What the account may do is not what it was (rights_set_changed()); arg is the filesystem. No lock. */
void notify_rights(void *arg);

/* The content that is shown changed; others should read it. */
void notify_content(struct filesystem *filesystem, struct node *node);

/* Mode, owner or rights changed. */
void notify_about_attributes(struct filesystem *filesystem, struct node *node);

/* Somebody else made the node appear: after it was added. */
void notify_created(struct filesystem *filesystem, struct node *node);

/* The node is there, and perhaps was all the time: unless the kernel believes that there is no such name, nothing happens. */
void notify_found(struct filesystem *filesystem, struct node *node);

/* The node is gone, not by a request of the kernel: before it is unlinked. */
void notify_removed(struct filesystem *filesystem, struct node *node);

/* The config may have changed: fetches and compares it, soon. */
void notify_changed(struct filesystem *filesystem, struct place *place);

/* How many events there were. No lock. */
unsigned notify_count_events(const struct filesystem *filesystem);

/*
 * After an answer that the kernel may believe for long: if there were events since the request started, takes it back.
 * id: the node. No lock.
 */
void notify_recheck(const struct request *request, uint64_t id);

/* The same for a name that the kernel was told does not exist. No lock. */
void notify_recheck_absent(const struct request *request, uint64_t parent_id, const char *name);


void notify_get_status(const struct filesystem *filesystem, struct notify_status *ret_status);

#endif
