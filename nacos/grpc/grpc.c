#include "nacos/grpc/grpc.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "nacos/grpc/grpc_private.h"
#include "util/clock.h"

#define PORT_OFFSET 1000

/* ---- life ---- */

static int copy_text(const char *text, const char **ret_copy)
{
	if (!text)
		return 0;
	*ret_copy = strdup(text);
	return *ret_copy ? 0 : -ENOMEM;
}

static int copy_options(struct nacos_grpc *grpc, const struct nacos_grpc_options *options)
{
	unsigned offset = options->port_offset ? options->port_offset : PORT_OFFSET;
	const struct tls_options *tls = options->tls;

	grpc->hosts = calloc(options->host_count, sizeof(*grpc->hosts));
	if (!grpc->hosts)
		return -ENOMEM;
	for (; grpc->host_count < options->host_count; grpc->host_count++) {
		struct nacos_grpc_host *host = &grpc->hosts[grpc->host_count];

		host->port = options->hosts[grpc->host_count].port + offset;
		host->name = strdup(options->hosts[grpc->host_count].name);
		if (!host->name)
			return -ENOMEM;
	}
	grpc->features = options->features;
	grpc->get_headers = options->get_headers;
	grpc->get_headers_arg = options->get_headers_arg;
	grpc->is_trial = options->is_trial;
	grpc->has_tls = tls != NULL;
	if (tls && (copy_text(tls->ca_file, &grpc->tls.ca_file) ||
		    copy_text(tls->cert_file, &grpc->tls.cert_file) ||
		    copy_text(tls->key_file, &grpc->tls.key_file)))
		return -ENOMEM;
	return 0;
}

static void init_locks(struct nacos_grpc *grpc)
{
	pthread_mutex_init(&grpc->lock, NULL);
	clock_init_condition(&grpc->changed);
}

int nacos_grpc_new(const struct nacos_grpc_options *options, struct nacos_grpc **ret_grpc)
{
	struct nacos_grpc *grpc = calloc(1, sizeof(*grpc));
	int error;

	if (!grpc)
		return -ENOMEM;
	init_locks(grpc);
	nacos_grpc_call_list_init(&grpc->queue);
	nacos_grpc_call_list_init(&grpc->connection.in_flight);
	grpc->wake_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = grpc->wake_descriptor < 0 ? -EIO : copy_options(grpc, options);
	if (!error && options->watch)
		error = nacos_grpc_watch_new(grpc, options->watch, &grpc->watch);
	if (error) {
		nacos_grpc_free(grpc);
		return error;
	}
	/* So that many mounts do not all use the first host of their list. */
	grpc->connection.host = (size_t)clock_now().tv_nsec % grpc->host_count;
	grpc->connection.next_host = grpc->host_count;
	*ret_grpc = grpc;
	return 0;
}

static void stop_thread(struct nacos_grpc *grpc)
{
	if (!grpc->thread.is_started)
		return;
	pthread_mutex_lock(&grpc->lock);
	grpc->stop = true;
	nacos_grpc_wake(grpc);
	pthread_mutex_unlock(&grpc->lock);
	thread_join(&grpc->thread);
}

void nacos_grpc_free(struct nacos_grpc *grpc)
{
	if (!grpc)
		return;
	/* The watch is the last that may still have requests under way. */
	nacos_grpc_watch_stop(grpc->watch);
	stop_thread(grpc);
	nacos_grpc_watch_free(grpc->watch);
	if (grpc->wake_descriptor >= 0)
		close(grpc->wake_descriptor);
	for (size_t i = 0; i < grpc->host_count; i++)
		free(grpc->hosts[i].name);
	free(grpc->hosts);
	free((char *)(uintptr_t)grpc->tls.ca_file);
	free((char *)(uintptr_t)grpc->tls.cert_file);
	free((char *)(uintptr_t)grpc->tls.key_file);
	pthread_cond_destroy(&grpc->changed);
	pthread_mutex_destroy(&grpc->lock);
	free(grpc);
}

/* ---- waking and waiting ---- */

void nacos_grpc_wake(struct nacos_grpc *grpc)
{
	if (grpc->woken)
		return;
	grpc->woken = true;
	eventfd_write(grpc->wake_descriptor, 1);
}

int nacos_grpc_wait(struct nacos_grpc *grpc, pthread_cond_t *condition, struct call *call)
{
	return call_wait(call, condition, &grpc->lock);
}

int nacos_grpc_wait_ready(struct nacos_grpc *grpc, struct call *call)
{
	uint64_t failures;
	int error = 0;

	pthread_mutex_lock(&grpc->lock);
	failures = grpc->failures;
	grpc->waiting_count++;
	nacos_grpc_wake(grpc);
	while (!error && grpc->epoch == 0) {
		if (grpc->failures - failures >= grpc->host_count || grpc->is_down) {
			error = call_fail(call, grpc->last_error, "%s", grpc->status.reason);
			break;
		}
		error = nacos_grpc_wait(grpc, &grpc->changed, call);
		if (error)
			call_fail(call, error, "%s: %s", grpc->status.host, call->reason);
	}
	grpc->waiting_count--;
	pthread_mutex_unlock(&grpc->lock);
	return error;
}

void nacos_grpc_get_status(struct nacos_grpc *grpc, struct nacos_grpc_status *ret_status)
{
	pthread_mutex_lock(&grpc->lock);
	*ret_status = grpc->status;
	ret_status->ready = grpc->epoch != 0;
	pthread_mutex_unlock(&grpc->lock);
}

/* ---- the connection's thread ---- */

/* Did nacos_grpc_free() say so? Also takes note of having been woken. */
static bool is_stopped(struct nacos_grpc *grpc)
{
	eventfd_t ignored;
	bool stop;

	pthread_mutex_lock(&grpc->lock);
	stop = grpc->stop;
	if (grpc->woken)
		eventfd_read(grpc->wake_descriptor, &ignored);
	grpc->woken = false;
	pthread_mutex_unlock(&grpc->lock);
	return stop;
}

/* How long to wait for the moment. Rounded up, so that it has come when the time is over. */
static int timeout_until(int64_t deadline_ms)
{
	int64_t now_ms = clock_monotonic_ms();

	if (deadline_ms <= now_ms)
		return 0;
	return deadline_ms - now_ms > 60000 ? 60000 : (int)(deadline_ms - now_ms) + 1;
}

static void *run(void *arg)
{
	struct nacos_grpc *grpc = arg;

	while (!is_stopped(grpc)) {
		struct pollfd polls[2] = { { .fd = grpc->wake_descriptor, .events = POLLIN } };
		int64_t deadline_ms;

		nacos_grpc_connection_process(grpc);
		nacos_grpc_connection_prepare_poll(grpc, &polls[1], &deadline_ms);
		poll(polls, 2, timeout_until(deadline_ms));
	}
	nacos_grpc_connection_release(grpc);
	nacos_grpc_calls_fail(grpc, true, -EIO, "the program is ending");
	return NULL;
}

int nacos_grpc_start(struct nacos_grpc *grpc)
{
	int error = thread_start(&grpc->thread, run, grpc);

	return error || !grpc->watch ? error : nacos_grpc_watch_start(grpc->watch);
}
