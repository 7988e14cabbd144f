/* Telling the server which configs are watched, in batches. */
#include <errno.h>
#include <string.h>

#include "nacos/grpc/json.h"
#include "nacos/grpc/watch_private.h"
#include "util/clock.h"
#include "util/json.h"
#include "util/log.h"

/* As many as the official client sends at once; the message limit is far away. */
#define BATCH_MAX 3000

/* What is told in one request: the parts are in watch->batch. */
struct batch {
	uint64_t epoch;
	bool listen; /* false: these are not watched any more */
	/*
	 * How the request says what it is about, for the check of rights: a right on the whole namespace is
	 * wanted unless it names the one group, or the one config, that it is about. Servers before 2.3
	 * know only the first.
	 */
	enum nacos_watch_scope scope;
	struct place *place; /* of the first part, held */
	struct buffer json;
	bool is_told; /* the server took it */
	bool is_forbidden; /* it says that we have no right */
};

static void release_batch(struct batch *batch)
{
	place_drop(batch->place);
	buffer_release(&batch->json);
}
#define cleanup_batch __attribute__((cleanup(release_batch)))

/* ---- which parts ---- */

/* With what scope is there a chance? */
static enum nacos_watch_scope find_scope(const struct nacos_grpc_watch *watch, const struct place *place)
{
	if (nacos_watch_rights_find(&watch->rights, place, NACOS_WATCH_NAMESPACE) != NACOS_WATCH_REFUSED)
		return NACOS_WATCH_NAMESPACE;
	if (!watch->can_narrow)
		return NACOS_WATCH_NOTHING;
	if (nacos_watch_rights_find(&watch->rights, place, NACOS_WATCH_GROUP) != NACOS_WATCH_REFUSED)
		return NACOS_WATCH_GROUP;
	return NACOS_WATCH_CONFIG;
}

/* Does the entry belong into the batch that has begun with another one? */
static bool belongs(const struct nacos_grpc_watch *watch, const struct batch *batch,
		    const struct nacos_watch_entry *entry)
{
	const struct place *group = entry->place->above;

	if (!batch->place)
		return true;
	if (batch->scope == NACOS_WATCH_CONFIG || entry->is_wanted != batch->listen ||
	    group->above != batch->place->above->above)
		return false;
	if (batch->scope == NACOS_WATCH_GROUP && group != batch->place->above)
		return false;
	return find_scope(watch, entry->place) == batch->scope;
}

/* Takes parts that can be told about in one request. False: there are none. */
static bool take_batch(struct nacos_grpc_watch *watch, struct batch *batch)
{
	struct nacos_watch_part *part, *next;

	for (part = watch->pending.first; part && watch->batch.count < BATCH_MAX; part = next) {
		const struct nacos_watch_entry *entry = part->entry;

		next = part->next;
		if (!belongs(watch, batch, entry))
			continue;
		if (!batch->place) {
			batch->listen = entry->is_wanted;
			batch->scope = find_scope(watch, entry->place);
			batch->place = place_hold(entry->place);
		}
		nacos_watch_move(part, &watch->batch);
		/* Who wants it again meanwhile must not believe that the server still has it. */
		if (!entry->is_wanted)
			((struct nacos_grpc_part *)part)->told_epoch = 0;
	}
	batch->epoch = watch->epoch;
	return batch->place != NULL;
}

/* ---- the request ---- */

static int append_name(const struct nacos_grpc_watch *watch, const struct place *place, struct buffer *json)
{
	int error = nacos_grpc_json_add(json, "dataId", place_data_id(place));

	if (!error)
		error = nacos_grpc_json_add(json, "group", place_group(place));
	if (!error)
		error = nacos_grpc_json_add(json, "tenant",
					    nacos_grpc_watch_wire_namespace(watch, place_namespace_id(place)));
	return error;
}

static int append_entry(const struct nacos_grpc_watch *watch, const struct nacos_watch_entry *entry,
			struct buffer *json)
{
	int error = buffer_append_text(json, json->data[json->size - 1] == '[' ? "{" : ",{");

	if (!error)
		error = append_name(watch, entry->place, json);
	if (!error)
		error = nacos_grpc_json_add(json, "md5", entry->md5);
	return error ? error : buffer_append_byte(json, '}');
}

static int append_scope(const struct nacos_grpc_watch *watch, const struct batch *batch, struct buffer *json)
{
	int error = 0;

	if (batch->scope == NACOS_WATCH_NAMESPACE)
		return 0;
	error = nacos_grpc_json_add(json, "tenant",
				    nacos_grpc_watch_wire_namespace(watch, place_namespace_id(batch->place)));
	if (!error)
		error = nacos_grpc_json_add(json, "group", place_group(batch->place));
	if (!error && batch->scope == NACOS_WATCH_CONFIG)
		error = nacos_grpc_json_add(json, "dataId", place_data_id(batch->place));
	return error;
}

