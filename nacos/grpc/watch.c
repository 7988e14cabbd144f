/* The watch over gRPC: its part in the set, what the connection's thread notes, and the thread that tells the server. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/generation.h"
#include "nacos/grpc/watch_private.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"

#define COMPARE_INTERVAL_MS 180000
#define REQUEST_TIMEOUT_MS 10000
#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 30000

/* ---- a feeder of the set ---- */

static struct nacos_grpc_watch *watch_of(const struct nacos_watch_feeder *feeder)
{
	return (struct nacos_grpc_watch *)(uintptr_t)feeder;
}

static bool is_told(const struct nacos_grpc_watch *watch, const struct nacos_watch_part *part)
{
	return watch->epoch != 0 && ((const struct nacos_grpc_part *)part)->told_epoch == watch->epoch;
}

static void want(struct nacos_watch_feeder *feeder, struct nacos_watch_part *part)
{
	struct nacos_grpc_watch *watch = watch_of(feeder);

	/* One that is in a batch is put there when the thread sees that it is wanted again. */
	if (part->list != &watch->batch)
		nacos_watch_move(part, &watch->pending);
}

static void tell(struct nacos_watch_feeder *feeder, struct nacos_watch_part *part, bool is_other)
{
	/* The next comparison will be with that. */
	(void)feeder;
	(void)part;
	(void)is_other;
}

static bool unwant(struct nacos_watch_feeder *feeder, struct nacos_watch_part *part)
{
	struct nacos_grpc_watch *watch = watch_of(feeder);

	/* One that is in a batch is dealt with by the thread, when it sees that. */
	if (part->list == &watch->batch)
		return false;
	if (!is_told(watch, part))
		return true;
	nacos_watch_move(part, &watch->pending);
	return false;
}

static bool tells(const struct nacos_watch_feeder *feeder, const struct nacos_watch_part *part)
{
	const struct nacos_grpc_watch *watch = watch_of(feeder);

	return watch->epoch != 0 && !part->is_refused && (is_told(watch, part) || watch->failures == 0);
}

static void wake(struct nacos_watch_feeder *feeder)
{
	worker_wake(&watch_of(feeder)->worker);
}

static const struct nacos_watch_feeder_kind kind = {
	.way = NACOS_WATCH_GRPC,
	.part_size = sizeof(struct nacos_grpc_part),
	.want = want,
	.tell = tell,
	.unwant = unwant,
	.tells = tells,
	.wake = wake,
};

/* ---- what the connection's thread notes ---- */

void nacos_grpc_watch_connection_up(struct nacos_grpc_watch *watch, uint64_t epoch, bool can_narrow,
				    bool has_fuzzy_watch)
{
	nacos_watch_lock(watch->feeder.watch);
	watch->epoch = epoch;
	watch->can_narrow = can_narrow;
	watch->has_fuzzy_watch = has_fuzzy_watch;
	worker_wake(&watch->worker);
	nacos_watch_unlock(watch->feeder.watch);
}

void nacos_grpc_watch_connection_down(struct nacos_grpc_watch *watch)
{
	nacos_watch_lock(watch->feeder.watch);
	watch->epoch = 0;
	worker_wake(&watch->worker);
	nacos_watch_unlock(watch->feeder.watch);
}

void nacos_grpc_watch_note_change(struct nacos_grpc_watch *watch, const char *namespace_id, const char *group,
				  const char *data_id)
{
	struct nacos_watch *set = watch->feeder.watch;
	cleanup_place struct place *place = place_new(nacos_grpc_watch_own_namespace(namespace_id), group, data_id);
	struct nacos_watch_entry *entry;

	/* Without memory, the next comparison finds it. */
	if (!place)
		return;
	nacos_watch_lock(set);
	entry = nacos_watch_find(set, place);
	if (entry)
		nacos_watch_note_change(set, entry);
	nacos_watch_unlock(set);
}

/* In place: %2B is '+', %25 is '%'. */
static void decode_part(char *part)
{
	char *out = part;

	for (; *part; part++) {
		if (strncmp(part, "%2B", 3) == 0 || strncmp(part, "%25", 3) == 0) {
			*out++ = part[2] == 'B' ? '+' : '%';
			part += 2;
		} else {
			*out++ = *part;
		}
	}
	*out = '\0';
}

/* Of "dataId+group+namespace", which is taken apart in place. -EBADMSG when it is no such thing, -ENOMEM. */
static int read_group_key(char *group_key, struct place **ret_place)
{
	char *group = strchr(group_key, '+'), *namespace_id;

	if (!group)
		return -EBADMSG;
	*group++ = '\0';
	namespace_id = strchr(group, '+');
	if (namespace_id)
		*namespace_id++ = '\0';
	if (!group_key[0] || !group[0])
		return -EBADMSG;
	decode_part(group_key);
	decode_part(group);
	if (namespace_id)
		decode_part(namespace_id);
	*ret_place = place_new(nacos_grpc_watch_own_namespace(namespace_id), group, group_key);
	return *ret_place ? 0 : -ENOMEM;
}

void nacos_grpc_watch_note_names_untold(struct nacos_grpc_watch *watch)
{
	nacos_watch_lock(watch->feeder.watch);
	nacos_watch_note_names_lost(watch->feeder.watch);
	nacos_watch_unlock(watch->feeder.watch);
}

