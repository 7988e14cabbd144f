#include "fs/save/grace.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fs/node/attributes.h"
#include "fs/save/draft.h"
#include "fs/follow/notify.h"
#include "fs/save/scratch.h"
#include "store/store.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/thread.h"

#define BACKGROUND_TIMEOUT_MS 30000 /* nobody waits for it */
#define STOP_TIMEOUT_MS 10000 /* of each thing that is done at the end */
#define RETRY_MS 5000

enum task_kind { TASK_SHOW_AGAIN, TASK_REMOVE, TASK_SAVE, TASK_SAVE_OPEN, TASK_FORGET_EMPTY };

struct task {
	struct task *next;
	enum task_kind kind;
	int64_t due_ms;
	bool running;
	struct node *node; /* held: of removals the directory, else the config */
	char *name; /* of removals */
	struct version *base;
	mode_t mode; /* of the config that had the name */
	uid_t uid; /* of who removed it */
};

struct grace {
	struct task *tasks; /* in no order: there are few */
	pthread_cond_t woken;
	struct thread thread;
	bool stopping;
};

static bool is_removal(const struct task *task)
{
	return task->kind == TASK_SHOW_AGAIN || task->kind == TASK_REMOVE;
}

int grace_new(struct filesystem *filesystem)
{
	struct grace *grace = calloc(1, sizeof(*grace));

	if (!grace)
		return -ENOMEM;
	clock_init_condition(&grace->woken);
	filesystem->grace = grace;
	return 0;
}

static struct task *add_task(struct filesystem *filesystem, enum task_kind kind, struct node *node,
			     int64_t delay_ms)
{
	struct grace *grace = filesystem->grace;
	struct task *task = calloc(1, sizeof(*task));

	if (!task)
		return NULL;
	task->kind = kind;
	task->node = node;
	node_hold(node);
	task->due_ms = clock_monotonic_ms() + delay_ms;
	task->next = grace->tasks;
	grace->tasks = task;
	pthread_cond_signal(&grace->woken);
	return task;
}

static void remove_task(struct filesystem *filesystem, struct task *task)
{
	struct task **place = &filesystem->grace->tasks;

	while (*place != task)
		place = &(*place)->next;
	*place = task->next;
	tree_drop(&filesystem->tree, task->node);
	version_drop(task->base);
	free(task->name);
	free(task);
}

static struct task *find_removal(const struct filesystem *filesystem, const struct node *parent,
				 const char *name)
{
	struct task *task = filesystem->grace->tasks;

	while (task && !(is_removal(task) && task->node == parent && !strcmp(task->name, name)))
		task = task->next;
	return task;
}

static struct task *find_task(const struct filesystem *filesystem, enum task_kind kind,
			      const struct node *node)
{
	struct task *task = filesystem->grace->tasks;

	while (task && (task->kind != kind || task->node != node))
		task = task->next;
	return task;
}

/* ----------------------------------------------------------------- removals */

int grace_hide(struct filesystem *filesystem, struct node *node, struct version *base, bool remove, uid_t uid)
{
	char *name = strdup(node->name);

	if (!name)
		return -ENOMEM;
	struct task *task =
		add_task(filesystem, remove ? TASK_REMOVE : TASK_SHOW_AGAIN, node->parent, GRACE_MS);
	if (!task) {
		free(name);
		return -ENOMEM;
	}
	task->name = name;
	task->base = version_hold(base);
	task->mode = node->mode;
	task->uid = uid;
	return 0;
}

bool grace_hides(const struct filesystem *filesystem, const struct node *parent, const char *name)
{
	return find_removal(filesystem, parent, name);
}

struct version *grace_base(const struct filesystem *filesystem, const struct node *parent, const char *name)
{
	struct task *task = find_removal(filesystem, parent, name);

	return task ? version_hold(task->base) : NULL;
}

int grace_take_back(struct filesystem *filesystem, struct node *parent, const char *name, struct call *call,
		    struct version **ret_base, mode_t *ret_mode)
{
	struct task *task;
	int error = 0;

	while (!error && (task = find_removal(filesystem, parent, name)) && task->running)
		error = tree_wait(&filesystem->tree, call);
	if (error)
		return error;
	if (!task)
		return -ENOENT;
	*ret_base = version_hold(task->base);
	*ret_mode = task->mode;
	remove_task(filesystem, task);
	return 0;
}

