#include "store/nacos_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/http/config.h"
#include "nacos/http/namespace.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/text.h"
#include "util/user.h"

/* What a put leaves of its time for reading back, and how long it reads back before it believes that nothing came. */
#define READ_BACK_RESERVE_MS 2000
#ifndef READ_BACK_SETTLE_MS /* a test waits less */
#define READ_BACK_SETTLE_MS 2000
#endif
#define READ_BACK_PAUSE_MS 50

struct nacos_store {
	struct store store;
	struct nacos_transport *transport;
	const struct store_events *events; /* NULL: nobody wants to know */
	void *events_arg;
};

static struct nacos_transport *transport_of(struct store *store)
{
	return ((struct nacos_store *)store)->transport;
}

static struct nacos_client *client_of(struct store *store)
{
	return nacos_transport_client(transport_of(store));
}

static int version_from_config(struct nacos_config *config, struct version **ret_version)
{
	struct version *version =
		version_new(&config->content, config->md5, config->type, config->modified_ms);

	if (!version)
		return -ENOMEM;
	version->data_key = steal_pointer(config->encrypted_data_key);
	*ret_version = version;
	return 0;
}

/* Notes whether the server answered. */
static int answer(struct call *call, int error)
{
	call->answered |= !error || error == -ENOENT || error == -EACCES;
	return error;
}

static int nacos_store_get(struct store *store, struct place *place, enum version_part part,
			   struct call *call, struct version **ret_version)
{
	if (call->from_memory)
		return -EWOULDBLOCK;
	cleanup_nacos_config struct nacos_config config = { 0 };
	int error = answer(call, nacos_transport_get(transport_of(store), place, call, &config));

	(void)part; /* the server sends all or nothing */
	return error ? error : version_from_config(&config, ret_version);
}

/* What a put knows while it runs. */
struct putting {
	struct nacos_transport *transport;
	struct nacos_client *client;
	struct place *place;
	const struct put *put;
	char text[PLACE_TEXT_SIZE]; /* of the place */
};

static int check_content(const struct putting *putting, struct call *call)
{
	const struct put *put = putting->put;

	if (!text_is_utf8(put->content, put->size))
		return call_fail(call, -EILSEQ, "%s: not UTF-8 text, the server would damage it", putting->text);
	if (text_is_blank(put->content, put->size))
		return call_fail(call, -EINVAL, "%s: the server does not store an empty text", putting->text);
	if (put->data_key && *put->data_key && !nacos_transport_carries_data_key(putting->transport))
		return call_fail(call, -EOPNOTSUPP,
				 "%s: this server does not take the data key of an encrypted config over HTTP",
				 putting->text);
	return 0;
}

static bool config_has_content(const struct nacos_config *config, const struct putting *putting)
{
	const struct put *put = putting->put;

	if (config->content.size != put->size || memcmp(config->content.data, put->content, put->size))
		return false;
	/* Some servers lose the data key: then the ciphertext is worth nothing. */
	return !put->data_key ||
	       !strcmp(put->data_key, config->encrypted_data_key ? config->encrypted_data_key : "");
}

/* The text came, its data key did not. */
static bool config_lost_data_key(const struct nacos_config *config, const struct putting *putting)
{
	const struct put *put = putting->put;

	return config->content.size == put->size &&
	       !memcmp(config->content.data, put->content, put->size) &&
	       !config_has_content(config, putting);
}

/*
 * Compares what the server has now (NULL: nothing) with the base. 0: go on and publish; 1: it has our bytes already;
 * -EBUSY.
 */
static int compare_with_base(const struct putting *putting, const struct nacos_config *now, struct call *call)
{
	const struct version *base = putting->put->base;

	if (now && config_has_content(now, putting))
		return 1;
	if (now && !base)
		return call_fail(call, -EBUSY, "%s: somebody else created it meanwhile", putting->text);
	if (!now && base)
		return call_fail(call, -EBUSY, "%s: somebody else removed it meanwhile", putting->text);
	if (now && strcmp(now->md5, base->md5))
		return call_fail(call, -EBUSY, "%s: somebody else changed it meanwhile", putting->text);
	return 0;
}

