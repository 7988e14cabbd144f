/*
 * What is shown of a node: stat, and what of a version that the server has.
 *
 * All functions want tree->lock, and ask nobody.
 */
#ifndef NACOSFS_FS_NODE_SHOW_H
#define NACOSFS_FS_NODE_SHOW_H

#include <stdbool.h>
#include <sys/stat.h>

#include "fs/node/tree.h"
#include "model/version.h"

/*
 * Fills ret_stat. as_writer: for somebody who writes to it, who sees the draft's size and time;
 * others see those of what they would read.
 */
void show_stat(const struct tree *tree, struct node *node, bool as_writer, struct stat *ret_stat) LOCKED;

/*
 * For how long may the kernel keep the node's name, and its attributes, in seconds? 0 while
 * somebody writes. After such an answer: wake_recheck().
 */
double show_name_timeout_s(const struct tree *tree, struct node *node) LOCKED;
double show_timeout_s(const struct tree *tree, struct node *node) LOCKED;

/*
 * Shows a version that the server has as the content of a config: size, times, md5. What is shown
 * already is not touched, so that nothing moves by itself; another content counts as a remote
 * change, and wakes who watches.
 */
void show_version(struct tree *tree, struct node *node, const struct version *version) LOCKED;

/*
 * Shows the version that a save from here made, with the time of the last write. Does not wake who
 * watches.
 */
void show_saved(struct node *node, struct version *version, struct timespec modified) LOCKED;

/*
 * Somebody else made this config appear while it was known not to exist: for saves that began
 * before, that is a change by somebody else.
 */
void show_appeared(struct node *node) LOCKED;

#endif
