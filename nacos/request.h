/*
 * One request to the API of a Nacos cluster: it chooses a host, adds the token, moves on to another
 * host when that can help and can't harm, and logs in once more when the server says that the token
 * is not good.
 *
 * Used by the modules of nacos/ only. Safe from any thread.
 */
#ifndef NACOSFS_NACOS_REQUEST_H
#define NACOSFS_NACOS_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "nacos/client.h"
#include "nacos/config.h"
#include "nacos/generation.h"
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
	const char *const *headers; /* more of them, up to a NULL, at most NACOS_REQUEST_HEADERS_MAX; NULL: none */
	size_t answer_limit;
	bool never_repeat; /* a second time could do harm: sent to one host, once */
	bool takes_refusals; /* they are answers like any other */
	bool anonymous; /* without a token or signature; takes refusals, too */
	bool to_console; /* to the console of a 3.x cluster */
};

/*
 * Sends it. Any answer is a success, except that a refusal (401, 403) fails with -EACCES and a
 * reason, unless the request takes refusals. -EMSGSIZE when the answer is larger than its limit;
 * otherwise fails as http_request() does, with its reason. ret_sent, which may be NULL, is set even
 * on failure: whether a server may have acted on the request.
 */
int nacos_request_send(struct nacos_client *client, const struct nacos_request *request,
		       struct call *call, struct http_answer *ret_answer, bool *ret_sent);

/*
 * As nacos_request_send(), for a request with no meaning of its own for torn and oversized answers:
 * all errors are those of nacos/config.h.
 */
int nacos_request_send_simple(struct nacos_client *client, const struct nacos_request *request,
			      struct call *call, struct http_answer *ret_answer);

/* The host that requests go to first now; changes when that one fails. */
size_t nacos_request_current_host(struct nacos_client *client);

/*
 * Appends the parameter that names a namespace, as this generation wants it; nothing where it must
 * be left out.
 */
int nacos_request_add_namespace(const struct nacos_generation *generation, const char *namespace_id,
				struct buffer *parameters);

/* Appends the parameters that name a config. */
int nacos_request_add_key(const struct nacos_generation *generation, const struct nacos_key *key,
			  struct buffer *parameters);

/* The id of a namespace on the wire. */
const char *nacos_request_namespace_id(const struct nacos_generation *generation,
				       const char *namespace_id);

/* "config NAMESPACE/GROUP/DATAID" for reasons, cut where it is long. */
#define NACOS_WHAT_SIZE 160
void nacos_request_describe(const struct nacos_key *key, char ret_what[NACOS_WHAT_SIZE]);

#endif
