/*
 * The terms of a mount: how it was asked for, and whom it asks. Made by main/ before the mount, and
 * constant once requests come (but for per_user and umask, which INIT may narrow). Nothing in it is
 * owned.
 */
#ifndef NACOSFS_FS_NODE_TERMS_H
#define NACOSFS_FS_NODE_TERMS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "store/identity_store.h"
#include "store/rights.h"
#include "store/store.h"
#include "util/buffer.h"
#include "util/process.h"

struct terms {
	struct store *store;
	struct rights *rights; /* of the account that the store asks with */
	/* identity=caller: whose logins the store asks with; NULL: always that of rights */
	struct identity_store *identities;
	/* for text that must not be in ordinary memory */
	const struct buffer_memory *secret_memory;

	const char *server_text; /* SOURCE as it was given */
	const char *mountpoint; /* absolute */
	char device[PROCESS_DEVICE_SIZE]; /* of the mount; "" until it is mounted */

	const char *namespace_id, *group; /* what the root is: both NULL, the first, or both */
	/* shown when the server won't list any; up to a NULL; NULL: none */
	const char *const *namespaces;

	bool read_only;
	bool no_attributes;
	bool kernel_cache; /* plain configs are read through the page cache */
	/*
	 * rights=rbac, identity=caller: modes and ACLs are what users of this machine may do
	 * (access.h)
	 */
	bool per_user;
	/* with identities: users without a login have what the umask leaves to others */
	bool others_use_own;
	uid_t mounter;
	uid_t uid;
	gid_t gid;
	mode_t umask;
	int64_t timeout_ms;
	int64_t refresh_ms; /* how often names are compared that nobody tells of */
};

/*
 * How long a request may ask the server while its whole directory waits for it (LOOKUP, CREATE,
 * UNLINK, RENAME, ...): half of what others may, because everybody who comes by waits with it.
 */
static inline int64_t terms_directory_timeout_ms(const struct terms *terms)
{
	return terms->timeout_ms / 2 > 1000 ? terms->timeout_ms / 2 : terms->timeout_ms;
}

/*
 * The permission bits that somebody with these rights (RIGHT_READ, RIGHT_WRITE) has through the
 * umask of the mount.
 */
static inline mode_t terms_mode(const struct terms *terms, bool is_directory, unsigned rights)
{
	mode_t mode = (rights & RIGHT_READ ? 0444 : 0) | (rights & RIGHT_WRITE ? 0222 : 0);

	/*
	 * A directory that can't be listed still leads on. Others see no files, whatever the mask.
	 */
	mode = is_directory ? mode | 0111 : mode & 0660;
	return mode & ~terms->umask & (terms->read_only ? 0555 : 0777);
}

#endif
