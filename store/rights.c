#include "store/rights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/rights_private.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"

#define ASKING_MAX 8 /* questions under way at the same time */
#define OUTAGE_PAUSE_MS 3000
#define NODE_LIMIT 50000 /* places that are remembered before idle ones are forgotten */
#define IDLE_MS 60000
#define BACKGROUND_ASK_MS 10000
#define IN_USE_MS 3700000 /* after somebody last wanted to know: the kernel may have been told for an hour */
#define TELL_DELAY_MS 200 /* so that many changes are told of once */
#define PAUSE_MIN_MS 50 /* of the thread, between two looks at what is to be done */

/* ------------------------------------------------------------------- places */

static struct place *place_of(const struct rights_node *node)
{
	return node->place_entry.place;
}

static enum place_depth depth_of(const struct rights_node *node)
{
	return place_of(node)->depth;
}

static struct rights_node *next_node(const struct rights *rights, const struct rights_node *node)
{
	return (struct rights_node *)table_next(&rights->nodes, node ? &node->place_entry.link : NULL);
}

static void count_writable(struct rights_node *node, bool more)
{
	for (struct rights_node *above = node->parent; above; above = above->parent)
		above->writable_below += more ? 1 : (size_t)-1;
}

static void set_answer(struct rights *rights, struct rights_node *node, enum rights_kind kind,
		       enum rights_answer answer)
{
	struct rights_known *known = &node->known[kind];

	if (kind == KIND_WRITE && (known->answer == ANSWER_YES) != (answer == ANSWER_YES))
		count_writable(node, answer == ANSWER_YES);
	if (known->answer != answer && !rights->is_changed) {
		rights->is_changed = true;
		rights->tell_at_ms = clock_monotonic_ms() + TELL_DELAY_MS;
		pthread_cond_broadcast(&rights->answered);
	}
	known->answer = answer;
	known->fresh_until_ms =
		answer == ANSWER_UNKNOWN ? 0 : clock_monotonic_ms() + rights->options.fresh_ms;
}

/* Places that nobody asked for of late: a program that looks for ever new names must not fill the memory. */
static void forget_idle(struct rights *rights)
{
	int64_t idle_since_ms = clock_monotonic_ms() - IDLE_MS;

	for (struct rights_node *node = next_node(rights, NULL), *next; node; node = next) {
		next = next_node(rights, node);
		if (!node->parent || node->children || node->users || node->used_ms > idle_since_ms)
			continue;
		set_answer(rights, node, KIND_WRITE, ANSWER_UNKNOWN);
		node->parent->children--;
		place_table_remove(&rights->nodes, &node->place_entry);
		free(node);
	}
}

static struct rights_node *find_node(const struct rights *rights, const struct place *place)
{
	return (struct rights_node *)place_table_find(&rights->nodes, place);
}

/* The node of a place, made with all above it where there is none. NULL without memory. */
static struct rights_node *make_node(struct rights *rights, struct place *place)
{
	struct rights_node *node = find_node(rights, place);

	if (node)
		return node;
	struct rights_node *parent = make_node(rights, place->above);
	if (!parent)
		return NULL;
	if (rights->nodes.count > NODE_LIMIT && !rights->options.off) {
		parent->users++;
		forget_idle(rights);
		parent->users--;
	}
	node = calloc(1, sizeof(*node));
	if (!node)
		return NULL;
	place_table_add(&rights->nodes, &node->place_entry, place);
	node->parent = parent;
	parent->children++;
	node->used_ms = clock_monotonic_ms();
	return node;
}

/* The nearest node there is at or above a place. */
static struct rights_node *nearest_node(const struct rights *rights, const struct place *place)
{
	struct rights_node *node;

	while (!(node = find_node(rights, place)))
		place = place->above;
	return node;
}

/* ------------------------------------------------------------- what is known */

static bool is_fresh(const struct rights_node *node, enum rights_kind kind)
{
	return node->known[kind].answer != ANSWER_UNKNOWN &&
	       node->known[kind].fresh_until_ms > clock_monotonic_ms();
}

/* The scopes that a right holds below: namespaces and groups. Being able to make namespaces grants nothing in them. */
static struct rights_node *scope_above(const struct rights_node *node)
{
	return depth_of(node) > PLACE_NAMESPACE ? node->parent : NULL;
}