/*
 * Reads back until the answer is clear. published: what the publish said. 0 and the version when the server has our
 * bytes; otherwise the error of the publish, or why its success is not believed.
 */
static int read_back(const struct putting *putting, int published, struct call *call,
		     struct version **ret_version)
{
	struct call settle;
	char reason[CALL_REASON_SIZE];
	int error;

	memcpy(reason, call->reason, sizeof(reason));
	call_start_part(&settle, call, READ_BACK_SETTLE_MS);
	do {
		cleanup_nacos_config struct nacos_config now = { 0 };
		error = nacos_config_get_detail(putting->client, putting->place, call, &now);

		if (!error && config_has_content(&now, putting))
			return version_from_config(&now, ret_version);
		bool at_base = error == -ENOENT ?
				       !putting->put->base :
				       !error && putting->put->base &&
					       !strcmp(now.md5, putting->put->base->md5);
		if (!error && config_lost_data_key(&now, putting))
			return call_fail(call, -EIO, "%s: the server lost the data key", putting->text);
		if (!at_base && (!error || error == -ENOENT))
			return call_fail(call, -EBUSY, "%s: somebody else changed it at the same moment",
					 putting->text);
		if (error && !at_base && !store_error_is_outage(error))
			return error;
		/* Still as before, or no answer: the node may be writing, or coming back. */
	} while (!call_sleep(&settle, READ_BACK_PAUSE_MS));
	if (published)
		return call_fail(call, published, "%s", reason);
	if (error && error != -ENOENT)
		return error;
	return call_fail(call, -EIO, "%s: the server said yes but does not have the new text", putting->text);
}

/* The metadata that the publish must carry, because what is left out is wiped. */
static int load_metadata(const struct putting *putting, struct call *call, struct nacos_config *config,
			 bool *exists)
{
	struct place *from = putting->put->metadata_of;

	if (!from || from == putting->place)
		return 0;
	cleanup_nacos_config struct nacos_config other = { 0 };
	int error = nacos_config_get_detail(putting->client, from, call, &other);
	if (error)
		return error;
	nacos_config_release(config);
	*config = other;
	other = (struct nacos_config){ 0 };
	free(config->encrypted_data_key); /* it belongs to the other's text */
	config->encrypted_data_key = NULL;
	*exists = true;
	return 0;
}

/* Who saves, as the history of the server is to show it: the Nacos user and the local one. */
static int format_source_user(const struct putting *putting, uid_t uid, struct buffer *text)
{
	const char *login = nacos_client_username(putting->client);
	char local[USER_NAME_SIZE];

	if (uid == CALL_NO_USER)
		return login ? buffer_append_text(text, login) : 0;
	user_format_name(uid, local);
	return login ? buffer_append_format(text, "%s (%s)", login, local) : buffer_append_text(text, local);
}

static int publish(const struct putting *putting, const struct nacos_config *metadata, const char *type,
		   struct call *call, bool *ret_uncertain)
{
	const struct put *put = putting->put;
	cleanup_buffer struct buffer source_user = BUFFER_INIT;
	if (format_source_user(putting, call->uid, &source_user))
		return -ENOMEM;
	const struct nacos_publish publish = {
		.content = put->content,
		.size = put->size,
		.type = type,
		.description = metadata->description,
		.app_name = metadata->app_name,
		.tags = metadata->tags,
		.use = metadata->use,
		.effect = metadata->effect,
		.schema = metadata->schema,
		.encrypted_data_key = put->data_key ? put->data_key : metadata->encrypted_data_key,
		.source_user = source_user.size ? source_user.data : NULL,
		.cas_md5 = put->blind ? NULL : put->base ? put->base->md5 : NACOS_MD5_OF_NOTHING,
	};
	struct call part;
	int64_t left_ms = call_left_ms(call);
	int64_t part_ms = left_ms > 2 * READ_BACK_RESERVE_MS ? left_ms - READ_BACK_RESERVE_MS : left_ms / 2;

