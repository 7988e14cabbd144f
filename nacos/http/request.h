/*
 * One request to the API of a Nacos cluster (nacos/http/hosts.h has what it is made of): it adds the token or the signature,
 * and logs in once more when the server says that the token is not good.
 *
 * Used by the modules of nacos/ only. Safe from any thread.
 */
#ifndef NACOSFS_NACOS_HTTP_REQUEST_H
#define NACOSFS_NACOS_HTTP_REQUEST_H

#include <stdbool.h>

#include "model/place.h"
#include "nacos/generation.h"
#include "nacos/http/client.h"
#include "nacos/http/hosts.h"
#include "util/buffer.h"
#include "util/call.h"
#include "util/http.h"

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
 * all errors are those of nacos/http/config.h.
 */
int nacos_request_send_simple(struct nacos_client *client, const struct nacos_request *request,
			      struct call *call, struct http_answer *ret_answer);

/*
 * Appends the parameter that names a namespace, as this generation wants it; nothing where it must
 * be left out.
 */
int nacos_request_add_namespace(const struct nacos_generation *generation, const char *namespace_id,
				struct buffer *parameters);

/* Appends the parameters that name a config. */
int nacos_request_add_place(const struct nacos_generation *generation, const struct place *place,
			  struct buffer *parameters);

#endif
