#include "fs/node/holding.h"

#include <stdlib.h>

struct user {
	struct table_link link; /* first; by uid */
	uid_t uid;
	size_t amounts[HOLDING_KIND_COUNT];
};

static bool is_of(const struct table_link *link, const void *uid)
{
	return ((const struct user *)link)->uid == *(const uid_t *)uid;
}

static struct user *find(const struct holdings *holdings, uid_t uid)
{
	return (struct user *)table_find(&holdings->users, table_hash(&uid, sizeof(uid)), is_of, &uid);
}

void holding_add(struct holdings *holdings, uid_t uid, enum holding_kind kind, size_t amount)
{
	struct user *user = find(holdings, uid);

	holdings->total[kind] += amount;
	if (!user && (user = calloc(1, sizeof(*user)))) {
		user->uid = uid;
		table_add(&holdings->users, &user->link, table_hash(&uid, sizeof(uid)));
	}
	if (user)
		user->amounts[kind] += amount;
}

void holding_take(struct holdings *holdings, uid_t uid, enum holding_kind kind, size_t amount)
{
	struct user *user = find(holdings, uid);
	bool holds_any = false;

	holdings->total[kind] -= amount;
	if (!user)
		return;
	user->amounts[kind] -= amount < user->amounts[kind] ? amount : user->amounts[kind];
	for (size_t i = 0; i < HOLDING_KIND_COUNT; i++)
		holds_any |= user->amounts[i];
	if (holds_any)
		return;
	table_remove(&holdings->users, &user->link);
	free(user);
}

size_t holding_of(const struct holdings *holdings, uid_t uid, enum holding_kind kind)
{
	const struct user *user = find(holdings, uid);

	return user ? user->amounts[kind] : 0;
}

void holding_release(struct holdings *holdings)
{
	for (struct table_link *link = table_next(&holdings->users, NULL), *next; link; link = next) {
		next = table_next(&holdings->users, link);
		free(link);
	}
	table_release(&holdings->users);
}
