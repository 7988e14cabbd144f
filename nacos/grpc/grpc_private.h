/*
 * The inside of a struct nacos_grpc, for the modules that make it up: grpc.c (life and thread),
 * call.c (requests of callers), connection.c (the states of the connection), push.c
 * (what the server sends by itself), and the watch (nacos/grpc/watch_private.h). Nobody else includes this.
 *
 * What is above the lock never changes after nacos_grpc_start(); what is below it is read and
 * written under it; the connection belongs to the connection's thread alone.
 *
 * An epoch is the time during which one connection is ready. Epochs are numbered from 1 and never
 * come back; 0 stands for none.
 */
#ifndef NACOSFS_NACOS_GRPC_GRPC_PRIVATE_H
#define NACOSFS_NACOS_GRPC_GRPC_PRIVATE_H

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nacos/grpc/grpc.h"
#include "nacos/grpc/unary.h"
#include "util/h2.h"
#include "util/thread.h"

/*
 * Requests under way at once. Less than the 100 streams that a server allows before it has said so.
 */
#define NACOS_GRPC_IN_FLIGHT_MAX 96

/* Codes of an ErrorResponse, which answers what did not get as far as to the request's handler. */
#define NACOS_GRPC_ERROR_STARTING 300
#define NACOS_GRPC_ERROR_UNREGISTERED 301 /* the server does not know the connection, or not yet */
#define NACOS_GRPC_ERROR_NO_HANDLER 302

enum nacos_grpc_call_state {
	NACOS_GRPC_CALL_QUEUED,
	NACOS_GRPC_CALL_IN_FLIGHT,
	NACOS_GRPC_CALL_DONE,
};

/*
 * A request of a caller. The caller's thread makes and frees it, except that one that gives up
 * while it is in flight leaves it to the connection's thread. While it is queued it is in
 * grpc->queue (under the lock), while in flight in connection.in_flight.
 */
struct nacos_grpc_call {
	struct nacos_grpc_call *next, **link; /* link points to what points to this one */
	struct nacos_grpc *grpc;
	struct buffer frame;
	bool may_repeat;
	uint64_t only_epoch; /* 0: any */

	/* Under the lock. */
	pthread_cond_t finished; /* on the monotonic clock */
	enum nacos_grpc_call_state state;
	bool abandoned;
	bool was_sent; /* a server may have acted on it */
	unsigned tries;
	uint64_t failures_before; /* grpc->failures when it was queued */
	int error;
	char reason[CALL_REASON_SIZE];
	struct buffer answer; /* a whole message */

	struct nacos_grpc_unary unary; /* of the connection's thread */
};

struct nacos_grpc_call_list {
	struct nacos_grpc_call *first, **end; /* end: where the next one is linked in */
};

enum nacos_grpc_phase {
	NACOS_GRPC_PAUSE, /* no connection, until pause_until_ms */
	NACOS_GRPC_CONNECT, /* TCP, TLS */
	NACOS_GRPC_CHECK, /* ServerCheckRequest was sent */
	NACOS_GRPC_SETUP, /* the stream is open; the server will confirm it there */
	NACOS_GRPC_PROBE, /* the stream is open; it won't */
	NACOS_GRPC_READY,
};

struct nacos_grpc_connection {
	enum nacos_grpc_phase phase;
	struct h2 *h2;
	size_t host; /* index of the current or next one */
	int64_t begun_ms;
	int64_t phase_deadline_ms;
	int64_t setup_deadline_ms;
	int64_t paused_at_ms, pause_until_ms;
	bool is_hopeless; /* the next attempt will hardly be better: no pause is shortened for it */
	unsigned failures; /* attempts in a row that did not end in a lasting connection */
	uint64_t last_epoch;
	char logged_reason[CALL_REASON_SIZE]; /* so that the same trouble is logged once */

	/* Our own small requests, one at a time: server check, probe, health check. */
	struct nacos_grpc_unary control;
	struct buffer control_frame;
	int64_t control_deadline_ms;
	int64_t control_sent_ms;
	int64_t control_next_ms; /* when a probe is due */
	unsigned missed; /* health checks in a row without an answer */

	struct h2_stream *stream; /* the one on which the server pushes */
	struct nacos_frames pushes;
	bool negotiates; /* the server (2.3) exchanges tables of abilities */
	bool has_fuzzy_watch;
	char local_address[INET6_ADDRSTRLEN];

	int64_t ready_since_ms;
	int64_t leave_by_ms; /* the server wants us gone; 0: it does not */
	size_t next_host; /* where it wants us; host_count: nowhere in particular */
	int doom; /* an event found that the connection is no good; 0: it is */
	char doom_reason[CALL_REASON_SIZE];

	struct nacos_grpc_call_list in_flight;
	size_t in_flight_count;
	int64_t waiting_since_ms; /* since when there is something in flight */
};

struct nacos_grpc_host {
	char *name;
	unsigned port; /* of gRPC */
};

struct nacos_grpc_watch; /* nacos/grpc/watch_private.h */

struct nacos_grpc {
	struct nacos_grpc_host *hosts;
	size_t host_count;
	bool has_tls;
	bool is_trial;
	struct tls_options tls; /* with copies of the paths */
	struct nacos_features features;
	nacos_grpc_get_headers *get_headers;
	void *get_headers_arg;
	struct nacos_grpc_watch *watch; /* NULL: nothing is watched */
	int wake_descriptor; /* an eventfd */
	struct thread thread;

