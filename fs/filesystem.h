/*
 * The mounted filesystem: the tree, the store below it, and how the mount was asked for. One of these exists; the FUSE
 * handlers get it as their user data.
 *
 * One lock guards it all, tree->lock. It is never held while the store is asked or the kernel is called.
 */
#ifndef NACOSFS_FS_FILESYSTEM_H
#define NACOSFS_FS_FILESYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/process.h"
#include "fs/node/tree.h"
#include "store/identity_store.h"
#include "store/rights.h"
#include "store/store.h"

struct fuse_session;
struct grace;
struct notify;
struct touch;
struct unsaved_list;
struct handle;
struct directory_handle;

struct filesystem {
	struct store *store; /* not owned */
	struct rights *rights; /* of the account that the store asks with; not owned */
	struct identity_store *identities; /* identity=caller: whose logins the store asks with; NULL: always that of rights */
	struct tree tree;
	struct grace *grace;
	struct notify *notify;
	struct touch *touch;
	struct unsaved_list *unsaved;
	struct handle *handles; /* all open files */
	struct directory_handle *directories; /* all open directories */

	/* Of the mount; constant. */
	struct fuse_session *session; /* not owned */
	const char *mountpoint; /* absolute */
	const struct buffer_memory *secret_memory; /* for text that must not be in ordinary memory */
	char device[PROCESS_DEVICE_SIZE]; /* of the mount; "" until it is mounted */
	const char *server_text; /* SOURCE as it was given */
	bool read_only;
	bool no_attributes;
	bool kernel_cache; /* plain configs are read through the page cache */
	bool per_user; /* rights=rbac, identity=caller: modes and ACLs are what users of this machine may do (acl.h) */
	bool others_use_own; /* with identities: users without a login have what the umask leaves to others */
	uid_t mounter;
	uid_t uid;
	gid_t gid;
	mode_t umask;
	int64_t timeout_ms;
	int64_t refresh_ms; /* how often names are compared that nobody tells of */
	const char *const *namespaces; /* of the option, shown when the server won't list any; up to a NULL */
};

/* What a scratch file may hold, and all of them together. Beyond: ENOSPC. */
#define SCRATCH_FILE_LIMIT ((size_t)32 << 20)
#define SCRATCH_TOTAL_LIMIT ((size_t)256 << 20)
#define SCRATCH_COUNT_LIMIT 65536

/* The bits of a node that chmod never narrowed. */
#define MODE_ANY 07777

/* The permission bits that somebody with these rights (RIGHT_READ, RIGHT_WRITE) has through the umask of the mount. */
mode_t filesystem_mode(const struct filesystem *filesystem, bool is_directory, unsigned rights);

/* As rights_load() and rights_are_known(), for all accounts with whose rights the place is shown. */
int filesystem_load_rights(const struct filesystem *filesystem, struct place *place, unsigned bits,
			   struct call *call);
bool filesystem_are_rights_known(const struct filesystem *filesystem, struct place *place, unsigned bits);

/*
 * How long a request may ask the server while its whole directory waits for it (LOOKUP, READDIR, CREATE, UNLINK, RENAME,
 * ...): half of what others may, because everybody who comes by waits with it.
 */
int64_t filesystem_directory_timeout_ms(const struct filesystem *filesystem);

/* Gives a call that saves size bytes the time that a server takes for so many, beyond its deadline. */
void filesystem_grant_time(struct call *call, size_t size);

/* A node with the owner, mode and times of this mount. With the lock; there must be no child of that name. */
struct node *filesystem_add_node(struct filesystem *filesystem, struct node *parent, const char *name,
				 enum node_kind kind);

/* Text of this node must be in the memory for secrets if its name says so. With the lock, while the node holds none. */
void filesystem_guard_node(const struct filesystem *filesystem, struct node *node);

/*
 * Shows a version that the server has as the content of a config: size, times, md5. What is shown already is not touched,
 * so that nothing moves by itself; another content counts as a remote change, and wakes who watches. With the lock.
 */
void filesystem_show_version(struct filesystem *filesystem, struct node *node, const struct version *version);

/*
 * Somebody else made this config appear while it was known not to exist: for saves that began before, that is a change by
 * somebody else. With the lock.
 */
void filesystem_note_appeared(struct node *node);

/*
 * Unlinks a node that is gone, but not by a request of the kernel, which must be told; and who watches. With the lock.
 */
void filesystem_unlink_node(struct filesystem *filesystem, struct node *node);

#endif
