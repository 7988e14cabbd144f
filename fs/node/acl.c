#include "fs/node/acl.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/node/attributes.h"
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
 * With identity=caller everybody asks for himself: no more is taken away from what his own account may do. Who is in the list
 * without rights must be there too, or the entry of a group would be his.
 */
static void find_shares_of_callers(const struct filesystem *filesystem, struct place *place,
				   bool is_directory, struct shares *ret_shares)
{
	unsigned ceiling = RIGHT_READ | (filesystem->read_only ? 0 : RIGHT_WRITE) | (is_directory ? RIGHT_ENTER : 0);
	unsigned own = (rights_peek(filesystem->rights, place) | RIGHT_ENTER) & ceiling;
	struct shares shares = {
		.access = identity_store_find_access(filesystem->identities, place),
		.ceiling = ceiling,
		.owner = own,
		.group = own & ~(filesystem->umask >> 3),
		.other = filesystem->others_use_own ? own & ~filesystem->umask : 0,
	};

	for (size_t i = 0; shares.access && i < shares.access->count; i++) {
		const struct access_entry *entry = &shares.access->entries[i];

		if (entry->id == filesystem->uid)
			shares.owner = entry->rights & ceiling;
		else
			shares.named |= entry->rights & ceiling;
	}
	*ret_shares = shares;
}

static void find_shares(const struct filesystem *filesystem, struct place *place, bool is_directory,
			struct shares *ret_shares)
{
	if (filesystem->identities) {
		find_shares_of_callers(filesystem, place, is_directory, ret_shares);
		return;
	}
	unsigned own = rights_peek(filesystem->rights, place) | RIGHT_ENTER;
	struct shares shares = {
		.access = rights_find_access(filesystem->rights, place),
		.ceiling = filesystem->read_only ? own & ~RIGHT_WRITE : own,
	};

	if (!is_directory)
		shares.ceiling &= ~RIGHT_ENTER;
	for (size_t i = 0; shares.access && i < shares.access->count; i++) {
		const struct access_entry *entry = &shares.access->entries[i];
		unsigned rights = entry->rights & shares.ceiling;

		if (!entry->is_group && entry->id == filesystem->uid)
			shares.owner = rights;
		else if (entry->is_group && entry->id == filesystem->gid)
			shares.group = rights;
		else
			shares.named |= rights;
	}
	if (!shares.owner && filesystem->uid == filesystem->mounter)
		shares.owner = shares.ceiling;
	*ret_shares = shares;
}

mode_t acl_mode(const struct filesystem *filesystem, const struct node *node, struct place *place)
{
	struct shares shares;

	find_shares(filesystem, place, node_is_directory(node), &shares);
	access_drop(shares.access);
	mode_t owner = (shares.owner & RIGHTS_ALL) << 6 & ~filesystem->umask;
	return owner | (shares.named | shares.group) << 3 | shares.other;
}

static int append_entry(struct buffer *value, unsigned tag, unsigned rights, uint32_t id)
{
	const unsigned char bytes[ACL_ENTRY_SIZE] = {
		(unsigned char)tag, 0, (unsigned char)rights, 0,
		(unsigned char)id, (unsigned char)(id >> 8), (unsigned char)(id >> 16), (unsigned char)(id >> 24),
	};

	return buffer_append(value, bytes, sizeof(bytes));
}

static int append_named(const struct filesystem *filesystem, const struct shares *shares, bool groups,
			struct buffer *value)
{
	int error = 0;

	for (size_t i = 0; i < shares->access->count && !error; i++) {
		const struct access_entry *entry = &shares->access->entries[i];
		bool is_own = entry->id == (entry->is_group ? filesystem->gid : filesystem->uid);

		if (entry->is_group == groups && !is_own && (filesystem->identities || entry->rights & shares->ceiling))
			error = append_entry(value, groups ? TAG_GROUP : TAG_USER,
					     entry->rights & shares->ceiling, entry->id);
	}
	return error;
}

static int append_all(const struct filesystem *filesystem, const struct shares *shares, mode_t mode,
		      struct buffer *value)
{
	static const unsigned char version[4] = { ACL_VERSION };
	int error = buffer_append(value, version, sizeof(version));

	if (!error)
		error = append_entry(value, TAG_OWNER, mode >> 6 & 7, NO_ID);
	if (!error)
		error = append_named(filesystem, shares, false, value);
	if (!error)
		error = append_entry(value, TAG_OWNING_GROUP, shares->group, NO_ID);
	if (!error)
		error = append_named(filesystem, shares, true, value);
	if (!error)
		error = append_entry(value, TAG_MASK, mode >> 3 & 7, NO_ID);
	return error ? error : append_entry(value, TAG_OTHER, mode & 7, NO_ID);
}

int acl_append(const struct filesystem *filesystem, const struct node *node, bool is_default,
	       struct buffer *ret_value)
{
	struct place *own = node_linked_place(node);
	struct shares shares;
	mode_t mode;

	if (!filesystem->per_user || !own || (is_default && own->depth != PLACE_GROUP))
		return -ENODATA;
	/* "*": as a grant for the whole group has it. */
	cleanup_place struct place *place = is_default ? place_below(own, "*") : place_hold(own);
	if (!place)
		return -ENOMEM;
	find_shares(filesystem, place, !is_default && node_is_directory(node), &shares);
	if (is_default)
		mode = ((shares.owner << 6) & ~filesystem->umask) | (shares.named | shares.group) << 3 | shares.other;
	else
		mode = attributes_mode(filesystem, node);
	bool has_entries = shares.access && (shares.named || filesystem->identities);
	int error = has_entries ? append_all(filesystem, &shares, mode, ret_value) : -ENODATA;
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

/* The mode that an ACL without named entries is; -ENOENT when it has some, -EINVAL when it is none. */
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

int acl_set(const struct filesystem *filesystem, struct node *node, const void *value, size_t size)
{
	cleanup_buffer struct buffer shown = BUFFER_INIT;
	mode_t mode = 0;
	int error = read_plain(value, size, &mode);

	if (!error)
		attributes_set_mode(filesystem, node, mode);
	if (error != -ENOENT)
		return error;
	error = acl_append(filesystem, node, false, &shown);
	if (error == -ENOMEM)
		return error;
	if (!error && shown.size == size && !memcmp(shown.data, value, size))
		return 0;
	node_set_error(node, "who may do what is granted in Nacos, an ACL can't be set here");
	return -EPERM;
}

/* -------------------------------------------------------------------- who asks */

int acl_check_caller(struct request *request, struct place *place, unsigned rights)
{
	const struct filesystem *filesystem = request->filesystem;
	cleanup_free gid_t *groups = NULL;
	struct shares shares;

	if (!filesystem->per_user || !request->uid)
		return 0;
	if (!filesystem->identities)
		return rights_check_user(filesystem->rights, place, rights, &request->call);
	/* Who has an account of his own is told by the server. */
	if (identity_store_knows(filesystem->identities, request->uid))
		return 0;
	find_shares(filesystem, place, true, &shares);
	unsigned has = (request->uid == filesystem->uid ? shares.owner : 0) | shares.other;
	if (request->gid == filesystem->gid)
		has |= shares.group;
	int count = (has & rights) == rights ? 0 : request_find_groups(request, request->uid, &groups);
	for (int i = 0; i < count; i++)
		has |= groups[i] == filesystem->gid ? shares.group : 0;
	access_drop(shares.access);
	return (has & shares.ceiling & rights) == rights ? 0 : -EACCES;
}
