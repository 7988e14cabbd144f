/*
 * The wake queue: what somebody else changed, on its way to the kernel and to programs that watch.
 * It has no thread; three kinds of workers empty it (fs/follow): some fetch what may have changed,
 * one makes the kernel forget what it knew, one has events raised by the toucher. None waits for
 * another: what hangs at one never holds up the others.
 *
 * - To be fetched: places, each once, however often they change. When there are too many,
 *   everything that the kernel knows is compared instead. What can't be fetched is tried again
 *   later.
 * - To be told: nodes of which the kernel is to forget the attributes, and what is to be raised
 *   then.
 * - To be raised: events about a name in a directory, at most two for a name (that it went and came
 *   back).
 *
 * Because of that the kernel may believe what it was told for long (WAKE_LONG_S) where the store
 * would tell of a change. An answer that was made before a change may reach the kernel after it was
 * told to forget: so who gives an answer for long notes at the start how many events there were
 * (wake_count_events()), and calls wake_recheck() after the answer.
 *
 * Everything is guarded by tree->lock; functions want it unless they say otherwise.
 */
#ifndef NACOSFS_FS_NODE_WAKE_H
#define NACOSFS_FS_NODE_WAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/node/tree.h"
#include "model/place.h"

/*
 * How long the kernel may believe what we are told changes of, in seconds; and what nobody tells
 * of.
 */
#define WAKE_LONG_S 3600.0
#define WAKE_SHORT_S 1.0

/* Of a tree. 0 or -ENOMEM. */
int wake_new(struct wake **ret_wake);

/* Frees what needs no lock; wake_clear() was called before, with the tree's lock. NULL is fine. */
void wake_free(struct wake *wake);
void wake_clear(struct tree *tree) LOCKED;

struct wake_counts {
	bool live; /* changes are told */
	bool touches; /* there is a toucher that gets through to the mount */
	size_t fetch_queue, touch_queue; /* how many wait */
	size_t absent; /* names that the kernel believes not to exist */
	/* since the start; forgotten: answers taken back */
	unsigned long events, fetched, forgotten, touched, failed;
};
void wake_get_counts(const struct tree *tree, struct wake_counts *ret_counts) LOCKED;

/* ------------------------------------------------------------- what happened to a node */

/* The content that is shown changed; others should read it. */
void wake_content(struct tree *tree, struct node *node) LOCKED;

/* Mode, owner or rights changed. */
void wake_attributes(struct tree *tree, struct node *node) LOCKED;

/* The kernel is to forget what it was told of the node, no more. */
void wake_forget(struct tree *tree, struct node *node) LOCKED;

/* Somebody else made the node appear: after it was added. */
void wake_created(struct tree *tree, struct node *node) LOCKED;

/*
 * The node is there, and perhaps was all the time: unless the kernel believes that there is no such
 * name, nothing happens.
 */
void wake_found(struct tree *tree, struct node *node) LOCKED;

/* The node is gone, not by a request of the kernel: tells so, and unlinks it. */
void wake_vanish(struct tree *tree, struct node *node) LOCKED;

/* The config of that place may have changed: fetches and compares it, soon. */
void wake_changed(struct tree *tree, struct place *place) LOCKED;

/*
 * Does so if the node was seen to be gone while it could not be unlinked: when nobody writes to it,
 * or saves it, any more.
 */
void wake_look_again(struct tree *tree, struct node *node) LOCKED;

/* Can anybody watch it? Who does, has looked up the directory at least. */
bool wake_is_within_sight(const struct node *node) LOCKED;

/* ---------------------------------------------------------- what the kernel may believe */

/* May the kernel believe what it is told of this node for long? */
bool wake_is_told(const struct tree *tree, const struct node *node) LOCKED;

/*
 * May the kernel believe for long that there is no config of that name? It is remembered then.
 * place: of the name, NULL where the store could hold no such name.
 */
bool wake_add_absent(struct tree *tree, const struct node *parent, const char *name,
		     struct place *place) LOCKED;

/*
 * Forgets a name that the kernel believes to be absent, and makes it look again; does nothing where
 * it does not.
 */
void wake_doubt_absent(struct tree *tree, struct node *parent, const char *name) LOCKED;

/* How many events there were. No lock. */
unsigned wake_count_events(const struct tree *tree);

/*
 * After an answer that the kernel may believe for long: if there were events since before, takes it
 * back. id: the node.
 */
void wake_recheck(struct tree *tree, uint64_t id, unsigned events_before) LOCKED;
void wake_recheck_absent(struct tree *tree, uint64_t parent_id, const char *name,
			 unsigned events_before) LOCKED;

/* ------------------------------------------------------------------ names of namespaces */

