#include "fs/directory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/follow/fill.h"
#include "fs/follow/refresh.h"
#include "fs/node/access.h"
#include "fs/node/draft.h"
#include "fs/node/names.h"
#include "fs/node/show.h"
#include "fs/node/snapshot.h"
#include "fs/node/wake.h"
#include "fs/save/ask.h"
#include "fs/save/grace.h"
#include "fs/save/kept.h"
#include "fs/save/private.h"
#include "util/cleanup.h"

/* ------------------------------------------------------------------ open directories */

static struct snapshot *snapshot_of(const struct request *request)
{
	return (struct snapshot *)(uintptr_t)request->info.fh;
}

int directory_release(struct request *request)
{
	snapshot_end(request_tree(request), &request->filesystem->snapshots, snapshot_of(request));
	return 0;
}

/* The listing is fetched here, not in READDIR: nobody else waits for an OPENDIR. */
int directory_open(struct request *request)
{
	struct filesystem *filesystem = request->filesystem;
	struct held *held = &request->node;
	struct node *node = held->node;

	if (!node->directory)
		return -ENOTDIR;
	/* Who is in a directory that is gone finds nothing there. */
	bool is_there = node_is_there(&filesystem->tree, node);
	int error = is_there && !node->directory->names_complete ?
			    fill_directory(&filesystem->saver, &request->call, held) :
			    0;
	if (error == -ENOENT && !node_is_there(&filesystem->tree, node))
		error = 0;
	if (!error)
		error = refresh_rights(&filesystem->tree, &request->call, held);
	if (error)
		return error;
	struct snapshot *snapshot = snapshot_new(&filesystem->snapshots);
	if (!snapshot)
		return -ENOMEM;
	/*
	 * The kernel may keep the names: when one comes or goes, the time of the directory moves,
	 * which it compares.
	 */
	request->info.cache_readdir = request->info.keep_cache = node->directory->names_complete;
	request->info.fh = (uintptr_t)snapshot;
	request->answer.kind = ANSWER_OPENED_DIRECTORY;
	return 0;
}

/* ------------------------------------------------------------------ reading */

/* Are the attributes known and current, so that the kernel may have them with the name? */
static bool has_attributes(const struct tree *tree, const struct node *node) LOCKED
{
	const char *md5 = node_md5(node);

	if (node->kind == NODE_CONFIG &&
	    (node_draft(node) || !*md5 || (strcmp(md5, node->listed_md5) && !wake_is_told(tree, node))))
		return false;
	return access_is_known(tree, node);
}

/* What an answer to READDIR is made of. */
struct listing_answer {
	struct request *request;
	const struct snapshot *snapshot;
	char *bytes;
	size_t size, used;
	bool plus;
};

/*
 * Appends a name with what is known of it, whose next one is at offset; false when there is no
 * room.
 */
static bool append(struct listing_answer *answer, const char *name, const struct fuse_entry_param *entry, size_t offset)
{
	fuse_req_t fuse = answer->request->fuse;
	char *at = answer->bytes + answer->used;
	size_t room = answer->size - answer->used;
	size_t used = answer->plus ? fuse_add_direntry_plus(fuse, at, room, name, entry, (off_t)offset) :
				     fuse_add_direntry(fuse, at, room, name, &entry->attr, (off_t)offset);

	if (used > room)
		return false;
	answer->used += used;
	return true;
}

static bool append_dot(struct listing_answer *answer, size_t offset)
{
	uint64_t id = offset ? answer->snapshot->parent_id : answer->request->id;
	const struct fuse_entry_param entry = { .attr = { .st_ino = id, .st_mode = S_IFDIR } };

	return append(answer, offset ? ".." : ".", &entry, offset + 1);
}

