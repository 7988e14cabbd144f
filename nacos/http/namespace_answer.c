#include "nacos/http/namespace_answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/generation.h"
#include "nacos/http/answer.h"
#include "util/json.h"
#include "util/log.h"

#define CODE_OK_V1 200

static const char list_what[] = "list of namespaces";

/* Adds an id, "public" at the front. The list has room for it. */
static int list_add(struct nacos_namespace_list *list, const char *id)
{
	char *copy = strdup(id);

	if (!copy)
		return -ENOMEM;
	list->ids[list->count++] = copy;
	if (strcmp(id, "public") == 0) {
		memmove(&list->ids[1], &list->ids[0], (list->count - 1) * sizeof(*list->ids));
		list->ids[0] = copy;
	}
	return 0;
}

static int read_items(const struct json *items, struct nacos_namespace_list *list)
{
	struct nacos_features features;
	const struct json *item;

	/* The widest rules: namespaces may be older than the version of their server. */
	nacos_features_assume_managed(&features);
	list->ids = calloc(json_count(items) + 1, sizeof(*list->ids));
	if (!list->ids)
		return -ENOMEM;
	for (item = json_first(items); item; item = json_next(item)) {
		const char *id = json_text(item, "namespace");
		int error;

		if (id && id[0] == '\0')
			id = "public";
		if (!id || !nacos_namespace_is_possible(&features, id)) {
			log_debug("%s: skipped one without a usable id", list_what);
			continue;
		}
		if (nacos_namespace_list_has(list, id))
			continue;
		error = list_add(list, id);
		if (error)
			return error;
	}
	return 0;
}

int nacos_namespace_answer_read_list(const struct http_answer *answer, struct call *call,
				     struct nacos_namespace_list *ret_list)
{
	cleanup_nacos_namespace_list struct nacos_namespace_list list = { 0 };
	cleanup_json struct json *document = NULL;
	const struct json *items;
	int64_t code;
	int error;

	if (answer->status == 404 || answer->status == 405 || answer->status == 410 ||
	    answer->status == 501)
		return call_fail(call, -EOPNOTSUPP,
				 "the server does not list namespaces (HTTP %d): set namespaces=",
				 answer->status);
	if (answer->status != 200)
		return nacos_answer_fail(answer, list_what, call);
	error = nacos_answer_unwrap(answer, &document, &code);
	if (error)
		return call_fail(call, error, "%s: out of memory", list_what);
	if (code != NACOS_CODE_OK && code != CODE_OK_V1)
		return nacos_answer_fail(answer, list_what, call);
	items = json_member(document, "data");
	if (!json_is_array(items))
		return nacos_answer_fail_malformed(list_what, call);
	error = read_items(items, &list);
	if (error)
		return call_fail(call, error, "%s: out of memory", list_what);
	*ret_list = list;
	list = (struct nacos_namespace_list){ 0 };
	return 0;
}

/* Errors that both calls have. */
static int fail_change(const struct http_answer *answer, const char *what, struct call *call)
{
	switch (answer->status) {
	case 200:
		return nacos_answer_fail_malformed(what, call);
	case 400:
		return call_fail(call, -EINVAL, "%s: the server does not take this id", what);
	case 404:
	case 405:
	case 410:
	case 501:
		return call_fail(call, -EOPNOTSUPP, "%s: the server has no such call (HTTP %d)",
				 what, answer->status);
	default:
		return nacos_answer_fail(answer, what, call);
	}
}

static bool body_is(const struct http_answer *answer, const char *word)
{
	return answer->body.size == strlen(word) &&
	       memcmp(answer->body.data, word, answer->body.size) == 0;
}

/* Reads the code and the result. For what is not wrapped, the result alone. */
static int read_result(const struct http_answer *answer, bool wrapped, const char *what,
		       struct call *call, int64_t *ret_code, bool *ret_done)
{
	cleanup_json struct json *document = NULL;
	int64_t code = NACOS_CODE_NONE;

	if (wrapped && nacos_answer_unwrap(answer, &document, &code))
		return call_fail(call, -ENOMEM, "%s: out of memory", what);
	*ret_code = code;
	if (wrapped)
		*ret_done = answer->status == 200 && code == NACOS_CODE_OK &&
			    json_is_true(json_member(document, "data"));
	else
		*ret_done = answer->status == 200 && body_is(answer, "true");
	return 0;
}

int nacos_namespace_answer_read_create(const struct http_answer *answer, bool wrapped,
				       const char *what, struct call *call)
{
	int64_t code;
	bool done;
	int error = read_result(answer, wrapped, what, call, &code, &done);

	if (error || done)
		return error;
	if (code == NACOS_CODE_NAMESPACE_EXISTS)
		return call_fail(call, -EEXIST, "%s: it exists", what);
	/* v1 says no more for an id that is there and for one that it does not like. */
	if (!wrapped && answer->status == 200 && body_is(answer, "false"))
		return call_fail(call, -EINVAL, "%s: it exists, or its id is no good", what);
	return fail_change(answer, what, call);
}

int nacos_namespace_answer_read_remove(const struct http_answer *answer, bool wrapped,
				       const char *what, struct call *call)
{
	int64_t code;
	bool done;
	int error = read_result(answer, wrapped, what, call, &code, &done);

	if (error || done || code == NACOS_CODE_NAMESPACE_UNKNOWN)
		return error;
	return fail_change(answer, what, call);
}

int nacos_namespace_answer_read_create_check(const struct http_answer *answer, const char *what,
					     struct call *call)
{
	if (answer->status == 404 || answer->status == 405)
		return call_fail(call, -EOPNOTSUPP, "%s: the server has no such call", what);
	if (answer->status == 400 || (answer->status == 200 && body_is(answer, "false")) ||
	    (answer->status == 500 && nacos_answer_has_text(answer, "Required")))
		return 0;
	return nacos_answer_fail(answer, what, call);
}