/* Is it granted by what is known at this place, or for all that it is in? exact: the node is the place itself. */
static bool is_granted(const struct rights *rights, const struct rights_node *node, enum rights_kind kind,
		       bool exact)
{
	if (kind == KIND_WRITE && rights->options.read_only)
		return false;
	if (rights->options.off)
		return true;
	if (depth_of(node) == PLACE_TOP)
		return exact && (kind == KIND_READ || node->known[kind].answer == ANSWER_YES);
	if (exact && depth_of(node) == PLACE_CONFIG && node->known[kind].answer == ANSWER_NO)
		return false; /* it was refused: whatever a wider answer says, that is how it is */
	for (const struct rights_node *at = node; at; at = scope_above(at))
		if (at->known[kind].answer == ANSWER_YES)
			return true;
	/* Names may be created in a directory where some are known to be this account's. */
	return exact && kind == KIND_WRITE && node->writable_below;
}

/* What has to be asked for before the right is settled; NULL: nothing (any more). */
static struct rights_node *next_question(const struct rights *rights, struct rights_node *node,
					 enum rights_kind kind)
{
	if ((kind == KIND_WRITE && rights->options.read_only) || rights->options.off ||
	    rights->outage_until_ms > clock_monotonic_ms())
		return NULL;
	if (depth_of(node) == PLACE_TOP)
		return kind == KIND_READ || is_fresh(node, kind) ? NULL : node;
	if (depth_of(node) == PLACE_CONFIG && node->known[kind].answer == ANSWER_NO)
		return is_fresh(node, kind) ? NULL : node;
	/* From wide to narrow: the namespace, the group, the name. */
	struct rights_node *chain[3];
	size_t count = 0;
	for (struct rights_node *at = node; at; at = scope_above(at))
		chain[count++] = at;
	while (count--) {
		if (!is_fresh(chain[count], kind))
			return chain[count];
		if (chain[count]->known[kind].answer == ANSWER_YES)
			return NULL;
	}
	return NULL;
}

static void mark_used(struct rights_node *node)
{
	int64_t now_ms = clock_monotonic_ms();

	for (; node; node = node->parent)
		node->used_ms = now_ms;
}

unsigned rights_peek(struct rights *rights, struct place *place)
{
	unsigned bits = 0;

	pthread_mutex_lock(&rights->lock);
	struct rights_node *node = nearest_node(rights, place);
	bool exact = place_of(node) == place;
	if (is_granted(rights, node, KIND_READ, exact))
		bits |= RIGHT_READ;
	if (is_granted(rights, node, KIND_WRITE, exact))
		bits |= RIGHT_WRITE;
	pthread_mutex_unlock(&rights->lock);
	return bits;
}

bool rights_are_known(struct rights *rights, struct place *place, unsigned bits)
{
	pthread_mutex_lock(&rights->lock);
	struct rights_node *node = nearest_node(rights, place);
	bool exact = place_of(node) == place;
	bool known = true;
	for (unsigned kind = 0; kind < KIND_COUNT && known; kind++) {
		if (!(bits & (kind == KIND_READ ? RIGHT_READ : RIGHT_WRITE)))
			continue;
		known = !next_question(rights, node, kind) &&
			(exact || is_granted(rights, node, kind, false) || rights->options.read_only);
	}
	pthread_mutex_unlock(&rights->lock);
	return known;
}

/* ------------------------------------------------------------------- asking */

static int ask_read(struct store *lower, struct place *place, struct call *call)
{
	int error = place->depth == PLACE_CONFIG ? store_check_read(lower, place, call) :
						   store_check_any(lower, place, call);

	return error == -ENOENT ? 0 : error;
}

static int ask_write(struct store *lower, struct place *place, struct call *call)
{
	if (place->depth == PLACE_TOP)
		return store_check_create(lower, call);
	if (place->depth == PLACE_CONFIG)
		return store_check_write(lower, place, call);
	/* The names of no config, which stand for all of them. */
	const char *group = place_group(place);
	cleanup_place struct place *all = place_new(place_namespace_id(place), group ? group : "*", "*");

	return all ? store_check_write(lower, all, call) : -ENOMEM;
}

/* Asks for one right at one place, with the lock at entry and exit. 0 when there is an answer. */
static int ask(struct rights *rights, struct rights_node *node, enum rights_kind kind, int64_t timeout_ms,
	       struct call *call)
{
	struct rights_known *known = &node->known[kind];
	struct call part;