	call_start_part(&part, call, part_ms);
	int error = nacos_transport_publish(putting->transport, putting->place, &publish, &part, ret_uncertain);
	return error ? call_fail(call, error, "%s", part.reason) : 0;
}

/*
 * Where this account may write but not read, nothing can be compared, kept or read back: its description goes, and the server's
 * yes is believed. What can't be told from nothing that way is refused: a lost answer, and ciphertext whose data key a
 * server may lose.
 */
static int put_blindly(const struct putting *putting, struct call *call, struct version **ret_version)
{
	const struct put *put = putting->put;
	const struct nacos_config nothing = { 0 };
	bool uncertain = false;
	char md5[HASH_MD5_HEX_SIZE];

	if (put->base || (put->data_key && *put->data_key))
		return call_fail(call, -EACCES, "%s: this account may not read it, so it can't be saved safely",
				 putting->text);
	int error = publish(putting, &nothing, put->new_type, call, &uncertain);
	if (error && uncertain)
		return call_fail(call, error, "%s: whether it was saved is not known, this account may not read it",
				 putting->text);
	if (!error)
		error = hash_md5_hex(put->content, put->size, md5);
	if (error)
		return error;
	cleanup_buffer struct buffer content = BUFFER_INIT;
	if (buffer_append(&content, put->content, put->size))
		return -ENOMEM;
	struct version *version = version_new(&content, md5, put->new_type ? put->new_type : "", 0);
	if (!version)
		return -ENOMEM;
	version->unconfirmed = true;
	*ret_version = version;
	return 0;
}

static int put_compared(const struct putting *putting, struct call *call, struct version **ret_version)
{
	cleanup_nacos_config struct nacos_config now = { 0 };
	int error = nacos_config_get_detail(putting->client, putting->place, call, &now);
	bool exists = !error;

	if (error == -EACCES && !putting->put->base)
		return put_blindly(putting, call, ret_version);
	if (error && error != -ENOENT)
		return error;
	if (exists && putting->put->blind)
		return call_fail(call, -EBUSY, "%s: this account was just allowed to read it: open it again",
				 putting->text);
	error = compare_with_base(putting, exists ? &now : NULL, call);
	if (error < 0)
		return error;
	if (error == 1)
		return version_from_config(&now, ret_version);
	error = load_metadata(putting, call, &now, &exists);
	if (error)
		return error;

	bool uncertain = false;
	const char *type = exists ? now.type : putting->put->new_type;
	error = publish(putting, &now, type, call, &uncertain);
	if (error && !uncertain)
		return error;
	return read_back(putting, error, call, ret_version);
}

static int nacos_store_put(struct store *store, struct place *place, const struct put *put,
			   struct call *call, struct version **ret_version)
{
	struct putting putting = {
		.transport = transport_of(store),
		.client = client_of(store),
		.place = place,
		.put = put,
	};

	place_format(place, putting.text, sizeof(putting.text));
	int error = check_content(&putting, call);
	return error ? error : put_compared(&putting, call, ret_version);
}

static int nacos_store_remove(struct store *store, struct place *place, const struct version *base,
			      struct call *call)
{
	struct nacos_client *client = client_of(store);
	char text[PLACE_TEXT_SIZE];
	cleanup_nacos_config struct nacos_config now = { 0 };

	if (!base)
		return nacos_config_remove(client, place, call);
	place_format(place, text, sizeof(text));
	int error = nacos_config_get_detail(client, place, call, &now);
	if (error)
		return error == -ENOENT ? 0 : error;
	if (strcmp(now.md5, base->md5))
		return call_fail(call, -EBUSY, "%s: somebody else changed it meanwhile, not removed", text);
	error = nacos_transport_remove(transport_of(store), place, call);
	if (error && !store_error_is_outage(error))
		return error;

