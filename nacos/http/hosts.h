/*
 * The hosts of a cluster: which one a request goes to, and which one next, when that can help and can't harm.
 *
 * Used by nacos/http/request.h, which says who asks, and by what must not say so, the login and the first questions. Safe
 * from any thread.
 */
#ifndef NACOSFS_NACOS_HTTP_HOSTS_H
#define NACOSFS_NACOS_HTTP_HOSTS_H

#include <stdbool.h>
#include <stddef.h>

#include "nacos/generation.h"
#include "nacos/http/client.h"
#include "util/buffer.h"
#include "util/call.h"
#include "util/http.h"

#define NACOS_REQUEST_HEADERS_MAX 4

struct nacos_request {
	const struct nacos_api *api;
	const char *what; /* what is asked for, for reasons: "config dev/APP/a.yaml" */
	const char *namespace_id, *group; /* what it is about, as callers call it, for signatures; NULL: none */
	const char *query; /* encoded; follows that of the api; NULL or "": none */
	const struct buffer *form; /* encoded body; NULL: none */
	const char *const *headers; /* "Name: value", up to a NULL, at most NACOS_REQUEST_HEADERS_MAX; NULL: none */
	size_t answer_limit;
	bool never_repeat; /* a second time could do harm: sent to one host, once */
	bool takes_refusals; /* they are answers like any other */
	bool to_console; /* to the console of a 3.x cluster */
};

/*
 * Sends it as it is to one host after the other until one answers. Any answer is a success. -EMSGSIZE when it is larger than
 * its limit; otherwise fails as http_request() does, with its reason. ret_sent is set even on failure: whether a server may
 * have acted on the request.
 */
int nacos_hosts_send(struct nacos_client *client, const struct nacos_request *request, struct call *call,
		     struct http_answer *ret_answer, bool *ret_sent);

/* The host that requests go to first now; changes when that one fails. */
size_t nacos_hosts_current(struct nacos_client *client);

#endif