	if (call->from_memory)
		return -EWOULDBLOCK;
	known->asking = true;
	node->users++;
	rights->asking_count++;
	rights->question_count++;
	pthread_mutex_unlock(&rights->lock);
	call_start_part(&part, call, timeout_ms);
	part.uid = rights->options.is_of_user ? rights->options.uid : CALL_NO_USER;
	int error = kind == KIND_READ ? ask_read(rights->store.lower, place_of(node), &part) :
					ask_write(rights->store.lower, place_of(node), &part);
	pthread_mutex_lock(&rights->lock);
	known->asking = false;
	node->users--;
	rights->asking_count--;
	pthread_cond_broadcast(&rights->answered);
	if (!error || error == -EACCES || error == -EOPNOTSUPP) {
		set_answer(rights, node, kind, error ? ANSWER_NO : ANSWER_YES);
		return 0;
	}
	if (store_error_is_outage(error))
		rights->outage_until_ms = clock_monotonic_ms() + OUTAGE_PAUSE_MS;
	return call_fail(call, error, "%s", part.reason);
}

static int load_kind(struct rights *rights, struct rights_node *node, enum rights_kind kind,
		     struct call *call)
{
	struct rights_node *question;
	int error = 0;

	while (!error && (question = next_question(rights, node, kind))) {
		question->used_ms = clock_monotonic_ms();
		if (question->known[kind].asking || rights->asking_count >= ASKING_MAX)
			error = call_wait(call, &rights->answered, &rights->lock);
		else
			error = ask(rights, question, kind, RIGHTS_ASK_MS, call);
	}
	return error;
}

int rights_load(struct rights *rights, struct place *place, unsigned bits, struct call *call)
{
	int error = 0;

	access_drop(rights_find_access(rights, place)); /* worked out here, where nobody waits for it */
	pthread_mutex_lock(&rights->lock);
	/* A wide yes needs no place of the config's own. */
	struct rights_node *node = nearest_node(rights, place);
	for (unsigned kind = 0; kind < KIND_COUNT && !error; kind++) {
		if (!(bits & (kind == KIND_READ ? RIGHT_READ : RIGHT_WRITE)))
			continue;
		node->users++;
		error = load_kind(rights, node, kind, call);
		node->users--;
		if (error || place_of(node) == place || is_granted(rights, node, kind, false))
			continue;
		node = make_node(rights, place);
		if (!node) {
			error = -ENOMEM;
			break;
		}
		node->users++;
		error = load_kind(rights, node, kind, call);
		node->users--;
	}
	if (node)
		mark_used(node);
	pthread_mutex_unlock(&rights->lock);
	return error;
}

/* -------------------------------------------------------------------- checks */

int rights_known_answer(struct rights *rights, struct place *place, enum rights_kind kind)
{
	int answer = -EAGAIN;

	pthread_mutex_lock(&rights->lock);
	struct rights_node *node = nearest_node(rights, place);
	bool exact = place_of(node) == place;
	if (kind == KIND_WRITE && rights->options.read_only)
		answer = -EACCES;
	else if (next_question(rights, node, kind))
		answer = -EAGAIN;
	else if (is_granted(rights, node, kind, exact))
		answer = 0;
	else if (exact && is_fresh(node, kind))
		answer = -EACCES;
	mark_used(node);
	pthread_mutex_unlock(&rights->lock);
	return answer;
}

/* The right is known to be granted (0), known not to be (-EACCES), or nobody was ever told (-EAGAIN). */
static int answer_of(struct rights *rights, struct place *place, enum rights_kind kind)
{
	int answer = -EAGAIN;

	pthread_mutex_lock(&rights->lock);
	const struct rights_node *node = nearest_node(rights, place);
	if (is_granted(rights, node, kind, place_of(node) == place))
		answer = 0;
	for (const struct rights_node *at = node; at && answer == -EAGAIN; at = scope_above(at))
		if (at->known[kind].answer == ANSWER_NO)
			answer = -EACCES;
	pthread_mutex_unlock(&rights->lock);
	return answer;
}

static int check(struct rights *rights, struct place *place, enum rights_kind kind, struct call *call)
{
	char text[PLACE_TEXT_SIZE];
	int error = rights_load(rights, place, kind == KIND_READ ? RIGHT_READ : RIGHT_WRITE, call);
	int answer = answer_of(rights, place, kind);

	if (error == -EWOULDBLOCK)
		return error;
	if (!answer)
		return 0;
	if (error == -EINTR || error == -ENOMEM)
		return error;
	place_format(place, text, sizeof(text));
	if (answer == -EACCES && !error)
		return call_fail(call, -EACCES, "%s: this account may not %s it", text,
				 kind == KIND_READ ? "read" : "write");
	if (answer == -EAGAIN && kind == KIND_READ)
		return 0; /* reading will tell */
	return error ? error : call_fail(call, -EHOSTUNREACH, "%s: the server can't be asked for the right", text);
}

