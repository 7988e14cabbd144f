/*
 * The rights as a layer of the stack: everything is handed to the layer below, and what comes of it is learnt.
 */
#include <errno.h>

#include "store/rights_private.h"

static struct rights *rights_of(struct store *store)
{
	return (struct rights *)store;
}

static int rights_store_get(struct store *store, struct place *place, enum version_part part,
			    struct call *call, struct version **ret_version)
{
	int error = store_get(store->lower, place, part, call, ret_version);

	rights_learn(rights_of(store), place, KIND_READ, error);
	return error;
}

/* What is refused of a put may be reading back or writing. */
static int rights_store_put(struct store *store, struct place *place, const struct put *put,
			    struct call *call, struct version **ret_version)
{
	int error = store_put(store->lower, place, put, call, ret_version);

	if (error == -EACCES)
		rights_doubt(rights_of(store), place);
	return error;
}

static int rights_store_remove(struct store *store, struct place *place, const struct version *base,
			       struct call *call)
{
	int error = store_remove(store->lower, place, base, call);

	if (error == -EACCES)
		rights_doubt(rights_of(store), place);
	return error;
}

static int rights_store_list(struct store *store, struct place *place, struct call *call,
			     struct listing **ret_listing)
{
	int error = store_list(store->lower, place, call, ret_listing);

	rights_learn(rights_of(store), place, KIND_READ, error);
	return error;
}

static int rights_store_check_any(struct store *store, struct place *place, struct call *call)
{
	int error = store_check_any(store->lower, place, call);

	rights_learn(rights_of(store), place, KIND_READ, error);
	return error;
}

static int rights_store_create_namespace(struct store *store, struct place *place, struct call *call)
{
	int error = store_create_namespace(store->lower, place, call);

	rights_learn(rights_of(store), place->above, KIND_WRITE, error);
	return error;
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
