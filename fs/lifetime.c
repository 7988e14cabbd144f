#include "fs/lifetime.h"

#include <errno.h>

#include "fs/follow/events.h"
#include "fs/node/saving.h"
#include "fs/node/snapshot.h"
#include "fs/node/wake.h"
#include "fs/save/closing.h"
#include "fs/save/grace.h"
#include "fs/save/kept.h"
#include "fs/status.h"

/* A request that hangs keeps its thread for as long as the timeout; others must still find one. */
#define WAITING_THREADS 128

int lifetime_init(struct filesystem *filesystem, const char *kept_directory)
{
	struct tree *tree = &filesystem->tree;
	struct saver *saver = &filesystem->saver;
	struct node *control = NULL;

	filesystem->follower.saver = saver;
	saver->tree = tree;
	int error = tree_init(tree, &filesystem->terms);
	if (!error)
		error = wake_new(&tree->wake);
	if (!error)
		error = saving_new(&tree->saving);
	if (!error)
		error = grace_new(saver);
	if (error)
		return error;
	filesystem->pool = pool_new(WAITING_THREADS);
	if (!filesystem->pool)
		return -ENOMEM;
	store_set_events(filesystem->terms.store, &events_of_store, tree);
	lock_take(&tree->lock);
	error = status_init(filesystem, &control);
	lock_give(&tree->lock);
	return error ? error : kept_init(saver, control, kept_directory);
}

void lifetime_stop(struct filesystem *filesystem)
{
	pool_stop(filesystem->pool);
	follower_stop(&filesystem->follower);
	rights_stop(filesystem->terms.rights);
	if (filesystem->terms.identities)
		identity_store_stop(filesystem->terms.identities);
	grace_stop(&filesystem->saver);
}

void lifetime_release(struct filesystem *filesystem)
{
	struct tree *tree = &filesystem->tree;
	struct saver *saver = &filesystem->saver;

	if (!tree->root)
		return;
	follower_end(&filesystem->follower);
	lock_take(&tree->lock);
	closing_end_all(saver);
	snapshot_end_all(tree, &filesystem->snapshots);
	grace_free(saver);
	if (tree->wake)
		wake_clear(tree);
	lock_give(&tree->lock);
	kept_free(saver);
	wake_free(tree->wake);
	saving_free(tree->saving);
	tree_destroy(tree);
	pool_free(filesystem->pool);
}