void nacos_grpc_watch_note_name(struct nacos_grpc_watch *watch, const char *group_key, bool exists)
{
	cleanup_free char *copy = strdup(group_key);
	cleanup_place struct place *place = NULL;

	if (copy && read_group_key(copy, &place) == -EBADMSG)
		return;
	nacos_watch_lock(watch->feeder.watch);
	nacos_watch_note_named(watch->feeder.watch, place, exists);
	nacos_watch_unlock(watch->feeder.watch);
}

/* ---- for what is told ---- */

/* There is a connection, and the thread has taken note of it. */
static bool is_connected(const struct nacos_grpc_watch *watch)
{
	return watch->epoch != 0 && watch->seen_epoch == watch->epoch;
}

bool nacos_grpc_watch_can_tell(const struct nacos_grpc_watch *watch)
{
	return is_connected(watch) && clock_monotonic_ms() >= watch->retry_at_ms;
}

void nacos_grpc_watch_delay(struct nacos_grpc_watch *watch)
{
	int64_t delay_ms = RETRY_MIN_MS;

	for (unsigned i = 0; i < watch->failures && delay_ms < RETRY_MAX_MS; i++)
		delay_ms *= 2;
	watch->failures++;
	watch->retry_at_ms = clock_monotonic_ms() + delay_ms;
}

static bool is_stopped(void *arg)
{
	const struct nacos_grpc_watch *watch = arg;

	return worker_is_stopped(&watch->worker);
}

int nacos_grpc_watch_send(struct nacos_grpc_watch *watch, const char *type, const char *what, const struct buffer *json,
			  uint64_t epoch, struct nacos_grpc_answer *ret_answer)
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

const char *nacos_grpc_watch_wire_namespace(const struct nacos_grpc_watch *watch, const char *namespace_id)
{
	return nacos_generation_namespace_id(watch->grpc->features.generation, namespace_id);
}

const char *nacos_grpc_watch_own_namespace(const char *wire)
{
	return wire && wire[0] ? wire : "public";
}

/* ---- the thread ---- */

/* Everything must be told (again). */
static void compare_all(struct nacos_grpc_watch *watch)
{
	struct nacos_watch *set = watch->feeder.watch;
	struct table_link *link, *next;

	for (link = table_next(&set->entries, NULL); link; link = next) {
		struct nacos_watch_entry *entry = (struct nacos_watch_entry *)link;
		struct nacos_watch_part *part = entry->parts[NACOS_WATCH_GRPC];

		next = table_next(&set->entries, link);
		if (!part)
			continue;
		if (entry->is_wanted)
			nacos_watch_move(part, &watch->pending);
		else if (!is_told(watch, part))
			nacos_watch_let_go(&watch->feeder, part);
	}
	for (struct nacos_watch_names *names = set->namespaces; names; names = names->next)
		names->is_tried = names->is_told && names->error == 0;
	nacos_watch_rights_forget(&watch->rights);
	watch->compare_at_ms = clock_monotonic_ms() + COMPARE_INTERVAL_MS;
}

/* Takes note of a connection that is lost or new, and of the time. */
static void follow_connection(struct nacos_grpc_watch *watch)
{
	bool lost = watch->seen_epoch != watch->epoch;

	if (lost) {
		nacos_watch_note_live(&watch->feeder, false);
		/* No server knows of anything; what it had to say of names is not all. */
		for (struct nacos_watch_names *names = watch->feeder.watch->namespaces; names; names = names->next)
			names->is_told = names->is_settled = names->has_news = false;
		watch->seen_epoch = watch->epoch;
		watch->failures = 0;
		watch->retry_at_ms = 0;
	}
	if (watch->epoch != 0 && (lost || clock_monotonic_ms() >= watch->compare_at_ms))
		compare_all(watch);
}

/* When there is something to do though nothing has happened. */
static int64_t next_due_ms(const struct nacos_grpc_watch *watch)
{
	if (watch->epoch == 0)
		return WORKER_WHEN_WOKEN;
	/* After a failure, comparing has to wait for that too. */
	return clock_monotonic_ms() < watch->retry_at_ms ? watch->retry_at_ms : watch->compare_at_ms;
}

static int64_t work(void *arg)
{
	struct nacos_grpc_watch *watch = arg;
	bool is_busy;

	follow_connection(watch);
	is_busy = nacos_grpc_watch_tell_configs(watch);
	is_busy = nacos_grpc_watch_tell_names(watch) || is_busy;
	if (is_connected(watch) && !watch->pending.first)
		nacos_watch_note_live(&watch->feeder, true);
	return is_busy ? WORKER_AT_ONCE : next_due_ms(watch);
}

/* ---- life ---- */

int nacos_grpc_watch_new(struct nacos_grpc *grpc, struct nacos_watch *set, struct nacos_grpc_watch **ret_watch)
{
	struct nacos_grpc_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	watch->grpc = grpc;
	nacos_watch_list_init(&watch->pending);
	nacos_watch_list_init(&watch->batch);
	worker_init(&watch->worker, &set->lock);
	int error = nacos_watch_attach(set, &kind, &watch->feeder);
	if (error) {
		nacos_grpc_watch_free(watch);
		return error;
	}
	*ret_watch = watch;
	return 0;
}

int nacos_grpc_watch_start(struct nacos_grpc_watch *watch)
{
	return worker_start(&watch->worker, work, watch);
}

void nacos_grpc_watch_stop(struct nacos_grpc_watch *watch)
{
	if (watch)
		worker_stop(&watch->worker);
}

void nacos_grpc_watch_free(struct nacos_grpc_watch *watch)
{
	if (!watch)
		return;
	nacos_watch_detach(&watch->feeder);
	nacos_watch_rights_forget(&watch->rights);
	worker_release(&watch->worker);
	free(watch);
}
