#include "fs/node/show.h"

#include <string.h>

#include "fs/node/access.h"
#include "fs/node/draft.h"
#include "fs/node/wake.h"
#include "util/clock.h"

#define BLOCK_SIZE 4096

static mode_t type_of(const struct node *node) LOCKED
{
	if (node_is_directory(node))
		return S_IFDIR;
	return node->kind == NODE_PRIVATE_LINK ? S_IFLNK : S_IFREG;
}

static void show_config(const struct node *node, bool as_writer, struct stat *stat) LOCKED
{
	const struct draft *draft = node_draft(node);

	if (draft && (as_writer || !node->writers || !node->is_stored)) {
		stat->st_size = (off_t)draft->content.size;
		if (draft_is_dirty(node) || !node->is_stored)
			stat->st_mtim = draft->modified;
	} else if (node->config) {
		stat->st_size = (off_t)node->config->size;
	}
}

void show_stat(const struct tree *tree, struct node *node, bool as_writer, struct stat *ret_stat)
{
	const struct timespec *modified = node_modified(node), *changed = node_changed(node);
	struct stat stat = {
		.st_ino = node_id(node),
		.st_mode = type_of(node) | access_mode(tree, node),
		.st_nlink = node_is_directory(node) ? 2 : node->parent ? 1 : 0,
		.st_uid = node->file ? node->file->uid : tree->terms->uid,
		.st_gid = node->file ? node->file->gid : tree->terms->gid,
		.st_blksize = BLOCK_SIZE,
	};

	if (modified) {
		stat.st_mtim = *modified;
		stat.st_ctim = *changed;
	}
	if (node->kind == NODE_CONFIG)
		show_config(node, as_writer, &stat);
	else if (node->file)
		stat.st_size = (off_t)node->file->content.size;
	stat.st_atim = modified ? *modified : stat.st_mtim;
	stat.st_blocks = (stat.st_size + 511) / 512;
	node->shown_mode = (uint16_t)stat.st_mode;
	*ret_stat = stat;
}

double show_name_timeout_s(const struct tree *tree, struct node *node)
{
	const struct terms *terms = tree->terms;

	if (!wake_is_told(tree, node) || terms->identities)
		return WAKE_SHORT_S;
	node->given_long = true;
	if (node->place && node_is_there(tree, node) && !rights_are_followed(terms->rights, node->place))
		return (double)rights_fresh_ms(terms->rights) / 1000;
	return WAKE_LONG_S;
}

double show_timeout_s(const struct tree *tree, struct node *node)
{
	/* Who may create names in it can change with the name that is looked up. */
	if (node_draft(node) || (tree->terms->identities && node_is_directory(node)))
		return 0;
	return show_name_timeout_s(tree, node);
}

/*
 * Another time than that of the content before, even where the server's clock has not moved:
 * programs compare it.
 */
static struct timespec time_of(const struct version *version, struct timespec before)
{
	struct timespec modified = version->modified_ms ? clock_from_ms(version->modified_ms) : clock_now();

	if (modified.tv_sec == before.tv_sec && modified.tv_nsec == before.tv_nsec)
		modified.tv_nsec++; /* which was whole milliseconds */
	return modified;
}

static void note_remote_change(struct config *config) LOCKED
{
	config->remote_changes++;
	config->remote_changed_ms = clock_monotonic_ms();
}

void show_version(struct tree *tree, struct node *node, const struct version *version)
{
	struct config *config = node_config(node);

	node->is_stored = true;
	if (!config || version->serial < config->shown_serial)
		return;
	config->shown_serial = version->serial;
	if (!strcmp(config->md5, version->md5)) {
		/* What could not be decrypted before had size 0. */
		if (version->size && config->size != version->size) {
			config->size = version->size;
			wake_content(tree, node);
		}
		return;
	}
	bool is_change = *config->md5;
	if (is_change)
		note_remote_change(config);
	strcpy(config->md5, version->md5);
	config->size = version->size;
	config->modified = time_of(version, config->modified);
	config->changed = config->modified;
	if (is_change)
		wake_content(tree, node);
}

void show_saved(struct node *node, struct version *version, struct timespec modified)
{
	struct config *config = node_config(node);

	node->is_stored = true;
	if (!config)
		return;
	config->unreadable = version->unconfirmed;
	config->deferred = false;
	config->failed_process = 0;
	node_set_error(node, NULL);
	if (version->serial < config->shown_serial)
		return; /* somebody changed it again before we came to say so */
	config->shown_serial = version->serial;
	strcpy(config->md5, version->md5);
	config->size = version->size;
	config->modified = modified;
	config->changed = modified;
}

void show_appeared(struct node *node)
{
	struct config *config = node->kind == NODE_CONFIG ? node_config(node) : NULL;

	if (config)
		note_remote_change(config);
}
