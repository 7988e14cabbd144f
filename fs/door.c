#include "fs/door.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/node/draft.h"
#include "fs/node/show.h"
#include "fs/node/snapshot.h"
#include "fs/node/wake.h"
#include "fs/save/ask.h"
#include "fs/save/closing.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/process.h"
#include "util/wait.h"

#define LISTING_PAGES 30 /* that may each take the whole timeout */

/* ------------------------------------------------------------------ for handlers */

struct held *request_hold(struct request *request, struct node *node)
{
	struct held *held = &request->others[request->other_count++];

	if (request->other_count > sizeof(request->others) / sizeof(request->others[0]))
		abort();
	*held = tree_hold(request_tree(request), node);
	return held;
}

struct writer request_writer(struct request *request)
{
	struct tree *tree = request_tree(request);

	lock_give(&tree->lock);
	pid_t process = process_of_thread(request->thread);
	lock_take(&tree->lock);
	return (struct writer){ process, request->asker.uid, request->asker.gid };
}

int request_is_writer(struct request *request, struct held *held, bool *ret_is_writer)
{
	const struct node *node = held->node;
	bool is_writer = false;

	/* Only where there are two states of it to choose from does it matter. */
	if (node_draft(node) && node->writers && node->is_stored) {
		for (const struct handle *writer = node->writers; writer; writer = writer->next_writer)
			is_writer |= writer->writer.process == request->thread;
		if (!is_writer && request->call.from_memory)
			return -EWOULDBLOCK;
		if (!is_writer)
			is_writer = closing_is_writer(held, request->thread);
	}
	*ret_is_writer = is_writer;
	return 0;
}

void request_extend_for_listing(struct request *request)
{
	const int64_t timeout_ms = request_terms(request)->timeout_ms;

	request->call.deadline_ms += timeout_ms * (LISTING_PAGES - 1);
	request->call.step_ms = timeout_ms;
}

void request_answer_attributes(struct request *request, struct node *node, bool as_writer)
{
	struct tree *tree = request_tree(request);

	request->answer.kind = ANSWER_ATTRIBUTES;
	request->answer.entry.ino = node_id(node);
	request->answer.entry.attr_timeout = show_timeout_s(tree, node);
	show_stat(tree, node, as_writer, &request->answer.entry.attr);
}

void request_answer_entry(struct request *request, struct node *node, bool as_writer)
{
	request_answer_attributes(request, node, as_writer);
	request->answer.kind = ANSWER_ENTRY;
	request->answer.entry.entry_timeout = show_name_timeout_s(request_tree(request), node);
	node_count_lookup(node);
}

int request_check(struct request *request, struct place *place, unsigned rights)
{
	return access_check(request_tree(request), &request->asker, place, rights);
}

int request_check_write(struct request *request, struct place *place)
{
	int error = request_check(request, place, RIGHT_WRITE);

	return error ? error : ask_check_write(request_tree(request), &request->call, place);
}

/* ----------------------------------------------------------------------- answering */

static int map_error(int error)
{
	switch (error) {
	case -EPROTO:
	case -EMSGSIZE:
		return -EIO;
	case -ECONNABORTED: /* TLS; to a program on FUSE this errno says that the mount is gone */
		return -EHOSTUNREACH;
	default:
		return error;
	}
}

static int send_bytes(const struct request *request)
{
	const struct answer *answer = &request->answer;
	const struct buffer *content = answer->version ? &answer->version->content : &answer->bytes;
	size_t start = (uint64_t)answer->offset < content->size ? (size_t)answer->offset : content->size;
	size_t left = content->size - start;

	if (!answer->version)
		return fuse_reply_buf(request->fuse, content->data, content->size);
	return fuse_reply_buf(request->fuse, content->data + start, left < answer->size ? left : answer->size);
}

static int send_room(const struct request *request)
{
	/*
	 * A server does not tell its room; programs that look for some before they write must find
	 * it.
	 */
	const struct statvfs room = {
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_blocks = 1 << 20,
		.f_bfree = 1 << 19,
		.f_bavail = 1 << 19,
		.f_files = 1 << 20,
		.f_ffree = 1 << 19,
		.f_favail = 1 << 19,
		.f_namemax = 255,
	};

	return fuse_reply_statfs(request->fuse, &room);
}

