#include "fs/node/access.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "util/cleanup.h"

#define RIGHTS_ALL (RIGHT_READ | RIGHT_WRITE | RIGHT_ENTER)

/* The binary form of the kernel, all little-endian: a version, then entries. */
#define ACL_VERSION 2
enum { TAG_OWNER = 1, TAG_USER = 2, TAG_OWNING_GROUP = 4, TAG_GROUP = 8, TAG_MASK = 16, TAG_OTHER = 32 };
#define ACL_ENTRY_SIZE 8
#define NO_ID UINT32_MAX

/* Who may do what at a place, as far as the account of the mount may do it for them. */
struct shares {
	struct access *access; /* NULL: nobody has anything */
	unsigned ceiling;
	unsigned owner, group; /* of the mount's uid and gid */
	unsigned other;
	unsigned named; /* all that somebody else has */
};

/*
 * With identity=caller everybody asks for himself: no more is taken away from what his own account
 * may do. Who is in the list without rights must be there too, or the entry of a group would be
 * his.
 */
static void find_shares_of_callers(const struct terms *terms, struct place *place,
				   bool is_directory, struct shares *ret_shares)
{
	unsigned ceiling = RIGHT_READ | (terms->read_only ? 0 : RIGHT_WRITE) | (is_directory ? RIGHT_ENTER : 0);
	unsigned own = (rights_peek(terms->rights, place) | RIGHT_ENTER) & ceiling;
	struct shares shares = {
		.access = identity_store_find_access(terms->identities, place),
		.ceiling = ceiling,
		.owner = own,
		.group = own & ~(terms->umask >> 3),
		.other = terms->others_use_own ? own & ~terms->umask : 0,
	};

	for (size_t i = 0; shares.access && i < shares.access->count; i++) {
		const struct access_entry *entry = &shares.access->entries[i];

		if (entry->id == terms->uid)
			shares.owner = entry->rights & ceiling;
		else
			shares.named |= entry->rights & ceiling;
	}
	*ret_shares = shares;
}

static void find_shares(const struct terms *terms, struct place *place, bool is_directory,
			struct shares *ret_shares)
{
	if (terms->identities) {
		find_shares_of_callers(terms, place, is_directory, ret_shares);
		return;
	}
	unsigned own = rights_peek(terms->rights, place) | RIGHT_ENTER;
	struct shares shares = {
		.access = rights_find_access(terms->rights, place),
		.ceiling = terms->read_only ? own & ~RIGHT_WRITE : own,
	};

	if (!is_directory)
		shares.ceiling &= ~RIGHT_ENTER;
	for (size_t i = 0; shares.access && i < shares.access->count; i++) {
		const struct access_entry *entry = &shares.access->entries[i];
		unsigned rights = entry->rights & shares.ceiling;

		if (!entry->is_group && entry->id == terms->uid)
			shares.owner = rights;
		else if (entry->is_group && entry->id == terms->gid)
			shares.group = rights;
		else
			shares.named |= rights;
	}
	if (!shares.owner && terms->uid == terms->mounter)
		shares.owner = shares.ceiling;
	*ret_shares = shares;
}

static mode_t mode_of(const struct terms *terms, const struct shares *shares)
{
	mode_t owner = (shares->owner & RIGHTS_ALL) << 6 & ~terms->umask;

	return owner | (shares->named | shares->group) << 3 | shares->other;
}

/* The most that can be shown of a node of the store. */
static mode_t granted_mode(const struct tree *tree, const struct node *node) LOCKED
{
	const struct terms *terms = tree->terms;
	bool is_there = node_is_there(tree, node);
	struct shares shares;

	if (!terms->per_user) {
		unsigned bits = is_there ? rights_peek(terms->rights, node->place) : RIGHT_READ | RIGHT_WRITE;
		return terms_mode(terms, node_is_directory(node), bits);
	}
	if (!is_there)
		return 0600 & ~terms->umask; /* it has no name any more */
	find_shares(terms, node->place, node_is_directory(node), &shares);
	access_drop(shares.access);
	return mode_of(terms, &shares);
}

mode_t access_mode(const struct tree *tree, const struct node *node)
{
	return node->place ? node->mode & granted_mode(tree, node) : node->mode;
}

void access_set_mode(const struct tree *tree, struct node *node, mode_t mode)
{
	mode &= 07777;
	if (node->place) {
		mode_t granted = granted_mode(tree, node);

		mode = (node->mode & ~granted) | (mode & granted);
	}
	node->mode = (uint16_t)mode;
}

/* ----------------------------------------------------------------------- the ACL */

static int append_entry(struct buffer *value, unsigned tag, unsigned rights, uint32_t id)
{
	const unsigned char bytes[ACL_ENTRY_SIZE] = {
		(unsigned char)tag, 0, (unsigned char)rights, 0,
		(unsigned char)id, (unsigned char)(id >> 8), (unsigned char)(id >> 16), (unsigned char)(id >> 24),
	};

	return buffer_append(value, bytes, sizeof(bytes));
}

static int append_named(const struct terms *terms, const struct shares *shares, bool groups,
			struct buffer *value)
{
	int error = 0;

	for (size_t i = 0; i < shares->access->count && !error; i++) {
		const struct access_entry *entry = &shares->access->entries[i];
		bool is_own = entry->id == (entry->is_group ? terms->gid : terms->uid);

		if (entry->is_group == groups && !is_own && (terms->identities || entry->rights & shares->ceiling))
			error = append_entry(value, groups ? TAG_GROUP : TAG_USER,
					     entry->rights & shares->ceiling, entry->id);
	}
	return error;
}