static int write_batch(const struct nacos_grpc_watch *watch, struct batch *batch)
{
	struct buffer *json = &batch->json;
	int error = buffer_append_format(json, "{\"listen\":%s", batch->listen ? "true" : "false");

	if (!error)
		error = append_scope(watch, batch, json);
	if (!error)
		error = buffer_append_text(json, ",\"configListenContexts\":[");
	for (const struct nacos_watch_part *part = watch->batch.first; !error && part; part = part->next)
		error = append_entry(watch, part->entry, json);
	return error ? error : buffer_append_text(json, "]}");
}

/* ---- what came of it ---- */

/* The configs that the answer says have changed. */
static void note_changes(struct nacos_grpc_watch *watch, const struct nacos_grpc_answer *answer)
{
	cleanup_json struct json *document = NULL;
	const struct json *item;

	if (json_parse(answer->json.data, answer->json.size, &document))
		return;
	item = json_first(json_member(document, "changedConfigs"));
	for (; item; item = json_next(item)) {
		const char *group = json_text(item, "group"), *data_id = json_text(item, "dataId");

		if (group && data_id)
			nacos_grpc_watch_note_change(watch, json_text(item, "tenant"), group, data_id);
	}
}

/* Without the lock: sends a batch, and notes what the server answers in it. */
static void send_batch(struct nacos_grpc_watch *watch, struct batch *batch)
{
	cleanup_nacos_grpc_answer struct nacos_grpc_answer answer = { .result_code = -1 };
	int error = nacos_grpc_watch_send(watch, "ConfigBatchListenRequest", "listening for changes", &batch->json,
					  batch->epoch, &answer);

	batch->is_forbidden = !error && answer.result_code != NACOS_GRPC_OK &&
			      answer.error_code == NACOS_GRPC_ERROR_FORBIDDEN;
	batch->is_told = !error && answer.result_code == NACOS_GRPC_OK;
	if (!error && !batch->is_told && !batch->is_forbidden)
		log_warning("gRPC: the server does not take what is to be watched: error %d",
			    (int)answer.error_code);
	if (batch->is_told)
		note_changes(watch, &answer);
}

/* What became of one part of a batch. */
static void settle_part(struct nacos_grpc_watch *watch, const struct batch *batch, struct nacos_watch_part *part,
			bool is_refused)
{
	const struct nacos_watch_entry *entry = part->entry;

	nacos_watch_move(part, NULL);
	if (batch->is_told && batch->listen)
		((struct nacos_grpc_part *)part)->told_epoch = batch->epoch;
	if (!entry->is_wanted && (!batch->listen || is_refused || !batch->is_told)) {
		/* The server has forgotten it, or will with the connection. */
		nacos_watch_let_go(&watch->feeder, part);
		return;
	}
	if (batch->listen)
		nacos_watch_note_refusal(watch->feeder.watch, part, is_refused);
	/* Not told, or meanwhile wanted otherwise than it was told. */
	if (!part->is_refused && (!batch->is_told || entry->is_wanted != batch->listen))
		nacos_watch_move(part, &watch->pending);
}

static void settle_batch(struct nacos_grpc_watch *watch, const struct batch *batch)
{
	bool is_refused = batch->scope == NACOS_WATCH_NOTHING ||
			  (batch->is_forbidden && batch->scope == NACOS_WATCH_CONFIG);

	if (batch->is_forbidden && batch->scope < NACOS_WATCH_CONFIG)
		nacos_watch_rights_keep(&watch->rights, batch->place, batch->scope, false);
	while (watch->batch.first)
		settle_part(watch, batch, watch->batch.first, is_refused);
	if (batch->is_told || batch->is_forbidden || is_refused) {
		watch->failures = 0;
		return;
	}
	nacos_grpc_watch_delay(watch);
	nacos_watch_note_live(&watch->feeder, false);
}

bool nacos_grpc_watch_tell_configs(struct nacos_grpc_watch *watch)
{
	cleanup_batch struct batch batch = { .place = NULL };
	int error;

	if (!nacos_grpc_watch_can_tell(watch) || !take_batch(watch, &batch))
		return false;
	error = write_batch(watch, &batch);
	if (!error && batch.scope != NACOS_WATCH_NOTHING) {
		nacos_watch_unlock(watch->feeder.watch);
		send_batch(watch, &batch);
		nacos_watch_lock(watch->feeder.watch);
	}
	settle_batch(watch, &batch);
	return true;
}
