#include "fs/filesystem.h"

#include <string.h>

#include "fs/node/names.h"
#include "fs/follow/notify.h"
#include "util/clock.h"

/* Servers were seen to take up to 2 s for each MiB. */
#define TIME_PER_MIB_MS 3000

mode_t filesystem_mode(const struct filesystem *filesystem, bool is_directory, unsigned rights)
{
	mode_t mode = (rights & RIGHT_READ ? 0444 : 0) | (rights & RIGHT_WRITE ? 0222 : 0);

	/* A directory that can't be listed still leads on. Others see no files, whatever the mask. */
	mode = is_directory ? mode | 0111 : mode & 0660;
	return mode & ~filesystem->umask & (filesystem->read_only ? 0555 : 0777);
}

int filesystem_load_rights(const struct filesystem *filesystem, struct place *place, unsigned bits,
			   struct call *call)
{
	return filesystem->identities ? identity_store_load_rights(filesystem->identities, place, bits, call) :
					rights_load(filesystem->rights, place, bits, call);
}

bool filesystem_are_rights_known(const struct filesystem *filesystem, struct place *place, unsigned bits)
{
	return filesystem->identities ? identity_store_are_rights_known(filesystem->identities, place, bits) :
					rights_are_known(filesystem->rights, place, bits);
}

int64_t filesystem_directory_timeout_ms(const struct filesystem *filesystem)
{
	return filesystem->timeout_ms / 2 > 1000 ? filesystem->timeout_ms / 2 : filesystem->timeout_ms;
}

void filesystem_grant_time(struct call *call, size_t size)
{
	call->deadline_ms += (int64_t)(size >> 20) * TIME_PER_MIB_MS;
}

struct node *filesystem_add_node(struct filesystem *filesystem, struct node *parent, const char *name,
				 enum node_kind kind)
{
	struct node *node = tree_add(&filesystem->tree, parent, name, kind);

	if (!node)
		return NULL;
	node->mode = MODE_ANY;
	node->uid = filesystem->uid;
	node->gid = filesystem->gid;
	node->modified = node->changed = clock_now();
	filesystem_guard_node(filesystem, node);
	return node;
}

void filesystem_guard_node(const struct filesystem *filesystem, struct node *node)
{
	bool is_secret = node->kind == NODE_CONFIG ? name_is_cipher(node->name) :
						     name_is_of_cipher(node->name) ||
							     (node->parent && node->parent->has_secrets);

	node->content.memory = is_secret ? filesystem->secret_memory : NULL;
}

/* Another time than that of the content before, even where the server's clock has not moved: programs compare it. */
static struct timespec time_of(const struct version *version, struct timespec before)
{
	struct timespec modified = version->modified_ms ? clock_from_ms(version->modified_ms) : clock_now();

	if (modified.tv_sec == before.tv_sec && modified.tv_nsec == before.tv_nsec)
		modified.tv_nsec++; /* which was whole milliseconds */
	return modified;
}

void filesystem_show_version(struct filesystem *filesystem, struct node *node, const struct version *version)
{
	bool changed = *node->md5;

	node->stored = true;
	if (version->serial < node->shown_serial)
		return;
	node->shown_serial = version->serial;
	if (!strcmp(node->md5, version->md5)) {
		/* What could not be decrypted before had size 0. */
		if (version->size && node->size != version->size) {
			node->size = version->size;
			notify_content(filesystem, node);
		}
		return;
	}
	if (changed) {
		node->remote_changes++;
		node->remote_changed_ms = clock_monotonic_ms();
	}
	strcpy(node->md5, version->md5);
	node->size = version->size;
	node->modified = time_of(version, node->modified);
	node->changed = node->modified;
	if (changed)
		notify_content(filesystem, node);
}

void filesystem_note_appeared(struct node *node)
{
	node->remote_changes++;
	node->remote_changed_ms = clock_monotonic_ms();
}

void filesystem_unlink_node(struct filesystem *filesystem, struct node *node)
{
	node_touch_names(node->parent);
	notify_removed(filesystem, node);
	tree_unlink(&filesystem->tree, node);
}