/* Does the store tell of all that appears or vanishes in the namespace that the place is in? */
bool wake_names_are_watched(const struct tree *tree, const struct place *place) LOCKED;
void wake_set_names_watched(struct tree *tree, struct place *namespace, bool watched) LOCKED;

/*
 * Changes of what is watched are told, or not any more: then the kernel forgets all that it was
 * given for long.
 */
void wake_set_live(struct tree *tree, bool live) LOCKED;

/* Something was told. No lock. */
void wake_count_event(struct tree *tree);

/*
 * What is known of the names of all directories may be wrong; and of those that the kernel believes
 * to be absent.
 */
void wake_doubt_all_names(struct tree *tree) LOCKED;

/* ----------------------------------------------------------------- for the one who tells */

struct wake_told {
	uint64_t id;
	bool known; /* the kernel knows it: it is to forget its attributes */
	unsigned wake; /* what wake_told_raise() will raise */
	struct held node; /* to be dropped */
};

/* Waits until there is something, and takes it out; false when it is time to stop. */
bool wake_take_told(struct tree *tree, struct wake_told *ret_told) LOCKED;

/* After the kernel was told: queues the events, and drops the node. */
void wake_raise_told(struct tree *tree, struct wake_told *told) LOCKED;

/* ---------------------------------------------------------------- for those who fetch */

struct wake_fetch;

enum wake_task { WAKE_STOP, WAKE_FETCH, WAKE_COMPARE_NAMES, WAKE_COMPARE_ALL };

/*
 * Waits for something to do, and takes it: WAKE_FETCH with what is to be fetched. Ended with
 * wake_fetched() or wake_compared().
 */
enum wake_task wake_take_task(struct tree *tree, struct wake_fetch **ret_fetch) LOCKED;

struct place *wake_fetch_place(const struct wake_fetch *fetch) LOCKED;
unsigned wake_fetch_attempts(const struct wake_fetch *fetch) LOCKED;

/* It was fetched; again_ms: how long until it is tried again, 0: not. */
void wake_fetched(struct tree *tree, struct wake_fetch *fetch, int64_t again_ms) LOCKED;

/* Comparing ended; the names of directories of which nobody tells are due again after pause_ms. */
void wake_compared(struct tree *tree, enum wake_task task, int64_t pause_ms) LOCKED;

/* ---------------------------------------------------------------- for the one who touches */

enum touch_kind {
	/*
	 * directory: the mount point, absolute; name: is looked up, so that the daemon learns who
	 * asks
	 */
	TOUCH_HELLO,
	/* OPEN, MODIFY, CLOSE_WRITE; MODIFY alone where the file can't be opened for writing */
	TOUCH_CONTENT,
	TOUCH_ATTRIBUTES, /* ATTRIB */
	TOUCH_CREATED, /* CREATE, OPEN, CLOSE_WRITE */
	TOUCH_CREATED_DIRECTORY, /* CREATE */
	TOUCH_REMOVED, /* DELETE */
	TOUCH_REMOVED_DIRECTORY, /* DELETE */
	/*
	 * no event: the kernel looks the name up anew, and is told that it may not keep the answer
	 */
	TOUCH_FORGET_ABSENT,
};

/* An event about a name in a directory. */
struct wake_touch {
	struct table_link link; /* first; among those that wait, by directory and name */
	struct wake_touch *next; /* in the queue */
	enum touch_kind kind;
	struct node *parent; /* held */
	char *name;
	struct node *node; /* what has the name, or had it; held; NULL: none */
};

/*
 * Waits until there is one, and takes it out; NULL when it is time to stop. Ended with
 * wake_touched().
 */
struct wake_touch *wake_take_touch(struct tree *tree) LOCKED;
void wake_touched(struct tree *tree, struct wake_touch *touch, bool failed) LOCKED;

/* The one that was taken out and is not ended, and if it is about that name; NULL. */
const struct wake_touch *wake_touch_under_way(const struct tree *tree) LOCKED;
const struct wake_touch *wake_current_touch(const struct tree *tree, const struct node *parent,
					    const char *name) LOCKED;

/* Waits, until it is time to stop at the latest. */
void wake_pause_touches(struct tree *tree, int64_t pause_ms) LOCKED;

/* Is there anything to be raised about that name, but that it went? */
bool wake_has_touch(const struct tree *tree, const struct node *parent, const char *name) LOCKED;

/* Is there a toucher? Without one nothing is queued for it. */
void wake_set_touches(struct tree *tree, bool touches) LOCKED;

/* All who wait for something to do are told to stop, now and later. */
void wake_stop(struct tree *tree) LOCKED;
bool wake_is_stopping(const struct tree *tree); /* no lock */

#endif
