/*
 * The states of the connection: PAUSE -> CONNECT -> CHECK -> SETUP or PROBE -> READY, and from each
 * of them back to PAUSE, which lasts no time at all where that makes sense.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/grpc/grpc_private.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/json.h"
#include "util/log.h"

#define CONNECT_TIMEOUT_MS 3000
#define CHECK_TIMEOUT_MS 3000
#define SETUP_ACK_TIMEOUT_MS 5000
#define SETUP_TIMEOUT_MS 8000 /* of all from the check to being ready */

/* A 2.x server does not say when it has registered the connection; it takes a few milliseconds. */
#define PROBE_PAUSE_MS 3

/*
 * A server drops a connection that is silent for 20 s, and sometimes even if it answers the
 * question.
 */
#define HEALTH_INTERVAL_MS 5000
#define HEALTH_TIMEOUT_MS 3000
#define HEALTH_MISSED_MAX 2

/*
 * While requests wait for answers and nothing at all comes, it is found out sooner: after 5 s,
 * which leaves the usual deadline of 10 s time enough for another host.
 */
#define HEALTH_INTERVAL_WAITING_MS 2000
#define HEALTH_TIMEOUT_WAITING_MS 1500

/* A connection that does not last that long is as bad as none. */
#define LASTING_MS 1000

/* How long requests that can't be repeated may still be answered when the server wants us gone. */
#define LEAVE_TIMEOUT_MS 1000

#define PAUSE_MIN_MS 50
#define PAUSE_MAX_MS 5000
#define PAUSE_WAITING_MS 1000 /* when somebody wants the connection */
#define PAUSE_HOPELESS_MIN_MS 5000
#define PAUSE_HOPELESS_MAX_MS 30000

#define CONTROL_ANSWER_LIMIT 65536

/* A value of grpc-status: a gRPC server that does not know our service. */
#define STATUS_UNIMPLEMENTED 12

static void on_control_done(struct nacos_grpc_unary *unary,
			    const struct nacos_grpc_outcome *outcome);

/* ---- beginning ---- */

static const struct nacos_grpc_host *current_host(const struct nacos_grpc *grpc)
{
	return &grpc->hosts[grpc->connection.host];
}

void nacos_grpc_connection_doom(struct nacos_grpc *grpc, int error, const char *format, ...)
{
	struct nacos_grpc_connection *connection = &grpc->connection;
	va_list arguments;
	int length;

	/* The first cause is the one that counts. */
	if (connection->doom)
		return;
	connection->doom = error;
	length = snprintf(connection->doom_reason, sizeof(connection->doom_reason),
			  "%s:%u: ", current_host(grpc)->name, current_host(grpc)->port);
	if (length < 0 || (size_t)length >= sizeof(connection->doom_reason))
		return;
	va_start(arguments, format);
	vsnprintf(connection->doom_reason + length,
		  sizeof(connection->doom_reason) - (size_t)length, format, arguments);
	va_end(arguments);
}

/* As above, with the reason of a call, which names the host by itself. */
static void doom_for(struct nacos_grpc *grpc, int error, const struct call *call)
{
	struct nacos_grpc_connection *connection = &grpc->connection;

	if (connection->doom)
		return;
	connection->doom = error;
	memcpy(connection->doom_reason, call->reason, sizeof(connection->doom_reason));
}

/* Sends one of our own requests; its answer comes to on_control_done(). */
static void send_control(struct nacos_grpc *grpc, const char *type, int64_t timeout_ms)
{
	struct nacos_grpc_connection *connection = &grpc->connection;
	struct nacos_payload_parts parts = {
		.type = type,
		.client_ip = connection->local_address,
		.json = "{}",
		.json_size = 2,
	};
	int error;

	nacos_grpc_unary_cancel(&connection->control);
	buffer_clear(&connection->control_frame);
	error = nacos_payload_append(&parts, &connection->control_frame);
	connection->control.done = on_control_done;
	if (!error)
		error = nacos_grpc_unary_start(&connection->control, connection->h2,
					       &connection->control_frame, CONTROL_ANSWER_LIMIT);
	connection->control_sent_ms = clock_monotonic_ms();
	connection->control_deadline_ms = connection->control_sent_ms + timeout_ms;
	if (error)
		nacos_grpc_connection_doom(grpc, error, "can't send %s", type);
}