int rights_check_read(struct rights *rights, struct place *place, struct call *call)
{
	return check(rights, place, KIND_READ, call);
}

/* Without knowledge ahead, the one name is asked for. */
static int check_write_once(struct rights *rights, struct place *place, struct call *call)
{
	int error = 0;

	pthread_mutex_lock(&rights->lock);
	struct rights_node *node = make_node(rights, place);
	if (!node)
		error = -ENOMEM;
	else if (!is_fresh(node, KIND_WRITE) || node->known[KIND_WRITE].answer == ANSWER_NO)
		error = ask(rights, node, KIND_WRITE, call_left_ms(call), call);
	if (!error && node->known[KIND_WRITE].answer == ANSWER_NO)
		error = call_fail(call, -EACCES, "%s: this account may not write it", place_data_id(place));
	pthread_mutex_unlock(&rights->lock);
	return error;
}

int rights_check_write(struct rights *rights, struct place *place, struct call *call)
{
	return rights->options.off ? check_write_once(rights, place, call) :
				     check(rights, place, KIND_WRITE, call);
}

bool rights_are_followed(struct rights *rights, struct place *place)
{
	bool followed = true;

	if (place->depth != PLACE_CONFIG)
		return true;
	pthread_mutex_lock(&rights->lock);
	const struct rights_node *node = nearest_node(rights, place);
	if (depth_of(node) == PLACE_CONFIG)
		node = node->parent;
	for (unsigned kind = 0; kind < KIND_COUNT && followed; kind++)
		followed = is_granted(rights, node, kind, false) || (kind == KIND_WRITE && rights->options.read_only);
	pthread_mutex_unlock(&rights->lock);
	return followed;
}

int64_t rights_fresh_ms(const struct rights *rights)
{
	return rights->options.fresh_ms;
}

unsigned long rights_question_count(struct rights *rights)
{
	pthread_mutex_lock(&rights->lock);
	unsigned long count = rights->question_count;
	pthread_mutex_unlock(&rights->lock);
	return count;
}

/* ------------------------------------------------------------------- learning */

static void doubt_scopes(const struct rights_node *node, enum rights_kind kind)
{
	for (struct rights_node *at = scope_above(node); at; at = scope_above(at))
		at->known[kind].fresh_until_ms = 0;
}

void rights_learn(struct rights *rights, struct place *place, enum rights_kind kind, int error)
{
	bool granted = !error || error == -ENOENT;

	if ((!granted && error != -EACCES) || rights->options.off)
		return;
	pthread_mutex_lock(&rights->lock);
	struct rights_node *node = nearest_node(rights, place);
	bool exact = place_of(node) == place;
	if (granted && !exact && is_granted(rights, node, kind, false))
		goto out; /* nothing new */
	if (!exact)
		node = make_node(rights, place);
	if (!node)
		goto out;
	set_answer(rights, node, kind, granted ? ANSWER_YES : ANSWER_NO);
	if (!granted) {
		/* Whoever takes one right away often takes the other too. */
		doubt_scopes(node, KIND_READ);
		doubt_scopes(node, KIND_WRITE);
		node->known[!kind].fresh_until_ms = 0;
		pthread_cond_broadcast(&rights->answered);
	}
out:
	pthread_mutex_unlock(&rights->lock);
}

void rights_doubt(struct rights *rights, struct place *place)
{

	pthread_mutex_lock(&rights->lock);
	struct rights_node *node = nearest_node(rights, place);
	for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
		node->known[kind].fresh_until_ms = 0;
		doubt_scopes(node, kind);
	}
	pthread_cond_broadcast(&rights->answered);
	pthread_mutex_unlock(&rights->lock);
}

/* ---------------------------------------------------------------- the thread */

/* A wide place that is in use and will not be fresh for long, and what is to be asked there. With the lock. */
static struct rights_node *find_stale_scope(struct rights *rights, int64_t ahead_ms, enum rights_kind *ret_kind)
{
	int64_t now_ms = clock_monotonic_ms();

	for (struct rights_node *node = next_node(rights, NULL); node; node = next_node(rights, node)) {
		if (!node->parent || depth_of(node) == PLACE_CONFIG || node->used_ms < now_ms - IN_USE_MS)
			continue;
		for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
			const struct rights_known *known = &node->known[kind];
			const struct rights_node *above = scope_above(node);
			bool settled = above && above->known[kind].answer == ANSWER_YES;
			if (known->answer == ANSWER_UNKNOWN || known->asking || settled ||
			    known->fresh_until_ms > now_ms + ahead_ms)
				continue;
			*ret_kind = kind;
			return node;
		}
	}
	return NULL;
}

