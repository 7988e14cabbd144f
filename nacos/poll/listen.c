/*
 * The thread of the HTTP watch that reports to the caller, and asks what is answered at once: whether the account may
 * watch something, whether anything has changed since a hold began, and whether the server is still there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/poll/answer.h"
#include "nacos/poll/poll_private.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"

/* So many events are reported before the server's turn comes again. */
#define REPORTS_AT_ONCE 256

/* A server that says nothing for so long is asked something. */
#define HEARTBEAT_MS 10000
#define UNSUPPORTED_RETRY_MS 30000

#define CHECK_REFUSED_DELAY_MS 1000

#define PROBE_NAME "nacosfs.watch.probe"

/* ---- answers ---- */

int nacos_poll_note_changed(struct nacos_poll_watch *watch, struct buffer *body, uint64_t tick)
{
	struct nacos_key key;
	size_t offset = 0;
	int known = 0, found;

	while ((found = nacos_poll_answer_next(body, &offset, &key)) > 0) {
		struct nacos_poll_entry *entry = nacos_poll_find(watch, &key);

		known += entry != NULL;
		/* What was told after the request went out is compared by the next one. */
		if (entry && entry->list->is_hold && entry->md5_tick <= tick)
			nacos_poll_move(watch, entry, &watch->reports);
	}
	return found < 0 ? found : known;
}

void nacos_poll_forget_limits(struct nacos_poll_watch *watch)
{
	while (watch->limits) {
		struct nacos_poll_limit *limit = watch->limits;

		watch->limits = limit->next;
		free(limit->namespace_id);
		free(limit->group);
		free(limit);
	}
}

void nacos_poll_compare_all(struct nacos_poll_watch *watch)
{
	nacos_poll_forget_limits(watch);
	watch->rights_round++;
	watch->is_proving = true;
	while (watch->refused.first)
		nacos_poll_move(watch, watch->refused.first, &watch->pending);
	watch->compare_at_ms = clock_monotonic_ms() + NACOS_POLL_COMPARE_MS;
	nacos_poll_wake(watch);
}

static void lose(struct nacos_poll_watch *watch, int error)
{
	if (watch->is_reachable)
		log_warning("the server does not answer: changes elsewhere are noticed late");
	watch->is_reachable = false;
	watch->is_unsupported = error == -EOPNOTSUPP;
	watch->retry_at_ms = clock_monotonic_ms() + (error == -EOPNOTSUPP ? UNSUPPORTED_RETRY_MS
									  : nacos_poll_delay_ms(watch->failures));
	watch->failures++;
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++) {
		struct nacos_poll_slot *slot = &watch->slots[i];

		nacos_poll_slot_distrust(watch, slot);
		slot->check_at_ms = NACOS_POLL_NEVER;
		slot->failures = 0;
		if (slot->is_holding)
			atomic_store(&slot->leave, true);
	}
	nacos_poll_wake(watch);
}

static void note_heard(struct nacos_poll_watch *watch)
{
	watch->heard_at_ms = clock_monotonic_ms();
	if (watch->is_reachable)
		return;
	watch->is_reachable = true;
	watch->is_unsupported = false;
	watch->failures = 0;
	for (struct nacos_poll_names *names = watch->namespaces; names; names = names->next)
		names->reported = false;
	nacos_poll_compare_all(watch);
}

/* With the lock held, which is given up meanwhile. -EACCES and -EINVAL are answers, too. */
static int ask(struct nacos_poll_watch *watch, const struct nacos_poll_question *question, struct buffer *ret_body)
{
	int error;

	pthread_mutex_unlock(&watch->lock);
	error = nacos_poll_send(watch, NULL, question, ret_body);
	pthread_mutex_lock(&watch->lock);
	if (error == 0 || error == -EACCES || error == -EINVAL)
		note_heard(watch);
	else if (error != -EINTR)
		lose(watch, error);
	return error;
}

/* ---- rights ---- */

/* What is to be asked. */
struct proof {
	enum nacos_poll_scope scope;
	struct nacos_key key; /* borrowed from an entry, until the lock is given up */
	const char *md5;
};

/* What is known of the whole namespace, or of a group in it. */
static enum nacos_poll_right find_limit(const struct nacos_poll_watch *watch, const char *namespace_id,
					const char *group)
{
	for (const struct nacos_poll_limit *limit = watch->limits; limit; limit = limit->next) {
		if (strcmp(limit->namespace_id, namespace_id) == 0 && !limit->group == !group &&
		    (!group || strcmp(limit->group, group) == 0))
			return limit->granted ? NACOS_POLL_GRANTED : NACOS_POLL_REFUSED;
	}
	return NACOS_POLL_UNKNOWN;
}