static void begin(struct nacos_grpc *grpc, struct call *call)
{
	struct nacos_grpc_connection *connection = &grpc->connection;
	const struct nacos_grpc_host *host = current_host(grpc);
	const struct h2_options options = {
		.host = host->name,
		.port = host->port,
		.tls = grpc->has_tls ? &grpc->tls : NULL,
		.user_agent = NACOS_GRPC_USER_AGENT,
		.connect_timeout_ms = CONNECT_TIMEOUT_MS,
	};
	int error;

	pthread_mutex_lock(&grpc->lock);
	grpc->is_down = grpc->is_wanted = false;
	snprintf(grpc->status.host, sizeof(grpc->status.host), "%s:%u", host->name, host->port);
	pthread_mutex_unlock(&grpc->lock);
	connection->begun_ms = clock_monotonic_ms();
	connection->phase = NACOS_GRPC_CONNECT;
	connection->phase_deadline_ms = connection->setup_deadline_ms = INT64_MAX;
	error = h2_new(&options, call, &connection->h2);
	if (error)
		doom_for(grpc, error, call);
}

/* There is a connection: is it one to a Nacos server? */
static void begin_check(struct nacos_grpc *grpc)
{
	struct nacos_grpc_connection *connection = &grpc->connection;

	connection->phase = NACOS_GRPC_CHECK;
	connection->setup_deadline_ms = clock_monotonic_ms() + SETUP_TIMEOUT_MS;
	h2_get_local_address(connection->h2, connection->local_address);
	send_control(grpc, "ServerCheckRequest", CHECK_TIMEOUT_MS);
}

static void become_ready(struct nacos_grpc *grpc)
{
	struct nacos_grpc_connection *connection = &grpc->connection;
	uint64_t epoch = ++connection->last_epoch;

	connection->phase = NACOS_GRPC_READY;
	connection->ready_since_ms = clock_monotonic_ms();
	connection->control_sent_ms = connection->ready_since_ms;
	connection->missed = 0;
	connection->logged_reason[0] = '\0';
	if (!grpc->is_trial)
		log_info("gRPC: connected to %s:%u in %lld ms", current_host(grpc)->name,
			 current_host(grpc)->port,
			 (long long)(connection->ready_since_ms - connection->begun_ms));

	pthread_mutex_lock(&grpc->lock);
	grpc->epoch = epoch;
	grpc->status.connections++;
	pthread_cond_broadcast(&grpc->changed);
	pthread_mutex_unlock(&grpc->lock);
	if (grpc->watch)
		nacos_grpc_watch_connection_up(grpc->watch, epoch, connection->negotiates,
					       connection->has_fuzzy_watch);
}

void nacos_grpc_connection_confirm(struct nacos_grpc *grpc)
{
	if (grpc->connection.phase == NACOS_GRPC_SETUP)
		become_ready(grpc);
}

void nacos_grpc_connection_leave(struct nacos_grpc *grpc, size_t next_host)
{
	struct nacos_grpc_connection *connection = &grpc->connection;

	connection->next_host = next_host;
	if (connection->leave_by_ms == 0)
		connection->leave_by_ms = clock_monotonic_ms() + LEAVE_TIMEOUT_MS;
}

/* ---- answers to our own requests ---- */

/* Reads an answer of the type that is expected. NULL when it is another one, or says no. */
static struct json *read_control(const struct buffer *message, const char *type)
{
	cleanup_json struct json *document = NULL;
	struct nacos_payload payload;

	if (nacos_payload_read(message->data, message->size, &payload) ||
	    strcmp(payload.type, type) != 0 ||
	    json_parse(payload.json, payload.json_size, &document) ||
	    json_integer(document, "resultCode", 0) != NACOS_GRPC_OK)
		return NULL;
	return steal_pointer(document);
}

