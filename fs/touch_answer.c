#include "fs/touch_answer.h"

#include <errno.h>

#include "fs/directory.h"
#include "fs/node/wake.h"

/*
 * What does a name lead to, for the toucher? What is to be created must not be there yet, or the
 * kernel would not let it be created; what is to be removed still is.
 */
static struct node *find(struct request *request) LOCKED
{
	struct tree *tree = request_tree(request);
	struct node *parent = request->node.node;
	const struct wake_touch *touch = wake_current_touch(tree, parent, request->name);

	if (!touch)
		return tree_child(tree, parent, request->name);
	switch (touch->kind) {
	case TOUCH_REMOVED:
	case TOUCH_REMOVED_DIRECTORY:
		return touch->node;
	case TOUCH_CONTENT:
	case TOUCH_ATTRIBUTES:
		return tree_child(tree, parent, request->name);
	case TOUCH_CREATED:
	case TOUCH_CREATED_DIRECTORY:
	case TOUCH_FORGET_ABSENT:
	case TOUCH_HELLO:
		break;
	}
	return NULL;
}

/*
 * The kernel has one size for all who look: while somebody writes it must be that of what he
 * writes, or his lseek(SEEK_END) would be wrong.
 */
static bool shows_draft(const struct node *node) LOCKED
{
	return node->writers;
}

int touch_answer_lookup(struct request *request)
{
	struct node *node = find(request);

	/* What was listed only has nothing to be shown with. */
	if (!node || (node->kind == NODE_CONFIG && !node_config(node)))
		return -ENOENT;
	request_answer_entry(request, node, shows_draft(node));
	if (node->parent != request->node.node)
		request->answer.entry.attr_timeout = request->answer.entry.entry_timeout = 0;
	return 0;
}

int touch_answer_first_lookup(struct request *request)
{
	struct toucher *toucher = &request->filesystem->follower.toucher;

	if (request->node.node == request_tree(request)->root && toucher_is_unknown(toucher) &&
	    toucher_meets(toucher, request->thread, request->name))
		return -ENOENT;
	return directory_lookup(request);
}

/*
 * A daemon that is not root owns its files, but may show them read-only: to the toucher, and for
 * this moment, they show as what the owner may write to.
 */
static void show_writable(struct request *request)
{
	struct stat *stat = &request->answer.entry.attr;

	if (request->asker.uid && stat->st_uid == request->asker.uid)
		stat->st_mode |= S_ISDIR(stat->st_mode) ? 0700 : 0600;
}

int touch_answer_getattr(struct request *request)
{
	struct node *node = request->node.node;

	request_answer_attributes(request, node, shows_draft(node));
	request->answer.entry.attr_timeout = 0;
	show_writable(request);
	return 0;
}

int touch_answer_setattr(struct request *request)
{
	struct node *node = request->node.node;

	request_answer_attributes(request, node, shows_draft(node));
	return 0;
}

/* Its files have no handle. */
static void fill_info(struct request *request)
{
	request->info.fh = 0;
	request->info.direct_io = 1;
	request->info.noflush = 1;
}

int touch_answer_open(struct request *request)
{
	fill_info(request);
	request->answer.kind = ANSWER_OPENED;
	return 0;
}

/* What is to appear with that name is there already, only the kernel does not know it. */
static int answer_created(struct request *request, enum touch_kind kind) LOCKED
{
	struct tree *tree = request_tree(request);
	struct node *parent = request->node.node;
	const struct wake_touch *touch = wake_current_touch(tree, parent, request->name);
	struct node *node = touch && touch->kind == kind ? tree_child(tree, parent, request->name) : NULL;

	if (!node || (node->kind == NODE_CONFIG && !node_config(node)))
		return -ECANCELED;
	request_answer_entry(request, node, shows_draft(node));
	return 0;
}

int touch_answer_create(struct request *request)
{
	int error = answer_created(request, TOUCH_CREATED);

	if (error)
		return error;
	fill_info(request);
	request->answer.kind = ANSWER_CREATED;
	return 0;
}

int touch_answer_mkdir(struct request *request)
{
	return answer_created(request, TOUCH_CREATED_DIRECTORY);
}

/* It is gone already. */
int touch_answer_remove(struct request *request)
{
	request->answer.kind = ANSWER_DONE;
	return 0;
}
