/*
 * What servers say when it is not simply the data that was asked for: the error answers of all
 * generations, read without a network. Pure functions; safe from any thread.
 *
 * Servers have four ways to say no: Spring's error object {"status", "error", "message", "path"},
 * the wrapped answer {"code", "message", "data"}, plain text, and (v1) a bare false. A gateway
 * before them may add HTML.
 */
#ifndef NACOSFS_NACOS_HTTP_ANSWER_H
#define NACOSFS_NACOS_HTTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/call.h"
#include "util/http.h"
#include "util/json.h"

/* Values of "code" in wrapped answers. */
#define NACOS_CODE_OK 0
#define NACOS_CODE_PARAMETER_MISSING 10000
#define NACOS_CODE_ACCESS_DENIED 10001
#define NACOS_CODE_PARAMETER_INVALID 20002
#define NACOS_CODE_NOT_FOUND 20004
#define NACOS_CODE_CONFLICT 20005
#define NACOS_CODE_NAMESPACE_INVALID 22000
#define NACOS_CODE_NAMESPACE_UNKNOWN 22001
#define NACOS_CODE_NAMESPACE_EXISTS 22002
#define NACOS_CODE_OVER_CLUSTER_QUOTA 5031
#define NACOS_CODE_OVER_GROUP_QUOTA 5032
#define NACOS_CODE_OVER_NAMESPACE_QUOTA 5033
#define NACOS_CODE_OVER_SIZE_QUOTA 5034

#define NACOS_CODE_NONE INT64_MIN /* no wrapped answer */

/* Answers that carry contents may be large; all others are not. */
#define NACOS_ANSWER_LIMIT_CONTENT ((size_t)64 << 20)
#define NACOS_ANSWER_LIMIT_SMALL ((size_t)1 << 20)

/* Why a server refused. Both are HTTP 403; only the words tell which it is. */
enum nacos_refusal {
	NACOS_REFUSAL_NONE,
	NACOS_REFUSAL_TOKEN, /* no token, or one that is not good (any more): logging in may help */
	NACOS_REFUSAL_RIGHT, /* the account may not do that */
};

enum nacos_refusal nacos_answer_refusal(const struct http_answer *answer);

/* Does the body of the answer hold text, byte by byte? Looks at its first few KiB only. */
bool nacos_answer_has_text(const struct http_answer *answer, const char *text);

/*
 * What the server has against a request, as one of the phrases that servers are known to use, or "". Never its own
 * words: they, or those of a gateway before it, may repeat what was sent, a password or a content.
 */
const char *nacos_answer_phrase(const struct http_answer *answer);

/*
 * Reads a wrapped answer: its code, and the document, whose member "data" is the result.
 * NACOS_CODE_NONE and no document when the body is no such thing, which is no error here. 0 or
 * -ENOMEM.
 */
int nacos_answer_unwrap(const struct http_answer *answer, struct json **ret_document,
			int64_t *ret_code);

/*
 * The errno and the reason for an answer that is not a success and means nothing special to the
 * operation: -EACCES for a refusal, -EIO otherwise. what says what was asked for ("config
 * dev/APP/a.yaml").
 */
int nacos_answer_fail(const struct http_answer *answer, const char *what, struct call *call);

/* -EIO with the reason that an answer of success does not hold what the protocol says. */
int nacos_answer_fail_malformed(const char *what, struct call *call);

#endif
