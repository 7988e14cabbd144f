/*
 * Listing names. On 3.x all listings of a node pass through a queue of a few places, and what finds
 * it full is turned away with 503: so a client lists one thing at a time, and is patient.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "nacos/http/answer.h"
#include "nacos/http/client_private.h"
#include "nacos/http/config.h"
#include "nacos/http/listing.h"
#include "nacos/http/request.h"
#include "util/form.h"

#define FULL_PAUSE_MS 300

/* What get_page() needs to ask for a page. */
struct page_source {
	struct nacos_client *client;
	const struct nacos_api *api;
	const char *what;
	const char *namespace_id, *group;
	const struct buffer *parameters; /* all but the page */
};

static int get_page(void *arg, size_t page_number, size_t page_size, struct call *call,
		    struct http_answer *ret_answer)
{
	const struct page_source *source = arg;
	cleanup_buffer struct buffer query = BUFFER_INIT;
	struct nacos_request request = {
		.api = source->api,
		.what = source->what,
		.namespace_id = source->namespace_id,
		.group = source->group,
		.answer_limit = NACOS_ANSWER_LIMIT_CONTENT,
	};

	if (buffer_append(&query, source->parameters->data, source->parameters->size) ||
	    form_append_number(&query, "pageNo", (long)page_number) ||
	    form_append_number(&query, "pageSize", (long)page_size))
		return call_fail(call, -ENOMEM, "%s: out of memory", source->what);
	request.query = query.data;
	struct call page;
	call_start_part(&page, call, call->step_ms ? call->step_ms : call_left_ms(call));
	for (;;) {
		int error = nacos_request_send(source->client, &request, &page, ret_answer, NULL);

		if (error)
			return call_fail(call, error, "%s", page.reason);
		if (ret_answer->status != 503)
			return 0;
		http_answer_release(ret_answer);
		error = call_sleep(&page, FULL_PAUSE_MS);
		if (error)
			return call_fail(call, error,
					 "%s: the server is too busy to list (HTTP 503)",
					 source->what);
	}
}

/* Waits until no other thread lists. */
static int take_turn(struct nacos_client *client, struct call *call)
{
	int error = 0;

	pthread_mutex_lock(&client->lock);
	while (client->listing && !error)
		error = nacos_client_wait(client, call);
	if (!error)
		client->listing = true;
	pthread_mutex_unlock(&client->lock);
	return error;
}

static void give_turn(struct nacos_client *client)
{
	pthread_mutex_lock(&client->lock);
	client->listing = false;
	pthread_cond_broadcast(&client->changed);
	pthread_mutex_unlock(&client->lock);
}

/* A listing as it is asked for: everything but the outcome. */
struct listing_call {
	struct nacos_features features;
	struct buffer parameters;
	char what[NACOS_WHAT_SIZE];
	struct page_source source;
	struct nacos_listing_question question;
};

static int prepare(struct nacos_client *client, const char *namespace_id, const char *group,
		   struct call *call, struct listing_call *prepared)
{
	prepared->features = nacos_client_features(client);
	const struct nacos_generation *generation = prepared->features.generation;
	int error = 0;

	prepared->source = (struct page_source){
		.client = client,
		.api = group ? &generation->group_list : &generation->list,
		.what = prepared->what,
		.namespace_id = namespace_id,
		.group = group,
		.parameters = &prepared->parameters,
	};
	prepared->question = (struct nacos_listing_question){
		.what = prepared->what,
		.namespace_id = nacos_generation_namespace_id(generation, namespace_id),
		.group = group,
		.namespace_member = generation->namespace_parameter,
		.group_member = generation->group_parameter,
		.wrapped = generation->wrapped,
		.has_contents = generation->lists_contents,
		.get_page = get_page,
		.arg = &prepared->source,
	};
	snprintf(prepared->what, sizeof(prepared->what), "names in %.60s%s%.60s", namespace_id,
		 group ? "/" : "", group ? group : "");
	if (group)
		error = form_append(&prepared->parameters, generation->group_parameter, group);
	if (!error)
		error = nacos_request_add_namespace(generation, namespace_id,
						    &prepared->parameters);
	return error ? call_fail(call, error, "%s: out of memory", prepared->what) : 0;
}

int nacos_config_list(struct nacos_client *client, const char *namespace_id, const char *group,
		      struct call *call, struct nacos_listing *ret_listing)
{
	struct listing_call prepared = { 0 };
	int error = prepare(client, namespace_id, group, call, &prepared);

	if (!error) {
		error = take_turn(client, call);
		if (error)
			call_fail(call, error, "%s: another listing is under way", prepared.what);
	}
	if (!error) {
		error = nacos_listing_read(&prepared.question, call, ret_listing);
		give_turn(client);
	}
	buffer_release(&prepared.parameters);
	return error;
}

int nacos_config_count(struct nacos_client *client, const char *namespace_id, const char *group,
		       struct call *call, int64_t *ret_count)
{
	struct listing_call prepared = { 0 };
	int error = prepare(client, namespace_id, group, call, &prepared);

	/* It takes no turn: a listing of minutes must not keep names from being found. */
	if (!error)
		error = nacos_listing_read_count(&prepared.question, call, ret_count);
	buffer_release(&prepared.parameters);
	return error;
}
