#include "fs/save/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fs/node/draft.h"

struct handle *handle_new(struct saver *saver, struct node *node, int flags, struct version *version,
			  const struct writer *writer)
{
	bool is_config = node->kind == NODE_CONFIG;
	struct handle *handle = !is_config || node_config(node) ? calloc(1, sizeof(*handle)) : NULL;

	if (!handle)
		return NULL;
	handle->node = node;
	node_hold(node);
	handle->flags = flags;
	handle->may_write = (flags & O_ACCMODE) != O_RDONLY;
	handle->version = version_hold(version);
	handle->remote_changes = is_config ? node->config->remote_changes : 0;
	handle->writer = *writer;
	handle->next_open = saver->handles;
	if (saver->handles)
		saver->handles->previous_open = handle;
	saver->handles = handle;
	if (handle->may_write) {
		handle->next_writer = node->writers;
		node->writers = handle;
	}
	return handle;
}

void handle_stop_writing(struct handle *handle)
{
	struct handle **place = &handle->node->writers;

	while (*place && *place != handle)
		place = &(*place)->next_writer;
	if (*place)
		*place = handle->next_writer;
	handle->next_writer = NULL;
}

void handle_free(struct saver *saver, struct handle *handle)
{
	*(handle->previous_open ? &handle->previous_open->next_open : &saver->handles) = handle->next_open;
	if (handle->next_open)
		handle->next_open->previous_open = handle->previous_open;
	version_drop(handle->version);
	node_drop(saver->tree, handle->node);
	free(handle);
}

bool handle_is_dirty(const struct handle *handle)
{
	return node_draft(handle->node) && handle->last_change > handle->node->config->committed_change;
}

int handle_change(struct tree *tree, struct handle *handle)
{
	struct node *node = handle->node;
	struct config *config = node->config;
	struct version *base = handle->version;

	/*
	 * Others here saved since this handle was opened, nobody elsewhere: go on from what they
	 * saved.
	 */
	if (config->last_commit && handle->remote_changes == config->remote_changes)
		base = config->last_commit;
	bool is_new = !config->draft;
	int error = is_new ? draft_start_from(tree, node, base) : 0;
	if (error)
		return error;
	if (is_new)
		config->draft->blind = handle->blind;
	draft_note_change(node, &handle->writer);
	handle->last_change = config->change_count;
	return 0;
}

void handle_fail(struct handle *handle, int error)
{
	struct node *node = handle->node;

	handle->error = error;
	handle->last_change = 0;
	for (const struct handle *other = node->writers; other; other = other->next_writer)
		if (handle_is_dirty(other))
			return;
	draft_take_back(node);
}

void handle_refresh_writers(struct node *node, struct version *version)
{
	for (struct handle *writer = node->writers; writer; writer = writer->next_writer) {
		version_drop(writer->version);
		writer->version = version_hold(version);
		writer->remote_changes = node->config->remote_changes;
	}
}

size_t handle_list_writers(const struct node *node, const struct handle *except, pid_t *processes, size_t count)
{
	size_t used = 0;

	for (const struct handle *writer = node->writers; writer && used < count; writer = writer->next_writer)
		if (writer != except)
			processes[used++] = writer->writer.process;
	return used;
}