	/* Whatever was answered: is it gone? */
	struct call settle;
	int asked;
	call_start_part(&settle, call, READ_BACK_SETTLE_MS);
	do {
		cleanup_nacos_config struct nacos_config left = { 0 };
		asked = nacos_config_get_detail(client, place, call, &left);
		if (asked == -ENOENT)
			return 0;
	} while (!call_sleep(&settle, READ_BACK_PAUSE_MS));
	if (!asked)
		return call_fail(call, -EEXIST, "%s: the server still has it after its removal", text);
	return call_fail(call, error ? error : -EIO, "%s: whether it was removed could not be learnt", text);
}

static int nacos_store_check_write(struct store *store, struct place *place, struct call *call)
{
	if (call->from_memory)
		return -EWOULDBLOCK;

	/* "*" is no name, which gRPC has no clear answer to. */
	if (!strcmp(place_data_id(place), "*"))
		return nacos_config_check_write(client_of(store), place, call);
	return nacos_transport_check_write(transport_of(store), place, call);
}

static int nacos_store_check_read(struct store *store, struct place *place, struct call *call)
{
	cleanup_nacos_config struct nacos_config config = { 0 };
	int error = nacos_transport_get(transport_of(store), place, call, &config);

	return error == -ENOENT ? 0 : error;
}

static int nacos_store_check_create(struct store *store, struct call *call)
{
	if (call->from_memory)
		return -EWOULDBLOCK;
	return nacos_namespace_check_create(client_of(store), call);
}

static int nacos_store_list(struct store *store, struct place *place, struct call *call,
			    struct listing **ret_listing)
{
	if (call->from_memory)
		return -EWOULDBLOCK;
	cleanup_nacos_listing struct nacos_listing names = { 0 };
	char text[PLACE_TEXT_SIZE];
	int error = nacos_config_list(client_of(store), place_namespace_id(place), place_group(place), call, &names);

	answer(call, error);
	if (error)
		return error;
	cleanup_listing struct listing *listing = listing_new();
	if (!listing)
		return -ENOMEM;
	listing->items = calloc(names.count + 1, sizeof(*listing->items));
	if (!listing->items)
		return -ENOMEM;
	for (size_t i = 0; i < names.count; i++) {
		struct nacos_listed *from = &names.items[i];
		struct listing_item *to = &listing->items[i];

		to->group = steal_pointer(from->group);
		to->data_id = steal_pointer(from->data_id);
		memcpy(to->md5, from->md5, sizeof(to->md5));
	}
	listing->count = names.count;
	listing->settled = names.settled;
	if (!names.settled)
		log_warning("%s: configs came and went while they were listed, names may be missing",
			    place_format(place, text, sizeof(text)));
	*ret_listing = steal_pointer(listing);
	return 0;
}

static int nacos_store_check_any(struct store *store, struct place *place, struct call *call)
{
	if (call->from_memory)
		return -EWOULDBLOCK;
	int64_t count = 0;
	char text[PLACE_TEXT_SIZE];
	int error = nacos_config_count(client_of(store), place_namespace_id(place), place_group(place), call, &count);

	answer(call, error);
	if (error)
		return error;
	if (count > 0)
		return 0;
	return call_fail(call, -ENOENT, "%s: no configs", place_format(place, text, sizeof(text)));
}

static int nacos_store_list_namespaces(struct store *store, struct call *call,
				       struct namespace_names *ret_names)
{
	if (call->from_memory)
		return -EWOULDBLOCK;
	cleanup_nacos_namespace_list struct nacos_namespace_list list = { 0 };
	struct call step;

	call_start_part(&step, call, call->step_ms ? call->step_ms : call_left_ms(call));
	int error = nacos_namespace_list(client_of(store), &step, &list);
	if (error)
		return call_fail(call, error, "%s", step.reason);
	*ret_names = (struct namespace_names){ list.ids, list.count };
	list = (struct nacos_namespace_list){ 0 };
	return 0;
}

static int nacos_store_create_namespace(struct store *store, struct place *place, struct call *call)
{
	return answer(call, nacos_namespace_create(client_of(store), place_namespace_id(place), call));
}