size_t grace_count_removals(const struct filesystem *filesystem)
{
	size_t count = 0;

	for (const struct task *task = filesystem->grace->tasks; task; task = task->next)
		count += is_removal(task);
	return count;
}

/* Removes the config from the store; gives up the lock meanwhile. Whatever comes of it, the name is not hidden then. */
static int run_removal(struct filesystem *filesystem, struct task *task, struct call *call)
{
	struct tree *tree = &filesystem->tree;
	cleanup_place struct place *place = place_below(task->node->place, task->name);
	char text[PLACE_TEXT_SIZE];
	uid_t caller = call->uid;
	int error = -ENOMEM;

	if (place) {
		task->running = true;
		call->uid = task->uid;
		pthread_mutex_unlock(&tree->lock);
		error = store_remove(filesystem->store, place, task->base, call);
		call->uid = caller;
		place_format(place, text, sizeof(text));
		if (error)
			log_error("%s: not removed: %s", text, call->reason);
		else
			log_info("%s: removed", text);
		pthread_mutex_lock(&tree->lock);
	}
	remove_task(filesystem, task);
	pthread_cond_broadcast(&tree->changed);
	return error;
}

static void show_again(struct filesystem *filesystem, struct task *task)
{
	cleanup_place struct place *place = place_below(task->node->place, task->name);
	char text[PLACE_TEXT_SIZE];

	if (place) {
		log_info("%s: was renamed to a name that is only in memory; it stays on the server",
			 place_format(place, text, sizeof(text)));
		notify_changed(filesystem, place);
	}
	remove_task(filesystem, task);
}

static bool is_below(const struct node *node, const struct node *directory)
{
	while (node && node != directory)
		node = node->parent;
	return node;
}

int grace_finish_below(struct filesystem *filesystem, struct node *directory, struct call *call)
{
	struct task *task;
	int first_error = 0;

	for (;;) {
		task = filesystem->grace->tasks;
		while (task && !(task->kind == TASK_REMOVE && is_below(task->node, directory)))
			task = task->next;
		if (!task)
			return first_error;
		int error = task->running ? tree_wait(&filesystem->tree, call) :
					    run_removal(filesystem, task, call);
		if (error == -ETIMEDOUT || error == -EINTR)
			return error;
		if (error && !first_error)
			first_error = error;
	}
}

/* -------------------------------------------------------------------- saves */

static void start_anew(struct filesystem *filesystem, enum task_kind kind, struct node *node,
		       int64_t delay_ms)
{
	struct task *task = find_task(filesystem, kind, node);

	if (task)
		task->due_ms = clock_monotonic_ms() + delay_ms;
	else if (!add_task(filesystem, kind, node, delay_ms))
		log_error("%s: out of memory, its save or end can't be put off", node->name);
}

void grace_save_later(struct filesystem *filesystem, struct node *node)
{
	start_anew(filesystem, TASK_SAVE, node, GRACE_MS);
}

void grace_save_open(struct filesystem *filesystem, struct node *node)
{
	start_anew(filesystem, TASK_SAVE_OPEN, node, GRACE_MS);
}

void grace_keep_empty(struct filesystem *filesystem, struct node *node)
{
	start_anew(filesystem, TASK_FORGET_EMPTY, node, DRAFT_EMPTY_MS);
}

/* The close of the file succeeded long ago: its text must not go. It stays, as a file in memory. */
static void keep_as_scratch(struct filesystem *filesystem, struct node *node)
{
	const struct buffer *content = &node->draft->content;

	const struct writer writer = node->draft->writer;
	mode_t mode = attributes_mode(filesystem, node);

	if (scratch_from_config(&filesystem->tree, node, content->data, content->size)) {
		log_error("%s: out of memory, its text is lost", node->name);
		return;
	}
	node->mode = mode;
	if (filesystem->per_user) {
		/* It has no ACL any more: it is its writer's, alone. */
		node->mode = 0600;
		node->uid = writer.uid;
		node->gid = writer.gid;
	}
	log_error("%s: kept in memory only, copy it away", node->name);
}

