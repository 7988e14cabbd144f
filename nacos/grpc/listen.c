/*
 * The thread of the watch: tells the server what is watched, in batches, compares all of it now and
 * then, and reports to the caller what has changed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/grpc/json.h"
#include "nacos/grpc/watch_private.h"
#include "nacos/http/request.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/json.h"
#include "util/log.h"

/* As many as the official client sends at once; the message limit is far away. */
#define BATCH_MAX 3000

#define COMPARE_INTERVAL_MS 180000
#define REQUEST_TIMEOUT_MS 10000
#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 30000

/* So many events are reported before the server's turn comes again. */
#define REPORTS_AT_ONCE 256

/* Error codes of the watch for names. */
#define ERROR_TOO_MANY_PATTERNS 50310
#define ERROR_TOO_MANY_NAMES 50311

/*
 * How a request says what it is about, for the check of rights: a right on the whole namespace is
 * wanted unless it names the one group, or the one config, that it is about. Servers before 2.3
 * know only the first.
 */
enum scope {
	SCOPE_NAMESPACE,
	SCOPE_GROUP,
	SCOPE_CONFIG,
	SCOPE_NONE, /* there is no way */
};

struct batch {
	uint64_t epoch;
	bool listen; /* false: these are not watched any more */
	enum scope scope;
	const struct nacos_key *key; /* of the first entry */
	struct nacos_watch_entry *entries[BATCH_MAX]; /* all busy */
	size_t count;
	struct buffer json;
};

/* With the lock held: is there a connection, and has this thread taken note of it? */
static bool is_connected(const struct nacos_watch *watch)
{
	return watch->epoch != 0 && watch->seen_epoch == watch->epoch;
}

/* ---- rights ---- */

void nacos_watch_forget_limits(struct nacos_watch *watch)
{
	while (watch->limits) {
		struct nacos_watch_limit *limit = watch->limits;

		watch->limits = limit->next;
		free(limit->namespace_id);
		free(limit->group);
		free(limit);
	}
}

/* With the lock held: with what scope is there a chance? */
static enum scope find_scope(const struct nacos_watch *watch, const struct nacos_key *key)
{
	enum scope scope = SCOPE_NAMESPACE;

	for (const struct nacos_watch_limit *limit = watch->limits; limit; limit = limit->next) {
		if (strcmp(limit->namespace_id, key->namespace_id) != 0)
			continue;
		if (!watch->can_narrow)
			return SCOPE_NONE;
		if (limit->group && strcmp(limit->group, key->group) == 0)
			return SCOPE_CONFIG;
		scope = SCOPE_GROUP;
	}
	return scope;
}

/* With the lock held: remembers a refusal. */
static void add_limit(struct nacos_watch *watch, const struct batch *batch)
{
	struct nacos_watch_limit *limit = calloc(1, sizeof(*limit));

	if (!limit)
		return;
	limit->namespace_id = strdup(batch->key->namespace_id);
	if (batch->scope == SCOPE_GROUP)
		limit->group = strdup(batch->key->group);
	if (!limit->namespace_id || (batch->scope == SCOPE_GROUP && !limit->group)) {
		free(limit->namespace_id);
		free(limit->group);
		free(limit);
		return;
	}
	limit->next = watch->limits;
	watch->limits = limit;
	log_debug("gRPC: no right to watch all of %s%s%s", limit->namespace_id,
		  limit->group ? "/" : "", limit->group ? limit->group : "");
}

/* ---- batches ---- */

static const char *wire_namespace(const struct nacos_watch *watch, const char *namespace_id)
{
	return nacos_generation_namespace_id(watch->grpc->features.generation, namespace_id);
}

static int append_entry(const struct nacos_watch *watch, const struct nacos_watch_entry *entry,
			struct buffer *json)
{
	int error = buffer_append_text(json, json->data[json->size - 1] == '[' ? "{" : ",{");

	if (!error)
		error = nacos_grpc_json_add(json, "dataId", entry->node.key.data_id);
	if (!error)
		error = nacos_grpc_json_add(json, "group", entry->node.key.group);
	if (!error)
		error = nacos_grpc_json_add(json, "tenant",
					    wire_namespace(watch, entry->node.key.namespace_id));
	if (!error)
		error = nacos_grpc_json_add(json, "md5", entry->md5);
	return error ? error : buffer_append_byte(json, '}');
}

