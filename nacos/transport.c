#include "nacos/transport.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/grpc/config.h"
#include "nacos/grpc/identity.h"
#include "nacos/http/config.h"
#include "nacos/poll/poll.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/thread.h"

struct nacos_transport {
	struct nacos_client *client;
	enum nacos_transport_mode mode;
	bool from_database;
	struct nacos_host *hosts;
	size_t host_count;
	bool has_tls;
	struct tls_options tls; /* with copies of the paths */

	const struct nacos_watch_events *events; /* NULL: nobody wants to know */
	void *events_arg;

	struct nacos_grpc *grpc; /* from the start to the stop; NULL: there is none */
	atomic_int way; /* enum way, as last logged */
	struct thread thread; /* chooses the watch, where there is a choice */

	pthread_mutex_t lock; /* all below */
	pthread_cond_t changed; /* on the monotonic clock */
	struct nacos_poll_watch *poll; /* NULL: HTTP does not watch */
	bool grpc_live, poll_live;
	bool told_live; /* that one of them is */
	bool stop;
};

enum way { WAY_UNKNOWN, WAY_GRPC, WAY_HTTP };

/* ---- life ---- */

static int copy_text(const char *text, const char **ret_copy)
{
	if (!text)
		return 0;
	*ret_copy = strdup(text);
	return *ret_copy ? 0 : -ENOMEM;
}

static int copy_options(const struct nacos_transport_options *options, struct nacos_transport *transport)
{
	transport->hosts = calloc(options->host_count, sizeof(*transport->hosts));
	if (!transport->hosts)
		return -ENOMEM;
	transport->host_count = options->host_count;
	for (size_t i = 0; i < options->host_count; i++) {
		transport->hosts[i].port = options->hosts[i].port;
		transport->hosts[i].name = strdup(options->hosts[i].name);
		if (!transport->hosts[i].name)
			return -ENOMEM;
	}
	transport->has_tls = options->tls != NULL;
	if (!options->tls)
		return 0;
	int error = copy_text(options->tls->ca_file, &transport->tls.ca_file);
	if (!error)
		error = copy_text(options->tls->cert_file, &transport->tls.cert_file);
	if (!error)
		error = copy_text(options->tls->key_file, &transport->tls.key_file);
	return error;
}

int nacos_transport_new(const struct nacos_transport_options *options, struct nacos_transport **ret_transport)
{
	struct nacos_transport *transport = calloc(1, sizeof(*transport));

	if (!transport)
		return -ENOMEM;
	transport->client = options->client;
	transport->mode = options->mode;
	transport->from_database = options->from_database;
	pthread_mutex_init(&transport->lock, NULL);
	clock_init_condition(&transport->changed);
	int error = copy_options(options, transport);
	if (error) {
		nacos_transport_free(transport);
		return error;
	}
	*ret_transport = transport;
	return 0;
}

void nacos_transport_free(struct nacos_transport *transport)
{
	if (!transport)
		return;
	nacos_transport_stop(transport);
	for (size_t i = 0; i < transport->host_count; i++)
		free(transport->hosts[i].name);
	free(transport->hosts);
	free((char *)(uintptr_t)transport->tls.ca_file);
	free((char *)(uintptr_t)transport->tls.cert_file);
	free((char *)(uintptr_t)transport->tls.key_file);
	pthread_cond_destroy(&transport->changed);
	pthread_mutex_destroy(&transport->lock);
	free(transport);
}

void nacos_transport_set_events(struct nacos_transport *transport, const struct nacos_watch_events *events,
				void *arg)
{
	transport->events = events;
	transport->events_arg = arg;
}

struct nacos_client *nacos_transport_client(const struct nacos_transport *transport)
{
	return transport->client;
}

/* ---- events, on their way up ---- */

static void tell_changed(void *arg, const struct nacos_key *key)
{
	const struct nacos_transport *transport = arg;

	transport->events->changed(transport->events_arg, key);
}

static void tell_refused(void *arg, const struct nacos_key *key)
{
	const struct nacos_transport *transport = arg;

	transport->events->refused(transport->events_arg, key);
}

static void tell_named(void *arg, const struct nacos_key *key, bool exists)
{
	const struct nacos_transport *transport = arg;

	transport->events->named(transport->events_arg, key, exists);
}

static void tell_names_watched(void *arg, const char *namespace_id, int error)
{
	const struct nacos_transport *transport = arg;

	if (error)
		log_debug("%s: the names in it are not watched: %s", namespace_id, strerror(-error));
	transport->events->names_watched(transport->events_arg, namespace_id, error);
}