static void run_save(struct filesystem *filesystem, struct task *task, struct call *call)
{
	struct node *node = task->node;

	if (!node->parent || !node->deferred || node->writers || node->kind != NODE_CONFIG) {
		remove_task(filesystem, task);
		return;
	}
	node->deferred = false;
	task->running = true;
	int error = draft_commit(filesystem, node, call);
	task->running = false;
	if (store_error_is_outage(error) && !filesystem->grace->stopping) {
		node->deferred = true;
		task->due_ms = clock_monotonic_ms() + RETRY_MS;
		return;
	}
	if (error && node->draft)
		keep_as_scratch(filesystem, node);
	else if (!node->writers)
		draft_drop(node);
	remove_task(filesystem, task);
}

static void run_save_open(struct filesystem *filesystem, struct task *task, struct call *call)
{
	/* What can't be saved is kept by draft_commit(). */
	task->running = true;
	if (!draft_is_blank(task->node))
		draft_commit(filesystem, task->node, call);
	remove_task(filesystem, task);
}

static void forget_empty(struct filesystem *filesystem, struct task *task)
{
	struct node *node = task->node;

	if (node->kind == NODE_CONFIG && !node->writers && draft_is_blank(node)) {
		draft_drop(node);
		if (!node->stored && node->parent)
			filesystem_unlink_node(filesystem, node);
		else
			notify_content(filesystem, node);
	}
	remove_task(filesystem, task);
}

/* --------------------------------------------------------------- the thread */

/* The task that is due first, NULL when there is none that could be run. */
static struct task *next_task(const struct grace *grace)
{
	struct task *next = NULL;

	for (struct task *task = grace->tasks; task; task = task->next)
		if (!task->running && (!next || task->due_ms < next->due_ms))
			next = task;
	return next;
}

static void run_task(struct filesystem *filesystem, struct task *task, int64_t timeout_ms)
{
	struct call call;

	call_start(&call, timeout_ms);
	switch (task->kind) {
	case TASK_SHOW_AGAIN:
		show_again(filesystem, task);
		break;
	case TASK_REMOVE:
		run_removal(filesystem, task, &call);
		break;
	case TASK_SAVE:
		run_save(filesystem, task, &call);
		break;
	case TASK_SAVE_OPEN:
		run_save_open(filesystem, task, &call);
		break;
	case TASK_FORGET_EMPTY:
		forget_empty(filesystem, task);
		break;
	}
}

static void *run_grace(void *argument)
{
	struct filesystem *filesystem = argument;
	struct grace *grace = filesystem->grace;

	pthread_mutex_lock(&filesystem->tree.lock);
	while (!grace->stopping) {
		struct task *task = next_task(grace);
		if (!task) {
			pthread_cond_wait(&grace->woken, &filesystem->tree.lock);
			continue;
		}
		if (task->due_ms > clock_monotonic_ms()) {
			struct timespec until = clock_from_ms(task->due_ms);
			pthread_cond_timedwait(&grace->woken, &filesystem->tree.lock, &until);
			continue;
		}
		run_task(filesystem, task, BACKGROUND_TIMEOUT_MS);
	}
	pthread_mutex_unlock(&filesystem->tree.lock);
	return NULL;
}

int grace_start(struct filesystem *filesystem)
{
	return thread_start(&filesystem->grace->thread, run_grace, filesystem);
}

void grace_stop(struct filesystem *filesystem)
{
	struct grace *grace = filesystem->grace;
	struct task *task;

	pthread_mutex_lock(&filesystem->tree.lock);
	grace->stopping = true;
	pthread_cond_signal(&grace->woken);
	pthread_mutex_unlock(&filesystem->tree.lock);
	thread_join(&grace->thread);

	pthread_mutex_lock(&filesystem->tree.lock);
	while ((task = next_task(grace)))
		run_task(filesystem, task, STOP_TIMEOUT_MS);
	draft_keep_all(filesystem);
	pthread_mutex_unlock(&filesystem->tree.lock);
}

void grace_free(struct filesystem *filesystem)
{
	struct grace *grace = filesystem->grace;

	if (!grace)
		return;
	while (grace->tasks)
		remove_task(filesystem, grace->tasks);
	pthread_cond_destroy(&grace->woken);
	free(grace);
	filesystem->grace = NULL;
}