/* With the lock held. */
static int write_batch(const struct nacos_watch *watch, struct batch *batch)
{
	struct buffer *json = &batch->json;
	int error = buffer_append_format(json, "{\"listen\":%s", batch->listen ? "true" : "false");

	if (!error && batch->scope != SCOPE_NAMESPACE) {
		error = nacos_grpc_json_add(json, "tenant",
					    wire_namespace(watch, batch->key->namespace_id));
		if (!error)
			error = nacos_grpc_json_add(json, "group", batch->key->group);
		if (!error && batch->scope == SCOPE_CONFIG)
			error = nacos_grpc_json_add(json, "dataId", batch->key->data_id);
	}
	if (!error)
		error = buffer_append_text(json, ",\"configListenContexts\":[");
	for (size_t i = 0; !error && i < batch->count; i++)
		error = append_entry(watch, batch->entries[i], json);
	return error ? error : buffer_append_text(json, "]}");
}

/* Does the entry belong into the batch that has begun with another one? */
static bool belongs(const struct nacos_watch *watch, const struct batch *batch,
		    const struct nacos_watch_entry *entry)
{
	if (batch->count == 0)
		return true;
	if (batch->scope == SCOPE_CONFIG || entry->wanted != batch->listen ||
	    strcmp(entry->node.key.namespace_id, batch->key->namespace_id) != 0)
		return false;
	if (batch->scope == SCOPE_GROUP && strcmp(entry->node.key.group, batch->key->group) != 0)
		return false;
	return find_scope(watch, &entry->node.key) == batch->scope;
}

/*
 * With the lock held: takes entries that can be told about in one request. False: there are none.
 */
static bool take_batch(struct nacos_watch *watch, struct batch *batch)
{
	struct nacos_watch_entry *entry, *next;

	for (entry = watch->pending; entry && batch->count < BATCH_MAX; entry = next) {
		next = entry->pending_next;
		if (!belongs(watch, batch, entry))
			continue;
		if (batch->count == 0) {
			batch->listen = entry->wanted;
			batch->scope = find_scope(watch, &entry->node.key);
			batch->key = &entry->node.key;
		}
		nacos_watch_take_pending(watch, entry);
		entry->busy = true;
		/* Who wants it again meanwhile must not believe that the server still has it. */
		if (!entry->wanted)
			entry->told_epoch = 0;
		batch->entries[batch->count++] = entry;
	}
	watch->busy_count = batch->count;
	batch->epoch = watch->epoch;
	return batch->count > 0;
}

static bool is_stopped(void *arg)
{
	struct nacos_watch *watch = arg;

	return atomic_load(&watch->stop);
}

static int send_request(struct nacos_watch *watch, const char *type, const char *what,
			const struct buffer *json, uint64_t epoch,
			struct nacos_grpc_answer *ret_answer)
{
	const struct nacos_grpc_request request = {
		.type = type,
		.what = what,
		.json = json,
		.may_repeat = true,
	};
	struct call call;
	int error;

	call_start(&call, REQUEST_TIMEOUT_MS);
	call.interrupted = is_stopped;
	call.interrupted_arg = watch;
	error = nacos_grpc_request_in_epoch(watch->grpc, &request, epoch, &call, ret_answer, NULL);
	if (error && error != -EINTR)
		log_debug("gRPC: %s", call.reason);
	return error;
}

/* With the lock held: the configs that the answer says have changed. */
static void note_changed(struct nacos_watch *watch, const struct nacos_grpc_answer *answer)
{
	cleanup_json struct json *document = NULL;
	const struct json *item;

	if (json_parse(answer->json.data, answer->json.size, &document))
		return;
	item = json_first(json_member(document, "changedConfigs"));
	for (; item; item = json_next(item)) {
		const struct nacos_key key = {
			.namespace_id = nacos_watch_own_namespace(json_text(item, "tenant")),
			.group = json_text(item, "group"),
			.data_id = json_text(item, "dataId"),
		};
		struct nacos_watch_entry *entry = NULL;

		if (key.group && key.data_id)
			entry = nacos_watch_find(watch, &key);
		if (entry && entry->wanted)
			nacos_watch_set_changed(watch, entry);
	}
}

/* With the lock held: what became of one entry of a batch. */
static void settle_entry(struct nacos_watch *watch, const struct batch *batch,
			 struct nacos_watch_entry *entry, bool told, bool refused)
{
	entry->busy = false;
	if (told && batch->listen)
		entry->told_epoch = batch->epoch;
	if (!entry->wanted && (!batch->listen || refused || !told)) {
		/* The server has forgotten it, or will with the connection. */
		nacos_watch_remove(watch, entry);
		return;
	}
	nacos_watch_set_refused(watch, entry, refused);
	if (refused)
		return;
	/* Not told, or meanwhile wanted otherwise than it was told. */
	if (!told || entry->wanted != batch->listen)
		nacos_watch_set_pending(watch, entry);
}

