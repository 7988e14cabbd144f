#include "util/user.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/wait.h"

#define ENTRY_SIZE 4096
#define GROUPS_MAX 1024

void user_format_name(uid_t uid, char ret_name[USER_NAME_SIZE])
{
	char buffer[ENTRY_SIZE];
	struct passwd entry, *found = NULL;

	wait_check("the names of users");
	if (!getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found) && found &&
	    strlen(entry.pw_name) < USER_NAME_SIZE)
		strcpy(ret_name, entry.pw_name);
	else
		snprintf(ret_name, USER_NAME_SIZE, "uid %u", (unsigned)uid);
}

bool user_find(const char *name, uid_t *ret_uid)
{
	char buffer[ENTRY_SIZE];
	struct passwd entry, *found = NULL;

	wait_check("the names of users");
	if (getpwnam_r(name, &entry, buffer, sizeof(buffer), &found) || !found)
		return false;
	*ret_uid = found->pw_uid;
	return true;
}

int user_find_groups(uid_t uid, gid_t **ret_groups)
{
	char buffer[ENTRY_SIZE];
	struct passwd entry, *found = NULL;
	int count = GROUPS_MAX;

	if (getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found) || !found)
		return 0;
	gid_t *groups = calloc(GROUPS_MAX, sizeof(*groups));
	if (!groups)
		return 0;
	if (getgrouplist(entry.pw_name, entry.pw_gid, groups, &count) < 0)
		count = GROUPS_MAX; /* he has more */
	*ret_groups = groups;
	return count;
}