static int append_all(const struct terms *terms, const struct shares *shares, mode_t mode,
		      struct buffer *value)
{
	static const unsigned char version[4] = { ACL_VERSION };
	int error = buffer_append(value, version, sizeof(version));

	if (!error)
		error = append_entry(value, TAG_OWNER, mode >> 6 & 7, NO_ID);
	if (!error)
		error = append_named(terms, shares, false, value);
	if (!error)
		error = append_entry(value, TAG_OWNING_GROUP, shares->group, NO_ID);
	if (!error)
		error = append_named(terms, shares, true, value);
	if (!error)
		error = append_entry(value, TAG_MASK, mode >> 3 & 7, NO_ID);
	return error ? error : append_entry(value, TAG_OTHER, mode & 7, NO_ID);
}

int access_append_acl(const struct tree *tree, const struct node *node, bool is_default, struct buffer *ret_value)
{
	const struct terms *terms = tree->terms;
	cleanup_place struct place *place = place_hold(node->place);
	struct shares shares;

	if (!terms->per_user || !place || !node_is_there(tree, node) || (is_default && place->depth != PLACE_GROUP))
		return -ENODATA;
	if (is_default) {
		place_drop(place);
		place = place_below(node->place, "*"); /* as a grant for the whole group has it */
		if (!place)
			return -ENOMEM;
	}
	find_shares(terms, place, !is_default && node_is_directory(node), &shares);
	mode_t mode = is_default ? mode_of(terms, &shares) : access_mode(tree, node);
	bool has_entries = shares.access && (shares.named || terms->identities);
	int error = has_entries ? append_all(terms, &shares, mode, ret_value) : -ENODATA;
	access_drop(shares.access);
	return error;
}

/* ------------------------------------------------------------------- setting one */

static uint32_t read_number(const unsigned char *bytes, size_t size)
{
	uint32_t number = 0;

	while (size--)
		number = number << 8 | bytes[size];
	return number;
}

/*
 * The mode that an ACL without named entries is; -ENOENT when it has some, -EINVAL when it is none.
 */
static int read_plain(const unsigned char *bytes, size_t size, mode_t *ret_mode)
{
	mode_t mode = 0;

	if (size < 4 || (size - 4) % ACL_ENTRY_SIZE || read_number(bytes, 4) != ACL_VERSION)
		return -EINVAL;
	for (size_t i = 4; i < size; i += ACL_ENTRY_SIZE) {
		mode_t rights = read_number(bytes + i + 2, 2) & 7;

		switch (read_number(bytes + i, 2)) {
		case TAG_OWNER:
			mode |= rights << 6;
			break;
		case TAG_OWNING_GROUP:
			mode |= rights << 3;
			break;
		case TAG_OTHER:
			mode |= rights;
			break;
		case TAG_MASK:
			break;
		default:
			return -ENOENT;
		}
	}
	*ret_mode = mode;
	return 0;
}

int access_set_acl(struct tree *tree, struct node *node, const void *value, size_t size)
{
	cleanup_buffer struct buffer shown = BUFFER_INIT;
	mode_t mode = 0;
	int error = read_plain(value, size, &mode);

	if (!error)
		access_set_mode(tree, node, mode);
	if (error != -ENOENT)
		return error;
	error = access_append_acl(tree, node, false, &shown);
	if (error == -ENOMEM)
		return error;
	if (!error && shown.size == size && !memcmp(shown.data, value, size))
		return 0;
	node_set_error(node, "who may do what is granted in Nacos, an ACL can't be set here");
	return -EPERM;
}

/* -------------------------------------------------------------------- who asks */

static unsigned rights_of(const struct terms *terms, const struct shares *shares, const struct asker *asker)
{
	unsigned has = asker->uid == terms->uid ? shares->owner : 0;

	has |= access_rights(shares->access, false, asker->uid);
	has |= access_rights(shares->access, true, asker->gid) | shares->other;
	if (asker->gid == terms->gid)
		has |= shares->group;
	for (size_t i = 0; i < asker->group_count; i++)
		has |= access_rights(shares->access, true, asker->groups[i]) |
		       (asker->groups[i] == terms->gid ? shares->group : 0);
	return has & shares->ceiling;
}

int access_check(const struct tree *tree, const struct asker *asker, struct place *place, unsigned rights)
{
	const struct terms *terms = tree->terms;
	struct shares shares;

	if (!terms->per_user || !asker->uid)
		return 0;
	if (terms->identities && identity_store_knows(terms->identities, asker->uid))
		return 0;
	find_shares(terms, place, true, &shares);
	unsigned has = rights_of(terms, &shares, asker);
	access_drop(shares.access);
	if ((has & rights) == rights)
		return 0;
	return asker->knows_groups ? -EACCES : -EWOULDBLOCK;
}

unsigned access_peek(const struct tree *tree, uid_t uid, struct place *place)
{
	const struct terms *terms = tree->terms;

	return terms->identities ? identity_store_peek(terms->identities, uid, place) : rights_peek(terms->rights, place);
}

bool access_is_known(const struct tree *tree, const struct node *node)
{
	const struct terms *terms = tree->terms;
	const unsigned bits = RIGHT_READ | RIGHT_WRITE;

	if (!node->place || !node_is_there(tree, node))
		return true;
	return terms->identities ? identity_store_are_rights_known(terms->identities, node->place, bits) :
				   rights_are_known(terms->rights, node->place, bits);
}
