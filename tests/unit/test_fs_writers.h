/*
 * Programs that write to configs, for the tests of the save: what the handlers of fs/file.c do for them, without requests. All with
 * the tree's lock; what saves gives it up.
 */
#ifndef NACOSFS_TESTS_FS_WRITERS_H
#define NACOSFS_TESTS_FS_WRITERS_H

#include "fake_store.h"
#include "fs/node/names.h"
#include "fs/node/show.h"
#include "fs/save/closing.h"
#include "fs/save/handle.h"
#include "fs/save/kept.h"
#include "fs/save/private.h"
#include "fs/save/save.h"

/* Two who write to the same config; what a hook does it to. */
struct scene {
	struct bed *bed;
	struct node *node;
	struct handle *a, *b;
};

/* A config that is in the store (text NULL: it is not), and known here. With the lock. */
static inline struct node *add_config(struct bed *bed, const char *name, const char *text)
{
	struct node *node = tree_add(bed->tree, bed->group, name, NODE_CONFIG);

	assert_non_null(node_config(node));
	node_count_lookup(node);
	if (text) {
		fake_set(&bed->fake, node->place, text);
		cleanup_version struct version *version = fake_peek(&bed->fake, node->place);
		show_version(bed->tree, node, version);
	}
	return node;
}

static inline struct handle *open_file(struct bed *bed, struct node *node)
{
	const struct writer writer = { 0, getuid(), getgid() };
	cleanup_version struct version *version = node->place ? fake_peek(&bed->fake, node->place) : NULL;

	return handle_new(bed->saver, node, O_RDWR, version, &writer);
}

/* Appends; with the answer that the program gets. */
static inline int write_text(struct bed *bed, struct handle *handle, const char *text)
{
	struct node *node = handle->node;

	if (node->kind != NODE_CONFIG)
		return private_write(bed->tree, node, text, strlen(text), 0, true);
	if (handle->error)
		return handle->error;
	int error = handle_change(bed->tree, handle);
	return error ? error : buffer_append(&node_draft(node)->content, text, strlen(text));
}

static inline int write_anew(struct bed *bed, struct handle *handle, const char *text)
{
	int error = handle->error ? handle->error : handle_change(bed->tree, handle);

	if (error)
		return error;
	buffer_clear(&node_draft(handle->node)->content);
	return write_text(bed, handle, text);
}

/* As fsync and close do it (fs/file.c). */
static inline int save_in(struct bed *bed, struct handle *handle, int64_t timeout_ms)
{
	struct node *node = handle->node;
	struct call call;

	if (handle->error || node->kind != NODE_CONFIG || !handle_is_dirty(handle))
		return handle->error;
	cleanup_held struct held held = tree_hold(bed->tree, node);
	call_start(&call, timeout_ms);
	int error = save_draft(bed->saver, &call, &held);
	if (error && !(error == -EINVAL && draft_is_blank(node)))
		handle_fail(handle, error);
	return error;
}

static inline int save(struct bed *bed, struct handle *handle)
{
	return save_in(bed, handle, BED_TIMEOUT_MS);
}

static inline struct node *unsaved(struct bed *bed)
{
	struct node *control = tree_child(bed->tree, bed->tree->root, NAMES_CONTROL);

	return tree_child(bed->tree, control, "unsaved");
}

static inline bool contains(const struct buffer *content, const char *text)
{
	return content->size && memmem(content->data, content->size, text, strlen(text));
}

/* Is the text in that file of a kept text? */
static inline bool is_kept_as(struct bed *bed, const char *file, const char *text)
{
	for (struct node *record = unsaved(bed)->directory->first_child; record; record = record->next_sibling) {
		struct node *node = tree_child(bed->tree, record, file);

		if (node && contains(&node->file->content, text))
			return true;
	}
	return false;
}

static inline bool is_kept(struct bed *bed, const char *text)
{
	return is_kept_as(bed, "yours", text);
}

static inline bool is_in_store(struct bed *bed, const char *text)
{
	bool found = false;

	pthread_mutex_lock(&bed->fake.lock);
	for (struct table_link *link = table_next(&bed->fake.configs, NULL); link; link = table_next(&bed->fake.configs, link))
		found |= contains(&((struct fake_config *)link)->version->content, text);
	pthread_mutex_unlock(&bed->fake.lock);
	return found;
}

static inline bool is_in_draft(struct bed *bed, const char *text)
{
	for (struct node *node = tree_next(bed->tree, NULL); node; node = tree_next(bed->tree, node))
		if ((node->parent && draft_is_dirty(node) && contains(&node_draft(node)->content, text)) ||
		    (node->kind == NODE_PRIVATE_FILE && node->parent && node->parent == bed->group &&
		     contains(&node->file->content, text)))
			return true;
	return false;
}

#endif
