#include "fs/save/grace.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "fs/node/access.h"
#include "fs/node/draft.h"
#include "fs/node/saving.h"
#include "fs/node/wake.h"
#include "fs/save/ask.h"
#include "fs/save/private.h"
#include "fs/save/save.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/thread.h"

#define BACKGROUND_TIMEOUT_MS 30000 /* nobody waits for it */
#define STOP_TIMEOUT_MS 10000 /* of each thing that is done at the end */
#define RETRY_MS 5000
#define BUSY_MS 100 /* until it is looked again at what is under way */
#define THREADS 4

enum task_kind { TASK_SHOW_AGAIN, TASK_REMOVE, TASK_SAVE, TASK_SAVE_OPEN, TASK_FORGET_EMPTY };

struct task {
	struct table_link link; /* first; of removals, by place */
	struct task *next, *previous;
	enum task_kind kind;
	int64_t due_ms;
	bool running;
	struct node *node; /* held: of removals the directory, else the config */
	struct place *place; /* of removals: what is hidden */
	struct version *base;
	uint16_t mode; /* of the config that had the name */
	uid_t uid; /* on whose behalf */
};

struct grace {
	struct task *tasks; /* in no order */
	struct table removals; /* by place */
	pthread_cond_t woken;
	struct thread threads[THREADS];
	bool stopping;
	int64_t grace_ms;
};

/* Test builds may be told another one, so that nobody has to wait for it. */
static int64_t choose_grace_ms(void)
{
#ifdef NACOSFS_CHECKED
	const char *text = getenv("NACOSFS_GRACE_MS");

	if (text && atoi(text) > 0)
		return atoi(text);
#endif
	return GRACE_MS;
}

/* With another grace, all is as much shorter or longer. */
static int64_t scale_ms(const struct saver *saver, int64_t time_ms)
{
	int64_t scaled_ms = time_ms * saver->grace->grace_ms / GRACE_MS;

	return scaled_ms > 0 ? scaled_ms : 1;
}

int grace_new(struct saver *saver)
{
	struct grace *grace = calloc(1, sizeof(*grace));

	if (!grace)
		return -ENOMEM;
	grace->grace_ms = choose_grace_ms();
	clock_init_condition(&grace->woken);
	saver->grace = grace;
	return 0;
}

/* place: of a removal; NULL: it is none. */
static struct task *add_task(struct saver *saver, enum task_kind kind, struct node *node, struct place *place,
			     uid_t uid, int64_t delay_ms) LOCKED
{
	struct grace *grace = saver->grace;
	struct task *task = calloc(1, sizeof(*task));

	if (!task)
		return NULL;
	task->kind = kind;
	task->node = node;
	node_hold(node);
	task->due_ms = clock_monotonic_ms() + scale_ms(saver, delay_ms);
	task->next = grace->tasks;
	if (task->next)
		task->next->previous = task;
	grace->tasks = task;
	task->place = place_hold(place);
	task->uid = uid;
	holding_add(&saver->tree->holdings, uid, HOLDING_GRACES, 1);
	if (place)
		table_add(&grace->removals, &task->link, place->link.hash);
	pthread_cond_signal(&grace->woken);
	return task;
}

static void remove_task(struct saver *saver, struct task *task) LOCKED
{
	struct grace *grace = saver->grace;

	*(task->previous ? &task->previous->next : &grace->tasks) = task->next;
	if (task->next)
		task->next->previous = task->previous;
	if (task->place)
		table_remove(&grace->removals, &task->link);
	holding_take(&saver->tree->holdings, task->uid, HOLDING_GRACES, 1);
	node_drop(saver->tree, task->node);
	version_drop(task->base);
	place_drop(task->place);
	free(task);
}

static bool is_of(const struct table_link *link, const void *place)
{
	return ((const struct task *)link)->place == place;
}

static struct task *find_removal(const struct saver *saver, const struct place *place) LOCKED
{
	return (struct task *)table_find(&saver->grace->removals, place->link.hash, is_of, place);
}

static struct task *find_task(const struct saver *saver, enum task_kind kind, const struct node *node) LOCKED
{
	struct task *task = saver->grace->tasks;

	/* One that runs has taken what was there when it began: what comes after needs another. */
	while (task && (task->kind != kind || task->node != node || task->running))
		task = task->next;
	return task;
}

/* ----------------------------------------------------------------- removals */

int grace_hide(struct saver *saver, struct node *node, struct version *base, bool remove, uid_t uid)
{
	struct task *task =
		add_task(saver, remove ? TASK_REMOVE : TASK_SHOW_AGAIN, node->parent, node->place, uid, GRACE_MS);

	if (!task)
		return -ENOMEM;
	task->base = version_hold(base);
	task->mode = node->mode;
	return 0;
}

