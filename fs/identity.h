/*
 * The logins of local users, for identity=caller: a directory with one file for each of them, named by the local user, with
 * the lines username=NAME and password=PASSWORD of the Nacos user. The files belong to root (or to who runs this) and can
 * be read by nobody else. A file that appears, changes or goes is noticed within a second or so of its user's next call.
 *
 * This is a source of stacks for store/identity_store.h: what it opens are stacks (fs/stack.h) that ask the server at each
 * read, because nobody tells them of changes.
 */
#ifndef NACOSFS_FS_IDENTITY_H
#define NACOSFS_FS_IDENTITY_H

#include "fs/command_line.h"
#include "store/identity_store.h"
#include "util/call.h"

/*
 * Is the directory one that can be trusted: does it belong to root or to who runs this, and can nobody else write to it?
 * 0, -EACCES, or the errno of looking at it, with a reason.
 */
int identity_check_directory(const char *directory, struct call *call);

/* The source for that command line, which must outlive it and have options.identities_directory. */
struct identity_source identity_source_of(const struct command_line *command_line);

#endif
