/*
 * What the answers of the config calls mean, for all generations. Pure functions, tested without a
 * network; safe from any thread. what says which config was asked for, for the reasons; errors are
 * those of nacos/http/config.h, and two more that the caller turns into another try:
 *
 * -EBUSY   the node is just writing the config down (409): ask again
 * -EAGAIN  the content is not the one of the MD5 that came with it: caught between two versions
 */
#ifndef NACOSFS_NACOS_HTTP_CONFIG_ANSWER_H
#define NACOSFS_NACOS_HTTP_CONFIG_ANSWER_H

#include <stdbool.h>

#include "nacos/config.h"
#include "util/call.h"
#include "util/http.h"

struct nacos_config_question {
	const char *what;
	/*
	 * The name begins with "cipher-": a server with an encryption plugin hands out the plain
	 * text with the MD5 of what is stored, so the two need not agree.
	 */
	bool may_be_decrypted;
};

/*
 * v1: the body is the content, the rest is in headers. Takes the body out of the answer.
 * ret_is_gray tells that this is not what everybody gets, but a version that is being tried out on
 * some clients (beta, tag).
 */
int nacos_config_answer_read_raw(struct http_answer *answer,
				 const struct nacos_config_question *question, struct call *call,
				 struct nacos_config *ret_config, bool *ret_is_gray);

/*
 * A JSON object: bare (v1 show=all, where an empty body means that there is none) or wrapped (all
 * of v3).
 */
int nacos_config_answer_read_object(const struct http_answer *answer, bool wrapped,
				    const struct nacos_config_question *question, struct call *call,
				    struct nacos_config *ret_config, bool *ret_is_gray);

/* The same object, as gRPC sends it: bare, and always there. */
int nacos_config_answer_read_json(const struct buffer *json, const struct nacos_config_question *question,
				  struct call *call, struct nacos_config *ret_config, bool *ret_is_gray);

/*
 * What to do with the outcome of asking for a config. True, after a pause, where it is worth asking again: the server was
 * just writing the config (-EBUSY), or what came is torn (-EAGAIN), and there is time left. False with the error to fail
 * with, or 0. torn_count is for this function alone: 0 before the first time.
 */
bool nacos_config_answer_ask_again(const char *what, struct call *call, int *error, unsigned *torn_count);

/*
 * The outcome of a publish, with the errors of nacos_config_publish(). ret_uncertain is set even on
 * failure: false only where the answer makes clear whether the text was stored.
 */
int nacos_config_answer_read_publish(const struct http_answer *answer, bool wrapped, bool had_cas,
				     const char *what, struct call *call, bool *ret_uncertain);

/* The outcome of a removal. */
int nacos_config_answer_read_remove(const struct http_answer *answer, bool wrapped,
				    const char *what, struct call *call);

/* The outcome of publishing an empty content: 0 when that is all the server had against it. */
int nacos_config_answer_read_write_check(const struct http_answer *answer, const char *what,
					 struct call *call);

#endif
