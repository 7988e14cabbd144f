/*
 * For targets that take a module of crypto/ with its requests replaced: include this before the module's .c
 * file. The input is the answer to each of its requests: one byte with the status, then headers up to an empty
 * line, then the body.
 */
#ifndef NACOSFS_FUZZ_CRYPTO_ANSWER_H
#define NACOSFS_FUZZ_CRYPTO_ANSWER_H

#include <errno.h>

#include "util/http.h"

static const uint8_t *fuzz_answer;
static size_t fuzz_answer_size;

static inline int fuzz_http_request(struct http_client *client, const struct http_request *request, struct call *call,
				    struct http_answer *ret_answer, bool *ret_sent)
{
	static const int statuses[] = { 200, 200, 200, 200, 400, 403, 404, 500, 503, 302 };
	struct http_answer answer = { .status = 200 };
	const char *body = (const char *)fuzz_answer, *line_end;
	size_t size = fuzz_answer_size;

	(void)client;
	(void)call;
	if (ret_sent)
		*ret_sent = true;
	if (size > 0) {
		answer.status = statuses[(unsigned char)*body++ % 10];
		size--;
	}
	/* One header line `name:value`, if there is one. */
	line_end = memchr(body, '\n', size);
	if (line_end && memchr(body, ':', (size_t)(line_end - body)) && answer.status != 302) {
		const char *colon = memchr(body, ':', (size_t)(line_end - body));

		answer.headers = calloc(1, sizeof(*answer.headers));
		answer.headers[0].name = strndup(body, (size_t)(colon - body));
		answer.headers[0].value = strndup(colon + 1, (size_t)(line_end - colon - 1));
		answer.header_count = 1;
		size -= (size_t)(line_end + 1 - body);
		body = line_end + 1;
	}
	if (size > request->answer_limit) {
		http_answer_release(&answer);
		return -EMSGSIZE;
	}
	if (size > 0 && buffer_append(&answer.body, body, size))
		abort();
	*ret_answer = answer;
	return 0;
}

#define http_request(client, request, call, answer, sent) fuzz_http_request(client, request, call, answer, sent)

#endif