static bool append_node(struct listing_answer *answer, struct node *node, size_t offset) LOCKED
{
	struct request *request = answer->request;
	struct tree *tree = request_tree(request);
	struct fuse_entry_param entry = { 0 };

	show_stat(tree, node, false, &entry.attr);
	/* Otherwise the name only: the kernel asks when somebody wants more. */
	bool with_attributes = answer->plus && has_attributes(tree, node);
	/*
	 * But not where it believes that there is no such name, and is not made to forget that yet.
	 */
	bool is_news = answer->plus && !with_attributes && wake_has_touch(tree, node->parent, node_name(node)) &&
		       (node->kind != NODE_CONFIG || node_config(node));
	if (with_attributes || is_news)
		entry.ino = node_id(node);
	if (with_attributes) {
		entry.entry_timeout = show_name_timeout_s(tree, node);
		entry.attr_timeout = show_timeout_s(tree, node);
	}
	if (!append(answer, node_name(node), &entry, offset + 1))
		return false;
	if (entry.ino) {
		node_count_lookup(node);
		request->answer.given[request->answer.given_count++] = node_id(node);
	}
	return true;
}

/* How many nodes one answer gives with their attributes, at most. */
#define GIVEN_LIMIT 256

/*
 * Offsets: 0 and 1 are "." and "..", then the names of the snapshot; each entry carries the offset
 * of the next.
 */
static int fill_answer(struct listing_answer *answer) LOCKED
{
	struct request *request = answer->request;
	const struct snapshot *snapshot = answer->snapshot;

	request->answer.given = answer->plus ? calloc(GIVEN_LIMIT, sizeof(*request->answer.given)) : NULL;
	if (answer->plus && !request->answer.given)
		return -ENOMEM;
	for (size_t offset = (size_t)request->offset;
	     offset < snapshot->count + 2 && request->answer.given_count < GIVEN_LIMIT; offset++) {
		struct node *node = offset < 2 ? NULL : snapshot->nodes[offset - 2];

		if (node && node->parent != request->node.node)
			continue; /* gone since the snapshot, or moved away */
		if (!(node ? append_node(answer, node, offset) : append_dot(answer, offset)))
			break;
	}
	return 0;
}

static int read_names(struct request *request, bool plus) LOCKED
{
	struct snapshot *snapshot = snapshot_of(request);
	struct buffer *bytes = &request->answer.bytes;
	int error = buffer_resize(bytes, request->size);

	if (!error && !request->offset)
		error = snapshot_take(request_tree(request), snapshot, request->node.node);
	if (error)
		return error;
	struct listing_answer answer = {
		.request = request,
		.snapshot = snapshot,
		.bytes = bytes->data,
		.size = request->size,
		.plus = plus,
	};
	error = fill_answer(&answer);
	request->answer.kind = ANSWER_BYTES;
	return error ? error : buffer_resize(bytes, answer.used);
}

int directory_read(struct request *request)
{
	return read_names(request, false);
}

int directory_read_plus(struct request *request)
{
	return read_names(request, true);
}

/* ----------------------------------------------------------- mkdir and rmdir */

/* A group is made where configs may be put into it. */
static int check_group(struct request *request, struct place *place) LOCKED
{
	struct tree *tree = request_tree(request);
	int error = ask_rights(tree, &request->call, place, RIGHT_WRITE);

	if (!error)
		error = request_check(request, place, RIGHT_WRITE);
	if (error)
		return error;
	return access_peek(tree, request->asker.uid, place) & RIGHT_WRITE ? 0 : -EACCES;
}

static int make_namespace(struct request *request, struct place *place) LOCKED
{
	int error = request_check(request, place->above, RIGHT_WRITE);

	return error ? error : ask_create_namespace(request_tree(request), &request->call, place);
}

