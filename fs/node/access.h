/*
 * Who may do what with a node: the permission bits that are shown; and, with rights=rbac and
 * identity=caller, what each user and group of this machine may do, as the POSIX ACL that the
 * kernel checks and getfacl shows.
 *
 * Then the owner has what its own Nacos user grants; without one, the user who mounted has what the
 * account of the mount may do, as it holds its password, and another owner nothing. Others have
 * nothing. The group bits of the mode are the mask of the ACL: all that any named user or group
 * has. umask= takes from the owner only: the entries are exactly what is granted.
 *
 * With identity=caller each user with a login has what his own account may do, the owner (if he has
 * none), the group, and others where they shall use it, have what the account of the mount may do,
 * through umask=.
 *
 * Removing, creating and moving need only the directory's w to the kernel: access_check() asks for
 * the config.
 *
 * All functions want tree->lock, and ask nobody.
 */
#ifndef NACOSFS_FS_NODE_ACCESS_H
#define NACOSFS_FS_NODE_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "fs/node/tree.h"
#include "util/buffer.h"

#define ACCESS_ACL_NAME "system.posix_acl_access"
#define ACCESS_DEFAULT_ACL_NAME "system.posix_acl_default"

/* The permission bits that are shown: what is granted of what chmod left, as far as known. */
mode_t access_mode(const struct tree *tree, const struct node *node) LOCKED;

/*
 * chmod: only what is granted can be taken away, or given back. What is not granted now is not
 * touched: a grant that comes later shows.
 */
void access_set_mode(const struct tree *tree, struct node *node, mode_t mode) LOCKED;

/*
 * Appends the ACL as the kernel wants it: of the node, or (is_default) what a new config in that
 * directory would have, unless a grant names it. 0; -ENODATA when the mode says it all; -ENOMEM.
 */
int access_append_acl(const struct tree *tree, const struct node *node, bool is_default,
		      struct buffer *ret_value) LOCKED;

/*
 * setxattr of an ACL, which programs do to copy one with a file. One that has no named entries is a
 * chmod; the one that is there is fine; any other -EPERM, with a reason in user.nacos.error.
 * -EINVAL when it is no ACL.
 */
int access_set_acl(struct tree *tree, struct node *node, const void *value, size_t size) LOCKED;

/* Who asks. */
struct asker {
	uid_t uid;
	gid_t gid;
	bool knows_groups; /* groups are all that he has besides gid */
	const gid_t *groups;
	size_t group_count;
};

/*
 * May he do that at the place? 0 or -EACCES; -EWOULDBLOCK where that depends on groups that are not
 * known. 0 where the modes are not per user, and for root, whom the kernel would not keep back
 * either; and for who has an account of his own, as the server tells.
 */
int access_check(const struct tree *tree, const struct asker *asker, struct place *place,
		 unsigned rights) LOCKED;

/* What he, or the account that asks for him, may do at the place, as far as is known. */
unsigned access_peek(const struct tree *tree, uid_t uid, struct place *place) LOCKED;

/* Is what is shown of it known and fresh? */
bool access_is_known(const struct tree *tree, const struct node *node) LOCKED;

#endif
