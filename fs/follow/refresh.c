#include "fs/follow/refresh.h"

#include <errno.h>

#include "fs/node/access.h"
#include "fs/node/draft.h"
#include "fs/node/saving.h"
#include "fs/node/show.h"
#include "fs/node/wake.h"
#include "fs/save/ask.h"
#include "util/cleanup.h"

/* What the store's answer says of the node, beside the version. */
static void take_error(struct tree *tree, const struct call *call, struct node *node,
		       enum version_part part, int error) LOCKED
{
	struct config *config = node->config;

	if (!error || error == -EACCES)
		config->unreadable = error;
	if (error == -EBADMSG || error == -ENOKEY)
		node_set_error(node, call->reason);
	else if (!error && part != VERSION_ATTRIBUTES && !config->failed_process)
		node_set_error(node, NULL);
	if (error != -ENOENT || !node->parent)
		return;
	if (node->writers || node_draft(node) || saving_is_marked(tree, node->place)) {
		config->look_again = true;
		return;
	}
	tree_note_vanished(tree, node);
	wake_vanish(tree, node);
}

int refresh_config(struct tree *tree, struct call *call, struct held *held, enum version_part part,
		   struct version **ret_version)
{
	struct node *node = held->node;
	cleanup_version struct version *version = NULL;

	/* It may have got a private name while the caller had given the lock up. */
	if (!node->parent || node->kind != NODE_CONFIG)
		return -ENOENT;
	if (!node->is_stored && node_draft(node)) {
		*ret_version = NULL;
		return 0;
	}
	if (!node_config(node))
		return -ENOMEM;
	cleanup_place struct place *place = place_hold(node->place);
	int error = ask_get(tree, call, place, part, &version);
	if (error == -EWOULDBLOCK)
		return error;
	/*
	 * It may have been moved meanwhile, or become a private file: then this says nothing of it.
	 */
	if (node->place == place) {
		if (!error)
			show_version(tree, node, version);
		take_error(tree, call, node, part, error);
	}
	if (error)
		return error;
	*ret_version = steal_pointer(version);
	return 0;
}

int refresh_rights(struct tree *tree, struct call *call, struct held *held)
{
	if (access_is_known(tree, held->node))
		return 0;
	cleanup_place struct place *place = place_hold(held->node->place);
	int error = ask_rights(tree, call, place, RIGHT_READ | RIGHT_WRITE);
	return error == -EINTR || error == -ENOMEM || error == -EWOULDBLOCK ? error : 0;
}

bool refresh_may_show(const struct node *node, int error)
{
	return (store_error_is_outage(error) && *node_md5(node)) || error == -EACCES;
}
