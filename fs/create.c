#include "fs/create.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/file.h"
#include "fs/node/draft.h"
#include "fs/node/names.h"
#include "fs/node/show.h"
#include "fs/save/ask.h"
#include "fs/save/closing.h"
#include "fs/save/grace.h"
#include "fs/save/private.h"
#include "fs/save/save.h"
#include "util/cleanup.h"

/* Is there a config beside it whose name it extends as temp files do? */
static bool extends_sibling(const struct tree *tree, const struct node *parent, const char *name) LOCKED
{
	char prefix[256];

	for (size_t length = strlen(name); length > 1; length--) {
		if (length >= sizeof(prefix))
			continue;
		memcpy(prefix, name, length);
		prefix[length] = '\0';
		if (!name_extends(name, prefix))
			continue;
		const struct node *sibling = tree_child(tree, parent, prefix);
		if (sibling && sibling->kind == NODE_CONFIG && sibling->is_stored)
			return true;
	}
	return false;
}

/* A config here, with an empty draft: of what the store has (base), or of nothing. */
static int add_config(struct request *request, struct node *parent, struct version *base,
		      struct node **ret_node) LOCKED
{
	struct tree *tree = request_tree(request);
	struct node *node = tree_child(tree, parent, request->name) ? NULL :
								       tree_add(tree, parent, request->name, NODE_CONFIG);

	if (!node)
		return node_is_there(tree, parent) ? -ENOMEM : -ENOENT;
	if (base)
		show_version(tree, node, base);
	int error = draft_start(tree, node, base);
	if (error) {
		tree_unlink(tree, node);
		return error;
	}
	*ret_node = node;
	return 0;
}

/* A config that was hidden a moment ago is written anew: its base is what the server still has. */
static int bring_back(struct request *request, struct node *parent, struct place *place,
		      struct node **ret_node) LOCKED
{
	cleanup_version struct version *base = NULL;
	mode_t mode = 0;
	int error = grace_take_back(&request->filesystem->saver, place, &request->call, &base, &mode);

	if (!error)
		error = add_config(request, parent, base, ret_node);
	if (!error)
		(*ret_node)->mode = (uint16_t)mode;
	return error;
}

/*
 * What does the store say of a name that is to be created? 0: it has such a config; -ENOENT: it has
 * not, and this account may create it; other errors.
 */
static int ask_store(struct request *request, struct place *place, bool is_private) LOCKED
{
	struct tree *tree = request_tree(request);
	bool is_possible = store_name_is_possible(tree->terms->store, NAME_DATA_ID, place->name);
	cleanup_version struct version *version = NULL;
	int error = is_possible ? ask_get(tree, &request->call, place, VERSION_ATTRIBUTES, &version) : -ENOENT;

	/*
	 * Some servers don't tell "there is none" from "you may not know": for private files both
	 * will do.
	 */
	if (error == -EACCES && is_private)
		return -ENOENT;
	if (error != -ENOENT || is_private)
		return error;
	int may_write = is_possible ? ask_check_write(tree, &request->call, place) : -EINVAL;
	return may_write ? may_write : -ENOENT;
}

static int create_config(struct request *request, struct node *parent, struct node **ret_node) LOCKED
{
	int error = add_config(request, parent, NULL, ret_node);

	if (!error)
		(*ret_node)->config->deferred = extends_sibling(request_tree(request), parent, request->name);
	return error;
}

/*
 * What is not a node: brought back, or what the store says. 0: there is one (ret_node, if it was
 * brought back).
 */
static int find_absent(struct request *request, struct node *parent, bool is_private,
		       struct node **ret_node) LOCKED
{
	struct tree *tree = request_tree(request);
	struct saver *saver = &request->filesystem->saver;
	cleanup_place struct place *place = place_below(parent->place, request->name);
	int error = place ? -ENOENT : -ENOMEM;

	/*
	 * Whoever may come back to a hidden name must be allowed to write it: its text is his then.
	 */
	if (place && tree->terms->identities && grace_hides(saver, place))
		error = ask_check_write(tree, &request->call, place);
	if (error && error != -ENOENT)
		return error;
	error = bring_back(request, parent, place, ret_node);
	return error == -ENOENT && node_is_there(tree, parent) ? ask_store(request, place, is_private) : error;
}

/*
 * Makes the node of a new regular file. exclusive: -EEXIST where there is one; otherwise ret_node
 * is that one.
 */