static void on_checked(struct nacos_grpc *grpc, const struct buffer *message)
{
	struct nacos_grpc_connection *connection = &grpc->connection;
	cleanup_json struct json *answer = read_control(message, "ServerCheckResponse");
	int error;

	if (!answer && nacos_grpc_is_error(message, NACOS_GRPC_ERROR_STARTING)) {
		nacos_grpc_connection_doom(grpc, -EHOSTUNREACH, "the server is starting");
		return;
	}
	if (!answer) {
		nacos_grpc_connection_doom(grpc, -EPROTO, "what answers there is not Nacos");
		return;
	}
	connection->negotiates = json_is_true(json_member(answer, "supportAbilityNegotiation"));
	connection->has_fuzzy_watch = false;
	error = nacos_grpc_push_open(grpc);
	if (error)
		nacos_grpc_connection_doom(grpc, error, "can't open the stream");
	connection->phase = connection->negotiates ? NACOS_GRPC_SETUP : NACOS_GRPC_PROBE;
	connection->phase_deadline_ms = clock_monotonic_ms() + SETUP_ACK_TIMEOUT_MS;
	connection->control_next_ms = clock_monotonic_ms();
}

static void on_probed(struct nacos_grpc *grpc, const struct buffer *message)
{
	cleanup_json struct json *answer = read_control(message, "HealthCheckResponse");

	if (answer)
		become_ready(grpc);
	else if (nacos_grpc_is_error(message, NACOS_GRPC_ERROR_UNREGISTERED))
		grpc->connection.control_next_ms = clock_monotonic_ms() + PROBE_PAUSE_MS;
	else
		nacos_grpc_connection_doom(grpc, -EPROTO, "the set-up failed");
}

static void on_healthy(struct nacos_grpc *grpc, const struct buffer *message)
{
	cleanup_json struct json *answer = read_control(message, "HealthCheckResponse");

	grpc->connection.missed = 0;
	if (!answer)
		nacos_grpc_connection_doom(grpc, -EIO, "the server does not know the connection");
}

static void on_control_done(struct nacos_grpc_unary *unary,
			    const struct nacos_grpc_outcome *outcome)
{
	struct nacos_grpc *grpc =
		(struct nacos_grpc *)((char *)unary -
				      offsetof(struct nacos_grpc, connection.control));
	const struct buffer *message = &unary->frames.message;

	if (outcome->error && grpc->connection.phase == NACOS_GRPC_CHECK &&
	    (unary->grpc_status == STATUS_UNIMPLEMENTED || unary->http_status / 100 == 4)) {
		nacos_grpc_connection_doom(grpc, -EPROTO, "what answers there is not Nacos (%s)",
					   outcome->reason);
		return;
	}
	if (outcome->error) {
		nacos_grpc_connection_doom(grpc, outcome->error == -ENOMEM ? -ENOMEM : -EIO, "%s",
					   outcome->reason);
		return;
	}
	switch (grpc->connection.phase) {
	case NACOS_GRPC_CHECK:
		on_checked(grpc, message);
		break;
	case NACOS_GRPC_PROBE:
		on_probed(grpc, message);
		break;
	case NACOS_GRPC_READY:
		on_healthy(grpc, message);
		break;
	default:
		break;
	}
}

/* ---- the end ---- */

/* Will the next attempt hardly be better? */
static bool is_hopeless(int error)
{
	switch (error) {
	case -EIO:
	case -EHOSTUNREACH:
	case -ETIMEDOUT:
	case -ENOMEM:
		return false;
	}
	return true;
}

static int64_t pause_length_ms(unsigned rounds, bool hopeless)
{
	int64_t pause_ms = hopeless ? PAUSE_HOPELESS_MIN_MS : PAUSE_MIN_MS;
	int64_t max_ms = hopeless ? PAUSE_HOPELESS_MAX_MS : PAUSE_MAX_MS;

	for (unsigned i = 1; i < rounds && pause_ms < max_ms; i++)
		pause_ms *= 2;
	if (pause_ms > max_ms)
		pause_ms = max_ms;
	/*
	 * A fifth more or less, so that clients that lost a server together don't come back
	 * together.
	 */
	return pause_ms * (800 + clock_now().tv_nsec / 1000 % 401) / 1000;
}

