/* LOOKUP: what a name leads to, also one that no listing has. */
#include <errno.h>
#include <string.h>

#include "fs/directory.h"
#include "fs/follow/fill.h"
#include "fs/follow/refresh.h"
#include "fs/node/draft.h"
#include "fs/node/names.h"
#include "fs/node/show.h"
#include "fs/node/wake.h"
#include "fs/save/ask.h"
#include "fs/save/grace.h"
#include "util/cleanup.h"

/* A name in the directory of the request that is no node yet. */
struct lookup {
	struct request *request;
	struct node *parent;
	struct place *place; /* of the name; NULL in private directories */
};

/*
 * Namespaces are on the server's list, or are not and have configs all the same. Where there is no
 * list, any possible name leads on, like that of a group in a namespace which this account may not
 * list.
 */
static int check_name(const struct lookup *lookup) LOCKED
{
	struct request *request = lookup->request;
	struct tree *tree = request_tree(request);
	bool is_group = lookup->place->depth == PLACE_GROUP;
	int listed = is_group ? -EACCES : fill_directory(&request->filesystem->saver, &request->call, &request->node);

	if (tree_child(tree, lookup->parent, request->name))
		return 0;
	if (listed && listed != -EACCES && listed != -EOPNOTSUPP)
		return listed;
	int error = fill_check(tree, &request->call, lookup->place);
	if (is_group)
		return error == -EACCES ? 0 : error;
	if (!listed)
		return error == -EACCES ? -ENOENT : error;
	return error == -EACCES || (error == -ENOENT && !strcmp(request->name, "public")) ? 0 : error;
}

/*
 * The node of the name, added as that kind where somebody else did not make it meanwhile. -ENOENT
 * when the directory is gone.
 */
static int add_node(const struct lookup *lookup, enum node_kind kind, struct node **ret_node) LOCKED
{
	struct tree *tree = request_tree(lookup->request);
	struct node *node = tree_child(tree, lookup->parent, lookup->request->name);

	if (!node && !node_is_there(tree, lookup->parent))
		return -ENOENT;
	if (!node)
		node = tree_add(tree, lookup->parent, lookup->request->name, kind);
	*ret_node = node;
	return node ? 0 : -ENOMEM;
}

static int find_directory(const struct lookup *lookup, struct node **ret_node) LOCKED
{
	struct tree *tree = request_tree(lookup->request);
	int error = check_name(lookup);

	if (error && !tree_child(tree, lookup->parent, lookup->request->name))
		return error;
	return add_node(lookup, lookup->place->depth == PLACE_GROUP ? NODE_GROUP : NODE_NAMESPACE, ret_node);
}

static int find_config(const struct lookup *lookup, struct node **ret_node) LOCKED
{
	struct request *request = lookup->request;
	struct tree *tree = request_tree(request);
	const struct saver *saver = &request->filesystem->saver;
	const struct terms *terms = tree->terms;
	bool is_private = name_is_private(request->name);
	cleanup_version struct version *version = NULL;

	if (grace_hides(saver, lookup->place) || !store_name_is_possible(terms->store, NAME_DATA_ID, request->name))
		return -ENOENT;
	int error = ask_get(tree, &request->call, lookup->place, VERSION_ATTRIBUTES, &version);
	/* Who may write there but not read is not told what is there: any name can be written. */
	int may_write = error == -EACCES && !is_private && !terms->read_only ?
				ask_check_write(tree, &request->call, lookup->place) :
				-EACCES;
	if (may_write == -EWOULDBLOCK)
		return may_write;
	if (error == -EACCES && is_private)
		return -ENOENT;
	if (error && may_write)
		return error;
	if (!tree_child(tree, lookup->parent, request->name) && grace_hides(saver, lookup->place))
		return -ENOENT;
	int added = add_node(lookup, NODE_CONFIG, ret_node);
	if (added)
		return added;
	struct node *node = *ret_node;
	if (node->kind != NODE_CONFIG)
		return 0;
	if (!node_config(node))
		return -ENOMEM;
	if (version)
		show_version(tree, node, version);
	if (error)
		node->is_stored = node->config->unreadable = true;
	return 0;
}

