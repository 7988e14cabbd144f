/*
 * The thread of the HTTP watch that asks what is answered at once: whether the account may
 * watch something, whether anything has changed since a hold began, and whether the server is still there.
 */
#include <errno.h>

#include "nacos/poll/answer.h"
#include "nacos/poll/poll_private.h"
#include "util/clock.h"
#include "util/log.h"

/* A server that says nothing for so long is asked something. */
#define HEARTBEAT_MS 10000
#define UNSUPPORTED_RETRY_MS 30000

#define CHECK_REFUSED_DELAY_MS 1000

#define PROBE_NAME "nacosfs.watch.probe"

/* ---- answers ---- */

int nacos_poll_note_changes(struct nacos_poll *poll, struct buffer *body, uint64_t tick)
{
	size_t offset = 0;
	int known = 0;

	for (;;) {
		cleanup_place struct place *place = NULL;
		int found = nacos_poll_answer_next(body, &offset, &place);
		struct nacos_poll_part *part = found > 0 ? nacos_poll_find(poll, place) : NULL;

		if (found <= 0)
			return found < 0 ? found : known;
		known += part != NULL;
		/* What was told after the request went out is compared by the next one. */
		if (!part || !part->slot || part->part.entry->md5_tick > tick)
			continue;
		part->is_answered = false;
		nacos_poll_set_aside(poll, part, clock_monotonic_ms() + NACOS_POLL_COMPARE_MS);
		nacos_watch_note_change(poll->set, part->part.entry);
	}
}

void nacos_poll_compare_all(struct nacos_poll *poll)
{
	nacos_watch_rights_forget(&poll->rights);
	poll->rights_round++;
	poll->is_proving = true;
	while (poll->refused.first)
		nacos_poll_move(poll, nacos_poll_part_of(poll->refused.first), &poll->pending);
	poll->compare_at_ms = clock_monotonic_ms() + NACOS_POLL_COMPARE_MS;
	nacos_poll_wake(poll);
}

static void lose(struct nacos_poll *poll, int error)
{
	if (poll->is_reachable)
		log_warning("the server does not answer: changes elsewhere are noticed late");
	poll->is_reachable = false;
	poll->is_unsupported = error == -EOPNOTSUPP;
	poll->retry_at_ms = clock_monotonic_ms() + (error == -EOPNOTSUPP ? UNSUPPORTED_RETRY_MS
									  : nacos_poll_delay_ms(poll->failures));
	poll->failures++;
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++) {
		struct nacos_poll_slot *slot = &poll->slots[i];

		nacos_poll_slot_distrust(poll, slot);
		slot->check_at_ms = NACOS_POLL_NEVER;
		slot->failures = 0;
		if (slot->is_holding)
			atomic_store(&slot->leave, true);
	}
	nacos_poll_wake(poll);
}

/* Does gRPC feed the set too? Then it answers for names. */
static bool has_grpc(const struct nacos_poll *poll)
{
	return poll->set->feeders[NACOS_WATCH_GRPC] != NULL;
}

static void note_heard(struct nacos_poll *poll)
{
	poll->heard_at_ms = clock_monotonic_ms();
	if (poll->is_reachable)
		return;
	poll->is_reachable = true;
	poll->is_unsupported = false;
	poll->failures = 0;
	for (struct nacos_watch_names *names = poll->set->namespaces; names && !has_grpc(poll); names = names->next)
		names->is_settled = false;
	nacos_poll_compare_all(poll);
}

/* With the lock held, which is given up meanwhile. -EACCES and -EINVAL are answers, too. */
static int ask(struct nacos_poll *poll, const struct nacos_poll_question *question, struct buffer *ret_body)
{
	int error;

	nacos_watch_unlock(poll->set);
	error = nacos_poll_send(poll, NULL, question, ret_body);
	nacos_watch_lock(poll->set);
	if (error == 0 || error == -EACCES || error == -EINVAL)
		note_heard(poll);
	else if (error != -EINTR)
		lose(poll, error);
	return error;
}

