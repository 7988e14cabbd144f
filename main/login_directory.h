/*
 * The logins of local users, for identity=caller: a directory with one file for each of them, named by the local user, with
 * the lines username=NAME and password=PASSWORD of the Nacos user. The files belong to root (or to who runs this) and can
 * be read by nobody else. Names that begin with a dot or end in '~' are left out, so that files can be prepared and renamed.
 *
 * This is a source of stacks for store/identity_store.h: what it opens are stacks (main/account.h) that ask the server at each
 * read, because nobody tells them of changes, and over HTTP, so that users need no connection each.
 *
 *	login_directory_open -> login_directory_source -> (use by one thread at a time) -> login_directory_close
 */
#ifndef NACOSFS_MAIN_LOGIN_DIRECTORY_H
#define NACOSFS_MAIN_LOGIN_DIRECTORY_H

#include "main/command_line.h"
#include "store/identity_store.h"
#include "util/call.h"

struct login_directory;

/*
 * Is options.identities_directory one that can be trusted: does it belong to root or to who runs this, and can nobody else write
 * to it? 0, -EACCES, -ENOMEM, or the errno of looking at it, with a reason. The command line must outlive it.
 */
int login_directory_open(const struct command_line *command_line, struct call *call,
			    struct login_directory **ret_directory);

/* The source that it is. */
struct identity_source login_directory_source(struct login_directory *directory);

/* NULL is fine. */
void login_directory_close(struct login_directory *directory);

#endif