static void log_end(struct nacos_grpc *grpc, bool was_ready, const char *reason)
{
	struct nacos_grpc_connection *connection = &grpc->connection;

	if (was_ready && connection->leave_by_ms) {
		log_info("gRPC: %s; connecting again", reason);
	} else if (grpc->is_trial || strcmp(reason, connection->logged_reason) == 0) {
		log_debug("gRPC: %s; trying again", reason);
	} else {
		log_warning("gRPC: %s; trying again", reason);
		snprintf(connection->logged_reason, sizeof(connection->logged_reason), "%s",
			 reason);
	}
}

/* Where to go next, and when. Tells whether all hosts have failed. */
static bool plan_next(struct nacos_grpc *grpc, bool was_ready, bool lasted, int error)
{
	struct nacos_grpc_connection *connection = &grpc->connection;
	bool pause;

	connection->failures = lasted ? 0 : connection->failures + 1;
	connection->is_hopeless = is_hopeless(error);
	connection->paused_at_ms = connection->pause_until_ms = clock_monotonic_ms();
	pause = !lasted && connection->failures % grpc->host_count == 0;
	if (pause)
		connection->pause_until_ms += pause_length_ms(
			connection->failures / (unsigned)grpc->host_count, connection->is_hopeless);
	if (connection->next_host < grpc->host_count)
		connection->host = connection->next_host;
	else
		connection->host = (connection->host + 1) % grpc->host_count;
	/* A server that was there a moment ago is worth waiting for. */
	return pause && !was_ready;
}

/* With nothing left that could call back. */
static void forget(struct nacos_grpc *grpc)
{
	struct nacos_grpc_connection *connection = &grpc->connection;

	buffer_wipe(&connection->control_frame);
	nacos_grpc_unary_release(&connection->control);
	nacos_frames_release(&connection->pushes);
	connection->pushes = (struct nacos_frames){ 0 };
	connection->next_host = grpc->host_count;
	connection->leave_by_ms = 0;
	connection->doom = 0;
	connection->doom_reason[0] = '\0';
}

static void end(struct nacos_grpc *grpc, int error, const char *reason)
{
	struct nacos_grpc_connection *connection = &grpc->connection;
	bool was_ready = connection->phase == NACOS_GRPC_READY;
	bool lasted = was_ready && clock_monotonic_ms() - connection->ready_since_ms >= LASTING_MS;
	struct h2 *h2 = connection->h2;
	bool is_down;

	/* A connection that broke before it was ready is one that could not be made. */
	if (!was_ready && error == -EIO)
		error = -EHOSTUNREACH;
	log_end(grpc, was_ready, reason);
	is_down = plan_next(grpc, was_ready, lasted, error);
	connection->phase = NACOS_GRPC_PAUSE;
	pthread_mutex_lock(&grpc->lock);
	grpc->epoch = 0;
	grpc->failures += !was_ready;
	grpc->last_error = error;
	grpc->is_down = is_down;
	snprintf(grpc->status.reason, sizeof(grpc->status.reason), "%s", reason);
	pthread_cond_broadcast(&grpc->changed);
	pthread_mutex_unlock(&grpc->lock);
	if (was_ready && grpc->watch)
		nacos_grpc_watch_connection_down(grpc->watch);

	/* Now the calls in flight are told; some of them go back to the queue. */
	connection->h2 = NULL;
	connection->stream = NULL;
	h2_free(h2);
	forget(grpc);
	nacos_grpc_calls_fail(grpc, is_down, error, reason);
}

void nacos_grpc_connection_release(struct nacos_grpc *grpc)
{
	struct h2 *h2 = grpc->connection.h2;

	grpc->connection.phase = NACOS_GRPC_PAUSE;
	grpc->connection.h2 = NULL;
	grpc->connection.stream = NULL;
	pthread_mutex_lock(&grpc->lock);
	grpc->epoch = 0;
	pthread_mutex_unlock(&grpc->lock);
	h2_free(h2);
	forget(grpc);
}

