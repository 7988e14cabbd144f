#include "nacos/http/namespace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "nacos/http/answer.h"
#include "nacos/http/namespace_answer.h"
#include "nacos/http/request.h"
#include "util/form.h"

/* Of what is asked for, for reasons. */
#define WHAT_SIZE 160

static int list_at(struct nacos_client *client, const struct nacos_api *api, bool to_console,
		   struct call *call, struct nacos_namespace_list *ret_list)
{
	cleanup_http_answer struct http_answer answer = { 0 };
	struct nacos_request request = {
		.api = api,
		.what = "list of namespaces",
		.answer_limit = NACOS_ANSWER_LIMIT_CONTENT,
		.to_console = to_console,
	};
	int error = nacos_request_send_simple(client, &request, call, &answer);

	if (error)
		return error;
	return nacos_namespace_answer_read_list(&answer, call, ret_list);
}

/*
 * What is no admin's to ask the server for, the console tells any user, when it can be reached. A
 * firewall that swallows the question must leave the time to say so.
 */
static int list_at_console(struct nacos_client *client, const struct nacos_api *api,
			   struct call *call, struct nacos_namespace_list *ret_list)
{
	struct call part;
	int error;

	call_start_part(&part, call, call_left_ms(call) - call_left_ms(call) / 10);
	error = list_at(client, api, true, &part, ret_list);
	switch (error) {
	case 0:
		return 0;
	case -EHOSTUNREACH:
	case -ECONNABORTED:
	case -ETIMEDOUT:
	case -EIO:
	case -EOPNOTSUPP:
		return call_fail(call, -EOPNOTSUPP,
				 "only the console lists namespaces to this user: set console= or "
				 "namespaces= (%s)",
				 part.reason);
	default:
		return call_fail(call, error, "%s", part.reason);
	}
}

int nacos_namespace_list(struct nacos_client *client, struct call *call,
			 struct nacos_namespace_list *ret_list)
{
	struct nacos_features features = nacos_client_features(client);
	const struct nacos_generation *generation = features.generation;
	int error = list_at(client, &generation->namespaces, false, call, ret_list);

	if (error == -EACCES && generation->console_namespaces.path)
		error = list_at_console(client, &generation->console_namespaces, call, ret_list);
	return error;
}

/*
 * v1 refuses a namespace that exists and a bad id with the same word. The list tells which it was.
 */
static int explain_refusal(struct nacos_client *client, const char *id, const char *what,
			   struct call *call)
{
	cleanup_nacos_namespace_list struct nacos_namespace_list list = { 0 };
	int error = nacos_namespace_list(client, call, &list);

	if (!error && nacos_namespace_list_has(&list, id))
		return call_fail(call, -EEXIST, "%s: it exists", what);
	return call_fail(call, -EINVAL, "%s: the server does not take this id", what);
}

int nacos_namespace_create(struct nacos_client *client, const char *id, struct call *call)
{
	struct nacos_features features = nacos_client_features(client);
	const struct nacos_generation *generation = features.generation;
	cleanup_http_answer struct http_answer answer = { 0 };
	cleanup_buffer struct buffer form = BUFFER_INIT;
	char what[WHAT_SIZE];
	struct nacos_request request = {
		.api = &generation->namespace_create,
		.what = what,
		.form = &form,
		.answer_limit = NACOS_ANSWER_LIMIT_SMALL,
		/* The second time it would exist. */
		.never_repeat = true,
	};
	int error;

	snprintf(what, sizeof(what), "new namespace %.100s", id);
	if (form_append(&form, generation->create_parameter, id) ||
	    form_append(&form, "namespaceName", id) || form_append(&form, "namespaceDesc", ""))
		return call_fail(call, -ENOMEM, "%s: out of memory", what);
	error = nacos_request_send_simple(client, &request, call, &answer);
	if (!error)
		error = nacos_namespace_answer_read_create(&answer, generation->wrapped, what,
							   call);
	if (error == -EINVAL && !generation->wrapped)
		error = explain_refusal(client, id, what, call);
	return error;
}

int nacos_namespace_check_create(struct nacos_client *client, struct call *call)
{
	struct nacos_features features = nacos_client_features(client);
	const struct nacos_generation *generation = features.generation;
	cleanup_http_answer struct http_answer answer = { 0 };
	cleanup_buffer struct buffer form = BUFFER_INIT;
	struct nacos_request request = {
		.api = &generation->namespace_create,
		.what = "right to create namespaces",
		.form = &form,
		.answer_limit = NACOS_ANSWER_LIMIT_SMALL,
	};
	int error;

	/* No id may have such a character, and there is no name at all: either is enough to be refused. */
	if (form_append(&form, generation->create_parameter, "?"))
		return call_fail(call, -ENOMEM, "%s: out of memory", request.what);
	error = nacos_request_send_simple(client, &request, call, &answer);
	if (error)
		return error;
	return nacos_namespace_answer_read_create_check(&answer, request.what, call);
}

int nacos_namespace_remove(struct nacos_client *client, const char *id, struct call *call)
{
	struct nacos_features features = nacos_client_features(client);
	const struct nacos_generation *generation = features.generation;
	cleanup_http_answer struct http_answer answer = { 0 };
	cleanup_buffer struct buffer query = BUFFER_INIT;
	char what[WHAT_SIZE];
	struct nacos_request request = {
		.api = &generation->namespace_remove,
		.what = what,
		.answer_limit = NACOS_ANSWER_LIMIT_SMALL,
	};
	int error;

	snprintf(what, sizeof(what), "namespace %.100s", id);
	if (form_append(&query, "namespaceId", id))
		return call_fail(call, -ENOMEM, "%s: out of memory", what);
	request.query = query.data;
	error = nacos_request_send_simple(client, &request, call, &answer);
	if (error)
		return error;
	return nacos_namespace_answer_read_remove(&answer, generation->wrapped, what, call);
}
