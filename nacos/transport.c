#include "nacos/transport.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/grpc/config.h"
#include "nacos/grpc/identity.h"
#include "nacos/http/config.h"
#include "nacos/poll/poll.h"
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

	struct nacos_watch *watch;
	bool has_events; /* somebody is told of what is watched */

	struct nacos_grpc *grpc; /* from the start to the stop; NULL: there is none */
	/* NULL: HTTP does not watch. The thread's; where there is none, from the start to the stop. */
	struct nacos_poll *poll;
	atomic_int way; /* enum way, as last logged */
	struct thread thread; /* chooses who watches, where there is a choice */
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
	int error = copy_options(options, transport);
	if (!error)
		error = nacos_watch_new(&transport->watch);
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
	nacos_watch_free(transport->watch);
	free(transport);
}

void nacos_transport_set_events(struct nacos_transport *transport, const struct nacos_watch_events *events,
				void *arg)
{
	nacos_watch_set_events(transport->watch, events, arg);
	transport->has_events = true;
}

struct nacos_client *nacos_transport_client(const struct nacos_transport *transport)
{
	return transport->client;
}

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
		.watch = !is_trial && transport->has_events ? transport->watch : NULL,
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

/* ---- who watches ---- */

/* HTTP watches what gRPC can't. */
static int start_poll(struct nacos_transport *transport)
{
	int error = nacos_poll_new(transport->client, transport->watch, &transport->poll);

	if (error)
		return error;
	error = nacos_poll_start(transport->poll);
	if (error) {
		nacos_poll_free(transport->poll);
		transport->poll = NULL;
	}
	return error;
}

static void stop_poll(struct nacos_transport *transport)
{
	nacos_poll_free(transport->poll);
	transport->poll = NULL;
}

/* HTTP watches where gRPC has been away for long, and until it knows of everything. */
static void *choose_watch(void *arg)
{
	struct nacos_transport *transport = arg;
	struct nacos_watch *watch = transport->watch;

	while (!nacos_watch_is_stopped(watch)) {
		int64_t patient_until_ms = clock_monotonic_ms() + NACOS_TRANSPORT_PATIENCE_MS;

		if (!nacos_watch_wait(watch, NACOS_WATCH_GRPC, true, patient_until_ms)) {
			if (nacos_watch_is_stopped(watch))
				break;
			use_grpc(transport); /* says how requests go, even if there are none */
			if (start_poll(transport)) {
				log_warning("changes are not watched: the threads for that can't be started");
				continue;
			}
			nacos_watch_wait(watch, NACOS_WATCH_GRPC, true, INT64_MAX);
			use_grpc(transport);
			stop_poll(transport);
		}
		nacos_watch_wait(watch, NACOS_WATCH_GRPC, false, INT64_MAX);
	}
	return NULL;
}

static int start_grpc(struct nacos_transport *transport)
{
	int error = make_grpc(transport, false, &transport->grpc);

	if (!error)
		error = nacos_grpc_start(transport->grpc);
	if (error) {
		nacos_grpc_free(transport->grpc);
		transport->grpc = NULL;
	}
	if (error || transport->mode == NACOS_TRANSPORT_GRPC || !transport->has_events)
		return error;
	return thread_start(&transport->thread, choose_watch, transport);
}

int nacos_transport_start(struct nacos_transport *transport)
{
	int error = transport->has_events ? nacos_watch_start(transport->watch) : 0;

	if (error)
		return error;
	if (has_grpc(transport))
		return start_grpc(transport);
	atomic_store(&transport->way, WAY_HTTP);
	if (transport->mode == NACOS_TRANSPORT_AUTO)
		log_info("this server has no gRPC: configs are read and written over HTTP");
	return transport->has_events ? start_poll(transport) : 0;
}