/* ---- time ---- */

/* When the next health check is due. */
static int64_t health_due_ms(const struct nacos_grpc_connection *connection)
{
	/* Whatever else goes over the connection: the server wants to hear from us. */
	int64_t due_ms = connection->control_sent_ms + HEALTH_INTERVAL_MS;
	int64_t silent_since_ms = h2_last_heard_ms(connection->h2);

	/* After a miss at once: it is the second opinion. */
	if (connection->missed > 0)
		return connection->control_sent_ms;
	if (connection->in_flight_count == 0)
		return due_ms;
	if (silent_since_ms < connection->waiting_since_ms)
		silent_since_ms = connection->waiting_since_ms;
	if (due_ms > silent_since_ms + HEALTH_INTERVAL_WAITING_MS)
		due_ms = silent_since_ms + HEALTH_INTERVAL_WAITING_MS;
	return due_ms;
}

static void check_health(struct nacos_grpc *grpc)
{
	struct nacos_grpc_connection *connection = &grpc->connection;
	int64_t now_ms = clock_monotonic_ms();

	if (connection->control.stream) {
		if (now_ms < connection->control_deadline_ms)
			return;
		/* Slow with this answer, but not dead. */
		if (h2_last_heard_ms(connection->h2) >= connection->control_sent_ms)
			connection->missed = 0;
		else
			connection->missed++;
		nacos_grpc_unary_cancel(&connection->control);
		if (connection->missed >= HEALTH_MISSED_MAX) {
			nacos_grpc_connection_doom(grpc, -ETIMEDOUT, "the server is silent");
			return;
		}
	}
	if (now_ms >= health_due_ms(connection))
		send_control(grpc, "HealthCheckRequest",
			     connection->in_flight_count > 0 ? HEALTH_TIMEOUT_WAITING_MS
							     : HEALTH_TIMEOUT_MS);
}

/* What the passing of time asks for. */
static void check_time(struct nacos_grpc *grpc)
{
	struct nacos_grpc_connection *connection = &grpc->connection;
	int64_t now_ms = clock_monotonic_ms();

	switch (connection->phase) {
	case NACOS_GRPC_CONNECT: /* h2 does that */
		break;
	case NACOS_GRPC_CHECK:
		if (now_ms >= connection->control_deadline_ms)
			nacos_grpc_connection_doom(grpc, -ETIMEDOUT, "no answer in time");
		break;
	case NACOS_GRPC_PROBE:
		if (!connection->control.stream && now_ms >= connection->control_next_ms)
			send_control(grpc, "HealthCheckRequest", HEALTH_TIMEOUT_MS);
		/* fall through */
	case NACOS_GRPC_SETUP:
		if (now_ms >= connection->phase_deadline_ms ||
		    now_ms >= connection->setup_deadline_ms)
			nacos_grpc_connection_doom(grpc, -ETIMEDOUT, "the set-up takes too long");
		break;
	case NACOS_GRPC_READY:
		check_health(grpc);
		break;
	case NACOS_GRPC_PAUSE:
		break;
	}
}

/* ---- the round ---- */

/* Shortens the pause when somebody wants the connection. */
static void shorten_pause(struct nacos_grpc *grpc)
{
	struct nacos_grpc_connection *connection = &grpc->connection;
	int64_t soon_ms = connection->paused_at_ms + PAUSE_WAITING_MS;
	bool wanted;

	pthread_mutex_lock(&grpc->lock);
	wanted = grpc->is_wanted || grpc->queue.first || grpc->waiting_count > 0;
	pthread_mutex_unlock(&grpc->lock);
	if (wanted && !connection->is_hopeless && connection->pause_until_ms > soon_ms)
		connection->pause_until_ms = soon_ms;
}

/*
 * The server wants us gone: as soon as nothing is under way that can't be repeated, or in a second.
 */
