/*
 * Nacos's users, roles and permissions as rights of users and groups of this machine (rights=rbac).
 *
 * A Nacos user is the local user of its name, or of the name that usermap_file gives it; a role is the local group of its name
 * or of rolemap_file. Whoever has no local counterpart gets nothing. Map files have "NACOS NAME = LOCAL NAME" lines and
 * "#" comments. Lines that are no such lines, and names that stand there twice, on either side, count for nothing, with a
 * line in the log.
 *
 * A user may what all roles of the Nacos user grant, and those of the local groups that he belongs to.
 *
 *	rbac_new -> rbac_refresh (one thread at a time), rbac_find (any thread) -> rbac_free
 *
 * One lock guards the pointer to the current snapshot and what was worked out from it; it may be taken with any other lock
 * held, and nobody waits for a server with it.
 */
#ifndef NACOSFS_STORE_RBAC_H
#define NACOSFS_STORE_RBAC_H

#include <sys/types.h>

#include "model/access.h"
#include "model/place.h"
#include "nacos/http/client.h"
#include "store/rights.h"
#include "util/call.h"

/* The kernel takes no more entries of one access list (4 KiB); what is beyond gets nothing. */
#define RBAC_ENTRIES_MAX 500

struct rbac;

struct rbac_options {
	const char *usermap_file, *rolemap_file; /* NULL: by name only */
};

/*
 * Reads the maps, and the snapshot for the first time. Errors of nacos_rbac_load() and file_read_whole(). client is not owned and
 * must outlive it.
 */
int rbac_new(struct nacos_client *client, const struct rbac_options *options, struct call *call,
	     struct rbac **ret_rbac);
void rbac_free(struct rbac *rbac);

/*
 * Reads the snapshot anew. When the account may not read it any more, nobody has any rights from then on (and the log says so,
 * once); when the server can't be asked, what was known stays. ret_changed is set even on failure: somebody may have other rights
 * than before.
 */
int rbac_refresh(struct rbac *rbac, struct call *call, bool *ret_changed);

/* These as users of rights_set_users(), with no owner yet; rbac must outlive the rights. */
struct rights_users rbac_users(struct rbac *rbac);

/* Who may do what at a place; counted for the caller, NULL for nobody (or without memory). */
struct access *rbac_find(struct rbac *rbac, struct place *place);

#endif
