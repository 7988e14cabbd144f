/*
 * The toucher: a process of ours that makes system calls inside the mount, because nothing else
 * raises inotify events there. It knows of nothing but paths.
 *
 * It is a process and not a thread for one reason: whoever waits for an answer of the mount can't
 * be killed until that comes. As a thread of the daemon it would keep a killed daemon, its
 * connection and so itself alive for ever.
 *
 * The daemon starts its own program anew under the name TOUCHER_NAME, with a SOCK_SEQPACKET socket
 * as standard input. Each command is answered with an int32_t: 0 or a negative errno. The first one
 * is TOUCH_HELLO. It ends when the daemon does.
 */
#ifndef NACOSFS_FS_FOLLOW_TOUCH_CHILD_H
#define NACOSFS_FS_FOLLOW_TOUCH_CHILD_H

#include <limits.h>
#include <stdint.h>

#include "fs/node/wake.h"

#define TOUCHER_NAME "nacosfs-toucher" /* argv[0] */

struct touch_command {
	uint32_t kind; /* enum touch_kind */
	char directory[PATH_MAX]; /* below the mount point; "": itself */
	char name[NAME_MAX + 1];
};

/* Does what the socket says until it ends; the program's exit status. */
int touch_child_run(int socket);

#endif