	pthread_mutex_t lock;
	pthread_cond_t changed; /* epoch, failures; on the monotonic clock */
	bool stop;
	bool woken; /* the eventfd is set */
	struct nacos_grpc_call_list queue;
	size_t abandoned_count; /* calls in flight that nobody waits for any more */
	size_t waiting_count; /* callers of nacos_grpc_wait_ready() */
	uint64_t epoch; /* of the connection that is ready; 0: none is */
	uint64_t failures; /* attempts that failed, ever */
	int last_error; /* why the last of them, or the last connection, ended */
	bool is_down; /* all hosts have failed, and this is the pause before they are tried again */
	bool is_wanted; /* a request came while it was down */
	struct nacos_grpc_status status;

	struct nacos_grpc_connection connection;
};

/* ---- grpc.c ---- */

/* With the lock held: makes the connection's thread look at what has changed. */
void nacos_grpc_wake(struct nacos_grpc *grpc);

/* With the lock held: waits for the condition or the end of a slice. What call_check() says. */
int nacos_grpc_wait(struct nacos_grpc *grpc, pthread_cond_t *condition, struct call *call);

/* ---- call.c ---- */

/* As nacos_grpc_request(), but only on the connection of that epoch: -EIO when it is over. */
int nacos_grpc_request_in_epoch(struct nacos_grpc *grpc, const struct nacos_grpc_request *request,
				uint64_t epoch, struct call *call,
				struct nacos_grpc_answer *ret_answer, bool *ret_uncertain);

/* Is the message an ErrorResponse of that code? For the connection's own requests too. */
bool nacos_grpc_is_error(const struct buffer *message, int64_t code);

void nacos_grpc_call_list_init(struct nacos_grpc_call_list *list);

/* The rest is called by the connection's thread. */

/* Sends what is queued, as far as there is room. 0, -EIO or -ENOMEM. */
int nacos_grpc_calls_send(struct nacos_grpc *grpc);

/* Resets the streams of calls that nobody waits for any more. */
void nacos_grpc_calls_drop_abandoned(struct nacos_grpc *grpc);

/*
 * Fails queued calls: all of them, or those for which waiting is of no use: an attempt with each
 * host has failed since they were queued, or the connection that they are for is over.
 */
void nacos_grpc_calls_fail(struct nacos_grpc *grpc, bool all, int error, const char *reason);

/* Does any call in flight wait for something that must not be asked twice? */
bool nacos_grpc_calls_are_delicate(const struct nacos_grpc *grpc);

/* ---- connection.c, called by the connection's thread ---- */

/* Does what can be done now. */
void nacos_grpc_connection_process(struct nacos_grpc *grpc);

/* What to poll for (fd -1: nothing), and until when. */
void nacos_grpc_connection_prepare_poll(struct nacos_grpc *grpc, struct pollfd *ret_poll,
					int64_t *ret_deadline_ms);

/* The connection is no good, or no good any more; it ends before anything else is done. */
void nacos_grpc_connection_doom(struct nacos_grpc *grpc, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The server has confirmed the set-up. */
void nacos_grpc_connection_confirm(struct nacos_grpc *grpc);

/* The server wants us gone, to that host (host_count: it does not say). */
void nacos_grpc_connection_leave(struct nacos_grpc *grpc, size_t next_host);

/* Ends it for good. */
void nacos_grpc_connection_release(struct nacos_grpc *grpc);

/* ---- push.c, called by the connection's thread ---- */

/* Opens the stream and sends the set-up. 0, -EIO or -ENOMEM. */
int nacos_grpc_push_open(struct nacos_grpc *grpc);

/* ---- watch.c ---- */

/*
 * nacos_grpc_watch_new -> nacos_grpc_watch_start -> what the connection notes, which waits for nothing
 * -> nacos_grpc_watch_stop, while requests can still come to an end -> nacos_grpc_watch_free
 */
/* 0 or -ENOMEM. */
int nacos_grpc_watch_new(struct nacos_grpc *grpc, struct nacos_watch *set, struct nacos_grpc_watch **ret_watch);

/* 0 or -EAGAIN. */
int nacos_grpc_watch_start(struct nacos_grpc_watch *watch);
void nacos_grpc_watch_stop(struct nacos_grpc_watch *watch);
void nacos_grpc_watch_free(struct nacos_grpc_watch *watch);

/* ---- what the connection's thread notes ---- */

/* can_narrow: the server lets a request say that it is about one group, or one config. */
void nacos_grpc_watch_connection_up(struct nacos_grpc_watch *watch, uint64_t epoch, bool can_narrow,
				    bool has_fuzzy_watch);
void nacos_grpc_watch_connection_down(struct nacos_grpc_watch *watch);

/* The server says that the config has changed (the namespace as on the wire: NULL and "" are the public one). */
void nacos_grpc_watch_note_change(struct nacos_grpc_watch *watch, const char *namespace_id, const char *group,
				  const char *data_id);

/* It has appeared or vanished: "dataId+group+namespace", as it is on the wire. */
void nacos_grpc_watch_note_name(struct nacos_grpc_watch *watch, const char *group_key, bool exists);

/* Names may have come and gone without a word: who is told of them must compare. */
void nacos_grpc_watch_note_names_untold(struct nacos_grpc_watch *watch);

#endif
