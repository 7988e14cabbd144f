/*
 * HTTP requests that end in time. The only module that knows libcurl.
 *
 * A client keeps connections open between requests and may be used from many threads at once; each request runs in the
 * thread that asked for it. Redirects are not followed, nothing is retried: what a repeated request would do, only the
 * layer above can know.
 *
 *	http_client_new -> http_request (any thread, any number) -> http_client_free (when no request is under way)
 *
 * No lock is held while a request waits.
 */
#ifndef NACOSFS_UTIL_HTTP_H
#define NACOSFS_UTIL_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "util/buffer.h"
#include "util/call.h"

struct http_client;

struct http_client_options {
	const char *user_agent;
	const char *ca_file; /* PEM; NULL: the system's */
	const char *cert_file; /* PEM client certificate for mutual TLS, and its key; NULL: none */
	const char *key_file;
};

struct http_request {
	const char *method; /* "GET", "POST", "PUT" or "DELETE" */
	const char *url; /* http:// or https://; may hold names, never secrets */
	const char *const *headers; /* "Name: value" strings up to a NULL; NULL: none. Wiped copies: may hold a token */
	const void *body; /* NULL: none */
	size_t body_size;
	const char *content_type; /* of the body */
	size_t answer_limit; /* bytes of answer body beyond which the request fails with -EMSGSIZE */
	int connect_timeout_ms; /* 0: the call's own deadline */
	bool never_repeat; /* use a fresh connection, so that libcurl has no reason to send the request twice */
};

struct http_header {
	char *name; /* lower case */
	char *value; /* without blanks around it */
};

struct http_answer {
	int status;
	struct buffer body;
	struct http_header *headers;
	size_t header_count;
};

/*
 * Makes a client; strings in options are copied. 0, -ENOMEM, or -EIO when libcurl can't start. Call it while the
 * process has one thread.
 */
int http_client_new(const struct http_client_options *options, struct http_client **ret_client);
void http_client_free(struct http_client *client);

/* How many requests were started, for tests and metrics. */
unsigned long http_client_request_count(const struct http_client *client);

/*
 * Sends one request and reads its whole answer; any HTTP status is a success here.
 *
 * -EHOSTUNREACH  no connection: refused, no route, name not found
 * -ECONNABORTED  TLS: certificate or handshake refused
 * -ETIMEDOUT, -EINTR  as call_check() says
 * -EMSGSIZE      the answer is larger than answer_limit
 * -EIO           anything else: connection reset, torn or malformed answer
 * -ENOMEM
 *
 * The reason of the call names the host and what went wrong, without the path. ret_sent, which may be NULL, is set even on failure:
 * whether any byte of the request may have reached the server. ret_answer is untouched on failure; release it with
 * http_answer_release() after success.
 */
int http_request(struct http_client *client, const struct http_request *request, struct call *call,
		 struct http_answer *ret_answer, bool *ret_sent);

/* The value of the first header of that name (any case), or NULL. */
const char *http_answer_header(const struct http_answer *answer, const char *name);

/* Wipes and frees. */
void http_answer_release(struct http_answer *answer);
#define cleanup_http_answer __attribute__((cleanup(http_answer_release)))

#endif