/* One that is known is refreshed. */
static int refresh(struct request *request, struct held *held) LOCKED
{
	cleanup_version struct version *version = NULL;
	int error = refresh_config(request_tree(request), &request->call, held, VERSION_ATTRIBUTES, &version);

	return refresh_may_show(held->node, error) ? 0 : error;
}

/*
 * A name that is not there may be one that this account could create, though not any name: then its
 * directory must show that names may be created.
 */
static int load_right_to_create(const struct lookup *lookup) LOCKED
{
	struct request *request = lookup->request;
	struct tree *tree = request_tree(request);
	const struct terms *terms = tree->terms;
	enum name_kind kind = lookup->place && lookup->place->depth == PLACE_GROUP ? NAME_GROUP : NAME_DATA_ID;

	if (!lookup->place || lookup->place->depth == PLACE_NAMESPACE || terms->read_only ||
	    !store_name_is_possible(terms->store, kind, request->name) || name_is_private(request->name))
		return 0;
	int error = ask_rights(tree, &request->call, lookup->place, RIGHT_WRITE);
	return error == -EWOULDBLOCK ? error : 0;
}

/*
 * That there is no such name, as an answer that the kernel keeps: where it is made to forget it
 * when the name appears.
 */
static bool answer_absent(const struct lookup *lookup) LOCKED
{
	struct request *request = lookup->request;
	struct tree *tree = request_tree(request);
	bool is_possible = store_name_is_possible(tree->terms->store, NAME_DATA_ID, request->name);

	if (!lookup->place || lookup->place->depth != PLACE_CONFIG || !node_is_there(tree, lookup->parent) ||
	    grace_hides(&request->filesystem->saver, lookup->place) ||
	    !wake_add_absent(tree, lookup->parent, request->name, is_possible ? lookup->place : NULL))
		return false;
	request->answer.kind = ANSWER_ENTRY;
	request->answer.entry = (struct fuse_entry_param){ .entry_timeout = WAKE_LONG_S };
	return true;
}

static int find(const struct lookup *lookup, struct node **ret_node) LOCKED
{
	struct request *request = lookup->request;
	struct node *node = tree_child(request_tree(request), lookup->parent, request->name);

	if (!node && !lookup->place)
		return -ENOENT;
	if (!node && !node_is_there(request_tree(request), lookup->parent))
		return -ENOENT;
	if (!node)
		return lookup->place->depth == PLACE_CONFIG ? find_config(lookup, ret_node) :
							      find_directory(lookup, ret_node);
	*ret_node = node;
	return 0;
}

static int answer_node(struct request *request, struct node *node, bool is_fresh) LOCKED
{
	struct held *held = request_hold(request, node);
	bool is_writer = false;
	int error = request_is_writer(request, held, &is_writer);

	if (!error && !is_fresh && node->kind == NODE_CONFIG && !node_draft(node))
		error = refresh(request, held);
	if (!error)
		error = refresh_rights(request_tree(request), &request->call, held);
	if (!error && node->kind == NODE_CONFIG && !node_config(node))
		error = -ENOMEM;
	/* It may have gone while the server was asked. */
	if (!error && !node->parent)
		error = -ENOENT;
	if (!error)
		request_answer_entry(request, node, is_writer);
	return error;
}

int directory_lookup(struct request *request)
{
	struct tree *tree = request_tree(request);
	struct node *parent = request->node.node;
	struct node *node = NULL;

	if (strlen(request->name) > 255)
		return -ENAMETOOLONG;
	if (!parent->directory)
		return -ENOTDIR;
	cleanup_place struct place *place = parent->place ? place_below(parent->place, request->name) : NULL;
	if (parent->place && !place)
		return -ENOMEM;
	const struct lookup lookup = { request, parent, place };
	bool was_known = tree_child(tree, parent, request->name);
	int error = find(&lookup, &node);
	if (!error)
		error = answer_node(request, node, !was_known);
	if (error != -ENOENT)
		return error;
	error = load_right_to_create(&lookup);
	if (error)
		return error;
	return answer_absent(&lookup) ? 0 : -ENOENT;
}