bool grace_hides(const struct saver *saver, const struct place *place)
{
	return find_removal(saver, place);
}

struct version *grace_base(const struct saver *saver, const struct place *place)
{
	struct task *task = find_removal(saver, place);

	return task ? version_hold(task->base) : NULL;
}

int grace_take_back(struct saver *saver, struct place *place, struct call *call, struct version **ret_base,
		    mode_t *ret_mode)
{
	struct task *task;
	int error = 0;

	while (!error && (task = find_removal(saver, place)) && task->running)
		error = tree_wait(saver->tree, call);
	if (error)
		return error;
	if (!task)
		return -ENOENT;
	*ret_base = version_hold(task->base);
	*ret_mode = task->mode;
	remove_task(saver, task);
	return 0;
}

size_t grace_count_removals(const struct saver *saver)
{
	return saver->grace->removals.count;
}

/*
 * Removes the config from the store; gives up the lock meanwhile. Whatever comes of it, the name is
 * not hidden then.
 */
static int run_removal(struct saver *saver, struct task *task, struct call *call) LOCKED
{
	struct tree *tree = saver->tree;
	struct place *place = task->place;
	char text[PLACE_TEXT_SIZE];
	uid_t caller = call->uid;
	int error = saving_mark(tree, place);

	place_format(place, text, sizeof(text));
	if (!error) {
		task->running = true;
		call->uid = task->uid;
		error = ask_remove(tree, call, place, task->base);
		call->uid = caller;
		saving_unmark(tree, place);
	}
	if (error)
		log_error("%s: not removed: %s", text, call->reason);
	else
		log_info("%s: removed", text);
	remove_task(saver, task);
	lock_broadcast(&tree->lock);
	return error;
}

static void show_again(struct saver *saver, struct task *task) LOCKED
{
	char text[PLACE_TEXT_SIZE];

	log_info("%s: was renamed to a name that is only in memory; it stays on the server",
		 place_format(task->place, text, sizeof(text)));
	wake_changed(saver->tree, task->place);
	remove_task(saver, task);
}

static bool is_below(const struct place *place, const struct place *directory)
{
	while (place && place != directory)
		place = place->above;
	return place;
}

int grace_finish_below(struct saver *saver, struct place *directory, struct call *call)
{
	struct task *task;
	int first_error = 0;

	for (;;) {
		task = saver->grace->tasks;
		while (task && !(task->kind == TASK_REMOVE && is_below(task->place, directory)))
			task = task->next;
		if (!task)
			return first_error;
		bool is_busy = task->running || saving_is_marked(saver->tree, task->place);
		int error = is_busy ? tree_wait(saver->tree, call) : run_removal(saver, task, call);
		if (error == -ETIMEDOUT || error == -EINTR || error == -EWOULDBLOCK)
			return error;
		if (error && !first_error)
			first_error = error;
	}
}

/* -------------------------------------------------------------------- saves */

static void start_anew(struct saver *saver, enum task_kind kind, struct node *node, int64_t delay_ms) LOCKED
{
	struct task *task = find_task(saver, kind, node);

	if (task)
		task->due_ms = clock_monotonic_ms() + scale_ms(saver, delay_ms);
	else if (!add_task(saver, kind, node, NULL, node_draft(node) ? node_draft(node)->writer.uid : 0, delay_ms))
		log_error("%s: out of memory, its save or end can't be put off", node_name(node));
}

void grace_save_later(struct saver *saver, struct node *node)
{
	start_anew(saver, TASK_SAVE, node, GRACE_MS);
}

void grace_save_open(struct saver *saver, struct node *node)
{
	start_anew(saver, TASK_SAVE_OPEN, node, GRACE_MS);
}

void grace_keep_empty(struct saver *saver, struct node *node)
{
	start_anew(saver, TASK_FORGET_EMPTY, node, GRACE_EMPTY_MS);
}

/* The close of the file succeeded long ago: its text must not go. It stays, as a file in memory. */
static void keep_as_private(struct saver *saver, struct node *node) LOCKED
{
	const struct draft *draft = node_draft(node);
	const struct writer writer = draft->writer;
	mode_t mode = access_mode(saver->tree, node);

	if (private_from_config(saver->tree, node, draft->content.data, draft->content.size)) {
		log_error("%s: out of memory, its text is lost", node_name(node));
		return;
	}
	node->mode = (uint16_t)mode;
	if (saver->tree->terms->per_user) {
		/* It has no ACL any more: it is its writer's, alone. */
		node->mode = 0600;
		tree_set_owner(saver->tree, node, writer.uid, writer.gid);
	}
	log_error("%s: kept in memory only, copy it away", node_name(node));
}

