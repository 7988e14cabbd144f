/*
 * The end of open files, and finding out which close is a writer's last.
 *
 * FLUSH comes for each close of each duplicate: `echo x > file` sends two, the first while the file
 * is empty. So /proc is asked who still has the file open (util/process.h). That may wait, and is
 * done without the tree's lock: closing_ask() gives it up.
 *
 * All functions want tree->lock.
 */
#ifndef NACOSFS_FS_SAVE_CLOSING_H
#define NACOSFS_FS_SAVE_CLOSING_H

#include <sys/types.h>

#include "fs/save/handle.h"

enum close_kind {
	CLOSE_LAST,
	CLOSE_DUPLICATE, /* another descriptor of this very open file is left */
	CLOSE_INHERITED, /* a child of the opener has one */
	CLOSE_KILLED, /* the writer is being ended by a signal: what it wrote is half a file */
};

/*
 * Which close is this, that the thread makes? toucher: a process of ours that opens files for
 * writing too, and may be a descendant of anybody who started the daemon; 0: there is none. Gives
 * the lock up.
 */
enum close_kind closing_ask(const struct saver *saver, const struct handle *handle, pid_t thread,
			    pid_t toucher) LOCKED;

/*
 * Is the thread one of a process that writes to the node, or of a descendant of one? Gives the lock
 * up.
 */
bool closing_is_writer(const struct held *node, pid_t thread) LOCKED;

/* Its writer was killed: what it wrote is dropped. */
void closing_abandon(struct handle *handle) LOCKED;

/*
 * Ends the handle, and frees it: the draft goes with the last writer unless it waits for content,
 * or for its grace.
 */
void closing_end(struct saver *saver, struct handle *handle) LOCKED;

/*
 * Ends all that are left when the connection is gone: the kernel does not release what was open
 * then, and there may be secrets in it. Nothing is saved.
 */
void closing_end_all(struct saver *saver) LOCKED;

#endif
