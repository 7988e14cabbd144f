/*
 * What stat shows, and asking the store for it.
 */
#ifndef NACOSFS_FS_NODE_ATTRIBUTES_H
#define NACOSFS_FS_NODE_ATTRIBUTES_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "fs/request.h"
#include "fs/node/tree.h"

/* The permission bits that are shown: what is granted of what chmod left, as far as known. With the lock. */
mode_t attributes_mode(const struct filesystem *filesystem, const struct node *node);

/*
 * chmod: only what is granted can be taken away, or given back. What is not granted now is not touched: a grant that comes later
 * shows. With the lock.
 */
void attributes_set_mode(const struct filesystem *filesystem, struct node *node, mode_t mode);

/*
 * Makes sure that the rights at a linked node are known, as far as the server tells in time; with the lock, which is given up
 * meanwhile. 0, -EINTR or -ENOMEM.
 */
int attributes_load_rights(struct request *request, struct node *node);

/*
 * Fills ret_stat; with the lock. thread asks: a writer sees the draft's size and time, others those of what they
 * would read.
 */
void attributes_fill(const struct filesystem *filesystem, struct node *node, pid_t thread,
		     struct stat *ret_stat);

/* As attributes_fill(), for an answer to LOOKUP and the like, with the times for which the kernel may keep it. */
void attributes_fill_entry(const struct request *request, struct node *node, struct fuse_entry_param *ret_entry);

/*
 * For how long may the kernel keep the attributes? 0 while somebody writes. With the lock. After such an answer:
 * notify_recheck().
 */
double attributes_timeout_s(const struct filesystem *filesystem, struct node *node);

/*
 * Asks the store for the current version of a linked config, and shows it. With the lock, which is given up meanwhile.
 * ret_version is counted, NULL where the config exists here only (a draft that was never stored). -ENOENT when it is gone: the node is
 * unlinked then, unless somebody here writes to it. -EACCES makes it unreadable until it was read.
 */
int attributes_load(struct request *request, struct node *node, enum version_part part,
		    struct version **ret_version);

#endif
