/*
 * The rights as a layer of the stack: everything is handed to the layer below, and what comes of it is learnt.
 */
#include <errno.h>

#include "store/rights_private.h"

static struct rights *rights_of(struct store *store)
{
	return (struct rights *)store;
}

static struct store *lower_of(struct store *store)
{
	return rights_of(store)->lower;
}

static int rights_store_get(struct store *store, const struct key *key, enum version_part part,
			    struct call *call, struct version **ret_version)
{
	const struct rights_place place = { key->namespace_id, key->group, key->data_id };
	int error = store_get(lower_of(store), key, part, call, ret_version);

	rights_learn(rights_of(store), &place, KIND_READ, error);
	return error;
}

/* What is refused of a put may be reading back or writing. */
static int rights_store_put(struct store *store, const struct key *key, const struct put *put,
			    struct call *call, struct version **ret_version)
{
	int error = store_put(lower_of(store), key, put, call, ret_version);

	if (error == -EACCES)
		rights_doubt(rights_of(store), key);
	return error;
}

static int rights_store_remove(struct store *store, const struct key *key, const struct version *base,
			       struct call *call)
{
	int error = store_remove(lower_of(store), key, base, call);

	if (error == -EACCES)
		rights_doubt(rights_of(store), key);
	return error;
}

static int rights_store_list(struct store *store, const char *namespace_id, const char *group,
			     struct call *call, struct listing **ret_listing)
{
	const struct rights_place place = { namespace_id, group, NULL };
	int error = store_list(lower_of(store), namespace_id, group, call, ret_listing);

	rights_learn(rights_of(store), &place, KIND_READ, error);
	return error;
}

static int rights_store_check_any(struct store *store, const char *namespace_id, const char *group,
				  struct call *call)
{
	const struct rights_place place = { namespace_id, group, NULL };
	int error = store_check_any(lower_of(store), namespace_id, group, call);

	rights_learn(rights_of(store), &place, KIND_READ, error);
	return error;
}

static int rights_store_list_namespaces(struct store *store, struct call *call,
					struct namespace_names *ret_names)
{
	return store_list_namespaces(lower_of(store), call, ret_names);
}

static int rights_store_create_namespace(struct store *store, const char *namespace_id, struct call *call)
{
	const struct rights_place place = { NULL, NULL, NULL };
	int error = store_create_namespace(lower_of(store), namespace_id, call);

	rights_learn(rights_of(store), &place, KIND_WRITE, error);
	return error;
}

static int rights_store_remove_namespace(struct store *store, const char *namespace_id, struct call *call)
{
	return store_remove_namespace(lower_of(store), namespace_id, call);
}

static int rights_store_check_write(struct store *store, const struct key *key, struct call *call)
{
	return rights_check_write(rights_of(store), key, call);
}

static int rights_store_check_read(struct store *store, const struct key *key, struct call *call)
{
	return rights_check_read(rights_of(store), key, call);
}

static void rights_store_set_events(struct store *store, const struct store_events *events, void *arg)
{
	store_set_events(lower_of(store), events, arg);
}

static void rights_store_watch(struct store *store, const struct key *key, const char *md5)
{
	store_watch(lower_of(store), key, md5);
}

static bool rights_store_is_watched(struct store *store, const struct key *key)
{
	return store_is_watched(lower_of(store), key);
}

static void rights_store_watch_names(struct store *store, const char *namespace_id)
{
	store_watch_names(lower_of(store), namespace_id);
}

static size_t rights_store_content_limit(struct store *store)
{
	return store_content_limit(lower_of(store));
}

static bool rights_store_name_is_possible(struct store *store, enum name_kind kind, const char *name)
{
	return store_name_is_possible(lower_of(store), kind, name);
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
	.list_namespaces = rights_store_list_namespaces,
	.create_namespace = rights_store_create_namespace,
	.remove_namespace = rights_store_remove_namespace,
	.set_events = rights_store_set_events,
	.watch = rights_store_watch,
	.is_watched = rights_store_is_watched,
	.watch_names = rights_store_watch_names,
	.content_limit = rights_store_content_limit,
	.name_is_possible = rights_store_name_is_possible,
	.free = rights_store_free,
};
