#include "fs/directory.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/node/acl.h"
#include "fs/node/attributes.h"
#include "fs/save/grace.h"
#include "fs/node/names.h"
#include "fs/follow/notify.h"
#include "fs/save/scratch.h"
#include "fs/save/unsaved.h"
#include "model/listing.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/text.h"

/* What can't is reported, not shown. */
bool directory_name_fits(const char *name)
{
	size_t length = strlen(name);

	return length && length <= 255 && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..") &&
	       text_is_utf8(name, length);
}

static void report_misfit(const char *directory, const char *name)
{
	log_warning("%s/%s: a name that can't be a file name is left out", directory, name);
}

/* ------------------------------------------------------------------- lookup */

/*
 * A namespace or group exists if something is in it. -EACCES where this account may not know. Gives up the lock.
 */
static int check_directory(struct request *request, struct node *parent, const char *name)
{
	struct store *store = request->filesystem->store;
	bool is_group = node_level(parent) == LEVEL_GROUPS;
	cleanup_place struct place *place = place_below(parent->place, name);

	if (!place)
		return -ENOMEM;
	if (!store_name_is_possible(store, is_group ? NAME_GROUP : NAME_NAMESPACE, name))
		return -ENOENT;
	request_unlock(request);
	int error = store_check_any(store, place, &request->call);
	request_lock(request);
	return error;
}

/*
 * Namespaces are on the server's list, or are not and have configs all the same. Where there is no list, any possible name
 * leads on, like that of a group in a namespace which this account may not list.
 */
static int check_name(struct request *request, struct node *parent, const char *name)
{
	struct tree *tree = request_tree(request);
	bool is_group = node_level(parent) == LEVEL_GROUPS;
	int listed = is_group ? -EACCES : directory_load(request, parent);

	if (tree_child(tree, parent, name))
		return 0;
	if (listed && listed != -EACCES && listed != -EOPNOTSUPP)
		return listed;
	int error = check_directory(request, parent, name);
	if (is_group)
		return error == -EACCES ? 0 : error;
	if (!listed)
		return error == -EACCES ? -ENOENT : error;
	return error == -EACCES || (error == -ENOENT && !strcmp(name, "public")) ? 0 : error;
}

static int lookup_directory(struct request *request, struct node *parent, const char *name,
			    struct node **ret_node)
{
	struct tree *tree = request_tree(request);
	enum node_kind kind = node_level(parent) == LEVEL_GROUPS ? NODE_GROUP : NODE_NAMESPACE;
	int error = check_name(request, parent, name);
	struct node *node = tree_child(tree, parent, name);

	if (error && !node)
		return error;
	if (!node)
		node = filesystem_add_node(request->filesystem, parent, name, kind);
	*ret_node = node;
	return node ? 0 : -ENOMEM;
}

static int lookup_config(struct request *request, struct node *parent, const char *name,
			 struct node **ret_node)
{
	struct tree *tree = request_tree(request);
	struct store *store = request->filesystem->store;
	cleanup_version struct version *version = NULL;
	cleanup_place struct place *place = place_below(parent->place, name);

	if (!place)
		return -ENOMEM;
	if (grace_hides(request->filesystem, parent, name) ||
	    !store_name_is_possible(store, NAME_DATA_ID, name))
		return -ENOENT;
	request_unlock(request);
	int error = store_get(store, place, VERSION_ATTRIBUTES, &request->call, &version);
	/* Who may write there but not read is not told what is there: any name can be written. */
	bool unreadable = error == -EACCES && !name_is_scratch(name) && !request->filesystem->read_only &&
			  !store_check_write(store, place, &request->call);
	request_lock(request);
	if (error == -EACCES && name_is_scratch(name))
		return -ENOENT;
	if (error && !unreadable)
		return error;
	struct node *node = tree_child(tree, parent, name);
	if (!node && grace_hides(request->filesystem, parent, name))
		return -ENOENT;
	if (!node)
		node = filesystem_add_node(request->filesystem, parent, name, NODE_CONFIG);
	if (!node)
		return -ENOMEM;
	if (node->kind == NODE_CONFIG && version)
		filesystem_show_version(request->filesystem, node, version);
	if (node->kind == NODE_CONFIG && unreadable)
		node->stored = node->unreadable = true;
	*ret_node = node;
	return 0;
}

