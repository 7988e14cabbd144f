#include "fs/save/ask.h"

#include <errno.h>

/* Servers were seen to take up to 2 s for each MiB. */
#define TIME_PER_MIB_MS 3000

/* Where the call may wait, which clang can't follow: to it the lock is held between these two. */
static void give_up(struct tree *tree, const struct call *call) LOCKED NO_LOCK_ANALYSIS
{
	if (!call->from_memory)
		lock_give(&tree->lock);
}

static void take_again(struct tree *tree, const struct call *call) LOCKED NO_LOCK_ANALYSIS
{
	if (!call->from_memory)
		lock_take(&tree->lock);
}

int ask_get(struct tree *tree, struct call *call, struct place *place, enum version_part part,
	    struct version **ret_version)
{
	give_up(tree, call);
	int error = store_get(tree->terms->store, place, part, call, ret_version);
	take_again(tree, call);
	return error;
}

int ask_put(struct tree *tree, struct call *call, struct place *place, const struct put *put,
	    struct version **ret_version)
{
	give_up(tree, call);
	int error = store_put(tree->terms->store, place, put, call, ret_version);
	take_again(tree, call);
	return error;
}

int ask_remove(struct tree *tree, struct call *call, struct place *place, const struct version *base)
{
	give_up(tree, call);
	int error = store_remove(tree->terms->store, place, base, call);
	take_again(tree, call);
	return error;
}

int ask_check_read(struct tree *tree, struct call *call, struct place *place)
{
	give_up(tree, call);
	int error = store_check_read(tree->terms->store, place, call);
	take_again(tree, call);
	return error;
}

int ask_check_write(struct tree *tree, struct call *call, struct place *place)
{
	give_up(tree, call);
	int error = store_check_write(tree->terms->store, place, call);
	take_again(tree, call);
	return error;
}

int ask_check_any(struct tree *tree, struct call *call, struct place *place)
{
	give_up(tree, call);
	int error = store_check_any(tree->terms->store, place, call);
	take_again(tree, call);
	return error;
}

int ask_list(struct tree *tree, struct call *call, struct place *place, struct listing **ret_listing)
{
	give_up(tree, call);
	int error = store_list(tree->terms->store, place, call, ret_listing);
	take_again(tree, call);
	return error;
}

int ask_list_namespaces(struct tree *tree, struct call *call, struct namespace_names *ret_names)
{
	give_up(tree, call);
	int error = store_list_namespaces(tree->terms->store, call, ret_names);
	take_again(tree, call);
	return error;
}

int ask_create_namespace(struct tree *tree, struct call *call, struct place *place)
{
	give_up(tree, call);
	int error = store_create_namespace(tree->terms->store, place, call);
	take_again(tree, call);
	return error;
}

int ask_remove_namespace(struct tree *tree, struct call *call, struct place *place)
{
	give_up(tree, call);
	int error = store_remove_namespace(tree->terms->store, place, call);
	take_again(tree, call);
	return error;
}

int ask_rights(struct tree *tree, struct call *call, struct place *place, unsigned bits)
{
	const struct terms *terms = tree->terms;

	give_up(tree, call);
	int error = terms->identities ? identity_store_load_rights(terms->identities, place, bits, call) :
					rights_load(terms->rights, place, bits, call);
	take_again(tree, call);
	return error;
}

int ask_pause(struct tree *tree, struct call *call, int64_t pause_ms)
{
	if (call->from_memory)
		return -EWOULDBLOCK;
	lock_give(&tree->lock);
	int error = call_sleep(call, pause_ms);
	lock_take(&tree->lock);
	return error;
}

void ask_grant_time(struct call *call, size_t size)
{
	call->deadline_ms += (int64_t)(size >> 20) * TIME_PER_MIB_MS;
}