static void leave_further(struct nacos_grpc *grpc)
{
	struct nacos_grpc_connection *connection = &grpc->connection;
	bool busy = !h2_is_flushed(connection->h2) || nacos_grpc_calls_are_delicate(grpc);

	if (connection->leave_by_ms == 0)
		nacos_grpc_connection_leave(grpc, grpc->host_count);
	if (!busy || clock_monotonic_ms() >= connection->leave_by_ms)
		nacos_grpc_connection_doom(grpc, -EIO, "the server closes the connection");
}

/* Sends what callers have queued, when there is a connection for it. */
static void send_calls(struct nacos_grpc *grpc)
{
	struct nacos_grpc_connection *connection = &grpc->connection;
	int error = 0;

	if (connection->phase == NACOS_GRPC_READY && connection->leave_by_ms == 0 &&
	    h2_get_state(connection->h2) == H2_OPEN)
		error = nacos_grpc_calls_send(grpc);
	if (error)
		nacos_grpc_connection_doom(grpc, error, "can't send a request");
}

static void process_connected(struct nacos_grpc *grpc, struct call *call)
{
	struct nacos_grpc_connection *connection = &grpc->connection;
	int error;

	nacos_grpc_calls_drop_abandoned(grpc);
	send_calls(grpc);
	error = h2_process(connection->h2, call);
	if (error)
		doom_for(grpc, error, call);
	if (connection->doom)
		return;
	/* What has been answered makes room for what was queued. */
	send_calls(grpc);
	if (connection->phase == NACOS_GRPC_CONNECT && h2_get_state(connection->h2) == H2_OPEN)
		begin_check(grpc);
	if (connection->leave_by_ms || h2_get_state(connection->h2) == H2_LEAVING)
		leave_further(grpc);
	if (!connection->doom)
		check_time(grpc);
}

void nacos_grpc_connection_process(struct nacos_grpc *grpc)
{
	struct nacos_grpc_connection *connection = &grpc->connection;
	struct call call;

	call_start(&call, 0); /* for the reason alone */
	if (connection->phase == NACOS_GRPC_PAUSE) {
		shorten_pause(grpc);
		if (clock_monotonic_ms() < connection->pause_until_ms)
			return;
		begin(grpc, &call);
	}
	if (!connection->doom)
		process_connected(grpc, &call);
	if (connection->doom) {
		char reason[CALL_REASON_SIZE];

		memcpy(reason, connection->doom_reason, sizeof(reason));
		end(grpc, connection->doom, reason);
	}
}

static int64_t phase_due_ms(const struct nacos_grpc_connection *connection)
{
	int64_t due_ms = connection->phase_deadline_ms < connection->setup_deadline_ms
				 ? connection->phase_deadline_ms
				 : connection->setup_deadline_ms;

	switch (connection->phase) {
	case NACOS_GRPC_PAUSE:
		return connection->pause_until_ms;
	case NACOS_GRPC_CHECK:
		return connection->control_deadline_ms;
	case NACOS_GRPC_PROBE:
		if (!connection->control.stream && connection->control_next_ms < due_ms)
			due_ms = connection->control_next_ms;
		break;
	case NACOS_GRPC_READY:
		due_ms = connection->control.stream ? connection->control_deadline_ms
						    : health_due_ms(connection);
		if (connection->leave_by_ms && connection->leave_by_ms < due_ms)
			due_ms = connection->leave_by_ms;
		break;
	default:
		break;
	}
	return due_ms;
}

void nacos_grpc_connection_prepare_poll(struct nacos_grpc *grpc, struct pollfd *ret_poll,
					int64_t *ret_deadline_ms)
{
	const struct nacos_grpc_connection *connection = &grpc->connection;
	int64_t due_ms = phase_due_ms(connection);

	*ret_poll = (struct pollfd){ .fd = -1 };
	*ret_deadline_ms = INT64_MAX;
	if (connection->h2)
		h2_prepare_poll(connection->h2, ret_poll, ret_deadline_ms);
	if (due_ms < *ret_deadline_ms)
		*ret_deadline_ms = due_ms;
}
