/*
 * Fills directories with the names that the store knows.
 *
 * All functions want tree->lock, and give it up while the store is asked.
 */
#ifndef NACOSFS_FS_FOLLOW_FILL_H
#define NACOSFS_FS_FOLLOW_FILL_H

#include <stdbool.h>

#include "fs/save/saver.h"
#include "util/call.h"

/*
 * Makes sure that the names of a directory that the store knows are among its children, as far as
 * the store tells.
 */
int fill_directory(struct saver *saver, struct call *call, struct held *directory) LOCKED;

/*
 * Is there anything in that namespace or group, which may be a name that is no node? 0, -ENOENT,
 * -EACCES where this account may not know, other errors.
 */
int fill_check(struct tree *tree, struct call *call, struct place *place) LOCKED;

/* Is a child that a listing does not have really gone? It is unlinked then: -ENOENT. */
int fill_verify(struct tree *tree, struct call *call, struct held *node) LOCKED;

/*
 * A group is there as long as something is in it, here or on the server: if nothing is here any
 * more, looks, and unlinks it. What mkdir made is gone, too, once something was in it.
 */
void fill_verify_group(struct tree *tree, struct call *call, struct held *group) LOCKED;

/* Can a name from the server stand in a directory? What can't is reported, not shown. */
bool fill_name_fits(const char *name);

#endif