/* ---- rights ---- */

/* From wide to narrow: the first scope that is granted, or not known. REFUSED: none is. */
static enum nacos_watch_right decide(const struct nacos_poll *poll, const struct nacos_poll_part *part,
				     enum nacos_watch_scope *ret_scope)
{
	for (*ret_scope = NACOS_WATCH_NAMESPACE; *ret_scope < NACOS_WATCH_CONFIG; ++*ret_scope) {
		enum nacos_watch_right right =
			nacos_watch_rights_find(&poll->rights, part->part.entry->place, *ret_scope);

		if (right != NACOS_WATCH_REFUSED)
			return right;
	}
	return part->own_round == poll->rights_round ? part->own_right : NACOS_WATCH_UNKNOWN;
}

/* Settles what is in a list and whose right is known. Returns one whose right must be asked for, on ret_scope; NULL: none. */
static struct nacos_poll_part *settle_list(struct nacos_poll *poll, struct nacos_watch_list *list,
					   enum nacos_watch_scope *ret_scope)
{
	struct nacos_watch_part *watched, *next;

	for (watched = list->first; watched; watched = next) {
		struct nacos_poll_part *part = nacos_poll_part_of(watched);
		enum nacos_watch_scope scope;

		next = watched->next;
		if (part->slot && part->rights_round == poll->rights_round)
			continue;
		switch (decide(poll, part, &scope)) {
		case NACOS_WATCH_UNKNOWN:
			*ret_scope = scope;
			return part;
		case NACOS_WATCH_GRANTED:
			part->scope = scope;
			part->rights_round = poll->rights_round;
			nacos_watch_note_refusal(poll->set, watched, false);
			if (!part->slot)
				nacos_poll_move(poll, part, &poll->ready);
			break;
		case NACOS_WATCH_REFUSED:
			nacos_poll_move(poll, part, &poll->refused);
			nacos_watch_note_refusal(poll->set, watched, true);
		}
	}
	return NULL;
}

static struct nacos_poll_part *find_unproven(struct nacos_poll *poll, enum nacos_watch_scope *ret_scope)
{
	struct nacos_poll_part *part = settle_list(poll, &poll->pending, ret_scope);

	for (size_t i = 0; !part && poll->is_proving && i < NACOS_POLL_SLOTS_MAX; i++)
		part = settle_list(poll, &poll->slots[i].parts, ret_scope);
	if (!part)
		poll->is_proving = false;
	return part;
}

static void keep_right(struct nacos_poll *poll, struct place *place, enum nacos_watch_scope scope, bool is_granted)
{
	struct nacos_poll_part *part;

	if (scope != NACOS_WATCH_CONFIG) {
		nacos_watch_rights_keep(&poll->rights, place, scope, is_granted);
		return;
	}
	part = nacos_poll_find(poll, place);
	if (part) {
		part->own_right = is_granted ? NACOS_WATCH_GRANTED : NACOS_WATCH_REFUSED;
		part->own_round = poll->rights_round;
	}
}

/* With the lock held: asks for a right that must be known. False: there is none. */
static bool prove(struct nacos_poll *poll)
{
	cleanup_nacos_poll_question struct nacos_poll_question question = { 0 };
	cleanup_buffer struct buffer body = BUFFER_INIT;
	cleanup_place struct place *place = NULL;
	unsigned round = poll->rights_round;
	enum nacos_watch_scope scope;
	struct nacos_poll_part *part = find_unproven(poll, &scope);
	int error;

	if (!part)
		return false;
	place = place_hold(part->part.entry->place);
	if (nacos_poll_ask_one(poll, place, part->part.entry->md5, scope, &question)) {
		lose(poll, -ENOMEM);
		return true;
	}
	error = ask(poll, &question, &body);
	/* Where the round has changed meanwhile, it is asked again. */
	if (poll->rights_round == round && (error == 0 || error == -EACCES || error == -EINVAL))
		keep_right(poll, place, scope, error == 0);
	return true;
}