static int nacos_store_remove_namespace(struct store *store, struct place *place, struct call *call)
{
	return nacos_namespace_remove(client_of(store), place_namespace_id(place), call);
}

/* ------------------------------------------------------------------- events */

static void tell_changed(void *arg, struct place *place)
{
	const struct nacos_store *store = arg;

	store->events->changed(store->events_arg, place);
}

static void tell_named(void *arg, struct place *place, bool exists)
{
	(void)exists; /* who asks will see, and see the latest */
	tell_changed(arg, place);
}

static void tell_names_watched(void *arg, const char *namespace_id, int error)
{
	const struct nacos_store *store = arg;
	cleanup_place struct place *place = place_new(namespace_id, NULL, NULL);

	if (place)
		store->events->names_watched(store->events_arg, place, error == 0);
}

static void tell_live(void *arg, bool live)
{
	const struct nacos_store *store = arg;

	store->events->live(store->events_arg, live);
}

static const struct nacos_watch_events watch_events = {
	.changed = tell_changed,
	.refused = tell_changed, /* it is not watched any more */
	.named = tell_named,
	.names_watched = tell_names_watched,
	.live = tell_live,
};

static void nacos_store_set_events(struct store *store, const struct store_events *events, void *arg)
{
	struct nacos_store *nacos_store = (struct nacos_store *)store;

	nacos_store->events = events;
	nacos_store->events_arg = arg;
	nacos_transport_set_events(nacos_store->transport, &watch_events, nacos_store);
}

static void nacos_store_watch(struct store *store, struct place *place, const char *md5)
{
	if (md5)
		nacos_transport_watch(transport_of(store), place, md5);
	else
		nacos_transport_unwatch(transport_of(store), place);
}

static bool nacos_store_is_watched(struct store *store, struct place *place)
{
	return nacos_transport_is_watched(transport_of(store), place);
}

static void nacos_store_watch_names(struct store *store, struct place *place)
{
	nacos_transport_watch_names(transport_of(store), place_namespace_id(place));
}

static size_t nacos_store_content_limit(struct store *store)
{
	return nacos_transport_content_limit(transport_of(store));
}

static bool nacos_store_name_is_possible(struct store *store, enum name_kind kind, const char *name)
{
	struct nacos_features features = nacos_client_features(client_of(store));

	switch (kind) {
	case NAME_NAMESPACE:
		return nacos_namespace_is_possible(&features, name);
	case NAME_GROUP:
		return nacos_group_is_possible(&features, name);
	case NAME_DATA_ID:
		return nacos_data_id_is_possible(&features, name);
	}
	return false;
}

/* Nothing is kept here. */
static void nacos_store_note_put(struct store *store, struct place *place, struct version *version,
				 const struct version *base)
{
	(void)store;
	(void)place;
	(void)version;
	(void)base;
}

static void nacos_store_free(struct store *store)
{
	free(store);
}

static const struct store_operations nacos_store_operations = {
	.get = nacos_store_get,
	.put = nacos_store_put,
	.remove = nacos_store_remove,
	.check_write = nacos_store_check_write,
	.check_read = nacos_store_check_read,
	.check_create = nacos_store_check_create,
	.list = nacos_store_list,
	.check_any = nacos_store_check_any,
	.list_namespaces = nacos_store_list_namespaces,
	.create_namespace = nacos_store_create_namespace,
	.remove_namespace = nacos_store_remove_namespace,
	.set_events = nacos_store_set_events,
	.watch = nacos_store_watch,
	.is_watched = nacos_store_is_watched,
	.watch_names = nacos_store_watch_names,
	.note_put = nacos_store_note_put,
	.content_limit = nacos_store_content_limit,
	.name_is_possible = nacos_store_name_is_possible,
	.free = nacos_store_free,
};

int nacos_store_new(struct nacos_transport *transport, struct store **ret_store)
{
	struct nacos_store *store = calloc(1, sizeof(*store));

	if (!store)
		return -ENOMEM;
	store->store.operations = &nacos_store_operations;
	store->transport = transport;
	*ret_store = &store->store;
	return 0;
}