static void delay_after_failure(struct nacos_watch *watch)
{
	int64_t delay_ms = RETRY_MIN_MS;

	for (unsigned i = 0; i < watch->failures && delay_ms < RETRY_MAX_MS; i++)
		delay_ms *= 2;
	watch->failures++;
	watch->retry_at_ms = clock_monotonic_ms() + delay_ms;
}

/* Reports that these can't be watched. Without the lock; the entries are still busy. */
static void report_refused(struct nacos_watch *watch, const struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct nacos_watch_entry *entry = batch->entries[i];
		bool report;

		pthread_mutex_lock(&watch->lock);
		report = entry->wanted && !entry->refused;
		if (report)
			nacos_watch_set_refused(watch, entry, true);
		pthread_mutex_unlock(&watch->lock);
		if (report && watch->events.refused)
			watch->events.refused(watch->arg, &entry->node.key);
	}
}

static void report_live(struct nacos_watch *watch, bool live)
{
	if (watch->live == live)
		return;
	watch->live = live;
	if (watch->events.live)
		watch->events.live(watch->arg, live);
}

/* Sends a batch; tells whether the server took it, and whether it said that we have no right. */
static void send_batch(struct nacos_watch *watch, struct batch *batch, bool *ret_told,
		       bool *ret_forbidden)
{
	cleanup_nacos_grpc_answer struct nacos_grpc_answer answer = { .result_code = -1 };
	int error = send_request(watch, "ConfigBatchListenRequest", "listening for changes",
				 &batch->json, batch->epoch, &answer);

	*ret_forbidden = !error && answer.result_code != NACOS_GRPC_OK &&
			 answer.error_code == NACOS_GRPC_ERROR_FORBIDDEN;
	*ret_told = !error && answer.result_code == NACOS_GRPC_OK;
	if (!error && !*ret_told && !*ret_forbidden)
		log_warning("gRPC: the server does not take what is to be watched: error %d",
			    (int)answer.error_code);
	if (*ret_told) {
		pthread_mutex_lock(&watch->lock);
		note_changed(watch, &answer);
		pthread_mutex_unlock(&watch->lock);
	}
}

/* Tells the server about some of what is pending. False: there is nothing to tell. */
static bool tell_batch(struct nacos_watch *watch)
{
	struct batch batch = { .count = 0 };
	bool told = false, forbidden = false, refused, failed;
	int error;

	pthread_mutex_lock(&watch->lock);
	if (!is_connected(watch) || clock_monotonic_ms() < watch->retry_at_ms ||
	    !take_batch(watch, &batch)) {
		pthread_mutex_unlock(&watch->lock);
		return false;
	}
	error = write_batch(watch, &batch);
	pthread_mutex_unlock(&watch->lock);

	if (!error && batch.scope != SCOPE_NONE)
		send_batch(watch, &batch, &told, &forbidden);
	refused = batch.scope == SCOPE_NONE || (forbidden && batch.scope == SCOPE_CONFIG);
	if (refused && batch.listen)
		report_refused(watch, &batch);

	pthread_mutex_lock(&watch->lock);
	if (forbidden && batch.scope < SCOPE_CONFIG)
		add_limit(watch, &batch);
	if (!told && !forbidden && !refused)
		delay_after_failure(watch);
	else
		watch->failures = 0;
	for (size_t i = 0; i < batch.count; i++)
		settle_entry(watch, &batch, batch.entries[i], told, refused);
	watch->busy_count = 0;
	failed = watch->failures > 0;
	pthread_mutex_unlock(&watch->lock);
	if (failed)
		report_live(watch, false);
	buffer_release(&batch.json);
	return true;
}

/* ---- names ---- */

static int judge_names(int error, const struct nacos_grpc_answer *answer)
{
	if (error)
		return error;
	if (answer->result_code == NACOS_GRPC_OK)
		return 0;
	switch (answer->error_code) {
	case NACOS_GRPC_ERROR_FORBIDDEN:
		return -EACCES;
	case ERROR_TOO_MANY_PATTERNS:
		return -EDQUOT;
	case ERROR_TOO_MANY_NAMES:
		return -E2BIG;
	}
	return -EIO;
}