void nacos_transport_stop(struct nacos_transport *transport)
{
	if (transport->watch)
		nacos_watch_stop(transport->watch);
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

int nacos_transport_get(struct nacos_transport *transport, const struct place *place, struct call *call,
			struct nacos_config *ret_config)
{
	struct nacos_features features = nacos_client_features(transport->client);

	if (transport->from_database)
		return nacos_config_get_detail(transport->client, place, call, ret_config);
	if (!features.get_has_time || !use_grpc(transport))
		return nacos_config_get(transport->client, place, call, ret_config);

	int error = nacos_grpc_config_get(transport->grpc, place, call, ret_config);
	/* What is tried out on this host of all is not what a publish would replace. */
	if (error == -EOPNOTSUPP)
		return nacos_config_get_detail(transport->client, place, call, ret_config);
	if (error == -ENOENT)
		return nacos_config_confirm_absence(transport->client, place, call, ret_config);
	if (error && may_fall_back(transport, error, call))
		return nacos_config_get(transport->client, place, call, ret_config);
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

static int publish_over_http(struct nacos_transport *transport, const struct place *place,
			     const struct nacos_publish *publish, struct call *call, bool *ret_uncertain)
{
	int error = nacos_config_publish(transport->client, place, publish, call, ret_uncertain);

	/* So large that HTTP was not even tried. */
	if (error == -EFBIG && transport->grpc)
		return nacos_grpc_config_publish(transport->grpc, place, publish, call, ret_uncertain);
	return error;
}

int nacos_transport_publish(struct nacos_transport *transport, const struct place *place,
			    const struct nacos_publish *publish, struct call *call, bool *ret_uncertain)
{
	bool only_grpc = needs_grpc(transport, publish);

	if (!only_grpc && !use_grpc(transport))
		return publish_over_http(transport, place, publish, call, ret_uncertain);

	int error = nacos_grpc_config_publish(transport->grpc, place, publish, call, ret_uncertain);
	if (error && !only_grpc && !*ret_uncertain && may_fall_back(transport, error, call))
		return publish_over_http(transport, place, publish, call, ret_uncertain);
	return error;
}

int nacos_transport_remove(struct nacos_transport *transport, const struct place *place, struct call *call)
{
	if (!use_grpc(transport))
		return nacos_config_remove(transport->client, place, call);

	int error = nacos_grpc_config_remove(transport->grpc, place, call);
	if (error && may_fall_back(transport, error, call))
		return nacos_config_remove(transport->client, place, call);
	return error;
}

int nacos_transport_check_write(struct nacos_transport *transport, const struct place *place,
				struct call *call)
{
	if (!use_grpc(transport))
		return nacos_config_check_write(transport->client, place, call);

	int error = nacos_grpc_config_check_write(transport->grpc, place, call);
	if (error && may_fall_back(transport, error, call))
		return nacos_config_check_write(transport->client, place, call);
	return error;
}

/* ---- the watch ---- */

void nacos_transport_watch(struct nacos_transport *transport, struct place *place, const char *md5)
{
	if (transport->has_events && nacos_watch_add(transport->watch, place, md5))
		log_warning("config %s is not watched: out of memory", place_data_id(place));
}

void nacos_transport_unwatch(struct nacos_transport *transport, const struct place *place)
{
	nacos_watch_remove(transport->watch, place);
}

void nacos_transport_watch_names(struct nacos_transport *transport, const char *namespace_id)
{
	/* Nobody but gRPC could tell of them. */
	if (transport->grpc && transport->has_events && nacos_watch_add_names(transport->watch, namespace_id))
		log_warning("the names in %s are not watched: out of memory", namespace_id);
}

bool nacos_transport_is_watched(struct nacos_transport *transport, const struct place *place)
{
	return nacos_watch_tells(transport->watch, place);
}

void nacos_transport_get_status(struct nacos_transport *transport, struct nacos_transport_status *ret_status)
{
	struct nacos_transport_status status = { .name = "http" };

	if (transport->grpc) {
		nacos_grpc_get_status(transport->grpc, &status.grpc);
		if (status.grpc.ready)
			status.name = "grpc";
	}
	nacos_watch_count(transport->watch, &status.counts);
	status.live = nacos_watch_is_live(transport->watch);
	*ret_status = status;
}
