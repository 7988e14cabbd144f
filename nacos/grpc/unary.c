#include "nacos/grpc/unary.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH "/Request/request"

/* Values of grpc-status. */
#define STATUS_OK 0
#define STATUS_RESOURCE_EXHAUSTED 8 /* for servers: the message is larger than they take */

const struct h2_header nacos_grpc_headers[NACOS_GRPC_HEADER_COUNT] = {
	{ "content-type", "application/grpc" },
	{ "te", "trailers" },
};

/* A small number, or -1. */
static int read_status(const char *text)
{
	char *end;
	long number = strtol(text, &end, 10);

	return *text && !*end && number >= 0 && number <= 999 ? (int)number : -1;
}

static void on_header(void *arg, const char *name, const char *value)
{
	struct nacos_grpc_unary *unary = arg;

	if (strcmp(name, ":status") == 0)
		unary->http_status = read_status(value);
	else if (strcmp(name, "grpc-status") == 0)
		unary->grpc_status = read_status(value);
}

static int on_data(void *arg, const void *data, size_t size)
{
	struct nacos_grpc_unary *unary = arg;
	size_t used = 0;
	int error;

	if (size == 0)
		return 0;
	/* One message is the whole answer. */
	if (unary->frames.complete)
		return -EBADMSG;
	error = nacos_frames_take(&unary->frames, data, size, &used);
	if (error)
		return error;
	return used == size ? 0 : -EBADMSG;
}

static int fail(struct nacos_grpc_outcome *outcome, int error, const char *reason)
{
	snprintf(outcome->reason, sizeof(outcome->reason), "%s", reason);
	return error;
}

static int judge_reset(const struct h2_end *end, struct nacos_grpc_outcome *outcome)
{
	switch (end->error) {
	case -EMSGSIZE:
		return fail(outcome, -EMSGSIZE, "the answer is too large");
	case -EBADMSG:
		return fail(outcome, -EIO, "the answer is not one gRPC message");
	case -ENOMEM:
		return fail(outcome, -ENOMEM, "out of memory");
	}
	if (end->code == 0)
		return fail(outcome, -EIO, "the connection broke");
	snprintf(outcome->reason, sizeof(outcome->reason),
		 "the server broke it off (HTTP/2 error %u)", (unsigned)end->code);
	return -EIO;
}

/* What the end of the stream means. */
static int judge(const struct nacos_grpc_unary *unary, const struct h2_end *end,
		 struct nacos_grpc_outcome *outcome)
{
	if (end->error)
		return judge_reset(end, outcome);
	if (unary->grpc_status > STATUS_OK) {
		snprintf(outcome->reason, sizeof(outcome->reason), "gRPC status %d",
			 unary->grpc_status);
		return unary->grpc_status == STATUS_RESOURCE_EXHAUSTED ? -EMSGSIZE : -EIO;
	}
	if (unary->http_status != 200) {
		snprintf(outcome->reason, sizeof(outcome->reason), "HTTP status %d",
			 unary->http_status);
		return -EIO;
	}
	if (unary->grpc_status != STATUS_OK)
		return fail(outcome, -EIO, "the answer is torn (no gRPC status)");
	if (!unary->frames.complete)
		return fail(outcome, -EIO, "the answer is torn (no whole message)");
	return 0;
}

static void on_ended(void *arg, const struct h2_end *end)
{
	struct nacos_grpc_unary *unary = arg;
	struct nacos_grpc_outcome outcome = { .unprocessed = end->unprocessed };

	unary->stream = NULL;
	outcome.error = judge(unary, end, &outcome);
	unary->done(unary, &outcome);
}

int nacos_grpc_unary_start(struct nacos_grpc_unary *unary, struct h2 *h2,
			   const struct buffer *frame, size_t limit)
{
	static const struct h2_stream_events events = {
		.header = on_header,
		.data = on_data,
		.ended = on_ended,
	};
	const struct h2_request request = {
		.method = "POST",
		.path = PATH,
		.headers = nacos_grpc_headers,
		.header_count = NACOS_GRPC_HEADER_COUNT,
		.body = frame->data,
		.body_size = frame->size,
	};

	nacos_frames_release(&unary->frames);
	unary->frames = (struct nacos_frames){ .limit = limit };
	unary->http_status = unary->grpc_status = -1;
	return h2_stream_open(h2, &request, &events, unary, &unary->stream);
}

void nacos_grpc_unary_cancel(struct nacos_grpc_unary *unary)
{
	if (unary->stream)
		h2_stream_cancel(unary->stream);
	unary->stream = NULL;
}

void nacos_grpc_unary_release(struct nacos_grpc_unary *unary)
{
	nacos_grpc_unary_cancel(unary);
	nacos_frames_release(&unary->frames);
}