static int send_names(struct nacos_watch *watch, const char *namespace_id, bool wanted,
		      uint64_t epoch)
{
	cleanup_nacos_grpc_answer struct nacos_grpc_answer answer = { .result_code = -1 };
	cleanup_buffer struct buffer json = BUFFER_INIT;
	cleanup_buffer struct buffer pattern = BUFFER_INIT;
	int error = buffer_append_format(&pattern, "%s>>*>>*", wire_namespace(watch, namespace_id));

	if (!error)
		error = buffer_append_byte(&json, '{');
	if (!error)
		error = nacos_grpc_json_add(&json, "groupKeyPattern", pattern.data);
	if (!error)
		error = nacos_grpc_json_add(&json, "watchType", wanted ? "WATCH" : "CANCEL_WATCH");
	if (!error)
		error = buffer_append_text(&json,
					   ",\"initializing\":true,\"receivedGroupKeys\":[]}");
	if (error)
		return error;
	error = send_request(watch, "ConfigFuzzyWatchRequest", "watching names", &json, epoch,
			     &answer);
	return judge_names(error, &answer);
}

/* With the lock held: a namespace that the server must be told about, or the caller. */
static struct nacos_watch_names *next_names(const struct nacos_watch *watch)
{
	struct nacos_watch_names *names = watch->namespaces;

	if (!is_connected(watch) || clock_monotonic_ms() < watch->retry_at_ms)
		return NULL;
	while (names && !names->repeat && (names->tried || (!names->wanted && !names->told)))
		names = names->next;
	return names;
}

/* With the lock held: keeps what came of telling the server. Should the caller hear of it? */
static bool settle_names(struct nacos_watch *watch, struct nacos_watch_names *names, bool wanted,
			 uint64_t epoch, int error)
{
	bool report = wanted && names->wanted && watch->epoch == epoch &&
		      (!names->reported || names->repeat || names->error != error);

	names->told = wanted && (error == 0 || error == -E2BIG);
	switch (error) {
	case 0:
	case -EACCES:
	case -EDQUOT:
	case -E2BIG:
	case -EOPNOTSUPP:
		break;
	default:
		names->tried = false;
		delay_after_failure(watch);
	}
	names->error = error;
	names->repeat = false;
	names->reported = names->reported || report;
	return report;
}

/* As tell_batch(), about one namespace. It is never freed before this thread ends. */
static bool tell_names(struct nacos_watch *watch)
{
	struct nacos_watch_names *names;
	bool wanted, send, report;
	uint64_t epoch;
	int error;

	pthread_mutex_lock(&watch->lock);
	names = next_names(watch);
	if (!names) {
		pthread_mutex_unlock(&watch->lock);
		return false;
	}
	wanted = names->wanted;
	epoch = watch->epoch;
	error = watch->has_fuzzy_watch ? names->error : -EOPNOTSUPP;
	send = watch->has_fuzzy_watch && !names->tried;
	names->tried = true;
	pthread_mutex_unlock(&watch->lock);

	if (send)
		error = send_names(watch, names->namespace_id, wanted, epoch);

	pthread_mutex_lock(&watch->lock);
	report = settle_names(watch, names, wanted, epoch, error);
	pthread_mutex_unlock(&watch->lock);
	if (report && watch->events.names_watched)
		watch->events.names_watched(watch->arg, names->namespace_id, error);
	return true;
}

/*
 * With the lock held: names were lost, so the caller must compare again, as when the watch began.
 */
static void repeat_names(struct nacos_watch *watch)
{
	watch->names_lost = false;
	for (struct nacos_watch_names *names = watch->namespaces; names; names = names->next)
		names->repeat = names->told;
}

/* ---- comparing ---- */

/* With the lock held: everything must be told (again). */
static void compare_all(struct nacos_watch *watch)
{
	struct nacos_key_node *node, *next;

	for (node = nacos_key_table_next(&watch->table, NULL); node; node = next) {
		struct nacos_watch_entry *entry = (struct nacos_watch_entry *)node;

		next = nacos_key_table_next(&watch->table, node);
		if (entry->wanted)
			nacos_watch_set_pending(watch, entry);
		else if (entry->told_epoch != watch->epoch)
			nacos_watch_remove(watch, entry);
	}
	for (struct nacos_watch_names *names = watch->namespaces; names; names = names->next)
		names->tried = names->told && names->error == 0;
	nacos_watch_forget_limits(watch);
	watch->compare_at_ms = clock_monotonic_ms() + COMPARE_INTERVAL_MS;
}

