/*
 * Requests of callers: their way from a caller's thread through the queue to the connection's
 * thread and back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/grpc/grpc_private.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/json.h"
#include "util/log.h"

/*
 * A content of 10 MiB can be six times as long in JSON, where a control character is written as
 * \u0001.
 */
#define ANSWER_LIMIT NACOS_ANSWER_LIMIT_CONTENT

/* An ErrorResponse is a code and a sentence. */
#define ERROR_JSON_LIMIT 65536
#define ERROR_TYPE "ErrorResponse"

/* A request that was never acted on is sent again, but not for ever. */
#define TRIES_MAX 8
#define TRIES_REPEATING_MAX 2

/* ---- lists ---- */

void nacos_grpc_call_list_init(struct nacos_grpc_call_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static void list_append(struct nacos_grpc_call_list *list, struct nacos_grpc_call *record)
{
	record->next = NULL;
	record->link = list->end;
	*list->end = record;
	list->end = &record->next;
}

static void list_remove(struct nacos_grpc_call_list *list, struct nacos_grpc_call *record)
{
	*record->link = record->next;
	if (record->next)
		record->next->link = record->link;
	else
		list->end = record->link;
}

static void record_free(struct nacos_grpc_call *record)
{
	nacos_grpc_unary_release(&record->unary);
	pthread_cond_destroy(&record->finished);
	buffer_wipe(&record->frame); /* it holds the token */
	buffer_wipe(&record->answer);
	free(record);
}

/* ---- in the connection's thread ---- */

/* Reads the message if it is an ErrorResponse. False otherwise. */
static bool read_error_code(const struct buffer *message, int64_t *ret_code)
{
	cleanup_json struct json *document = NULL;
	struct nacos_payload payload;

	if (nacos_payload_read(message->data, message->size, &payload) ||
	    strcmp(payload.type, ERROR_TYPE) != 0 || payload.json_size > ERROR_JSON_LIMIT ||
	    json_parse(payload.json, payload.json_size, &document))
		return false;
	*ret_code = json_integer(document, "errorCode", 0);
	return true;
}

bool nacos_grpc_is_error(const struct buffer *message, int64_t code)
{
	int64_t found;

	return read_error_code(message, &found) && found == code;
}

static void remove_from_flight(struct nacos_grpc *grpc, struct nacos_grpc_call *record)
{
	list_remove(&grpc->connection.in_flight, record);
	grpc->connection.in_flight_count--;
}

/* With the lock held: hands the outcome to the caller, or frees what no caller wants. */
static void finish(struct nacos_grpc *grpc, struct nacos_grpc_call *record, int error,
		   const char *reason)
{
	if (record->abandoned) {
		grpc->abandoned_count--;
		record_free(record);
		return;
	}
	record->state = NACOS_GRPC_CALL_DONE;
	record->error = error;
	if (error)
		snprintf(record->reason, sizeof(record->reason), "%s", reason);
	/* As soon as the lock is free, the caller may free it. */
	pthread_cond_signal(&record->finished);
}

/* With the lock held. */
static void enqueue(struct nacos_grpc *grpc, struct nacos_grpc_call *record)
{
	record->state = NACOS_GRPC_CALL_QUEUED;
	record->failures_before = grpc->failures;
	list_append(&grpc->queue, record);
}

/*
 * Did a server answer that it has not acted on the request, because it does not know us (any more)?
 */
static bool is_turned_away(struct nacos_grpc *grpc, const struct buffer *message)
{
	int64_t code;

	if (!read_error_code(message, &code))
		return false;
	if (code == NACOS_GRPC_ERROR_UNREGISTERED)
		nacos_grpc_connection_doom(grpc, -EIO, "the server does not know the connection");
	else if (code == NACOS_GRPC_ERROR_STARTING)
		nacos_grpc_connection_doom(grpc, -EHOSTUNREACH, "the server is starting");
	else
		return false;
	return true;
}

static void on_call_done(struct nacos_grpc_unary *unary, const struct nacos_grpc_outcome *outcome)
{
	struct nacos_grpc_call *record =
		(struct nacos_grpc_call *)((char *)unary - offsetof(struct nacos_grpc_call, unary));
	struct nacos_grpc *grpc = record->grpc;
	bool unprocessed = outcome->unprocessed, again;
	int error = outcome->error;

	if (!error && is_turned_away(grpc, &unary->frames.message)) {
		unprocessed = true;
		error = -EIO;
	}
	remove_from_flight(grpc, record);
	pthread_mutex_lock(&grpc->lock);
	if (!unprocessed)
		record->was_sent = true;
	record->tries++;
	again = error == -EIO && !record->abandoned && !grpc->stop && record->only_epoch == 0 &&
		((unprocessed && record->tries < TRIES_MAX) ||
		 (record->may_repeat && record->tries < TRIES_REPEATING_MAX));
	if (again) {
		enqueue(grpc, record);
	} else {
		if (!error)
			buffer_move(&record->answer, &unary->frames.message);
		finish(grpc, record, error, outcome->reason);
	}
	pthread_mutex_unlock(&grpc->lock);
}

/* Takes the next call from the queue; NULL when there is none. */
static struct nacos_grpc_call *take_queued(struct nacos_grpc *grpc)
{
	struct nacos_grpc_call *record;

	pthread_mutex_lock(&grpc->lock);
	for (;;) {
		record = grpc->queue.first;
		if (!record)
			break;
		list_remove(&grpc->queue, record);
		if (record->only_epoch == 0 || record->only_epoch == grpc->epoch) {
			record->state = NACOS_GRPC_CALL_IN_FLIGHT;
			grpc->status.requests++;
			break;
		}
		finish(grpc, record, -EIO, "the connection is over");
	}
	pthread_mutex_unlock(&grpc->lock);
	return record;
}

int nacos_grpc_calls_send(struct nacos_grpc *grpc)
{
	struct nacos_grpc_connection *connection = &grpc->connection;

	while (connection->in_flight_count < NACOS_GRPC_IN_FLIGHT_MAX &&
	       h2_has_room(connection->h2)) {
		struct nacos_grpc_call *record = take_queued(grpc);
		int error;

		if (!record)
			return 0;
		if (connection->in_flight_count++ == 0)
			connection->waiting_since_ms = clock_monotonic_ms();
		list_append(&connection->in_flight, record);
		error = nacos_grpc_unary_start(&record->unary, connection->h2, &record->frame,
					       ANSWER_LIMIT);
		if (error) {
			struct nacos_grpc_outcome outcome = {
				.error = error,
				.unprocessed = true,
				.reason = "the request can't be sent",
			};

			on_call_done(&record->unary, &outcome);
			return error;
		}
	}
	return 0;
}

void nacos_grpc_calls_drop_abandoned(struct nacos_grpc *grpc)
{
	struct nacos_grpc_call *record, *next;

	pthread_mutex_lock(&grpc->lock);
	for (record = grpc->connection.in_flight.first; record && grpc->abandoned_count > 0;
	     record = next) {
		next = record->next;
		if (!record->abandoned)
			continue;
		remove_from_flight(grpc, record);
		nacos_grpc_unary_cancel(&record->unary);
		finish(grpc, record, -EINTR, "");
	}
	pthread_mutex_unlock(&grpc->lock);
}

void nacos_grpc_calls_fail(struct nacos_grpc *grpc, bool all, int error, const char *reason)
{
	struct nacos_grpc_call *record, *next;

	pthread_mutex_lock(&grpc->lock);
	for (record = grpc->queue.first; record; record = next) {
		next = record->next;
		if (!all && record->only_epoch == 0 &&
		    grpc->failures - record->failures_before < grpc->host_count)
			continue;
		list_remove(&grpc->queue, record);
		finish(grpc, record, error, reason);
	}
	pthread_mutex_unlock(&grpc->lock);
}

bool nacos_grpc_calls_are_delicate(const struct nacos_grpc *grpc)
{
	const struct nacos_grpc_call *record = grpc->connection.in_flight.first;

	while (record && record->may_repeat)
		record = record->next;
	return record != NULL;
}

/* ---- in the caller's thread ---- */

void nacos_grpc_answer_release(struct nacos_grpc_answer *answer)
{
	buffer_wipe(&answer->json);
}

static int fail_memory(const char *what, struct call *call)
{
	return call_fail(call, -ENOMEM, "%s: out of memory", what);
}

/* The request as it goes over the wire, proof of who asks included. */
static int make_frame(struct nacos_grpc *grpc, const struct nacos_grpc_request *request,
		      unsigned long bad_serial, struct call *call, struct buffer *ret_frame,
		      unsigned long *ret_serial)
{
	cleanup_buffer_wipe struct buffer headers = BUFFER_INIT;
	struct nacos_payload_parts parts = {
		.type = request->type,
		.headers = &headers,
		.json = request->json->data,
		.json_size = request->json->size,
	};

	if (grpc->get_headers) {
		int error = grpc->get_headers(grpc->get_headers_arg, &request->subject, bad_serial,
					      call, &headers, ret_serial);

		if (error)
			return error;
	}
	if (nacos_payload_append(&parts, ret_frame))
		return fail_memory(request->what, call);
	if (ret_frame->size - NACOS_FRAME_PREFIX_SIZE > NACOS_PAYLOAD_SENT_MAX)
		return call_fail(call, -EFBIG,
				 "%s: larger than the 10 MiB, as JSON, that servers take",
				 request->what);
	return 0;
}

static struct nacos_grpc_call *record_new(struct nacos_grpc *grpc, bool may_repeat, uint64_t epoch,
					  struct buffer *frame)
{
	struct nacos_grpc_call *record = calloc(1, sizeof(*record));

	if (!record)
		return NULL;
	clock_init_condition(&record->finished);
	record->grpc = grpc;
	record->may_repeat = may_repeat;
	record->only_epoch = epoch;
	record->unary.done = on_call_done;
	buffer_move(&record->frame, frame);
	return record;
}

/* With the lock held: the caller can't wait any longer. The record is not its own any more. */
static void give_up(struct nacos_grpc *grpc, struct nacos_grpc_call *record, bool *ret_uncertain)
{
	*ret_uncertain = record->was_sent || record->state == NACOS_GRPC_CALL_IN_FLIGHT;
	if (record->state == NACOS_GRPC_CALL_QUEUED) {
		list_remove(&grpc->queue, record);
		record_free(record);
		return;
	}
	record->abandoned = true;
	grpc->abandoned_count++;
	nacos_grpc_wake(grpc);
}

/* Queues the frame, and waits for what comes of it. Takes the bytes of the frame. */
static int exchange(struct nacos_grpc *grpc, const struct nacos_grpc_request *request,
		    uint64_t epoch, struct buffer *frame, struct call *call,
		    struct buffer *ret_message, bool *ret_uncertain)
{
	struct nacos_grpc_call *record = record_new(grpc, request->may_repeat, epoch, frame);
	int error = 0;

	if (!record)
		return fail_memory(request->what, call);
	pthread_mutex_lock(&grpc->lock);
	enqueue(grpc, record);
	/* All hosts have just been tried in vain: who asks now is told so at once. */
	if (grpc->is_down) {
		grpc->is_wanted = true;
		list_remove(&grpc->queue, record);
		finish(grpc, record, grpc->last_error, grpc->status.reason);
	}
	nacos_grpc_wake(grpc);
	while (record->state != NACOS_GRPC_CALL_DONE) {
		error = nacos_grpc_wait(grpc, &record->finished, call);
		if (!error || record->state == NACOS_GRPC_CALL_DONE)
			continue;
		if (error == -ETIMEDOUT && grpc->epoch == 0 && grpc->status.reason[0])
			call_fail(call, error, "%s: no connection in time (%s)", request->what,
				  grpc->status.reason);
		else
			call_fail(call, error, "%s: %s", request->what, call->reason);
		give_up(grpc, record, ret_uncertain);
		pthread_mutex_unlock(&grpc->lock);
		return error;
	}
	pthread_mutex_unlock(&grpc->lock);

	error = record->error;
	*ret_uncertain = error && record->was_sent;
	if (error)
		call_fail(call, error, "%s: %s", request->what, record->reason);
	else
		buffer_move(ret_message, &record->answer);
	record_free(record);
	return error;
}

/*
 * Finds what is to be known of the server's words about a failure. They are those that it has over
 * HTTP, so that is how they are read.
 */
static void read_words(const struct json *document, struct nacos_grpc_answer *answer)
{
	const char *text = json_text(document, "message");
	struct http_answer words = { .status = NACOS_GRPC_ERROR_FORBIDDEN };

	answer->phrase = "";
	if (answer->result_code == NACOS_GRPC_OK || !text)
		return;
	words.body.data = (char *)(uintptr_t)text;
	words.body.size = strlen(text);
	answer->phrase = nacos_answer_phrase(&words);
	answer->is_cas_refused = nacos_answer_has_text(&words, "Cas publish fail");
	answer->is_token_refused = answer->error_code == NACOS_GRPC_ERROR_FORBIDDEN &&
				   nacos_answer_refusal(&words) == NACOS_REFUSAL_TOKEN;
}

/* Reads the parts of an answer that all types have in common. */
static int read_answer(const struct buffer *message, const char *what, struct call *call,
		       struct nacos_grpc_answer *answer)
{
	cleanup_json struct json *document = NULL;
	struct nacos_payload payload;
	int error = nacos_payload_read(message->data, message->size, &payload);

	if (!error && payload.json_size > 0)
		error = json_parse(payload.json, payload.json_size, &document);
	if (!error)
		error = buffer_append(&answer->json, payload.json, payload.json_size);
	if (error == -ENOMEM)
		return fail_memory(what, call);
	if (error || !json_is_object(document))
		return nacos_answer_fail_malformed(what, call);
	memcpy(answer->type, payload.type, sizeof(answer->type));
	answer->result_code = json_integer(document, "resultCode", -1);
	answer->error_code = json_integer(document, "errorCode", 0);
	read_words(document, answer);
	return 0;
}

static int request_once(struct nacos_grpc *grpc, const struct nacos_grpc_request *request,
			uint64_t epoch, unsigned long bad_serial, struct call *call,
			struct nacos_grpc_answer *answer, unsigned long *ret_serial,
			bool *ret_uncertain)
{
	cleanup_buffer_wipe struct buffer frame = BUFFER_INIT, message = BUFFER_INIT;
	int64_t started_ms = clock_monotonic_ms();
	int error = make_frame(grpc, request, bad_serial, call, &frame, ret_serial);

	if (!error)
		error = exchange(grpc, request, epoch, &frame, call, &message, ret_uncertain);
	if (!error) {
		/* Until the answer has been understood. */
		*ret_uncertain = true;
		error = read_answer(&message, request->what, call, answer);
	}
	if (error)
		return error;
	log_debug("gRPC %s, %s: %d in %d ms", request->type, request->what, (int)answer->result_code,
		  (int)(clock_monotonic_ms() - started_ms));
	*ret_uncertain = false;
	if (strcmp(answer->type, ERROR_TYPE) != 0)
		return 0;
	if (answer->error_code == NACOS_GRPC_ERROR_NO_HANDLER)
		return call_fail(call, -EOPNOTSUPP, "%s: the server knows no %s", request->what,
				 request->type);
	return call_fail(call, -EIO, "%s: the server answers with error %d%s%s", request->what,
			 (int)answer->error_code, answer->phrase[0] ? ": " : "", answer->phrase);
}

int nacos_grpc_request_in_epoch(struct nacos_grpc *grpc, const struct nacos_grpc_request *request,
				uint64_t epoch, struct call *call,
				struct nacos_grpc_answer *ret_answer, bool *ret_uncertain)
{
	unsigned long bad_serial = 0, serial = 0;
	bool ignored;

	if (!ret_uncertain)
		ret_uncertain = &ignored;
	for (;;) {
		cleanup_nacos_grpc_answer struct nacos_grpc_answer answer = { .result_code = -1 };
		int error;

		*ret_uncertain = false;
		error = request_once(grpc, request, epoch, bad_serial, call, &answer, &serial,
				     ret_uncertain);
		if (error)
			return error;
		if (!answer.is_token_refused) {
			*ret_answer = answer;
			answer = (struct nacos_grpc_answer){ 0 };
			return 0;
		}
		if (bad_serial != 0 || serial == 0)
			return call_fail(call, -EACCES,
					 "%s: the server does not take the token (%s)",
					 request->what, answer.phrase);
		bad_serial = serial;
	}
}

int nacos_grpc_request(struct nacos_grpc *grpc, const struct nacos_grpc_request *request,
		       struct call *call, struct nacos_grpc_answer *ret_answer, bool *ret_uncertain)
{
	return nacos_grpc_request_in_epoch(grpc, request, 0, call, ret_answer, ret_uncertain);
}