static int lookup(struct request *request, struct node *parent, const char *name, struct node **ret_node)
{
	struct tree *tree = request_tree(request);
	enum directory_level level = node_level(parent);
	struct node *node = tree_child(tree, parent, name);
	int error = 0;

	if (node && node->kind == NODE_CONFIG && !node->draft) {
		cleanup_version struct version *version = NULL;
		error = attributes_load(request, node, VERSION_ATTRIBUTES, &version);
		if ((store_error_is_outage(error) && *node->md5) || error == -EACCES)
			error = 0;
	} else if (!node && (level == LEVEL_NAMESPACES || level == LEVEL_GROUPS)) {
		return lookup_directory(request, parent, name, ret_node);
	} else if (!node && level == LEVEL_CONFIGS) {
		return lookup_config(request, parent, name, ret_node);
	} else if (!node) {
		return -ENOENT;
	}
	*ret_node = node;
	return error;
}

/*
 * A name that is not there may be one that this account could create, though not any name: then its directory must show that
 * names may be created.
 */
static void load_right_to_create(struct request *request, struct node *parent, const char *name)
{
	enum directory_level level = node_level(parent);
	enum name_kind kind = level == LEVEL_GROUPS ? NAME_GROUP : NAME_DATA_ID;

	if ((level != LEVEL_GROUPS && level != LEVEL_CONFIGS) || request->filesystem->read_only ||
	    !store_name_is_possible(request->filesystem->store, kind, name) || name_is_scratch(name))
		return;
	cleanup_place struct place *place = place_below(parent->place, name);
	if (!place)
		return;
	request_unlock(request);
	filesystem_load_rights(request->filesystem, place, RIGHT_WRITE, &request->call);
	request_lock(request);
}

static void forget(struct filesystem *filesystem, fuse_ino_t id, uint64_t count)
{
	pthread_mutex_lock(&filesystem->tree.lock);
	tree_forget(&filesystem->tree, id, count);
	pthread_mutex_unlock(&filesystem->tree.lock);
}

/*
 * That there is no such name, as an answer that the kernel keeps: where it is made to forget it when the name appears.
 */
static bool fill_absent(const struct request *request, const struct node *parent, const char *name,
			struct fuse_entry_param *ret_entry)
{
	bool possible = store_name_is_possible(request->filesystem->store, NAME_DATA_ID, name);

	if (!notify_add_absent(request->filesystem, parent, name, possible))
		return false;
	*ret_entry = (struct fuse_entry_param){ .entry_timeout = NOTIFY_LONG_S };
	return true;
}

void directory_lookup(fuse_req_t fuse, fuse_ino_t parent_id, const char *name)
{
	struct request request;
	struct fuse_entry_param entry;
	struct node *node = NULL;

	request_start_in_directory(&request, fuse);
	if (strlen(name) > 255) {
		request_reply_error(&request, -ENAMETOOLONG);
		return;
	}
	request_lock(&request);
	struct node *parent = tree_node(request_tree(&request), parent_id);
	int error = lookup(&request, parent, name, &node);
	if (!error)
		error = attributes_load_rights(&request, node);
	else if (error == -ENOENT)
		load_right_to_create(&request, parent, name);
	if (!error) {
		node_count_lookup(node);
		attributes_fill_entry(&request, node, &entry);
	} else if (error == -ENOENT && fill_absent(&request, parent, name, &entry)) {
		error = 0;
	}
	request_unlock(&request);
	if (error)
		request_reply_error(&request, error);
	else if (fuse_reply_entry(fuse, &entry) == -ENOENT && entry.ino)
		forget(request.filesystem, entry.ino, 1); /* the caller is gone */
	else if (entry.ino)
		notify_recheck(&request, entry.ino);
	else
		notify_recheck_absent(&request, parent_id, name);
}

void directory_forget(fuse_req_t fuse, fuse_ino_t id, uint64_t count)
{
	forget(fuse_req_userdata(fuse), id, count);
	fuse_reply_none(fuse);
}

