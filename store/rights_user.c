/*
 * Rights of users of this machine, whom the account does things for.
 */
#include <errno.h>
#include <stdlib.h>

#include "store/rights_private.h"
#include "util/cleanup.h"
#include "util/user.h"

void rights_set_users(struct rights *rights, const struct rights_users *users)
{
	rights->users = *users;
}

struct access *rights_find_access(struct rights *rights, struct place *place)
{
	return rights->users.find ? rights->users.find(rights->users.arg, place) : NULL;
}

/* What the groups of the call's user have entries for. */
static unsigned rights_of_groups(const struct access *access, const struct call *call)
{
	cleanup_free gid_t *groups = NULL;
	unsigned bits = 0;
	int count = call->find_groups ? call->find_groups(call->find_groups_arg, call->uid, &groups) : -1;

	if (count < 0)
		count = user_find_groups(call->uid, &groups);
	for (int i = 0; i < count; i++)
		bits |= access_rights(access, true, groups[i]);
	return bits;
}

int rights_check_user(struct rights *rights, struct place *place, unsigned bits, struct call *call)
{
	const struct rights_users *users = &rights->users;
	char text[PLACE_TEXT_SIZE];

	if (!users->find || call->uid == CALL_NO_USER || !call->uid)
		return 0;
	cleanup_access struct access *access = rights_find_access(rights, place);
	unsigned has = access_rights(access, false, call->uid);

	if (!has && call->uid == users->owner && users->owner_has_all)
		return 0;
	if ((has & bits) != bits && access && call->from_memory)
		return -EWOULDBLOCK; /* groups are asked of /proc, or of the machine's database */
	if ((has & bits) != bits && access)
		has |= rights_of_groups(access, call);
	if ((has & bits) == bits)
		return 0;
	return call_fail(call, -EACCES, "%s: uid %u may not %s it", place_format(place, text, sizeof(text)), (unsigned)call->uid,
			 bits & ~has & RIGHT_WRITE ? "write" : "read");
}