/* From wide to narrow: the first scope that is granted, or not known. REFUSED: none is. */
static enum nacos_poll_right decide(const struct nacos_poll_watch *watch, const struct nacos_poll_entry *entry,
				    enum nacos_poll_scope *ret_scope)
{
	const struct nacos_key *key = &entry->node.key;
	enum nacos_poll_right right = find_limit(watch, key->namespace_id, NULL);

	*ret_scope = NACOS_POLL_NAMESPACE;
	if (right != NACOS_POLL_REFUSED)
		return right;
	*ret_scope = NACOS_POLL_GROUP;
	right = find_limit(watch, key->namespace_id, key->group);
	if (right != NACOS_POLL_REFUSED)
		return right;
	*ret_scope = NACOS_POLL_CONFIG;
	return entry->own_round == watch->rights_round ? entry->own_right : NACOS_POLL_UNKNOWN;
}

/* Settles the entries of a list whose right is known. True: that of one must be asked for. */
static bool settle_list(struct nacos_poll_watch *watch, struct nacos_poll_list *list, struct proof *ret_proof)
{
	struct nacos_poll_entry *entry, *next;

	for (entry = list->first; entry; entry = next) {
		enum nacos_poll_scope scope;

		next = entry->next;
		if (list->is_hold && entry->rights_round == watch->rights_round)
			continue;
		switch (decide(watch, entry, &scope)) {
		case NACOS_POLL_UNKNOWN:
			*ret_proof = (struct proof){ scope, entry->node.key, entry->md5 };
			return true;
		case NACOS_POLL_GRANTED:
			entry->scope = scope;
			entry->rights_round = watch->rights_round;
			if (!list->is_hold)
				nacos_poll_move(watch, entry, &watch->ready);
			break;
		case NACOS_POLL_REFUSED:
			nacos_poll_move(watch, entry, &watch->new_refused);
		}
	}
	return false;
}

static bool find_proof(struct nacos_poll_watch *watch, struct proof *ret_proof)
{
	if (settle_list(watch, &watch->pending, ret_proof))
		return true;
	for (size_t i = 0; watch->is_proving && i < NACOS_POLL_SLOTS_MAX; i++)
		if (settle_list(watch, &watch->slots[i].entries, ret_proof))
			return true;
	watch->is_proving = false;
	return false;
}

static void keep_limit(struct nacos_poll_watch *watch, const struct nacos_key *key, bool is_group, bool granted)
{
	struct nacos_poll_limit *limit = calloc(1, sizeof(*limit));

	/* Without memory it is asked again. */
	if (!limit)
		return;
	limit->granted = granted;
	limit->namespace_id = strdup(key->namespace_id);
	if (is_group)
		limit->group = strdup(key->group);
	if (!limit->namespace_id || (is_group && !limit->group)) {
		free(limit->namespace_id);
		free(limit->group);
		free(limit);
		return;
	}
	limit->next = watch->limits;
	watch->limits = limit;
	if (!granted)
		log_debug("no right to watch all of %s%s%s", key->namespace_id, is_group ? "/" : "",
			  is_group ? key->group : "");
}

static void keep_right(struct nacos_poll_watch *watch, const struct proof *proof, bool granted)
{
	struct nacos_poll_entry *entry;

	if (proof->scope != NACOS_POLL_CONFIG) {
		keep_limit(watch, &proof->key, proof->scope == NACOS_POLL_GROUP, granted);
		return;
	}
	entry = nacos_poll_find(watch, &proof->key);
	if (entry) {
		entry->own_right = granted ? NACOS_POLL_GRANTED : NACOS_POLL_REFUSED;
		entry->own_round = watch->rights_round;
	}
}

/* With the lock held: asks for a right that must be known. False: there is none. */
static bool prove(struct nacos_poll_watch *watch)
{
	cleanup_nacos_poll_question struct nacos_poll_question question = { 0 };
	cleanup_buffer struct buffer body = BUFFER_INIT;
	cleanup_free char *texts = NULL;
	unsigned round = watch->rights_round;
	struct nacos_key copy;
	struct proof proof;
	int error;

	if (!find_proof(watch, &proof))
		return false;
	texts = malloc(nacos_key_size(&proof.key));
	if (!texts || nacos_poll_ask_one(watch, &proof.key, proof.md5, proof.scope, &question)) {
		lose(watch, -ENOMEM);
		return true;
	}
	nacos_key_place(&proof.key, texts, &copy);
	proof.key = copy;
	error = ask(watch, &question, &body);
	/* Where the round has changed meanwhile, it is asked again. */
	if (watch->rights_round == round && (error == 0 || error == -EACCES || error == -EINVAL))
		keep_right(watch, &proof, error == 0);
	return true;
}

