/*
 * Names of local users.
 */
#ifndef NACOSFS_UTIL_USER_H
#define NACOSFS_UTIL_USER_H

#include <stdbool.h>
#include <sys/types.h>

#define USER_NAME_SIZE 64

/*
 * The login name, or "uid NUMBER" where it has none or a longer one. May ask the network (NSS): not with a lock held.
 */
void user_format_name(uid_t uid, char ret_name[USER_NAME_SIZE]);

/*
 * All groups of that user by the machine's database, to be freed; their count, 0 when it knows him not. May ask the network, too.
 */
int user_find_groups(uid_t uid, gid_t **ret_groups);

/* The user of that login name; false: there is none. May ask the network, too. */
bool user_find(const char *name, uid_t *ret_uid);

#endif