/* ---- checks ---- */

/* With the lock held: the entries that a check has found unchanged are watched from now on. */
static void settle_check(struct nacos_poll *poll, struct nacos_poll_slot *slot, struct buffer *body,
			 uint64_t tick)
{
	bool all_told = true;

	if (nacos_poll_note_changes(poll, body, tick) < 0) {
		lose(poll, -EIO);
		return;
	}
	for (struct nacos_watch_part *watched = slot->parts.first; watched; watched = watched->next) {
		struct nacos_poll_part *part = nacos_poll_part_of(watched);

		if (part->joined_tick <= tick && watched->entry->md5_tick <= tick)
			part->is_told = true;
		all_told = all_told && part->is_told;
	}
	if (!all_told && slot->check_at_ms == NACOS_POLL_NEVER)
		slot->check_at_ms = clock_monotonic_ms() + NACOS_POLL_CHECK_DELAY_MS;
}

static struct nacos_poll_slot *find_unchecked(struct nacos_poll *poll, int64_t now_ms)
{
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++) {
		struct nacos_poll_slot *slot = &poll->slots[i];

		if (slot->is_holding && slot->parts.first && slot->check_at_ms <= now_ms)
			return slot;
	}
	return NULL;
}

/* With the lock held: False: nothing is to be checked. */
static bool check(struct nacos_poll *poll)
{
	cleanup_nacos_poll_question struct nacos_poll_question question = { 0 };
	cleanup_buffer struct buffer body = BUFFER_INIT;
	int64_t now_ms = clock_monotonic_ms();
	struct nacos_poll_slot *slot = find_unchecked(poll, now_ms);
	uint64_t tick = ++poll->set->tick;
	int error;

	if (!slot)
		return false;
	/* A hold that has just begun (again) needs another check. */
	slot->check_at_ms = slot->begun_ms + NACOS_POLL_CHECK_DELAY_MS > now_ms ? slot->begun_ms + NACOS_POLL_CHECK_DELAY_MS
								      : NACOS_POLL_NEVER;
	if (nacos_poll_ask_slot(poll, slot, &question)) {
		lose(poll, -ENOMEM);
		return true;
	}
	error = ask(poll, &question, &body);
	if (error == 0) {
		settle_check(poll, slot, &body, tick);
	} else if (error == -EACCES || error == -EINVAL) {
		nacos_poll_slot_distrust(poll, slot);
		slot->check_at_ms = clock_monotonic_ms() + CHECK_REFUSED_DELAY_MS;
		nacos_poll_compare_all(poll);
	}
	return true;
}

/* Is it time to ask anything, to see whether the server is there? */
static bool must_knock(const struct nacos_poll *poll, int64_t now_ms)
{
	if (!poll->is_reachable)
		return now_ms >= poll->retry_at_ms;
	return poll->set->wanted_count > 0 && now_ms >= poll->heard_at_ms + HEARTBEAT_MS;
}

/* About something that is watched, or else about nothing that anybody has. 0 or -ENOMEM. */
static int ask_anything(struct nacos_poll *poll, struct nacos_poll_question *ret_question)
{
	const struct nacos_watch_part *part = poll->pending.first;

	for (size_t i = 0; !part && i < NACOS_POLL_SLOTS_MAX; i++)
		part = poll->slots[i].parts.first;
	if (part)
		return nacos_poll_ask_one(poll, part->entry->place, part->entry->md5,
					  ((const struct nacos_poll_part *)part)->scope, ret_question);
	cleanup_place struct place *probe = place_new("public", PROBE_NAME, PROBE_NAME);
	return probe ? nacos_poll_ask_one(poll, probe, "", NACOS_WATCH_CONFIG, ret_question) : -ENOMEM;
}