/* ---- checks ---- */

/* With the lock held: the entries that a check has found unchanged are watched from now on. */
static void settle_check(struct nacos_poll_watch *watch, struct nacos_poll_slot *slot, struct buffer *body,
			 uint64_t tick)
{
	bool all_told = true;

	if (nacos_poll_note_changed(watch, body, tick) < 0) {
		lose(watch, -EIO);
		return;
	}
	for (struct nacos_poll_entry *entry = slot->entries.first; entry; entry = entry->next) {
		if (entry->joined_tick <= tick && entry->md5_tick <= tick)
			entry->told = true;
		all_told = all_told && entry->told;
	}
	if (!all_told && slot->check_at_ms == NACOS_POLL_NEVER)
		slot->check_at_ms = clock_monotonic_ms() + NACOS_POLL_CHECK_DELAY_MS;
}

static struct nacos_poll_slot *find_unchecked(struct nacos_poll_watch *watch, int64_t now_ms)
{
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++) {
		struct nacos_poll_slot *slot = &watch->slots[i];

		if (slot->is_holding && slot->entries.first && slot->check_at_ms <= now_ms)
			return slot;
	}
	return NULL;
}

/* With the lock held: False: nothing is to be checked. */
static bool check(struct nacos_poll_watch *watch)
{
	cleanup_nacos_poll_question struct nacos_poll_question question = { 0 };
	cleanup_buffer struct buffer body = BUFFER_INIT;
	int64_t now_ms = clock_monotonic_ms();
	struct nacos_poll_slot *slot = find_unchecked(watch, now_ms);
	uint64_t tick = ++watch->tick;
	int error;

	if (!slot)
		return false;
	/* A hold that has just begun (again) needs another check. */
	slot->check_at_ms = slot->begun_ms + NACOS_POLL_CHECK_DELAY_MS > now_ms ? slot->begun_ms + NACOS_POLL_CHECK_DELAY_MS
								      : NACOS_POLL_NEVER;
	if (nacos_poll_ask_slot(watch, slot, &question)) {
		lose(watch, -ENOMEM);
		return true;
	}
	error = ask(watch, &question, &body);
	if (error == 0) {
		settle_check(watch, slot, &body, tick);
	} else if (error == -EACCES || error == -EINVAL) {
		nacos_poll_slot_distrust(watch, slot);
		slot->check_at_ms = clock_monotonic_ms() + CHECK_REFUSED_DELAY_MS;
		nacos_poll_compare_all(watch);
	}
	return true;
}

/* With the lock held: asks anything, to see whether the server is there. False: it need not be. */
static bool knock(struct nacos_poll_watch *watch)
{
	static const struct nacos_key probe = { "public", PROBE_NAME, PROBE_NAME };
	cleanup_nacos_poll_question struct nacos_poll_question question = { 0 };
	cleanup_buffer struct buffer body = BUFFER_INIT;
	const struct nacos_poll_entry *entry = watch->pending.first;
	int64_t now_ms = clock_monotonic_ms();
	int error;

	if (watch->is_reachable ? watch->table.count == 0 || now_ms < watch->heard_at_ms + HEARTBEAT_MS
				: now_ms < watch->retry_at_ms)
		return false;
	for (size_t i = 0; !entry && i < NACOS_POLL_SLOTS_MAX; i++)
		entry = watch->slots[i].entries.first;
	if (entry)
		error = nacos_poll_ask_one(watch, &entry->node.key, entry->md5, entry->scope, &question);
	else
		error = nacos_poll_ask_one(watch, &probe, "", NACOS_POLL_CONFIG, &question);
	if (error)
		lose(watch, error);
	else
		ask(watch, &question, &body);
	return true;
}

/* ---- time ---- */

/* With the lock held: puts the lists in order as time goes by. */
static void follow_time(struct nacos_poll_watch *watch)
{
	int64_t now_ms = clock_monotonic_ms();
	struct nacos_poll_entry *entry, *next;

	if (watch->is_reachable && now_ms >= watch->compare_at_ms)
		nacos_poll_compare_all(watch);
	if (now_ms < watch->resume_at_ms)
		return;
	watch->resume_at_ms = NACOS_POLL_NEVER;
	for (entry = watch->waiting.first; entry; entry = next) {
		next = entry->next;
		if (entry->resume_at_ms <= now_ms)
			nacos_poll_move(watch, entry, &watch->pending);
		else if (entry->resume_at_ms < watch->resume_at_ms)
			watch->resume_at_ms = entry->resume_at_ms;
	}
}

static void lower(int64_t *due_ms, int64_t other_ms)
{
	if (other_ms < *due_ms)
		*due_ms = other_ms;
}

