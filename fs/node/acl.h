/*
 * rights=rbac and identity=caller: what each user and group of this machine may do with a config or directory, as mode bits and as the POSIX
 * ACL that the kernel checks and getfacl shows.
 *
 * The owner has what its own Nacos user grants; without one, the user who mounted has what the account of the mount may do, as
 * it holds its password, and another owner nothing. Others have nothing. The group bits of the mode are the mask of the
 * ACL: all that any named user or group has. umask= takes from the owner only: the entries are exactly what is granted.
 *
 * With identity=caller each user with a login has what his own account may do, the owner (if he has none), the group, and others
 * where they shall use it, have what the account of the mount may do, through umask=.
 *
 * Removing, creating and moving need only the directory's w to the kernel: acl_check_caller() asks for the config.
 *
 * All functions want tree->lock, and ask nobody.
 */
#ifndef NACOSFS_FS_NODE_ACL_H
#define NACOSFS_FS_NODE_ACL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "fs/request.h"
#include "util/buffer.h"

#define ACL_ACCESS_NAME "system.posix_acl_access"
#define ACL_DEFAULT_NAME "system.posix_acl_default"

/* The permission bits of a node of the store, before what chmod left. */
mode_t acl_mode(const struct filesystem *filesystem, const struct node *node, struct place *place);

/*
 * Appends the ACL as the kernel wants it: of the node, or (is_default) what a new config in that directory would have, unless a
 * grant names it. 0; -ENODATA when the mode says it all; -ENOMEM.
 */
int acl_append(const struct filesystem *filesystem, const struct node *node, bool is_default,
	       struct buffer *ret_value);

/*
 * setxattr of an ACL, which programs do to copy one with a file. One that has no named entries is a chmod; the one that is
 * there is fine; any other -EPERM, with a reason in user.nacos.error. -EINVAL when it is no ACL.
 */
int acl_set(const struct filesystem *filesystem, struct node *node, const void *value, size_t size);

/*
 * May the user who asks do that at the place? 0 or -EACCES; 0 where the modes are not per user, and for root, whom the kernel
 * would not keep back either. Reads /proc.
 */
int acl_check_caller(struct request *request, struct place *place, unsigned rights);

#endif