/* 0, or a negative errno: -ENOENT when the caller is gone. */
static int send_answer(struct request *request) UNLOCKED
{
	const struct answer *answer = &request->answer;

	switch (answer->kind) {
	case ANSWER_DONE:
		break;
	case ANSWER_ENTRY:
		return fuse_reply_entry(request->fuse, &answer->entry);
	case ANSWER_CREATED:
		return fuse_reply_create(request->fuse, &answer->entry, &request->info);
	case ANSWER_ATTRIBUTES:
		return fuse_reply_attr(request->fuse, &answer->entry.attr, answer->entry.attr_timeout);
	case ANSWER_OPENED:
	case ANSWER_OPENED_DIRECTORY:
		return fuse_reply_open(request->fuse, &request->info);
	case ANSWER_BYTES:
		return send_bytes(request);
	case ANSWER_WRITTEN:
		return fuse_reply_write(request->fuse, answer->size);
	case ANSWER_LENGTH:
		return fuse_reply_xattr(request->fuse, answer->size);
	case ANSWER_TARGET:
		return fuse_reply_readlink(request->fuse, answer->bytes.data ? answer->bytes.data : "");
	case ANSWER_ROOM:
		return send_room(request);
	}
	return fuse_reply_err(request->fuse, 0);
}

/* The caller was gone before the answer: there will be neither a release nor a forget. */
static void take_back_answer(struct request *request) UNLOCKED
{
	struct filesystem *filesystem = request->filesystem;
	const struct answer *answer = &request->answer;

	lock_take(&filesystem->tree.lock);
	if ((answer->kind == ANSWER_CREATED || answer->kind == ANSWER_OPENED) && request_handle(request))
		closing_end(&filesystem->saver, request_handle(request));
	if (answer->kind == ANSWER_OPENED_DIRECTORY)
		snapshot_end(&filesystem->tree, &filesystem->snapshots, (struct snapshot *)(uintptr_t)request->info.fh);
	if ((answer->kind == ANSWER_CREATED || answer->kind == ANSWER_ENTRY) && answer->entry.ino)
		tree_forget(&filesystem->tree, answer->entry.ino, 1);
	lock_give(&filesystem->tree.lock);
}

/* What was answered for long, while there were events, may not be right any more. */
static void recheck_answer(struct request *request) UNLOCKED
{
	struct tree *tree = request_tree(request);
	const struct answer *answer = &request->answer;

	if (wake_count_events(tree) == request->events)
		return;
	lock_take(&tree->lock);
	if (answer->entry.ino)
		wake_recheck(tree, answer->entry.ino, request->events);
	else if (answer->kind == ANSWER_ENTRY)
		wake_recheck_absent(tree, request->id, request->name, request->events);
	for (size_t i = 0; i < answer->given_count; i++)
		wake_recheck(tree, answer->given[i], request->events);
	lock_give(&tree->lock);
}

static void answer(struct request *request, int error) UNLOCKED
{
	struct fuse_session *session = request->filesystem->follower.session;
	uint64_t id = request->id;

	if (error) {
		if (store_error_is_outage(error))
			log_warning("%s", request->call.reason);
		fuse_reply_err(request->fuse, -map_error(error));
		recheck_answer(request);
		return;
	}
	/* It waits for nobody: only attributes are forgotten. */
	if (request->answer.forget_first)
		fuse_lowlevel_notify_inval_inode(session, id, -1, 0);
	if (send_answer(request) == -ENOENT)
		take_back_answer(request);
	else
		recheck_answer(request);
	if (request->answer.drop_pages) {
		wait_check("the kernel, to drop pages");
		fuse_lowlevel_notify_inval_inode(session, id, 0, 0);
	}
}

/* ------------------------------------------------------------------------- running */

static void hold_nodes(struct request *request) LOCKED
{
	struct tree *tree = request_tree(request);

	request->node = tree_hold(tree, tree_node(tree, request->id));
	if (request->new_parent_id)
		request->new_parent = tree_hold(tree, tree_node(tree, request->new_parent_id));
}

static void drop_nodes(struct request *request) LOCKED
{
	while (request->other_count)
		tree_drop(&request->others[--request->other_count]);
	tree_drop(&request->new_parent);
	tree_drop(&request->node);
}

static int run(struct request *request) UNLOCKED
{
	const struct request_kind *kind = request->kind;
	struct tree *tree = request_tree(request);
	int error;

	lock_take(&tree->lock);
	hold_nodes(request);
	request->is_toucher = request->is_toucher &&
			      toucher_is_at(&request->filesystem->follower.toucher, request->node.node);
	if (request->is_toucher)
		error = kind->handle_toucher(request);
	else if (kind->way == DOOR_WAIT && request->call.from_memory)
		error = -EWOULDBLOCK;
	else
		error = kind->handle(request);
	drop_nodes(request);
	lock_give(&tree->lock);
	return error;
}

/* What a first try may have left. */
static void forget_answer(struct request *request)
{
	struct answer *answer = &request->answer;

	buffer_wipe(&answer->bytes);
	version_drop(answer->version);
	free(answer->given);
	*answer = (struct answer){ .kind = ANSWER_DONE };
}