/* With the lock held: when there is something to do though nothing has happened. */
static int64_t next_due_ms(const struct nacos_poll_watch *watch)
{
	int64_t due_ms = watch->resume_at_ms;

	if (!watch->is_reachable) {
		lower(&due_ms, watch->retry_at_ms);
		return due_ms;
	}
	lower(&due_ms, watch->compare_at_ms);
	if (watch->table.count > 0)
		lower(&due_ms, watch->heard_at_ms + HEARTBEAT_MS);
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++)
		if (watch->slots[i].is_holding && watch->slots[i].entries.first)
			lower(&due_ms, watch->slots[i].check_at_ms);
	if (watch->ready.first)
		lower(&due_ms, nacos_poll_gathered_at_ms(watch));
	return due_ms;
}

/* ---- reports, with the lock held, which is given up meanwhile ---- */

static void report(struct nacos_poll_watch *watch, const struct nacos_key *key,
		   void (*event)(void *arg, const struct nacos_key *key))
{
	cleanup_free char *texts = malloc(nacos_key_size(key));
	struct nacos_key copy;

	/* Without memory: when it is compared again. */
	if (!texts || !event)
		return;
	nacos_key_place(key, texts, &copy);
	pthread_mutex_unlock(&watch->lock);
	event(watch->arg, &copy);
	pthread_mutex_lock(&watch->lock);
}

static bool report_entry(struct nacos_poll_watch *watch)
{
	struct nacos_poll_entry *entry = watch->reports.first;

	if (entry) {
		nacos_poll_move(watch, entry, &watch->waiting);
		entry->is_answered = false;
		entry->resume_at_ms = clock_monotonic_ms() + NACOS_POLL_COMPARE_MS;
		lower(&watch->resume_at_ms, entry->resume_at_ms);
		report(watch, &entry->node.key, watch->events.changed);
		return true;
	}
	entry = watch->new_refused.first;
	if (!entry)
		return false;
	nacos_poll_move(watch, entry, &watch->refused);
	if (!entry->is_reported_refused) {
		entry->is_reported_refused = true;
		report(watch, &entry->node.key, watch->events.refused);
	}
	return true;
}

static bool report_names(struct nacos_poll_watch *watch)
{
	struct nacos_poll_names *names = watch->namespaces;

	/* When the server is not there, nobody can say anything. */
	if (!watch->is_reachable && !watch->is_unsupported)
		return false;
	while (names && (!names->wanted || names->reported))
		names = names->next;
	if (!names)
		return false;
	names->reported = true;
	pthread_mutex_unlock(&watch->lock);
	/* It is not freed before this thread ends. */
	if (watch->events.names_watched)
		watch->events.names_watched(watch->arg, names->namespace_id, -EOPNOTSUPP);
	pthread_mutex_lock(&watch->lock);
	return true;
}

/* Is everything that could be watched? */
static bool is_all_told(const struct nacos_poll_watch *watch)
{
	if (watch->pending.first || watch->new_refused.first || (watch->ready.first && !watch->is_full))
		return false;
	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++)
		for (const struct nacos_poll_entry *entry = watch->slots[i].entries.first; entry; entry = entry->next)
			if (!entry->told)
				return false;
	return true;
}

static void report_live(struct nacos_poll_watch *watch)
{
	bool live = watch->live, good = watch->is_reachable;

	for (size_t i = 0; i < NACOS_POLL_SLOTS_MAX; i++)
		good = good && (watch->slots[i].failures < 2 || !watch->slots[i].entries.first);
	if (!good)
		live = false;
	else if (!live)
		live = is_all_told(watch);
	if (live == watch->live)
		return;
	watch->live = live;
	pthread_mutex_unlock(&watch->lock);
	if (watch->events.live)
		watch->events.live(watch->arg, live);
	pthread_mutex_lock(&watch->lock);
}

/* ---- the thread ---- */

void *nacos_poll_listen_run(void *arg)
{
	struct nacos_poll_watch *watch = arg;

	pthread_mutex_lock(&watch->lock);
	while (!atomic_load(&watch->stop)) {
		int reports = 0;
		bool busy;

		while (reports < REPORTS_AT_ONCE && (report_entry(watch) || report_names(watch)))
			reports++;
		follow_time(watch);
		busy = knock(watch) || (watch->is_reachable && (prove(watch) || check(watch)));
		nacos_poll_start_slot(watch);
		report_live(watch);
		if (!busy && reports == 0 && !watch->reports.first && !watch->new_refused.first)
			nacos_poll_wait(watch, next_due_ms(watch));
	}
	pthread_mutex_unlock(&watch->lock);
	return NULL;
}
