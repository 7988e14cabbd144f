/*
 * What the answers of the namespace calls mean, for all generations. Pure functions; safe from any
 * thread.
 */
#ifndef NACOSFS_NACOS_HTTP_NAMESPACE_ANSWER_H
#define NACOSFS_NACOS_HTTP_NAMESPACE_ANSWER_H

#include <stdbool.h>

#include "nacos/http/namespace_list.h"
#include "util/call.h"
#include "util/http.h"

/*
 * {"code", "data": [{"namespace": ID}, ...]}, which v1 wraps like v3, but with another code for
 * success.
 */
int nacos_namespace_answer_read_list(const struct http_answer *answer, struct call *call,
				     struct nacos_namespace_list *ret_list);

/* The outcomes of creating and of removing a namespace; what says which, for the reason. */
int nacos_namespace_answer_read_create(const struct http_answer *answer, bool wrapped,
				       const char *what, struct call *call);
int nacos_namespace_answer_read_remove(const struct http_answer *answer, bool wrapped,
				       const char *what, struct call *call);

/* The outcome of asking for a namespace that can't be: 0 when that is all the server had against it. */
int nacos_namespace_answer_read_create_check(const struct http_answer *answer, const char *what,
					     struct call *call);

#endif
