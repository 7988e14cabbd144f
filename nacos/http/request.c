#include "nacos/http/request.h"

#include <errno.h>
#include <string.h>

#include "nacos/http/answer.h"
#include "nacos/http/client_private.h"
#include "nacos/http/identity.h"
#include "util/form.h"

/* The reason for a refusal that stays one. */
static int fail_refused(const struct nacos_client *client, const struct nacos_request *request,
			const struct http_answer *answer, struct call *call)
{
	if (!client->username && nacos_answer_refusal(answer) == NACOS_REFUSAL_TOKEN)
		return call_fail(call, -EACCES, "%s: the server %s", request->what,
				 client->credentials.get ? "does not take the access key"
							 : "wants a login (username=, password_file=)");
	return nacos_answer_fail(answer, request->what, call);
}

static int identify(struct nacos_client *client, const struct nacos_request *request, unsigned long bad_serial,
		    struct call *call, struct nacos_identity *ret_identity)
{
	cleanup_buffer struct buffer resource = BUFFER_INIT;
	const struct nacos_generation *generation = nacos_client_features(client).generation;
	const char *namespace_id = request->namespace_id;

	if (namespace_id)
		namespace_id = nacos_generation_namespace_id(generation, namespace_id);
	if (nacos_spas_add_http_resource(namespace_id, request->group, &resource))
		return call_fail(call, -ENOMEM, "%s: out of memory", request->what);
	return nacos_identity_get(client, resource.data, bad_serial, call, ret_identity);
}

static int send_as(struct nacos_client *client, const struct nacos_request *request,
		   const struct nacos_identity *identity, struct call *call, struct http_answer *ret_answer,
		   bool *ret_sent)
{
	const char *headers[NACOS_IDENTITY_LINES_MAX + NACOS_REQUEST_HEADERS_MAX + 1] = { NULL };
	struct nacos_request identified = *request;
	size_t count = 0;

	for (size_t i = 0; i < identity->count; i++)
		headers[count++] = identity->lines[i].data;
	for (size_t i = 0; request->headers && request->headers[i] && i < NACOS_REQUEST_HEADERS_MAX; i++)
		headers[count++] = request->headers[i];
	identified.headers = headers;
	return nacos_hosts_send(client, &identified, call, ret_answer, ret_sent);
}

int nacos_request_send(struct nacos_client *client, const struct nacos_request *request,
		       struct call *call, struct http_answer *ret_answer, bool *ret_sent)
{
	unsigned long bad_serial = 0;
	bool sent = false, logged_in_again = false;
	int error = 0;

	for (;;) {
		cleanup_nacos_identity struct nacos_identity identity = { .count = 0 };
		struct http_answer answer;
		enum nacos_refusal refusal;

		sent = false;
		error = identify(client, request, bad_serial, call, &identity);
		if (!error)
			error = send_as(client, request, &identity, call, &answer, &sent);
		if (error)
			break;
		refusal = request->takes_refusals ? NACOS_REFUSAL_NONE : nacos_answer_refusal(&answer);
		if (refusal == NACOS_REFUSAL_NONE) {
			*ret_answer = answer;
			break;
		}

		/* A refusal comes before the request is looked at: nothing was done. */
		sent = false;
		if (refusal == NACOS_REFUSAL_RIGHT || !client->username || logged_in_again) {
			error = fail_refused(client, request, &answer, call);
			http_answer_release(&answer);
			break;
		}
		http_answer_release(&answer);
		logged_in_again = true;
		bad_serial = identity.serial;
	}
	if (ret_sent)
		*ret_sent = sent;
	return error;
}

int nacos_request_send_simple(struct nacos_client *client, const struct nacos_request *request,
			      struct call *call, struct http_answer *ret_answer)
{
	int error = nacos_request_send(client, request, call, ret_answer, NULL);

	return error == -EMSGSIZE ? -EIO : error;
}

int nacos_request_add_namespace(const struct nacos_generation *generation, const char *namespace_id,
				struct buffer *parameters)
{
	const char *id = nacos_generation_namespace_id(generation, namespace_id);

	if (id[0] == '\0')
		return 0;
	return form_append(parameters, generation->namespace_parameter, id);
}

int nacos_request_add_place(const struct nacos_generation *generation, const struct place *place,
			  struct buffer *parameters)
{
	int error = form_append(parameters, "dataId", place_data_id(place));

	if (!error)
		error = form_append(parameters, generation->group_parameter, place_group(place));
	if (!error)
		error = nacos_request_add_namespace(generation, place_namespace_id(place), parameters);
	return error;
}