static int make_of_store(struct request *request, struct node *parent, struct node **ret_node) LOCKED
{
	struct tree *tree = request_tree(request);
	bool is_namespace = node_level(parent) == LEVEL_NAMESPACES;

	if (tree->terms->read_only)
		return -EROFS;
	if (!store_name_is_possible(tree->terms->store, is_namespace ? NAME_NAMESPACE : NAME_GROUP, request->name))
		return -EINVAL;
	cleanup_place struct place *place = place_below(parent->place, request->name);
	if (!place)
		return -ENOMEM;
	int error = is_namespace ? make_namespace(request, place) : check_group(request, place);
	if (error)
		return error;
	if (tree_child(tree, parent, request->name))
		return -EEXIST;
	if (!node_is_there(tree, parent))
		return -ENOENT;
	*ret_node = tree_add(tree, parent, request->name, is_namespace ? NODE_NAMESPACE : NODE_GROUP);
	if (!*ret_node)
		return -ENOMEM;
	(*ret_node)->directory->is_local = !is_namespace;
	return 0;
}

static int make(struct request *request, struct node *parent, struct node **ret_node) LOCKED
{
	struct tree *tree = request_tree(request);
	enum directory_level level = node_level(parent);

	if (!node_is_there(tree, parent))
		return -ENOENT;
	if (tree_child(tree, parent, request->name))
		return -EEXIST;
	if (level == LEVEL_PRIVATE || (level == LEVEL_CONFIGS && name_is_private_directory(request->name))) {
		*ret_node = private_add(tree, parent, request->name, NODE_PRIVATE_DIRECTORY, request->mode,
					request->asker.uid, request->asker.gid);
		return *ret_node ? 0 : -ENOSPC;
	}
	return level == LEVEL_CONFIGS ? -EPERM : make_of_store(request, parent, ret_node);
}

int directory_make(struct request *request)
{
	struct node *parent = request->node.node;
	struct node *node = NULL;
	int error = make(request, parent, &node);

	if (error)
		return error;
	node_touch_names(parent);
	request_answer_entry(request, node, false);
	return 0;
}

/* Nothing in it, here and on the server, but names whose removal is under way. */
static int check_empty(struct request *request, struct node *directory) LOCKED
{
	struct tree *tree = request_tree(request);

	if (directory->kind == NODE_PRIVATE_DIRECTORY)
		return directory->directory->first_child ? -ENOTEMPTY : 0;
	int error = grace_finish_below(&request->filesystem->saver, directory->place, &request->call);
	if (error)
		return error;
	for (struct node *child = directory->directory->first_child; child; child = child->next_sibling)
		if (child->kind != NODE_GROUP || child->directory->first_child)
			return -ENOTEMPTY;
	error = fill_check(tree, &request->call, directory->place);
	if (error == -ENOENT)
		return 0;
	return error ? error : -ENOTEMPTY;
}

static int check_removal(struct request *request, const struct node *node) LOCKED
{
	if (!node->directory)
		return -ENOTDIR;
	if (node->directory->hidden || (node->parent && node->parent->directory->hidden))
		return -EPERM;
	if (request_terms(request)->read_only && !node_is_private(node))
		return -EROFS;
	if (node->kind == NODE_NAMESPACE && !strcmp(request->name, "public"))
		return -EPERM;
	return node->kind == NODE_NAMESPACE ? request_check(request, node->place->above, RIGHT_WRITE) : 0;
}

int directory_remove(struct request *request)
{
	struct saver *saver = &request->filesystem->saver;
	struct tree *tree = request_tree(request);
	struct node *parent = request->node.node;
	struct node *node = tree_child(tree, parent, request->name);
	int error = node ? check_removal(request, node) : -ENOENT;

	if (error)
		return error;
	request_hold(request, node);
	error = check_empty(request, node);
	if (!error && node->kind == NODE_NAMESPACE)
		error = ask_remove_namespace(tree, &request->call, node->place);
	if (error)
		return error;
	if (node->parent && node_is_private(node))
		kept_node_removed(saver, node);
	if (node->parent)
		tree_unlink(tree, node);
	node_touch_names(parent);
	kept_sync(saver);
	return 0;
}