/* It is live while one of the two is, and told so when that changes. */
static void note_live(struct nacos_transport *transport, bool *which, bool live)
{
	pthread_mutex_lock(&transport->lock);
	*which = live;
	live = transport->grpc_live || transport->poll_live;
	bool news = live != transport->told_live && !transport->stop;
	transport->told_live = live;
	pthread_cond_broadcast(&transport->changed);
	pthread_mutex_unlock(&transport->lock);
	if (!news)
		return;
	log_debug("changes are %s", live ? "told" : "not told for now");
	transport->events->live(transport->events_arg, live);
}

static void tell_grpc_live(void *arg, bool live)
{
	struct nacos_transport *transport = arg;

	note_live(transport, &transport->grpc_live, live);
}

static void tell_poll_live(void *arg, bool live)
{
	struct nacos_transport *transport = arg;

	note_live(transport, &transport->poll_live, live);
}

static const struct nacos_watch_events grpc_events = {
	.changed = tell_changed,
	.refused = tell_refused,
	.named = tell_named,
	.names_watched = tell_names_watched,
	.live = tell_grpc_live,
};

static const struct nacos_watch_events poll_events = {
	.changed = tell_changed,
	.refused = tell_refused,
	.live = tell_poll_live,
};

/* ---- the connection ---- */

static bool has_grpc(const struct nacos_transport *transport)
{
	struct nacos_features features = nacos_client_features(transport->client);

	/* A server that hides its version may be anything. */
	return transport->mode != NACOS_TRANSPORT_HTTP && (features.major == 0 || features.major >= 2);
}

/* Makes one that is not started yet. */
static int make_grpc(struct nacos_transport *transport, bool is_trial, struct nacos_grpc **ret_grpc)
{
	const struct nacos_grpc_options options = {
		.hosts = transport->hosts,
		.host_count = transport->host_count,
		.tls = transport->has_tls ? &transport->tls : NULL,
		.features = nacos_client_features(transport->client),
		.get_headers = nacos_grpc_identity_of_client,
		.get_headers_arg = transport->client,
		.is_trial = is_trial,
		.events = !is_trial && transport->events ? &grpc_events : NULL,
		.events_arg = transport,
	};

	return nacos_grpc_new(&options, ret_grpc);
}

int nacos_transport_check(struct nacos_transport *transport, struct call *call)
{
	struct nacos_grpc *grpc;

	if (transport->mode != NACOS_TRANSPORT_GRPC)
		return 0;
	if (!has_grpc(transport))
		return call_fail(call, -EHOSTUNREACH, "a server of the 1.4 line has no gRPC");
	int error = make_grpc(transport, true, &grpc);
	if (error)
		return error;
	error = nacos_grpc_start(grpc);
	if (!error)
		error = nacos_grpc_wait_ready(grpc, call);
	nacos_grpc_free(grpc);
	return error;
}

/* ---- the way of requests ---- */

/* Says so when requests go another way than before. */
static void note_way(struct nacos_transport *transport, enum way way, const char *reason)
{
	int before = atomic_exchange(&transport->way, way);

	if (before == (int)way)
		return;
	if (way == WAY_GRPC)
		log_info("configs are read and written over gRPC");
	else
		log_warning("configs are read and written over HTTP for now, there is no gRPC: %s", reason);
}

/* Does a request go over gRPC now? Otherwise over HTTP. */
static bool use_grpc(struct nacos_transport *transport)
{
	struct nacos_grpc_status status;

	if (!transport->grpc || transport->mode == NACOS_TRANSPORT_GRPC)
		return transport->grpc;
	nacos_grpc_get_status(transport->grpc, &status);
	if (status.ready)
		note_way(transport, WAY_GRPC, "");
	else if (*status.reason) /* before that, it is still being tried for the first time */
		note_way(transport, WAY_HTTP, status.reason);
	return status.ready;
}

/* ---- the choice of the watch ---- */

static void add_to_poll(void *poll, const struct nacos_key *key, const char *md5)
{
	nacos_poll_watch(poll, key, md5);
}

/* With the lock: HTTP watches what gRPC can't. */
static int start_poll(struct nacos_transport *transport)
{
	struct nacos_poll_watch *poll;
	int error = nacos_poll_watch_new(transport->client, &poll_events, transport, &poll);

	if (error)
		return error;
	if (transport->grpc)
		nacos_grpc_each_watched(transport->grpc, add_to_poll, poll);
	error = nacos_poll_watch_start(poll);
	if (error) {
		nacos_poll_watch_free(poll);
		return error;
	}
	transport->poll = poll;
	return 0;
}

static void stop_poll(struct nacos_transport *transport)
{
	pthread_mutex_lock(&transport->lock);
	struct nacos_poll_watch *poll = transport->poll;
	transport->poll = NULL;
	pthread_mutex_unlock(&transport->lock);
	if (!poll)
		return;
	nacos_poll_watch_free(poll);
	note_live(transport, &transport->poll_live, false);
}