static int make_file(struct request *request, struct node *parent, bool exclusive,
		     struct node **ret_node) LOCKED
{
	struct tree *tree = request_tree(request);
	enum directory_level level = node_level(parent);
	struct node *node = tree_child(tree, parent, request->name);
	bool is_private = level == LEVEL_PRIVATE || name_is_private(request->name);
	int error = -ENOENT;

	if (level != LEVEL_CONFIGS && level != LEVEL_PRIVATE)
		return -EPERM;
	if (!node_is_there(tree, parent))
		return -ENOENT;
	if (tree->terms->read_only && !is_private)
		return -EROFS;
	if (!is_private) {
		cleanup_place struct place *place = place_below(parent->place, request->name);
		int refused = place ? request_check(request, place, RIGHT_WRITE) : -ENOMEM;
		if (refused)
			return refused;
	}
	if (!node && level == LEVEL_CONFIGS) {
		error = find_absent(request, parent, is_private, ret_node);
		if (!error && *ret_node)
			return 0;
		/* somebody else may have made it meanwhile */
		node = tree_child(tree, parent, request->name);
	}
	if (!node_is_there(tree, parent))
		return -ENOENT;
	if (node || !error) {
		if (exclusive)
			return -EEXIST;
		*ret_node = node ? node : tree_add(tree, parent, request->name, NODE_CONFIG);
		return *ret_node ? 0 : -ENOMEM;
	}
	if (error != -ENOENT)
		return error;
	if (!is_private)
		return create_config(request, parent, ret_node);
	*ret_node = private_add(tree, parent, request->name, NODE_PRIVATE_FILE, request->mode, request->asker.uid,
				request->asker.gid);
	return *ret_node ? 0 : -ENOSPC;
}

/* A creation that failed leaves nothing: no name that nobody has saved and nobody has open. */
static void take_back(struct request *request, struct node *node) LOCKED
{
	if (node->kind != NODE_CONFIG || node->is_stored || node->writers || node->lookup_count || !node->parent)
		return;
	draft_drop(node);
	tree_unlink(request_tree(request), node);
}

static int create(struct request *request, bool exclusive, bool opens) LOCKED
{
	struct node *parent = request->node.node;
	struct node *node = NULL;
	int error = make_file(request, parent, exclusive, &node);

	if (error)
		return error;
	struct held *held = request_hold(request, node);
	node_touch_names(parent);
	if (node->kind == NODE_CONFIG && !node_config(node))
		return -ENOMEM;
	if (opens)
		error = file_open_node(request, held);
	else if (node_draft(node))
		grace_keep_empty(&request->filesystem->saver, node);
	if (error) {
		take_back(request, node);
		return error;
	}
	request_answer_entry(request, node, true);
	if (opens)
		request->answer.kind = ANSWER_CREATED;
	return 0;
}

int create_open(struct request *request)
{
	return create(request, request->info.flags & O_EXCL, true);
}

int create_node(struct request *request)
{
	return S_ISREG(request->mode) || !(request->mode & S_IFMT) ? create(request, true, false) : -EPERM;
}

/* Links are refused, but for editors' lock files (.#name of emacs), whose target is a text. */
static int make_link(struct request *request, struct node *parent, struct node **ret_node) LOCKED
{
	struct tree *tree = request_tree(request);
	enum directory_level level = node_level(parent);
	const char *target = request->new_name;

	if (level != LEVEL_PRIVATE && !(level == LEVEL_CONFIGS && name_is_private(request->name)))
		return -EPERM;
	if (!node_is_there(tree, parent))
		return -ENOENT;
	if (tree_child(tree, parent, request->name))
		return -EEXIST;
	struct node *node = private_add(tree, parent, request->name, NODE_PRIVATE_LINK, 0777, request->asker.uid,
					request->asker.gid);
	if (!node)
		return -ENOSPC;
	int error = private_write(tree, node, target, strlen(target), 0, false);
	if (error) {
		tree_unlink(tree, node);
		return error;
	}
	*ret_node = node;
	return 0;
}

int create_link(struct request *request)
{
	struct node *parent = request->node.node;
	struct node *node = NULL;
	int error = make_link(request, parent, &node);

	if (error)
		return error;
	node_touch_names(parent);
	request_answer_entry(request, node, false);
	return 0;
}