/* With the lock held. False: it was not time for that. */
static bool knock(struct nacos_poll *poll)
{
	cleanup_nacos_poll_question struct nacos_poll_question question = { 0 };
	cleanup_buffer struct buffer body = BUFFER_INIT;
	int error;

	if (!must_knock(poll, clock_monotonic_ms()))
		return false;
	error = ask_anything(poll, &question);
	if (error)
		lose(poll, error);
	else
		ask(poll, &question, &body);
	return true;
}

/* ---- time ---- */

static void lower(int64_t *due_ms, int64_t other_ms)
{
	if (other_ms < *due_ms)
		*due_ms = other_ms;
}

/* With the lock held: puts the lists in order as time goes by. */
static void follow_time(struct nacos_poll *poll)
{
	int64_t now_ms = clock_monotonic_ms();
	struct nacos_watch_part *watched, *next;

	if (poll->is_reachable && now_ms >= poll->compare_at_ms)
		nacos_poll_compare_all(poll);
	if (now_ms < poll->resume_at_ms)
		return;
	poll->resume_at_ms = NACOS_POLL_NEVER;
	for (watched = poll->waiting.first; watched; watched = next) {
		struct nacos_poll_part *part = nacos_poll_part_of(watched);

		next = watched->next;
		if (part->resume_at_ms <= now_ms)
			nacos_poll_move(poll, part, &poll->pending);
		else
			lower(&poll->resume_at_ms, part->resume_at_ms);
	}
}

/* With the lock held: when there is something to do though nothing has happened. */
static int64_t next_due_ms(const struct nacos_poll *poll)
{
	int64_t due_ms = poll->resume_at_ms;

	if (!poll->is_reachable) {
		lower(&due_ms, poll->retry_at_ms);
		return due_ms;
	}
	lower(&due_ms, poll->compare_at_ms);
	if (poll->set->wanted_count > 0)
		lower(&due_ms, poll->heard_at_ms + HEARTBEAT_MS);
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++)
		if (poll->slots[i].is_holding && poll->slots[i].parts.first)
			lower(&due_ms, poll->slots[i].check_at_ms);
	return due_ms;
}

/* ---- reports ---- */

/* There is no such watch: the callers are told, as soon as it is known whether the server is there at all. */
static void answer_for_names(struct nacos_poll *poll)
{
	if (has_grpc(poll) || (!poll->is_reachable && !poll->is_unsupported))
		return;
	for (struct nacos_watch_names *names = poll->set->namespaces; names; names = names->next)
		if (names->is_wanted && !names->is_settled)
			nacos_watch_note_names(poll->set, names, -EOPNOTSUPP);
}

/* Is everything that could be watched? */
static bool is_all_told(const struct nacos_poll *poll)
{
	if (poll->pending.first || (poll->ready.first && !poll->is_full))
		return false;
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++)
		for (const struct nacos_watch_part *part = poll->slots[i].parts.first; part; part = part->next)
			if (!((const struct nacos_poll_part *)part)->is_told)
				return false;
	return true;
}

static void note_live(struct nacos_poll *poll)
{
	bool is_good = poll->is_reachable;

	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++)
		is_good = is_good && (poll->slots[i].failures < 2 || !poll->slots[i].parts.first);
	if (!is_good)
		nacos_watch_note_live(&poll->feeder, false);
	else if (!poll->feeder.is_live && is_all_told(poll))
		nacos_watch_note_live(&poll->feeder, true);
}

/* ---- the thread ---- */

int64_t nacos_poll_listen(void *arg)
{
	struct nacos_poll *poll = arg;
	int64_t slot_due_ms, due_ms;
	bool is_busy;

	follow_time(poll);
	is_busy = knock(poll) || (poll->is_reachable && (prove(poll) || check(poll)));
	slot_due_ms = nacos_poll_start_slot(poll);
	answer_for_names(poll);
	note_live(poll);
	due_ms = next_due_ms(poll);
	lower(&due_ms, slot_due_ms);
	return is_busy ? WORKER_AT_ONCE : due_ms;
}