/* With the lock: waits for news, but not for ever while gRPC is away and HTTP is not watching in its place. */
static void wait_for_grpc(struct nacos_transport *transport)
{
	struct timespec due = clock_from_ms(clock_monotonic_ms() + NACOS_TRANSPORT_PATIENCE_MS);
	int timed_out = 0;

	while (!transport->stop && !transport->grpc_live && !transport->poll && !timed_out)
		timed_out = pthread_cond_timedwait(&transport->changed, &transport->lock, &due);
	if (!timed_out || transport->stop || transport->grpc_live)
		return;
	use_grpc(transport); /* says how requests go, even if there are none */
	if (start_poll(transport))
		log_warning("changes are not watched: the threads for that can't be started");
}

static void *choose_watch(void *arg)
{
	struct nacos_transport *transport = arg;

	pthread_mutex_lock(&transport->lock);
	while (!transport->stop) {
		if (transport->grpc_live && transport->poll) {
			pthread_mutex_unlock(&transport->lock);
			use_grpc(transport);
			stop_poll(transport);
			pthread_mutex_lock(&transport->lock);
		} else if (transport->grpc_live || transport->poll) {
			pthread_cond_wait(&transport->changed, &transport->lock);
		} else {
			wait_for_grpc(transport);
		}
	}
	pthread_mutex_unlock(&transport->lock);
	return NULL;
}

int nacos_transport_start(struct nacos_transport *transport)
{
	if (has_grpc(transport)) {
		/* It must be there before the first event, whose receiver may put something on the watch. */
		int error = make_grpc(transport, false, &transport->grpc);

		if (!error)
			error = nacos_grpc_start(transport->grpc);
		if (error) {
			nacos_grpc_free(transport->grpc);
			transport->grpc = NULL;
		}
		if (error || transport->mode == NACOS_TRANSPORT_GRPC || !transport->events)
			return error;
		return thread_start(&transport->thread, choose_watch, transport);
	}
	atomic_store(&transport->way, WAY_HTTP);
	if (transport->mode == NACOS_TRANSPORT_AUTO)
		log_info("this server has no gRPC: configs are read and written over HTTP");
	if (!transport->events)
		return 0;
	pthread_mutex_lock(&transport->lock);
	int error = start_poll(transport);
	pthread_mutex_unlock(&transport->lock);
	return error;
}

void nacos_transport_stop(struct nacos_transport *transport)
{
	pthread_mutex_lock(&transport->lock);
	transport->stop = true;
	pthread_cond_broadcast(&transport->changed);
	pthread_mutex_unlock(&transport->lock);
	thread_join(&transport->thread);
	stop_poll(transport);
	nacos_grpc_free(transport->grpc);
	transport->grpc = NULL;
}

/* Is the request worth sending over HTTP after it failed over gRPC, with no harm done? */
static bool may_fall_back(struct nacos_transport *transport, int error, struct call *call)
{
	if (transport->mode == NACOS_TRANSPORT_GRPC || call_check(call))
		return false;
	switch (error) {
	case -EHOSTUNREACH:
	case -ETIMEDOUT:
	case -ECONNABORTED:
	case -EPROTO:
	case -EIO:
		/* If there is a connection, HTTP would fare no better. */
		return !use_grpc(transport);
	}
	return false;
}

/* ---- requests ---- */

int nacos_transport_get(struct nacos_transport *transport, const struct nacos_key *key, struct call *call,
			struct nacos_config *ret_config)
{
	struct nacos_features features = nacos_client_features(transport->client);

	if (transport->from_database)
		return nacos_config_get_detail(transport->client, key, call, ret_config);
	if (!features.get_has_time || !use_grpc(transport))
		return nacos_config_get(transport->client, key, call, ret_config);

	int error = nacos_grpc_config_get(transport->grpc, key, call, ret_config);
	/* What is tried out on this host of all is not what a publish would replace. */
	if (error == -EOPNOTSUPP)
		return nacos_config_get_detail(transport->client, key, call, ret_config);
	if (error == -ENOENT)
		return nacos_config_confirm_absence(transport->client, key, call, ret_config);
	if (error && may_fall_back(transport, error, call))
		return nacos_config_get(transport->client, key, call, ret_config);
	return error;
}

size_t nacos_transport_content_limit(struct nacos_transport *transport)
{
	return use_grpc(transport) ? NACOS_GRPC_CONTENT_LIMIT : NACOS_HTTP_CONTENT_LIMIT;
}

