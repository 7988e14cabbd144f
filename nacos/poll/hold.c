/*
 * The threads of the holds. Each has what is in its slot in a request that the server answers when one of them has
 * changed. What is to join a hold is gathered for a moment first, and a hold that begins takes over smaller ones, so that
 * there are few.
 */
#include <errno.h>

#include "nacos/http/hosts.h"
#include "nacos/poll/poll_private.h"
#include "util/clock.h"
#include "util/log.h"

/* How long what is to be held is gathered: doubled for each hold under way. */
#define GATHER_MS 50
#define GATHER_SHIFT_MAX 4

/* After a change, the caller probably tells the new MD5 soon, and others may have changed with it. */
#define PAUSE_AFTER_CHANGE_MS 50

/* A hold that ends before that with nothing to tell is none: something between does not let it wait. */
#define EARLY_MS 5000
#define EARLY_PAUSE_MS 1000

void nacos_poll_slot_distrust(struct nacos_poll *poll, struct nacos_poll_slot *slot)
{
	uint64_t tick = ++poll->set->tick;

	for (struct nacos_watch_part *part = slot->parts.first; part; part = part->next) {
		nacos_poll_part_of(part)->is_told = false;
		nacos_poll_part_of(part)->joined_tick = tick;
	}
}

/* ---- what is held ---- */

static int64_t gathered_at_ms(const struct nacos_poll *poll)
{
	unsigned busy = 0;

	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++)
		busy += poll->slots[i].is_holding;
	return poll->ready_since_ms + (GATHER_MS << (busy < GATHER_SHIFT_MAX ? busy : GATHER_SHIFT_MAX));
}

static bool is_idle(const struct nacos_poll_slot *slot)
{
	return slot->worker.thread.is_started && !slot->is_holding && slot->parts.count == 0;
}

static void take_ready(struct nacos_poll *poll, struct nacos_poll_slot *slot)
{
	while (poll->ready.first && slot->parts.count < NACOS_POLL_BATCH_MAX) {
		struct nacos_poll_part *part = nacos_poll_part_of(poll->ready.first);

		nacos_poll_join(part, slot);
		part->is_told = false;
		part->joined_tick = ++poll->set->tick;
	}
	poll->ready_since_ms = clock_monotonic_ms();
}

/*
 * Takes over smaller holds. What is in them stays told: it is held there until this one has begun, or was compared, and
 * is checked after that.
 */
static void absorb(struct nacos_poll *poll, struct nacos_poll_slot *slot)
{
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++) {
		struct nacos_poll_slot *other = &poll->slots[i];

		if (other == slot || other->parts.count > slot->parts.count ||
		    other->parts.count + slot->parts.count > NACOS_POLL_BATCH_MAX)
			continue;
		if (other->parts.first && other->is_holding)
			atomic_store(&other->leave, true);
		while (other->parts.first)
			nacos_poll_join(nacos_poll_part_of(other->parts.first), slot);
	}
}

/* When there is something to do; what is in the slot goes first, so that others join them. */
static int64_t due_ms(const struct nacos_poll *poll, const struct nacos_poll_slot *slot)
{
	if (!poll->is_reachable)
		return NACOS_POLL_NEVER;
	if (slot->parts.first)
		return slot->not_before_ms;
	return poll->ready.first ? gathered_at_ms(poll) : NACOS_POLL_NEVER;
}

int64_t nacos_poll_start_slot(struct nacos_poll *poll)
{
	struct nacos_poll_slot *unused = NULL;

	if (!poll->ready.first || !poll->is_reachable)
		return NACOS_POLL_NEVER;
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++) {
		struct nacos_poll_slot *slot = &poll->slots[i];

		if (is_idle(slot))
			return NACOS_POLL_NEVER;
		if (!slot->worker.thread.is_started && !unused)
			unused = slot;
	}
	if (clock_monotonic_ms() < gathered_at_ms(poll))
		return gathered_at_ms(poll);
	if (unused && worker_start(&unused->worker, nacos_poll_hold, unused) == 0) {
		poll->ready_since_ms = 0; /* it takes them at once */
		return NACOS_POLL_NEVER;
	}
	/* When all are busy, the next that begins again takes what it has room for. */
	if (!unused && !poll->is_full) {
		log_warning("more configs than can be watched over HTTP: some changes are noticed later");
		poll->is_full = true;
	}
	poll->ready_since_ms = clock_monotonic_ms();
	return gathered_at_ms(poll);
}

