/*
 * What the store tells by itself (struct store_events), on its way into the wake queue.
 */
#ifndef NACOSFS_FS_FOLLOW_EVENTS_H
#define NACOSFS_FS_FOLLOW_EVENTS_H

#include "fs/node/tree.h"
#include "store/store.h"

/* For store_set_events(), with the tree as arg. */
extern const struct store_events events_of_store;

/* What accounts may do is not what it was (rights_set_changed()); arg is the tree. No lock. */
void events_rights_changed(void *arg) UNLOCKED;

#endif
