/*
 * Who may do what on a server: its users, roles and permissions, as one immutable snapshot. Only an admin account may
 * read them.
 *
 * The answer that lists users holds the hashes of their passwords: none is ever copied, and the answer is wiped.
 * A binding of a role to a user that is not there any more counts for nothing, as such a user can't log in.
 *
 * A grant that is no pattern which is understood (permission.h) makes servers fail the whole request when they come across
 * it. So a role with such a grant takes that action from whoever has the role, whatever else grants it; the log says which
 * it is.
 */
#ifndef NACOSFS_NACOS_HTTP_RBAC_H
#define NACOSFS_NACOS_HTTP_RBAC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nacos/http/client.h"
#include "nacos/permission.h"
#include "util/call.h"

#define NACOS_ACTION_READ 4U
#define NACOS_ACTION_WRITE 2U

struct nacos_grant {
	struct nacos_pattern *pattern;
	unsigned actions;
};

struct nacos_role {
	char *name;
	bool is_admin; /* may do everything */
	unsigned spoiled; /* actions that a grant which is no pattern takes away */
	struct nacos_grant *grants;
	size_t grant_count;
};

struct nacos_user {
	char *name;
	size_t *roles; /* indexes */
	size_t role_count;
};

struct nacos_rbac {
	const struct nacos_generation *generation;
	uint64_t fingerprint; /* of all that was read: another one, other rights */
	struct nacos_user *users; /* sorted by name */
	size_t user_count;
	struct nacos_role *roles; /* sorted by name */
	size_t role_count;
};

/*
 * Reads it all, page by page. Beside the errors of nacos/http/config.h: -EACCES when the account is no admin, -EOPNOTSUPP when the
 * server has no such calls.
 */
int nacos_rbac_load(struct nacos_client *client, struct call *call, struct nacos_rbac **ret_rbac);
void nacos_rbac_free(struct nacos_rbac *rbac);

const struct nacos_role *nacos_rbac_role(const struct nacos_rbac *rbac, const char *name);
const struct nacos_user *nacos_rbac_user(const struct nacos_rbac *rbac, const char *name);

/* The actions that a role grants on a resource, whether they are spoiled or not. */
unsigned nacos_role_actions(const struct nacos_role *role, const char *resource);

/* The actions that it grants on something below a prefix. */
unsigned nacos_role_actions_below(const struct nacos_role *role, const char *prefix);

#endif