/* With the lock, given up meanwhile. */
static void refresh_users(struct rights *rights)
{
	struct call call;
	bool changed = false;

	if (!rights->users.find || rights->users_due_ms > clock_monotonic_ms())
		return;
	pthread_mutex_unlock(&rights->lock);
	call_start(&call, BACKGROUND_ASK_MS);
	if (rights->users.refresh(rights->users.arg, &call, &changed))
		log_debug("rights of users: %s", call.reason);
	pthread_mutex_lock(&rights->lock);
	rights->users_due_ms = clock_monotonic_ms() + rights->options.fresh_ms;
	if (changed) {
		rights->is_changed = true;
		rights->tell_at_ms = 0;
	}
}

void rights_set_changed(struct rights *rights, void (*changed)(void *arg), void *arg)
{
	rights->changed = changed;
	rights->changed_arg = arg;
}

/* With the lock, given up meanwhile. */
static void tell_changed(struct rights *rights)
{
	if (!rights->is_changed || rights->tell_at_ms > clock_monotonic_ms())
		return;
	rights->is_changed = false;
	pthread_mutex_unlock(&rights->lock);
	if (rights->changed)
		rights->changed(rights->changed_arg);
	pthread_mutex_lock(&rights->lock);
}

static void *run_rights(void *argument)
{
	struct rights *rights = argument;
	/* Asked for again when a quarter of its time is left. */
	int64_t ahead_ms = rights->options.fresh_ms / 4;
	struct call call;

	pthread_mutex_lock(&rights->lock);
	while (!rights->stopping) {
		enum rights_kind kind = KIND_READ;
		struct rights_node *node = NULL;

		refresh_users(rights);
		int64_t now_ms = clock_monotonic_ms();
		if (rights->outage_until_ms <= now_ms)
			node = find_stale_scope(rights, ahead_ms, &kind);
		if (node) {
			call_start(&call, BACKGROUND_ASK_MS);
			if (ask(rights, node, kind, BACKGROUND_ASK_MS, &call))
				log_debug("rights: %s", call.reason);
			continue;
		}
		tell_changed(rights);
		int64_t until_ms = now_ms + (ahead_ms / 2 > PAUSE_MIN_MS ? ahead_ms / 2 : PAUSE_MIN_MS);
		if (rights->is_changed && rights->tell_at_ms < until_ms)
			until_ms = rights->tell_at_ms;
		struct timespec until = clock_from_ms(until_ms);
		pthread_cond_timedwait(&rights->answered, &rights->lock, &until);
	}
	pthread_mutex_unlock(&rights->lock);
	return NULL;
}

int rights_start(struct rights *rights)
{
	if (rights->options.off)
		return 0;
	rights->users_due_ms = clock_monotonic_ms() + rights->options.fresh_ms;
	return thread_start(&rights->thread, run_rights, rights);
}

void rights_stop(struct rights *rights)
{
	pthread_mutex_lock(&rights->lock);
	rights->stopping = true;
	pthread_cond_broadcast(&rights->answered);
	pthread_mutex_unlock(&rights->lock);
	thread_join(&rights->thread);
}

/* ------------------------------------------------------------- life and death */

struct store *rights_store(struct rights *rights)
{
	return &rights->store;
}

int rights_new(struct store *lower, const struct rights_options *options, struct rights **ret_rights)
{
	struct rights *rights = calloc(1, sizeof(*rights));

	if (!rights)
		return -ENOMEM;
	struct rights_node *root = calloc(1, sizeof(*root));
	if (!root) {
		free(rights);
		return -ENOMEM;
	}
	cleanup_place struct place *top = place_top();
	place_table_add(&rights->nodes, &root->place_entry, top);
	rights->store.operations = &rights_operations;
	rights->store.lower = lower;
	rights->options = *options;
	if (rights->options.fresh_ms > RIGHTS_FRESH_MAX_MS)
		rights->options.fresh_ms = RIGHTS_FRESH_MAX_MS;
	pthread_mutex_init(&rights->lock, NULL);
	clock_init_condition(&rights->answered);
	*ret_rights = rights;
	return 0;
}

void rights_free(struct rights *rights)
{
	if (!rights)
		return;
	rights_stop(rights);
	for (struct rights_node *node = next_node(rights, NULL), *next; node; node = next) {
		next = next_node(rights, node);
		place_drop(place_of(node));
		free(node);
	}
	table_release(&rights->nodes);
	pthread_cond_destroy(&rights->answered);
	pthread_mutex_destroy(&rights->lock);
	free(rights);
}
