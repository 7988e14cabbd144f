#include "fs/node/draft.h"

#include <errno.h>
#include <stdlib.h>

#include "util/clock.h"
#include "util/text.h"

int draft_start(struct tree *tree, struct node *node, struct version *base)
{
	struct config *config = node_config(node);
	struct draft *draft = config ? calloc(1, sizeof(*draft)) : NULL;

	if (!draft)
		return -ENOMEM;
	draft->base = version_hold(base);
	draft->modified = clock_now();
	draft->mode_before = node->mode;
	draft->content.memory = node_memory(tree, node);
	config->draft = draft;
	return 0;
}

int draft_start_from(struct tree *tree, struct node *node, struct version *base)
{
	int error = draft_start(tree, node, base);

	if (!error && base)
		error = buffer_append(&node->config->draft->content, base->content.data, base->content.size);
	if (error)
		draft_drop(node);
	return error;
}

void draft_drop(struct node *node)
{
	if (!node_draft(node))
		return;
	config_free_draft(node->config);
	node->config->committed_change = node->config->change_count;
}

void draft_take_back(struct node *node)
{
	if (!node_draft(node))
		return;
	node->mode = node_draft(node)->mode_before;
	draft_drop(node);
}

void draft_note_change(struct node *node, const struct writer *writer)
{
	struct config *config = node->config;

	config->change_count++;
	config->draft->modified = clock_now();
	config->draft->writer = *writer;
}

bool draft_is_dirty(const struct node *node)
{
	return node_draft(node) && node->config->change_count > node->config->committed_change;
}

bool draft_is_blank(const struct node *node)
{
	const struct draft *draft = node_draft(node);

	return draft && text_is_utf8(draft->content.data, draft->content.size) &&
	       text_is_blank(draft->content.data, draft->content.size);
}

int draft_version_for_reader(const struct node *node, struct version *version, struct version **ret_version)
{
	const struct draft *draft = node_draft(node);
	bool emptied = !node->writers && draft_is_blank(node);

	if (!draft || (version && !emptied)) {
		*ret_version = version_hold(version);
		return 0;
	}
	cleanup_buffer_wipe struct buffer copy = BUFFER_INIT_IN(draft->content.memory);
	int error = buffer_append(&copy, draft->content.data, draft->content.size);
	if (error)
		return error;
	struct version *snapshot = version_new(&copy, "", "", 0);
	if (!snapshot)
		return -ENOMEM;
	*ret_version = snapshot;
	return 0;
}