/* ---- what came of it ---- */

static void settle_success(struct nacos_poll *poll, struct nacos_poll_slot *slot, struct buffer *body,
			   uint64_t tick)
{
	int64_t now_ms = clock_monotonic_ms();
	bool has_names = body->size > 0;
	int known = nacos_poll_note_changes(poll, body, tick);

	poll->heard_at_ms = now_ms;
	slot->not_before_ms = now_ms;
	if (has_names && known > 0) {
		slot->failures = 0;
		slot->not_before_ms = now_ms + PAUSE_AFTER_CHANGE_MS;
	} else if (has_names) {
		/* What is no such answer, or names nothing that was asked for: at once it would be the same again. */
		if (known < 0)
			nacos_poll_slot_distrust(poll, slot);
		slot->not_before_ms = now_ms + nacos_poll_delay_ms(slot->failures++);
	} else {
		slot->failures = 0;
		if (now_ms - slot->begun_ms < EARLY_MS)
			slot->not_before_ms = slot->begun_ms + EARLY_PAUSE_MS;
	}
}

static void settle_failure(struct nacos_poll *poll, struct nacos_poll_slot *slot, int error)
{
	int64_t now_ms = clock_monotonic_ms();

	nacos_poll_slot_distrust(poll, slot);
	slot->check_at_ms = NACOS_POLL_NEVER;
	/* Gateways cut what is silent for long: then it just begins again. */
	if (slot->failures++ == 0 && now_ms - slot->begun_ms >= EARLY_MS)
		slot->not_before_ms = now_ms;
	else
		slot->not_before_ms = now_ms + nacos_poll_delay_ms(slot->failures);
	if (error == -EACCES)
		nacos_poll_compare_all(poll);
	else
		poll->heard_at_ms = 0; /* is the server still there? */
}

/* With the lock held, which is given up meanwhile. */
static void hold(struct nacos_poll *poll, struct nacos_poll_slot *slot)
{
	cleanup_nacos_poll_question struct nacos_poll_question question = { 0 };
	cleanup_buffer struct buffer body = BUFFER_INIT;
	uint64_t tick = ++poll->set->tick;
	int error = nacos_poll_ask_slot(poll, slot, &question);

	slot->begun_ms = clock_monotonic_ms();
	atomic_store(&slot->leave, false);
	slot->is_holding = true;
	if (slot->check_at_ms == NACOS_POLL_NEVER)
		slot->check_at_ms = slot->begun_ms + NACOS_POLL_CHECK_DELAY_MS;
	nacos_poll_wake(poll);
	nacos_watch_unlock(poll->set);
	if (!error) {
		slot->host = nacos_hosts_current(poll->client);
		error = nacos_poll_send(poll, slot, &question, &body);
	}
	nacos_watch_lock(poll->set);
	slot->is_holding = false;
	if (!error)
		settle_success(poll, slot, &body, tick);
	else if (error == -EINTR)
		slot->not_before_ms = clock_monotonic_ms();
	else
		settle_failure(poll, slot, error);
	if (!slot->parts.first)
		slot->check_at_ms = NACOS_POLL_NEVER;
	nacos_poll_wake(poll);
}

int64_t nacos_poll_hold(void *arg)
{
	struct nacos_poll_slot *slot = arg;
	struct nacos_poll *poll = slot->poll;
	int64_t due = due_ms(poll, slot);

	if (clock_monotonic_ms() < due)
		return due;
	take_ready(poll, slot);
	absorb(poll, slot);
	if (slot->parts.first)
		hold(poll, slot);
	return WORKER_AT_ONCE;
}
