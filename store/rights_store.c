/*
 * The rights as a layer of the stack: what is known to be refused is refused, the rest is handed to the layer below, and what the
 * server says to that is learnt.
 */
#include <errno.h>

#include "store/rights_private.h"
#include "util/cleanup.h"

static struct rights *rights_of(struct store *store)
{
	return (struct rights *)store;
}

/* What is known to be refused is refused here: to the account, and to the user of the call. */
static int check_known(struct rights *rights, struct place *place, enum rights_kind kind, struct call *call)
{
	bool reads = kind == KIND_READ;
	char text[PLACE_TEXT_SIZE];

	if (rights_known_answer(rights, place, kind) == -EACCES)
		return call_fail(call, -EACCES, "%s: this account may not %s it", place_format(place, text, sizeof(text)),
				 reads ? "read" : "write");
	return rights_check_user(rights, place, reads ? RIGHT_READ : RIGHT_WRITE, call);
}

static int rights_store_get(struct store *store, struct place *place, enum version_part part,
			    struct call *call, struct version **ret_version)
{
	struct rights *rights = rights_of(store);
	cleanup_version struct version *version = NULL;
	char text[PLACE_TEXT_SIZE];
	int known = rights_known_answer(rights, place, KIND_READ);
	int error = part == VERSION_WHOLE ? rights_check_user(rights, place, RIGHT_READ, call) : 0;

	/* One who reads attributes asks again: so it is learnt that it may be read by now. */
	if (known == -EACCES && part != VERSION_ATTRIBUTES)
		return call_fail(call, -EACCES, "%s: this account may not read it", place_format(place, text, sizeof(text)));
	if (error)
		return error;
	call->answered = false;
	error = store_get(store->lower, place, part, call, &version);
	if (call->answered)
		rights_learn(rights, place, KIND_READ, error);
	else if (known && (!error || error == -ENOENT))
		error = rights_check_read(rights, place, call) ?: error; /* it was kept: may it still be read? */
	if (!error)
		*ret_version = steal_pointer(version);
	return error;
}

/* What is refused of a put may be reading back or writing. */
static int rights_store_put(struct store *store, struct place *place, const struct put *put,
			    struct call *call, struct version **ret_version)
{
	struct rights *rights = rights_of(store);
	int error = check_known(rights, place, KIND_WRITE, call);

	if (!error && put->metadata_of)
		error = check_known(rights, put->metadata_of, KIND_READ, call);
	if (error)
		return error;
	error = store_put(store->lower, place, put, call, ret_version);
	if (error == -EACCES)
		rights_doubt(rights, place);
	return error;
}

static int rights_store_remove(struct store *store, struct place *place, const struct version *base,
			       struct call *call)
{
	struct rights *rights = rights_of(store);
	int error = check_known(rights, place, KIND_WRITE, call);

	if (error)
		return error;
	error = store_remove(store->lower, place, base, call);
	if (error == -EACCES)
		rights_doubt(rights, place);
	return error;
}

/* Learns from what the server itself said, not from what is kept. */
static int learn_answer(struct store *store, struct place *place, enum rights_kind kind, struct call *call, int error)
{
	if (call->answered)
		rights_learn(rights_of(store), place, kind, error);
	return error;
}

static int rights_store_list(struct store *store, struct place *place, struct call *call,
			     struct listing **ret_listing)
{
	call->answered = false;
	return learn_answer(store, place, KIND_READ, call, store_list(store->lower, place, call, ret_listing));
}

static int rights_store_check_any(struct store *store, struct place *place, struct call *call)
{
	call->answered = false;
	return learn_answer(store, place, KIND_READ, call, store_check_any(store->lower, place, call));
}

static int rights_store_create_namespace(struct store *store, struct place *place, struct call *call)
{
	call->answered = false;
	return learn_answer(store, place->above, KIND_WRITE, call, store_create_namespace(store->lower, place, call));
}

static int rights_store_check_write(struct store *store, struct place *place, struct call *call)
{
	return rights_check_write(rights_of(store), place, call);
}

static int rights_store_check_read(struct store *store, struct place *place, struct call *call)
{
	return rights_check_read(rights_of(store), place, call);
}

static void rights_store_free(struct store *store)
{
	rights_free(rights_of(store));
}

const struct store_operations rights_operations = {
	.get = rights_store_get,
	.put = rights_store_put,
	.remove = rights_store_remove,
	.check_write = rights_store_check_write,
	.check_read = rights_store_check_read,
	.list = rights_store_list,
	.check_any = rights_store_check_any,
	.create_namespace = rights_store_create_namespace,
	.free = rights_store_free,
};
