/* The long poll as a feeder of the set, and its life. None of what callers want waits for anything here. */
#include "nacos/poll/poll.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "nacos/poll/poll_private.h"
#include "util/clock.h"

#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 30000
#define QUIET_MIN_MS 1000
#define QUIET_MAX_MS 30000

/* ---- lists, and waiting ---- */

void nacos_poll_move(struct nacos_poll *poll, struct nacos_poll_part *part, struct nacos_watch_list *list)
{
	part->slot = NULL;
	part->is_told = false;
	if (list == &poll->ready && !list->first) {
		poll->ready_since_ms = clock_monotonic_ms();
		nacos_poll_wake(poll);
	}
	nacos_watch_move(&part->part, list);
}

void nacos_poll_join(struct nacos_poll_part *part, struct nacos_poll_slot *slot)
{
	part->slot = slot;
	nacos_watch_move(&part->part, &slot->parts);
}

void nacos_poll_set_aside(struct nacos_poll *poll, struct nacos_poll_part *part, int64_t resume_at_ms)
{
	nacos_poll_move(poll, part, &poll->waiting);
	part->resume_at_ms = resume_at_ms;
	if (resume_at_ms < poll->resume_at_ms)
		poll->resume_at_ms = resume_at_ms;
}

struct nacos_poll_part *nacos_poll_find(struct nacos_poll *poll, const struct place *place)
{
	struct nacos_watch_entry *entry = nacos_watch_find(poll->set, place);

	return entry ? nacos_poll_part_of(entry->parts[NACOS_WATCH_POLL]) : NULL;
}

void nacos_poll_wake(struct nacos_poll *poll)
{
	worker_wake(&poll->listener);
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++)
		worker_wake(&poll->slots[i].worker);
}

int64_t nacos_poll_delay_ms(unsigned failures)
{
	int64_t delay_ms = RETRY_MIN_MS;
	uint16_t random = 0;

	for (unsigned i = 0; i < failures && delay_ms < RETRY_MAX_MS; i++)
		delay_ms *= 2;
	if (delay_ms > RETRY_MAX_MS)
		delay_ms = RETRY_MAX_MS;
	/* Without random bytes there is no jitter. */
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = 0;
	return delay_ms - delay_ms * random / UINT16_MAX / 4;
}

/* ---- a feeder of the set ---- */

static struct nacos_poll *poll_of(const struct nacos_watch_feeder *feeder)
{
	return (struct nacos_poll *)(uintptr_t)feeder;
}

static void want(struct nacos_watch_feeder *feeder, struct nacos_watch_part *part)
{
	nacos_poll_move(poll_of(feeder), nacos_poll_part_of(part), &poll_of(feeder)->pending);
}

/* The caller has found what it had before: it is asked again, but not at once. */
static void keep_quiet(struct nacos_poll *poll, struct nacos_poll_part *part)
{
	if (part->is_answered)
		return;
	part->is_answered = true;
	part->quiet_ms = part->quiet_ms < QUIET_MIN_MS ? QUIET_MIN_MS : 2 * part->quiet_ms;
	if (part->quiet_ms > QUIET_MAX_MS)
		part->quiet_ms = QUIET_MAX_MS;
	nacos_poll_set_aside(poll, part, clock_monotonic_ms() + part->quiet_ms);
}

static void tell(struct nacos_watch_feeder *feeder, struct nacos_watch_part *part, bool is_other)
{
	struct nacos_poll *poll = poll_of(feeder);

	if (is_other)
		nacos_poll_part_of(part)->quiet_ms = 0;
	if (part->list != &poll->waiting)
		return;
	if (is_other)
		nacos_poll_move(poll, nacos_poll_part_of(part), &poll->pending);
	else if (!part->entry->is_changed) /* the caller knows of the change already */
		keep_quiet(poll, nacos_poll_part_of(part));
}

static bool unwant(struct nacos_watch_feeder *feeder, struct nacos_watch_part *part)
{
	/* The server need not be told: with the next hold it knows. */
	(void)feeder;
	(void)part;
	return true;
}

static bool tells(const struct nacos_watch_feeder *feeder, const struct nacos_watch_part *part)
{
	(void)feeder;
	return ((const struct nacos_poll_part *)part)->is_told;
}

static void wake(struct nacos_watch_feeder *feeder)
{
	nacos_poll_wake(poll_of(feeder));
}

static const struct nacos_watch_feeder_kind kind = {
	.way = NACOS_WATCH_POLL,
	.part_size = sizeof(struct nacos_poll_part),
	.want = want,
	.tell = tell,
	.unwant = unwant,
	.tells = tells,
	.wake = wake,
};

/* ---- life ---- */

int nacos_poll_new(struct nacos_client *client, struct nacos_watch *set, struct nacos_poll **ret_poll)
{
	struct nacos_poll *poll = calloc(1, sizeof(*poll));

	if (!poll)
		return -ENOMEM;
	poll->client = client;
	poll->set = set;
	worker_init(&poll->listener, &set->lock);
	nacos_watch_list_init(&poll->pending);
	nacos_watch_list_init(&poll->ready);
	nacos_watch_list_init(&poll->waiting);
	nacos_watch_list_init(&poll->refused);
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++) {
		struct nacos_poll_slot *slot = &poll->slots[i];

		slot->poll = poll;
		slot->check_at_ms = NACOS_POLL_NEVER;
		nacos_watch_list_init(&slot->parts);
		worker_init(&slot->worker, &set->lock);
	}
	poll->resume_at_ms = NACOS_POLL_NEVER;
	poll->rights_round = 1;
	int error = nacos_watch_attach(set, &kind, &poll->feeder);
	if (error) {
		nacos_poll_free(poll);
		return error;
	}
	*ret_poll = poll;
	return 0;
}

int nacos_poll_start(struct nacos_poll *poll)
{
	return worker_start(&poll->listener, nacos_poll_listen, poll);
}

static void stop(struct nacos_poll *poll)
{
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++)
		worker_tell_to_stop(&poll->slots[i].worker);
	/* First the one that starts the others. */
	worker_stop(&poll->listener);
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++)
		worker_stop(&poll->slots[i].worker);
}

void nacos_poll_free(struct nacos_poll *poll)
{
	if (!poll)
		return;
	stop(poll);
	nacos_watch_detach(&poll->feeder);
	nacos_watch_rights_forget(&poll->rights);
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++)
		worker_release(&poll->slots[i].worker);
	worker_release(&poll->listener);
	free(poll);
}