void directory_forget_many(fuse_req_t fuse, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget(fuse_req_userdata(fuse), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(fuse);
}

/* ------------------------------------------------------------------ listing */

/* What comes after the first listing was made by somebody else since. */
static void note_added(const struct request *request, struct node *node)
{
	struct node *parent = node->parent;

	if (!parent->names_listed) {
		notify_found(request->filesystem, node);
		return;
	}
	filesystem_note_appeared(node);
	node_touch_names(parent);
	notify_created(request->filesystem, node);
}

static int add_directory(struct request *request, struct node *parent, const char *name,
			 enum node_kind kind, bool local)
{
	struct node *node = tree_child(request_tree(request), parent, name);

	if (!node) {
		node = filesystem_add_node(request->filesystem, parent, name, kind);
		if (!node)
			return -ENOMEM;
		note_added(request, node);
	}
	node->local |= local;
	node->listed = true;
	return 0;
}

/*
 * Who watches a directory may never have read what is in it: what was listed only is watched too. More names than these in a
 * directory are not, until they are read.
 */
#define WATCHED_NAMES_LIMIT 10000
static void watch_listed(const struct request *request, const struct node *node)
{
	if (node->kind != NODE_CONFIG || *node->md5 || !*node->listed_md5 ||
	    node->parent->child_count > WATCHED_NAMES_LIMIT)
		return;
	store_watch(request->filesystem->store, node->place, node->listed_md5);
}

static int add_config(struct request *request, struct node *parent, const struct listing_item *item)
{
	struct node *node = tree_child(request_tree(request), parent, item->data_id);

	if (!node && grace_hides(request->filesystem, parent, item->data_id))
		return 0;
	if (!node) {
		node = filesystem_add_node(request->filesystem, parent, item->data_id, NODE_CONFIG);
		if (!node)
			return -ENOMEM;
		note_added(request, node);
	}
	node->stored |= node->kind == NODE_CONFIG;
	node->listed = true;
	strcpy(node->listed_md5, item->md5);
	watch_listed(request, node);
	return 0;
}

/* The names of a listing that belong into this directory become children. */
static int merge_listing(struct request *request, struct node *directory, struct listing *listing)
{
	bool groups = node_level(directory) == LEVEL_GROUPS;
	const char *group = place_group(directory->place);
	int error = 0;

	if (directory->merged == listing)
		return 0;
	for (size_t i = 0; !error && i < listing->count; i++) {
		const struct listing_item *item = &listing->items[i];
		const char *name = groups ? item->group : item->data_id;

		if (group && strcmp(item->group, group))
			continue;
		if (!directory_name_fits(name)) {
			report_misfit(place_namespace_id(directory->place), item->group);
			continue;
		}
		error = groups ? add_directory(request, directory, name, NODE_GROUP, false) :
				 add_config(request, directory, item);
	}
	if (!error) {
		listing_drop(directory->merged);
		directory->merged = listing_hold(listing);
	}
	return error;
}

int directory_verify(struct request *request, struct node *node)
{
	if (node->kind == NODE_CONFIG) {
		cleanup_version struct version *version = NULL;
		return attributes_load(request, node, VERSION_ATTRIBUTES, &version);
	}
	struct node *parent = node->parent;
	cleanup_free char *name = strdup(node->name);
	if (!name)
		return -ENOMEM;
	int error = check_directory(request, parent, name);
	if (error == -ENOENT && node->parent && !node->first_child && !node->local)
		filesystem_unlink_node(request->filesystem, node);
	return error;
}

/*
 * What a listing does not have may have been created after it, or skipped by its pages: each such child is asked for.
 */
static int verify_absent(struct request *request, struct node *directory)
{
	struct tree *tree = request_tree(request);
	cleanup_free struct node **absent = calloc(directory->child_count + 1, sizeof(struct node *));
	size_t count = 0;
	int error = 0;

	if (!absent)
		return -ENOMEM;
	for (struct node *node = directory->first_child; node; node = node->next_sibling) {
		if (node->listed || node->local || node->draft || node_is_scratch(node))
			continue;
		node_hold(node);
		absent[count++] = node;
	}
	for (size_t i = 0; i < count; i++) {
		if (!error && absent[i]->parent)
			error = directory_verify(request, absent[i]);
		if (error != -ETIMEDOUT && error != -EINTR)
			error = 0;
		tree_drop(tree, absent[i]);
	}
	return error;
}

static void forget_listed(struct node *directory)
{
	for (struct node *node = directory->first_child; node; node = node->next_sibling) {
		node->listed = false;
		*node->listed_md5 = '\0';
	}
}

static int load_namespaces(struct request *request, struct node *root)
{
	cleanup_namespace_names struct namespace_names names = { 0 };
	const char *const *configured = request->filesystem->namespaces;

	request_unlock(request);
	int error = store_list_namespaces(request->filesystem->store, &request->call, &names);
	request_lock(request);
	if ((error == -EACCES || error == -EOPNOTSUPP) && configured && *configured) {
		for (error = 0; !error && *configured; configured++)
			error = add_directory(request, root, *configured, NODE_NAMESPACE, true);
		return error;
	}
	if (!error)
		forget_listed(root);
	for (size_t i = 0; !error && i < names.count; i++) {
		if (directory_name_fits(names.ids[i]))
			error = add_directory(request, root, names.ids[i], NODE_NAMESPACE, false);
		else
			report_misfit(names.ids[i], "");
	}
	return error ? error : verify_absent(request, root);
}

static int load_configs(struct request *request, struct node *directory)
{
	cleanup_place struct place *place = place_hold(directory->place);
	cleanup_listing struct listing *listing = NULL;
	bool watched = notify_watches_names(request->filesystem, place);
	unsigned events = notify_count_events(request->filesystem);
	request_unlock(request);
	store_watch_names(request->filesystem->store, place_at(place, PLACE_NAMESPACE));
	int error = store_list(request->filesystem->store, place, &request->call, &listing);
	request_lock(request);
	if (error)
		return error;
	if (directory->merged != listing)
		forget_listed(directory);
	error = merge_listing(request, directory, listing);
	if (!error)
		error = verify_absent(request, directory);
	directory->names_complete = !error && watched && events == notify_count_events(request->filesystem);
	return error;
}

static int load(struct request *request, struct node *directory)
{
	switch (node_level(directory)) {
	case LEVEL_NAMESPACES:
		return load_namespaces(request, directory);
	case LEVEL_GROUPS:
	case LEVEL_CONFIGS:
		return load_configs(request, directory);
	case LEVEL_SCRATCH:
		return 0;
	case LEVEL_NONE:
		break;
	}
	return -ENOTDIR;
}

int directory_load(struct request *request, struct node *directory)
{
	int error = load(request, directory);

	directory->names_listed |= !error;
	return error;
}

/* ------------------------------------------------------------------ reading */

/* An open directory: the names that it had when it was read from its beginning. */
struct directory_handle {
	struct node **nodes; /* held */
	size_t count;
	uint64_t parent_id;
	struct directory_handle *next, *previous; /* of the filesystem */
};

static struct directory_handle *handle_of(const struct fuse_file_info *info)
{
	return (struct directory_handle *)(uintptr_t)info->fh;
}

static void drop_snapshot(struct tree *tree, struct directory_handle *handle)
{
	for (size_t i = 0; i < handle->count; i++)
		tree_drop(tree, handle->nodes[i]);
	free(handle->nodes);
	handle->nodes = NULL;
	handle->count = 0;
}

static void link_handle(struct filesystem *filesystem, struct directory_handle *handle)
{
	handle->next = filesystem->directories;
	if (handle->next)
		handle->next->previous = handle;
	filesystem->directories = handle;
}

static void free_handle(struct filesystem *filesystem, struct directory_handle *handle)
{
	*(handle->previous ? &handle->previous->next : &filesystem->directories) = handle->next;
	if (handle->next)
		handle->next->previous = handle->previous;
	drop_snapshot(&filesystem->tree, handle);
	free(handle);
}

void directory_free_all(struct filesystem *filesystem)
{
	while (filesystem->directories)
		free_handle(filesystem, filesystem->directories);
}

static int take_snapshot(struct request *request, struct node *directory, struct directory_handle *handle)
{
	struct tree *tree = request_tree(request);

	drop_snapshot(tree, handle);
	handle->nodes = calloc(directory->child_count + 1, sizeof(*handle->nodes));
	if (!handle->nodes)
		return -ENOMEM;
	for (struct node *node = directory->first_child; node; node = node->next_sibling) {
		if (node->hidden)
			continue;
		node_hold(node);
		handle->nodes[handle->count++] = node;
	}
	handle->parent_id = directory->parent ? directory->parent->id : directory->id;
	return 0;
}

/* The listing is fetched here, not in READDIR: nobody else waits for an OPENDIR. */
void directory_open(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info)
{
	struct request request;
	struct directory_handle *handle = calloc(1, sizeof(*handle));

	request_start_listing(&request, fuse);
	if (!handle) {
		request_reply_error(&request, -ENOMEM);
		return;
	}
	request_lock(&request);
	struct node *directory = tree_node(request_tree(&request), id);
	int error = directory->names_complete ? 0 : directory_load(&request, directory);
	if (!error)
		error = attributes_load_rights(&request, directory);
	/* The kernel may keep the names: when one comes or goes, the time of the directory moves, which it compares. */
	info->cache_readdir = info->keep_cache = directory->names_complete;
	link_handle(request.filesystem, handle);
	request_unlock(&request);
	info->fh = (uintptr_t)handle;
	if (error)
		request_reply_error(&request, error);
	if (error || fuse_reply_open(fuse, info) == -ENOENT) {
		request_lock(&request);
		free_handle(request.filesystem, handle);
		request_unlock(&request);
	}
}

/* Are the attributes known and current, so that the kernel may have them with the name? */
static bool has_attributes(const struct filesystem *filesystem, const struct node *node)
{
	if (node->kind == NODE_CONFIG && !node->draft &&
	    (!*node->md5 || (strcmp(node->md5, node->listed_md5) && !notify_is_told(filesystem, node))))
		return false;
	return !node->place || filesystem_are_rights_known(filesystem, node->place, RIGHT_READ | RIGHT_WRITE);
}

/* Appends one entry to the answer; its size, or 0 when there is no room. */
static size_t add_entry(struct request *request, char *answer, size_t room, struct node *node, bool plus,
			size_t offset)
{
	struct fuse_entry_param entry = { 0 };

	if (!plus) {
		attributes_fill(request->filesystem, node, request->thread, &entry.attr);
		size_t used = fuse_add_direntry(request->fuse, answer, room, node->name, &entry.attr,
						(off_t)offset);
		return used > room ? 0 : used;
	}
	if (has_attributes(request->filesystem, node)) {
		attributes_fill_entry(request, node, &entry);
	} else { /* the name only: the kernel asks when somebody wants more */
		attributes_fill(request->filesystem, node, request->thread, &entry.attr);
	}
	size_t used =
		fuse_add_direntry_plus(request->fuse, answer, room, node->name, &entry, (off_t)offset);
	if (used > room)
		return 0;
	if (entry.ino)
		node_count_lookup(node);
	return used;
}

static size_t add_dot(struct request *request, char *answer, size_t room, const char *name, uint64_t id,
		      bool plus, size_t offset)
{
	struct fuse_entry_param entry = { .attr = { .st_ino = id, .st_mode = S_IFDIR } };
	size_t used = plus ? fuse_add_direntry_plus(request->fuse, answer, room, name, &entry,
						    (off_t)offset) :
			     fuse_add_direntry(request->fuse, answer, room, name, &entry.attr,
					       (off_t)offset);

	return used > room ? 0 : used;
}

/* The nodes that an answer has, with their attributes: the handle may be gone when it was sent. */
#define GIVEN_LIMIT 256
struct given {
	uint64_t ids[GIVEN_LIMIT];
	size_t count;
};

/* Offsets: 0 and 1 are "." and "..", then the names of the snapshot; each entry carries the offset of the next. */
static size_t fill_answer(struct request *request, const struct directory_handle *handle, uint64_t id,
			  char *answer, size_t size, size_t offset, bool plus, struct given *given)
{
	size_t used = 0;

	for (; offset < handle->count + 2 && (!plus || given->count < GIVEN_LIMIT); offset++) {
		size_t added;
		if (offset < 2)
			added = add_dot(request, answer + used, size - used, offset ? ".." : ".",
					offset ? handle->parent_id : id, plus, offset + 1);
		else if (!handle->nodes[offset - 2]->parent)
			continue; /* gone since the snapshot */
		else
			added = add_entry(request, answer + used, size - used, handle->nodes[offset - 2],
					  plus, offset + 1);
		if (!added)
			break;
		used += added;
		if (plus && offset >= 2)
			given->ids[given->count++] = handle->nodes[offset - 2]->id;
	}
	return used;
}

static void read_directory(fuse_req_t fuse, fuse_ino_t id, size_t size, off_t offset,
			   struct fuse_file_info *info, bool plus)
{
	struct request request;
	struct directory_handle *handle = handle_of(info);
	cleanup_free char *answer = malloc(size);
	struct given given = { .count = 0 };
	size_t used = 0;
	int error = answer ? 0 : -ENOMEM;

	request_start_in_directory(&request, fuse);
	request_lock(&request);
	struct node *directory = tree_node(request_tree(&request), id);
	if (!error && !offset)
		error = take_snapshot(&request, directory, handle);
	if (!error)
		used = fill_answer(&request, handle, id, answer, size, (size_t)offset, plus, &given);
	request_unlock(&request);
	if (error) {
		request_reply_error(&request, error);
		return;
	}
	fuse_reply_buf(fuse, answer, used);
	for (size_t i = 0; i < given.count; i++)
		notify_recheck(&request, given.ids[i]);
}

void directory_read(fuse_req_t fuse, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info)
{
	read_directory(fuse, id, size, offset, info, false);
}

void directory_read_plus(fuse_req_t fuse, fuse_ino_t id, size_t size, off_t offset,
			 struct fuse_file_info *info)
{
	read_directory(fuse, id, size, offset, info, true);
}

void directory_release(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info)
{
	struct filesystem *filesystem = fuse_req_userdata(fuse);
	struct directory_handle *handle = handle_of(info);

	(void)id;
	pthread_mutex_lock(&filesystem->tree.lock);
	free_handle(filesystem, handle);
	pthread_mutex_unlock(&filesystem->tree.lock);
	fuse_reply_err(fuse, 0);
}

/* ----------------------------------------------------------- mkdir and rmdir */

/* A group is made where configs may be put into it. With the lock, given up meanwhile. */
static int check_group(struct request *request, struct node *parent, const char *name)
{
	const struct filesystem *filesystem = request->filesystem;
	cleanup_place struct place *place = place_below(parent->place, name);

	if (!place)
		return -ENOMEM;
	request_unlock(request);
	int error = filesystem_load_rights(filesystem, place, RIGHT_WRITE, &request->call);
	request_lock(request);
	if (!error)
		error = acl_check_caller(request, place, RIGHT_WRITE);
	if (error)
		return error;
	unsigned has = filesystem->identities ? identity_store_peek(filesystem->identities, request->uid, place) :
						rights_peek(filesystem->rights, place);
	return has & RIGHT_WRITE ? 0 : -EACCES;
}

/* With the lock, given up meanwhile. */
static int make_namespace(struct request *request, struct node *parent, const char *name)
{
	cleanup_place struct place *place = place_below(parent->place, name);
	int error = place ? acl_check_caller(request, parent->place, RIGHT_WRITE) : -ENOMEM;

	if (error)
		return error;
	request_unlock(request);
	error = store_create_namespace(request->filesystem->store, place, &request->call);
	request_lock(request);
	return error;
}

static int make_directory(struct request *request, struct node *parent, const char *name, mode_t mode,
			  struct node **ret_node)
{
	struct filesystem *filesystem = request->filesystem;
	struct tree *tree = request_tree(request);
	struct store *store = filesystem->store;
	enum directory_level level = node_level(parent);
	enum name_kind kind = level == LEVEL_NAMESPACES ? NAME_NAMESPACE : NAME_GROUP;
	int error = 0;

	if (tree_child(tree, parent, name))
		return -EEXIST;
	if (level == LEVEL_SCRATCH || (level == LEVEL_CONFIGS && name_is_scratch_directory(name))) {
		*ret_node = scratch_add(filesystem, parent, name, NODE_SCRATCH_DIRECTORY, mode,
					request->uid, request->gid);
		return *ret_node ? 0 : -ENOSPC;
	}
	if (level == LEVEL_CONFIGS)
		return -EPERM;
	if (filesystem->read_only)
		return -EROFS;
	if (!store_name_is_possible(store, kind, name))
		return -EINVAL;
	if (level == LEVEL_NAMESPACES) {
		error = make_namespace(request, parent, name);
	} else {
		error = check_group(request, parent, name);
	}
	if (error)
		return error;
	if (tree_child(tree, parent, name))
		return -EEXIST;
	*ret_node = filesystem_add_node(filesystem, parent, name,
					level == LEVEL_NAMESPACES ? NODE_NAMESPACE : NODE_GROUP);
	if (!*ret_node)
		return -ENOMEM;
	(*ret_node)->local = level == LEVEL_GROUPS;
	return 0;
}

void directory_mkdir(fuse_req_t fuse, fuse_ino_t parent_id, const char *name, mode_t mode)
{
	struct request request;
	struct fuse_entry_param entry;
	struct node *node = NULL;

	request_start_in_directory(&request, fuse);
	request_lock(&request);
	struct node *parent = tree_node(request_tree(&request), parent_id);
	int error = make_directory(&request, parent, name, mode, &node);
	if (!error) {
		node_count_lookup(node);
		node_touch_names(parent);
		attributes_fill_entry(&request, node, &entry);
	}
	request_unlock(&request);
	if (error)
		request_reply_error(&request, error);
	else
		fuse_reply_entry(fuse, &entry);
	notify_recheck(&request, entry.ino);
}

/* Nothing in it, here and on the server, but names whose removal is under way. */
static int check_empty(struct request *request, struct node *directory)
{
	if (directory->kind == NODE_SCRATCH_DIRECTORY)
		return directory->first_child ? -ENOTEMPTY : 0;
	int error = grace_finish_below(request->filesystem, directory, &request->call);
	if (error)
		return error;
	for (struct node *child = directory->first_child; child; child = child->next_sibling)
		if (child->kind != NODE_GROUP || child->first_child)
			return -ENOTEMPTY;
	cleanup_free char *name = strdup(directory->name);
	if (!name)
		return -ENOMEM;
	error = check_directory(request, directory->parent, name);
	if (error == -ENOENT)
		return 0;
	return error ? error : -ENOTEMPTY;
}

static int remove_directory(struct request *request, struct node *parent, const char *name)
{
	struct tree *tree = request_tree(request);
	struct node *node = tree_child(tree, parent, name);

	if (!node)
		return -ENOENT;
	if (!node_is_directory(node))
		return -ENOTDIR;
	if (node->hidden || (node->parent->hidden))
		return -EPERM;
	if (request->filesystem->read_only && !node_is_scratch(node))
		return -EROFS;
	if (node->kind == NODE_NAMESPACE && !strcmp(name, "public"))
		return -EPERM;
	if (node->kind == NODE_NAMESPACE && acl_check_caller(request, parent->place, RIGHT_WRITE))
		return -EACCES;
	node_hold(node);
	int error = check_empty(request, node);
	if (!error && node->kind == NODE_NAMESPACE) {
		cleanup_place struct place *place = place_hold(node->place);
		request_unlock(request);
		error = store_remove_namespace(request->filesystem->store, place, &request->call);
		request_lock(request);
	}
	if (!error && node->parent && node_is_scratch(node))
		unsaved_node_removed(request->filesystem, node);
	if (!error && node->parent)
		tree_unlink(tree, node);
	tree_drop(tree, node);
	return error;
}

void directory_rmdir(fuse_req_t fuse, fuse_ino_t parent_id, const char *name)
{
	struct request request;

	request_start_in_directory(&request, fuse);
	request_lock(&request);
	struct node *parent = tree_node(request_tree(&request), parent_id);
	int error = remove_directory(&request, parent, name);
	if (!error)
		node_touch_names(parent);
	request_unlock(&request);
	request_reply_error(&request, error);
}
