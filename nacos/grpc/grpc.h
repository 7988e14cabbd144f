/*
 * The gRPC connection to one Nacos cluster (2.0 and later): requests from any thread, and the
 * server's word about every change at once.
 *
 * There is one TCP connection, because a server keeps what it knows of a client by connection. A
 * thread owns it. It goes through the hosts of the cluster until one is ready (server check, set-up
 * of the stream, and on servers that don't confirm that, asking until they know us), keeps it alive
 * with a health check every 5 s, and makes a new one at once when it breaks, is told to go
 * elsewhere, or is silent for two health checks. When all hosts have failed it pauses, from 50 ms
 * doubling to 5 s, a second at most when somebody wants it; 5 to 30 s after failures that the next
 * attempt won't cure (TLS refused, something that is not Nacos).
 *
 *	nacos_grpc_new -> nacos_grpc_start (starts threads: not before a fork)
 *	-> requests, nacos/grpc/config.h, from any thread
 *	-> nacos_grpc_free (when none of these is under way)
 *
 * A request is queued, and at most 96 are under way. It waits for the connection until its call
 * ends, or until every host has been tried in vain: then it fails with what was wrong with the last
 * one, and during the pause after that, requests fail at once. When the connection breaks, what
 * certainly was not acted on goes to the next one; so does, once, what may be repeated. Publishing
 * is never repeated.
 *
 * Two threads: the connection's, which never waits for anything but the network, and the one that tells the server what is
 * watched (nacos/grpc/watch_private.h). Callers wait in slices as util/call.h wants it.
 * Locks: that of the queue and that of the set of what is watched; none is held while anything waits, and neither while
 * the other is taken.
 */
#ifndef NACOSFS_NACOS_GRPC_GRPC_H
#define NACOSFS_NACOS_GRPC_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nacos/generation.h"
#include "nacos/grpc/payload.h"
#include "nacos/http/answer.h"
#include "nacos/http/client.h"
#include "util/buffer.h"
#include "util/call.h"
#include "util/tls.h"

struct nacos_grpc;
struct nacos_watch; /* nacos/watch.h */

/* What a request is about, for signatures; NULL where it is about no namespace or group. */
struct nacos_grpc_subject {
	const char *namespace_id; /* as on the wire: "" for the public one of 2.x */
	const char *group;
};

/*
 * Who asks: appends the headers that prove it (nacos_payload_add_header) to ret_headers, which is
 * wiped afterwards. Called in the thread of each request, before it is queued, and may ask a
 * server. ret_serial names the identity used; when the server does not take it, the hook is called
 * once more with that as bad_serial (otherwise 0), and must return another one or fail.
 */
typedef int nacos_grpc_get_headers(void *arg, const struct nacos_grpc_subject *subject,
				   unsigned long bad_serial, struct call *call,
				   struct buffer *ret_headers, unsigned long *ret_serial);

struct nacos_grpc_options {
	const struct nacos_host *hosts; /* with the ports of the HTTP API */
	size_t host_count; /* 1 or more */
	unsigned port_offset; /* from there to the port of gRPC; 0: the usual 1000 */
	const struct tls_options *tls; /* NULL: plain text */
	struct nacos_features features; /* as HTTP found them */
	nacos_grpc_get_headers *get_headers; /* NULL: the server has no login */
	void *get_headers_arg;
	bool is_trial; /* to see whether there is a connection: the caller says what came of it, not the log */
	struct nacos_watch *watch; /* the set that it feeds, and that outlives it; NULL: nothing is watched */
};

/* Makes one; options are copied, nothing is sent. 0, -ENOMEM or -EIO. */
int nacos_grpc_new(const struct nacos_grpc_options *options, struct nacos_grpc **ret_grpc);

/* Starts the threads (with all signals blocked) and begins to connect. 0 or -EAGAIN. */
int nacos_grpc_start(struct nacos_grpc *grpc);
void nacos_grpc_free(struct nacos_grpc *grpc);

/*
 * Waits until the connection is ready, or every host was tried in vain:
 *
 * -EHOSTUNREACH  none listens there (a 1.4 server), or it breaks off, or says that it is starting
 * -ETIMEDOUT     no answer in time (a blocked port, a hung server)
 * -ECONNABORTED  TLS refused, by us or by them, or files for it that can't be used
 * -EPROTO        what answers there is not Nacos
 * -EINTR, -ENOMEM
 */
int nacos_grpc_wait_ready(struct nacos_grpc *grpc, struct call *call);

#define NACOS_GRPC_HOST_SIZE 128

struct nacos_grpc_status {
	bool ready;
	char host[NACOS_GRPC_HOST_SIZE]; /* "name:port" of the current or last attempt */
	unsigned long connections; /* that became ready */
	unsigned long requests; /* that were sent for callers */
	unsigned long pushes; /* from servers */
	char reason
		[CALL_REASON_SIZE]; /* why the last attempt or connection failed; "" : none did */
};

void nacos_grpc_get_status(struct nacos_grpc *grpc, struct nacos_grpc_status *ret_status);

struct nacos_grpc_request {
	const char *type; /* "ConfigQueryRequest" */
	const char *what; /* what is asked for, for reasons: "config dev/APP/a.yaml" */
	struct nacos_grpc_subject subject;
	const struct buffer *json;
	bool may_repeat; /* a second time does no harm */
};

struct nacos_grpc_answer {
	char type[NACOS_PAYLOAD_TYPE_SIZE];
	int64_t result_code; /* NACOS_GRPC_OK or a failure; -1: not said */
	int64_t error_code; /* NACOS_GRPC_ERROR_...; 0: none */
	/*
	 * Of what the server says about a failure, one of the phrases that servers are known to
	 * use, or "": the rest may repeat what was sent.
	 */
	const char *phrase;
	bool is_cas_refused; /* it says that the text is not the one of casMd5 */
	bool is_token_refused; /* the token is not good, which is another matter than a right */
	struct buffer json;
};

#define NACOS_GRPC_OK 200

#define NACOS_GRPC_ERROR_NOT_FOUND 300 /* in the answer to a query */
#define NACOS_GRPC_ERROR_REFUSED 400 /* bad parameters; in the answer to a query: busy */
#define NACOS_GRPC_ERROR_FORBIDDEN 403
#define NACOS_GRPC_ERROR_FAILED 500

void nacos_grpc_answer_release(struct nacos_grpc_answer *answer);
#define cleanup_nacos_grpc_answer __attribute__((cleanup(nacos_grpc_answer_release)))

/*
 * Sends a request and waits for its answer, which may well say no. Where the server does not take
 * the token, another one is tried, once.
 *
 * -EFBIG         more than the 10 MiB that servers take
 * -EACCES        no identity, or the server takes none
 * -EHOSTUNREACH, -ETIMEDOUT, -ECONNABORTED, -EPROTO   as nacos_grpc_wait_ready() says
 * -EOPNOTSUPP    this server has no such request
 * -EMSGSIZE      the request, or the answer, is larger than the other side takes
 * -EIO           the connection broke under it, or the answer is torn or malformed
 * -EINTR, -ENOMEM
 *
 * ret_uncertain, which may be NULL, is set even on failure: the server may have acted on the
 * request though there is no answer. ret_answer is untouched on failure.
 */
int nacos_grpc_request(struct nacos_grpc *grpc, const struct nacos_grpc_request *request,
		       struct call *call, struct nacos_grpc_answer *ret_answer,
		       bool *ret_uncertain);

#endif