bool nacos_transport_carries_data_key(const struct nacos_transport *transport)
{
	return transport->grpc || nacos_client_features(transport->client).carries_data_key;
}

/* What can't go over HTTP waits for gRPC. */
static bool needs_grpc(const struct nacos_transport *transport, const struct nacos_publish *publish)
{
	return transport->grpc && publish->encrypted_data_key && *publish->encrypted_data_key &&
	       !nacos_client_features(transport->client).carries_data_key;
}

static int publish_over_http(struct nacos_transport *transport, const struct nacos_key *key,
			     const struct nacos_publish *publish, struct call *call, bool *ret_uncertain)
{
	int error = nacos_config_publish(transport->client, key, publish, call, ret_uncertain);

	/* So large that HTTP was not even tried. */
	if (error == -EFBIG && transport->grpc)
		return nacos_grpc_config_publish(transport->grpc, key, publish, call, ret_uncertain);
	return error;
}

int nacos_transport_publish(struct nacos_transport *transport, const struct nacos_key *key,
			    const struct nacos_publish *publish, struct call *call, bool *ret_uncertain)
{
	bool only_grpc = needs_grpc(transport, publish);

	if (!only_grpc && !use_grpc(transport))
		return publish_over_http(transport, key, publish, call, ret_uncertain);

	int error = nacos_grpc_config_publish(transport->grpc, key, publish, call, ret_uncertain);
	if (error && !only_grpc && !*ret_uncertain && may_fall_back(transport, error, call))
		return publish_over_http(transport, key, publish, call, ret_uncertain);
	return error;
}

int nacos_transport_remove(struct nacos_transport *transport, const struct nacos_key *key, struct call *call)
{
	if (!use_grpc(transport))
		return nacos_config_remove(transport->client, key, call);

	int error = nacos_grpc_config_remove(transport->grpc, key, call);
	if (error && may_fall_back(transport, error, call))
		return nacos_config_remove(transport->client, key, call);
	return error;
}

int nacos_transport_check_write(struct nacos_transport *transport, const struct nacos_key *key,
				struct call *call)
{
	if (!use_grpc(transport))
		return nacos_config_check_write(transport->client, key, call);

	int error = nacos_grpc_config_check_write(transport->grpc, key, call);
	if (error && may_fall_back(transport, error, call))
		return nacos_config_check_write(transport->client, key, call);
	return error;
}

/* ---- the watch ---- */

void nacos_transport_watch(struct nacos_transport *transport, const struct nacos_key *key, const char *md5)
{
	int error = 0;

	pthread_mutex_lock(&transport->lock);
	if (transport->grpc && transport->events)
		error = nacos_grpc_watch(transport->grpc, key, md5);
	if (!error && transport->poll)
		error = nacos_poll_watch(transport->poll, key, md5);
	pthread_mutex_unlock(&transport->lock);
	if (error)
		log_warning("config %s is not watched: out of memory", key->data_id);
}

void nacos_transport_unwatch(struct nacos_transport *transport, const struct nacos_key *key)
{
	pthread_mutex_lock(&transport->lock);
	if (transport->grpc && transport->events)
		nacos_grpc_unwatch(transport->grpc, key);
	if (transport->poll)
		nacos_poll_unwatch(transport->poll, key);
	pthread_mutex_unlock(&transport->lock);
}

void nacos_transport_watch_names(struct nacos_transport *transport, const char *namespace_id)
{
	if (transport->grpc && transport->events && nacos_grpc_watch_names(transport->grpc, namespace_id))
		log_warning("the names in %s are not watched: out of memory", namespace_id);
}

bool nacos_transport_is_watched(struct nacos_transport *transport, const struct nacos_key *key)
{
	bool watched = transport->grpc && transport->events && nacos_grpc_is_watched(transport->grpc, key);

	if (watched)
		return true;
	pthread_mutex_lock(&transport->lock);
	if (transport->poll)
		watched = nacos_poll_is_watched(transport->poll, key);
	pthread_mutex_unlock(&transport->lock);
	return watched;
}

void nacos_transport_get_status(struct nacos_transport *transport, struct nacos_transport_status *ret_status)
{
	struct nacos_transport_status status = { .name = "http" };

	if (transport->grpc) {
		nacos_grpc_get_status(transport->grpc, &status.grpc);
		if (status.grpc.ready)
			status.name = "grpc";
	}
	pthread_mutex_lock(&transport->lock);
	if (transport->poll)
		nacos_poll_get_watch_counts(transport->poll, &status.counts);
	else if (transport->grpc && transport->events)
		nacos_grpc_get_watch_counts(transport->grpc, &status.counts);
	status.live = transport->told_live;
	pthread_mutex_unlock(&transport->lock);
	*ret_status = status;
}
