#include "fs/request.h"

#include <errno.h>
#include <stdlib.h>

#include "fs/follow/notify.h"
#include "util/process.h"
#include "util/log.h"

#define LISTING_PAGES 30 /* that may each take the whole timeout */

static bool is_interrupted(void *argument)
{
	const struct request *request = argument;

	/* The kernel tells of any signal; most are none of our business (process.h). */
	return fuse_req_interrupted(request->fuse) && process_wants_interrupt(request->thread);
}

static void start(struct request *request, fuse_req_t fuse)
{
	const struct fuse_ctx *context = fuse_req_ctx(fuse);

	request->fuse = fuse;
	request->filesystem = fuse_req_userdata(fuse);
	request->thread = context->pid;
	request->uid = context->uid;
	request->gid = context->gid;
	request->events = notify_count_events(request->filesystem);
}

static void start_call(struct request *request, int64_t timeout_ms)
{
	call_start(&request->call, timeout_ms);
	request->call.interrupted = is_interrupted;
	request->call.interrupted_arg = request;
	request->call.uid = request->uid;
	request->call.find_groups = request_find_groups;
	request->call.find_groups_arg = request;
}

int request_find_groups(void *arg, uid_t uid, gid_t **ret_groups)
{
	const struct request *request = arg;
	int count = uid == request->uid ? fuse_req_getgroups(request->fuse, 0, NULL) : -ENOENT;

	if (count < 0)
		return count;
	/* With the one that it acts with, which is not always among them. */
	gid_t *groups = calloc((size_t)count + 1, sizeof(*groups));
	if (!groups)
		return -ENOMEM;
	groups[0] = request->gid;
	int found = fuse_req_getgroups(request->fuse, count, groups + 1);
	*ret_groups = groups;
	return 1 + (found < 0 ? 0 : found < count ? found : count);
}

void request_start(struct request *request, fuse_req_t fuse)
{
	start(request, fuse);
	start_call(request, request->filesystem->timeout_ms);
}

void request_start_in_directory(struct request *request, fuse_req_t fuse)
{
	start(request, fuse);
	start_call(request, filesystem_directory_timeout_ms(request->filesystem));
}

void request_start_listing(struct request *request, fuse_req_t fuse)
{
	start(request, fuse);
	start_call(request, request->filesystem->timeout_ms);
	request_extend_for_listing(request);
}

void request_extend_for_listing(struct request *request)
{
	const int64_t timeout_ms = request->filesystem->timeout_ms;

	request->call.deadline_ms += timeout_ms * (LISTING_PAGES - 1);
	request->call.step_ms = timeout_ms;
}

void request_start_in_background(struct request *request, struct filesystem *filesystem, int64_t timeout_ms,
				 bool (*interrupted)(void *arg), void *arg)
{
	*request = (struct request){ .filesystem = filesystem };
	request->events = notify_count_events(filesystem);
	call_start(&request->call, timeout_ms);
	request->call.interrupted = interrupted;
	request->call.interrupted_arg = arg;
}

struct writer request_writer(const struct request *request)
{
	return (struct writer){ process_of_thread(request->thread), request->uid, request->gid };
}

void request_lock(const struct request *request)
{
	pthread_mutex_lock(&request->filesystem->tree.lock);
}

void request_unlock(const struct request *request)
{
	pthread_mutex_unlock(&request->filesystem->tree.lock);
}

void request_reply_error(const struct request *request, int error)
{
	switch (error) {
	case -EPROTO:
	case -EMSGSIZE:
		error = -EIO;
		break;
	case -ECONNABORTED: /* TLS; to a program on FUSE this errno says that the mount is gone */
		error = -EHOSTUNREACH;
		break;
	default:
		break;
	}
	if (store_error_is_outage(error))
		log_warning("%s", request->call.reason);
	fuse_reply_err(request->fuse, -error);
}