/* Reads /proc. */
static void load_groups(struct request *request) UNLOCKED
{
	int count = fuse_req_getgroups(request->fuse, 0, NULL);

	request->asker.knows_groups = true;
	if (count <= 0)
		return;
	request->groups = calloc((size_t)count, sizeof(*request->groups));
	if (!request->groups)
		return;
	int found = fuse_req_getgroups(request->fuse, count, request->groups);
	request->asker.groups = request->groups;
	request->asker.group_count = (size_t)(found < count ? (found > 0 ? found : 0) : count);
}

/* Of struct call: with the one that he acts with, which is not always among them. */
static int find_groups(void *arg, uid_t uid, gid_t **ret_groups)
{
	struct request *request = arg;
	struct asker *asker = &request->asker;

	if (uid != asker->uid)
		return -ENOENT;
	if (!asker->knows_groups)
		load_groups(request);
	gid_t *groups = calloc(asker->group_count + 1, sizeof(*groups));
	if (!groups)
		return -ENOMEM;
	groups[0] = asker->gid;
	for (size_t i = 0; i < asker->group_count; i++)
		groups[i + 1] = asker->groups[i];
	*ret_groups = groups;
	return (int)asker->group_count + 1;
}

static void run_job(struct pool_job *job) UNLOCKED
{
	struct request *request = (struct request *)job;
	const struct terms *terms = request_terms(request);

	if ((request->kind->flags & DOOR_ASKS_GROUPS) && terms->per_user && request->asker.uid)
		load_groups(request);
	answer(request, run(request));
	forget_answer(request);
	free((char *)request->name);
	free((char *)request->new_name);
	free((char *)request->value);
	free(request->groups);
	free(request);
}

/* Any signal makes the kernel ask; most are none of our business (util/process.h). */
static bool is_interrupted(void *argument)
{
	const struct request *request = argument;

	if (!(request->kind->flags & DOOR_SAVES) && pool_is_stopping(request->filesystem->pool))
		return true;
	return fuse_req_interrupted(request->fuse) && process_wants_interrupt(request->thread);
}

/* A copy of the request goes on, on a thread that may wait. */
static void go_on(struct request *request) UNLOCKED
{
	struct request *copy = malloc(sizeof(*copy));

	if (!copy) {
		answer(request, -ENOMEM);
		return;
	}
	*copy = *request;
	copy->is_copy = true;
	copy->name = request->name ? strdup(request->name) : NULL;
	copy->new_name = request->new_name ? strdup(request->new_name) : NULL;
	copy->value = request->value ? malloc(request->size + 1) : NULL;
	if (copy->value)
		memcpy((char *)copy->value, request->value, request->size);
	if ((request->name && !copy->name) || (request->new_name && !copy->new_name) ||
	    (request->value && !copy->value)) {
		free((char *)copy->name);
		free((char *)copy->new_name);
		free((char *)copy->value);
		free(copy);
		answer(request, -ENOMEM);
		return;
	}
	copy->call.from_memory = false;
	copy->call.interrupted = is_interrupted;
	copy->call.interrupted_arg = copy;
	copy->call.find_groups = find_groups;
	copy->call.find_groups_arg = copy;
	copy->job = (struct pool_job){ .run = run_job, .uid = copy->asker.uid };
	pool_submit(copy->filesystem->pool, &copy->job);
}

static void start_call(struct request *request)
{
	const struct terms *terms = request_terms(request);
	bool in_directory = request->kind->time == DOOR_TIME_IN_DIRECTORY;

	call_start(&request->call, in_directory ? terms_directory_timeout_ms(terms) : terms->timeout_ms);
	if (request->kind->time == DOOR_TIME_OF_LISTING)
		request_extend_for_listing(request);
	request->call.uid = request->asker.uid;
	request->call.from_memory = true;
}

void door_enter(struct request *request)
{
	const struct fuse_ctx *context = fuse_req_ctx(request->fuse);
	struct request_kind *kind = request->kind;

	atomic_fetch_add_explicit(&kind->count, 1, memory_order_relaxed);
	request->filesystem = fuse_req_userdata(request->fuse);
	request->thread = context->pid;
	request->asker = (struct asker){ .uid = context->uid, .gid = context->gid };
	request->events = wake_count_events(request_tree(request));
	request->is_toucher = kind->handle_toucher &&
			      toucher_may_ask(&request->filesystem->follower.toucher, context->pid);
	start_call(request);
	if (kind->way == DOOR_WAIT && !request->is_toucher) {
		go_on(request);
		return;
	}
	wait_forbid();
	int error = run(request);
	wait_allow();
	if (error == -EWOULDBLOCK) {
		forget_answer(request);
		go_on(request);
		return;
	}
	answer(request, error);
	forget_answer(request);
}

void door_forget(struct filesystem *filesystem, uint64_t id, uint64_t count)
{
	lock_take(&filesystem->tree.lock);
	tree_forget(&filesystem->tree, id, count);
	lock_give(&filesystem->tree.lock);
}
