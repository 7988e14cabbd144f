/*
 * The threads of the holds. Each has the entries of its slot in a request that the server answers when one of them has
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

void nacos_poll_slot_distrust(struct nacos_poll_watch *watch, struct nacos_poll_slot *slot)
{
	uint64_t tick = ++watch->tick;

	for (struct nacos_poll_entry *entry = slot->entries.first; entry; entry = entry->next) {
		entry->told = false;
		entry->joined_tick = tick;
	}
}

/* ---- which entries ---- */

int64_t nacos_poll_gathered_at_ms(const struct nacos_poll_watch *watch)
{
	unsigned busy = 0;

	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++)
		busy += watch->slots[i].is_holding;
	return watch->ready_since_ms + (GATHER_MS << (busy < GATHER_SHIFT_MAX ? busy : GATHER_SHIFT_MAX));
}

static bool is_idle(const struct nacos_poll_slot *slot)
{
	return slot->thread.is_started && !slot->is_holding && slot->entries.count == 0;
}

static void take_ready(struct nacos_poll_watch *watch, struct nacos_poll_slot *slot)
{
	while (watch->ready.first && slot->entries.count < NACOS_POLL_BATCH_MAX) {
		struct nacos_poll_entry *entry = watch->ready.first;

		nacos_poll_move(watch, entry, &slot->entries);
		entry->told = false;
		entry->joined_tick = ++watch->tick;
	}
	watch->ready_since_ms = clock_monotonic_ms();
}

/*
 * Takes over smaller holds. Their entries stay told: they are held there until this one has begun, or was compared, and
 * are checked after that.
 */
static void absorb(struct nacos_poll_watch *watch, struct nacos_poll_slot *slot)
{
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++) {
		struct nacos_poll_slot *other = &watch->slots[i];

		if (other == slot || other->entries.count > slot->entries.count ||
		    other->entries.count + slot->entries.count > NACOS_POLL_BATCH_MAX)
			continue;
		if (other->entries.first && other->is_holding)
			atomic_store(&other->leave, true);
		while (other->entries.first)
			nacos_poll_move(watch, other->entries.first, &slot->entries);
	}
}

/* When there is something to do; the entries of the slot go first, so that others join them. */
static int64_t due_ms(const struct nacos_poll_watch *watch, const struct nacos_poll_slot *slot)
{
	if (!watch->is_reachable)
		return NACOS_POLL_NEVER;
	if (slot->entries.first)
		return slot->not_before_ms;
	return watch->ready.first ? nacos_poll_gathered_at_ms(watch) : NACOS_POLL_NEVER;
}

void nacos_poll_start_slot(struct nacos_poll_watch *watch)
{
	struct nacos_poll_slot *unused = NULL;

	if (!watch->ready.first || !watch->is_reachable || clock_monotonic_ms() < nacos_poll_gathered_at_ms(watch))
		return;
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++) {
		struct nacos_poll_slot *slot = &watch->slots[i];

		if (is_idle(slot))
			return;
		if (!slot->thread.is_started && !unused)
			unused = slot;
	}
	/* When all are busy, the next that begins again takes what it has room for. */
	watch->ready_since_ms = clock_monotonic_ms();
	if (!unused) {
		if (!watch->is_full)
			log_warning("more configs than can be watched over HTTP: some changes are noticed later");
		watch->is_full = true;
		return;
	}
	thread_start(&unused->thread, nacos_poll_hold_run, unused);
	watch->ready_since_ms = 0;
}

/* ---- what came of it ---- */

static void settle_success(struct nacos_poll_watch *watch, struct nacos_poll_slot *slot, struct buffer *body,
			   uint64_t tick)
{
	int64_t now_ms = clock_monotonic_ms();
	bool has_names = body->size > 0;
	int known = nacos_poll_note_changed(watch, body, tick);

	watch->heard_at_ms = now_ms;
	slot->not_before_ms = now_ms;
	if (has_names && known > 0) {
		slot->failures = 0;
		slot->not_before_ms = now_ms + PAUSE_AFTER_CHANGE_MS;
	} else if (has_names) {
		/* What is no such answer, or names nothing that was asked for: at once it would be the same again. */
		if (known < 0)
			nacos_poll_slot_distrust(watch, slot);
		slot->not_before_ms = now_ms + nacos_poll_delay_ms(slot->failures++);
	} else {
		slot->failures = 0;
		if (now_ms - slot->begun_ms < EARLY_MS)
			slot->not_before_ms = slot->begun_ms + EARLY_PAUSE_MS;
	}
}

static void settle_failure(struct nacos_poll_watch *watch, struct nacos_poll_slot *slot, int error)
{
	int64_t now_ms = clock_monotonic_ms();

	nacos_poll_slot_distrust(watch, slot);
	slot->check_at_ms = NACOS_POLL_NEVER;
	/* Gateways cut what is silent for long: then it just begins again. */
	if (slot->failures++ == 0 && now_ms - slot->begun_ms >= EARLY_MS)
		slot->not_before_ms = now_ms;
	else
		slot->not_before_ms = now_ms + nacos_poll_delay_ms(slot->failures);
	if (error == -EACCES)
		nacos_poll_compare_all(watch);
	else
		watch->heard_at_ms = 0; /* is the server still there? */
}

/* With the lock held, which is given up meanwhile. */
static void hold(struct nacos_poll_watch *watch, struct nacos_poll_slot *slot)
{
	cleanup_nacos_poll_question struct nacos_poll_question question = { 0 };
	cleanup_buffer struct buffer body = BUFFER_INIT;
	uint64_t tick = ++watch->tick;
	int error = nacos_poll_ask_slot(watch, slot, &question);

	slot->begun_ms = clock_monotonic_ms();
	atomic_store(&slot->leave, false);
	slot->is_holding = true;
	if (slot->check_at_ms == NACOS_POLL_NEVER)
		slot->check_at_ms = slot->begun_ms + NACOS_POLL_CHECK_DELAY_MS;
	nacos_poll_wake(watch);
	pthread_mutex_unlock(&watch->lock);
	if (!error) {
		slot->host = nacos_hosts_current(watch->client);
		error = nacos_poll_send(watch, slot, &question, &body);
	}
	pthread_mutex_lock(&watch->lock);
	slot->is_holding = false;
	if (!error)
		settle_success(watch, slot, &body, tick);
	else if (error == -EINTR)
		slot->not_before_ms = clock_monotonic_ms();
	else
		settle_failure(watch, slot, error);
	if (!slot->entries.first)
		slot->check_at_ms = NACOS_POLL_NEVER;
	nacos_poll_wake(watch);
}

void *nacos_poll_hold_run(void *arg)
{
	struct nacos_poll_slot *slot = arg;
	struct nacos_poll_watch *watch = slot->watch;

	pthread_mutex_lock(&watch->lock);
	while (!atomic_load(&watch->stop)) {
		int64_t due = due_ms(watch, slot);

		if (clock_monotonic_ms() < due) {
			nacos_poll_wait(watch, due);
			continue;
		}
		take_ready(watch, slot);
		absorb(watch, slot);
		if (slot->entries.first)
			hold(watch, slot);
	}
	pthread_mutex_unlock(&watch->lock);
	return NULL;
}