/* Takes note of a connection that is lost or new, and of the time. */
static void follow_connection(struct nacos_watch *watch)
{
	bool lost;

	pthread_mutex_lock(&watch->lock);
	lost = watch->seen_epoch != watch->epoch;
	if (lost) {
		/* No server knows of anything; what it had to say of names is not all. */
		for (struct nacos_watch_names *names = watch->namespaces; names;
		     names = names->next)
			names->told = names->reported = names->repeat = false;
		watch->seen_epoch = watch->epoch;
		watch->failures = 0;
		watch->retry_at_ms = 0;
	}
	if (watch->epoch != 0 && (lost || clock_monotonic_ms() >= watch->compare_at_ms))
		compare_all(watch);
	if (watch->names_lost)
		repeat_names(watch);
	pthread_mutex_unlock(&watch->lock);
	if (lost)
		report_live(watch, false);
}

/* Does the server know of everything by now? */
static void check_live(struct nacos_watch *watch)
{
	bool all_told;

	pthread_mutex_lock(&watch->lock);
	all_told = is_connected(watch) && !watch->pending;
	pthread_mutex_unlock(&watch->lock);
	if (all_told)
		report_live(watch, true);
}

/* ---- reports ---- */

static bool report_change(struct nacos_watch *watch)
{
	cleanup_free struct nacos_watch_name *copy = NULL;
	struct nacos_watch_entry *entry;

	pthread_mutex_lock(&watch->lock);
	entry = watch->reports;
	if (entry) {
		copy = nacos_watch_name_new(&entry->node.key, true);
		/* Without memory it stays in the list. */
		if (copy)
			nacos_watch_take_changed(watch, entry);
	}
	pthread_mutex_unlock(&watch->lock);
	if (!copy)
		return false;
	if (watch->events.changed)
		watch->events.changed(watch->arg, &copy->key);
	return true;
}

static bool report_name(struct nacos_watch *watch)
{
	cleanup_free struct nacos_watch_name *name = NULL;

	pthread_mutex_lock(&watch->lock);
	name = watch->names;
	if (name) {
		watch->names = name->next;
		watch->name_count--;
		if (!watch->names)
			watch->names_end = &watch->names;
	}
	pthread_mutex_unlock(&watch->lock);
	if (!name)
		return false;
	if (watch->events.named)
		watch->events.named(watch->arg, &name->key, name->exists);
	return true;
}

static bool report_some(struct nacos_watch *watch)
{
	int count = 0;

	while (count < REPORTS_AT_ONCE && (report_change(watch) || report_name(watch)))
		count++;
	return count > 0;
}

/* ---- the thread ---- */

/* With the lock held: when there is something to do though nothing has happened. */
static int64_t next_due_ms(const struct nacos_watch *watch)
{
	if (watch->epoch == 0)
		return INT64_MAX;
	/* After a failure, comparing has to wait for that too. */
	return clock_monotonic_ms() < watch->retry_at_ms ? watch->retry_at_ms
							 : watch->compare_at_ms;
}

/* With the lock held. */
static bool has_work(const struct nacos_watch *watch)
{
	if (atomic_load(&watch->stop) || watch->reports || watch->names || watch->names_lost ||
	    watch->seen_epoch != watch->epoch)
		return true;
	if (watch->epoch == 0 || clock_monotonic_ms() < watch->retry_at_ms)
		return false;
	return watch->pending || next_names(watch) || clock_monotonic_ms() >= watch->compare_at_ms;
}

static void wait_for_work(struct nacos_watch *watch)
{
	pthread_mutex_lock(&watch->lock);
	if (!has_work(watch)) {
		int64_t due_ms = next_due_ms(watch);

		if (due_ms == INT64_MAX) {
			pthread_cond_wait(&watch->changed, &watch->lock);
		} else {
			struct timespec due = clock_from_ms(due_ms);

			pthread_cond_timedwait(&watch->changed, &watch->lock, &due);
		}
	}
	pthread_mutex_unlock(&watch->lock);
}

void *nacos_watch_run(void *arg)
{
	struct nacos_watch *watch = arg;

	while (!atomic_load(&watch->stop)) {
		bool busy = report_some(watch);

		follow_connection(watch);
		busy = tell_batch(watch) || busy;
		busy = tell_names(watch) || busy;
		check_live(watch);
		if (!busy)
			wait_for_work(watch);
	}
	return NULL;
}