static void run_save(struct saver *saver, struct task *task, struct call *call) LOCKED
{
	cleanup_held struct held held = tree_hold(saver->tree, task->node);
	struct node *node = held.node;

	if (node->kind != NODE_CONFIG || !node->parent || !node->config->deferred || node->writers) {
		remove_task(saver, task);
		return;
	}
	/* It is being renamed, perhaps: then it is not to be published under this name. */
	if (saving_is_marked(saver->tree, node->place) && !saver->grace->stopping) {
		task->due_ms = clock_monotonic_ms() + scale_ms(saver, BUSY_MS);
		return;
	}
	node->config->deferred = false;
	task->running = true;
	int error = save_draft(saver, call, &held);
	task->running = false;
	if (node->kind != NODE_CONFIG) {
		remove_task(saver, task);
		return;
	}
	if (store_error_is_outage(error) && !saver->grace->stopping) {
		node->config->deferred = true;
		task->due_ms = clock_monotonic_ms() + scale_ms(saver, RETRY_MS);
		return;
	}
	if (error && node_draft(node))
		keep_as_private(saver, node);
	else if (!node->writers)
		draft_drop(node);
	remove_task(saver, task);
}

static void run_save_open(struct saver *saver, struct task *task, struct call *call) LOCKED
{
	cleanup_held struct held held = tree_hold(saver->tree, task->node);

	/* What can't be saved is kept by the save. */
	task->running = true;
	if (!draft_is_blank(task->node))
		save_draft(saver, call, &held);
	remove_task(saver, task);
}

static void forget_empty(struct saver *saver, struct task *task) LOCKED
{
	cleanup_held struct held held = tree_hold(saver->tree, task->node);
	struct node *node = held.node;

	if (node->kind == NODE_CONFIG && !node->writers && draft_is_blank(node)) {
		draft_drop(node);
		if (!node->is_stored && node->parent)
			wake_vanish(saver->tree, node);
		else
			wake_content(saver->tree, node);
		wake_look_again(saver->tree, node);
	}
	remove_task(saver, task);
}

/* --------------------------------------------------------------- the threads */

/* The task that is due first, NULL when there is none that could be run. */
static struct task *next_task(const struct grace *grace) LOCKED
{
	struct task *next = NULL;

	for (struct task *task = grace->tasks; task; task = task->next)
		if (!task->running && (!next || task->due_ms < next->due_ms))
			next = task;
	return next;
}

static void run_task(struct saver *saver, struct task *task, int64_t timeout_ms) LOCKED
{
	struct call call;

	call_start(&call, timeout_ms);
	switch (task->kind) {
	case TASK_SHOW_AGAIN:
		show_again(saver, task);
		break;
	case TASK_REMOVE:
		if (saving_is_marked(saver->tree, task->place))
			task->due_ms = clock_monotonic_ms() + scale_ms(saver, BUSY_MS);
		else
			run_removal(saver, task, &call);
		break;
	case TASK_SAVE:
		run_save(saver, task, &call);
		break;
	case TASK_SAVE_OPEN:
		run_save_open(saver, task, &call);
		break;
	case TASK_FORGET_EMPTY:
		forget_empty(saver, task);
		break;
	}
}

static void *run_grace(void *argument)
{
	struct saver *saver = argument;
	struct grace *grace = saver->grace;
	struct lock *lock = &saver->tree->lock;

	lock_take(lock);
	while (!grace->stopping) {
		struct task *task = next_task(grace);

		if (task && task->due_ms <= clock_monotonic_ms())
			run_task(saver, task, BACKGROUND_TIMEOUT_MS);
		else
			lock_sleep(lock, &grace->woken, task ? task->due_ms : INT64_MAX);
	}
	lock_give(lock);
	return NULL;
}

int grace_start(struct saver *saver)
{
	int error = 0;

	for (size_t i = 0; i < THREADS && !error; i++)
		error = thread_start(&saver->grace->threads[i], run_grace, saver);
	return error;
}

void grace_stop(struct saver *saver)
{
	struct grace *grace = saver->grace;
	struct lock *lock = &saver->tree->lock;
	struct task *task;

	lock_take(lock);
	grace->stopping = true;
	pthread_cond_broadcast(&grace->woken);
	lock_give(lock);
	for (size_t i = 0; i < THREADS; i++)
		thread_join(&grace->threads[i]);

	lock_take(lock);
	while ((task = next_task(grace)))
		run_task(saver, task, STOP_TIMEOUT_MS);
	save_keep_all(saver);
	lock_give(lock);
}

void grace_free(struct saver *saver)
{
	struct grace *grace = saver->grace;

	if (!grace)
		return;
	while (grace->tasks)
		remove_task(saver, grace->tasks);
	table_release(&grace->removals);
	pthread_cond_destroy(&grace->woken);
	free(grace);
	saver->grace = NULL;
}
