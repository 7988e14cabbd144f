#include "fs/follow/follower.h"

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <string.h>

#include "fs/follow/fetch.h"
#include "fs/node/wake.h"
#include "util/log.h"
#include "util/wait.h"

/*
 * It only ever makes the kernel forget attributes (inval_inode with a negative offset), which waits
 * for nobody. inval_entry, or dropping pages, would wait for handlers of ours, and a daemon killed
 * meanwhile would never end. Entries are made to be forgotten by the toucher, pages by its open and
 * by the new time.
 */
static void *run_teller(void *arg)
{
	struct follower *follower = arg;
	struct tree *tree = follower->saver->tree;
	struct wake_told told;

	lock_take(&tree->lock);
	while (wake_take_told(tree, &told)) {
		if (told.known) {
			lock_give(&tree->lock);
			wait_check("the kernel, to be told");
			fuse_lowlevel_notify_inval_inode(follower->session, told.id, -1, 0);
			lock_take(&tree->lock);
		}
		wake_raise_told(tree, &told);
	}
	lock_give(&tree->lock);
	return NULL;
}

static void *run_fetcher(void *arg)
{
	struct follower *follower = arg;

	fetch_run(follower->saver);
	return NULL;
}

void follower_start(struct follower *follower)
{
	int error = toucher_start(&follower->toucher, follower->saver->tree);

	if (error)
		log_error("can't start the toucher, programs that watch files are not woken: %s", strerror(-error));
	error = thread_start(&follower->teller, run_teller, follower);
	for (size_t i = 0; i < FOLLOWER_FETCHERS && !error; i++)
		error = thread_start(&follower->fetchers[i], run_fetcher, follower);
	if (error)
		log_error("can't start a thread, changes are not told, or late: %s", strerror(-error));
}

void follower_stop(struct follower *follower)
{
	struct tree *tree = follower->saver->tree;

	lock_take(&tree->lock);
	wake_stop(tree);
	lock_give(&tree->lock);
	toucher_stop(&follower->toucher);
	thread_join(&follower->teller);
	for (size_t i = 0; i < FOLLOWER_FETCHERS; i++)
		thread_join(&follower->fetchers[i]);
}

void follower_end(struct follower *follower)
{
	toucher_end(&follower->toucher);
}
