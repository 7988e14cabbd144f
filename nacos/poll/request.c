/*
 * The requests of the HTTP poll, as the servers want them (source: 1.4.8, 2.2.4, 3.0.3; measured: 1.4.1, 2.2.4, 3.1.0).
 *
 * The form field Listening-Configs is a row of records, percent-encoded as a whole:
 *
 *	dataId \2 group \2 md5 \1              in the public namespace
 *	dataId \2 group \2 md5 \2 namespace \1 in others
 *
 * The right that is checked is the one to read what the parameters tenant, group and dataId of the URL name; the records
 * are not looked at for that. 1.4 takes no notice of a group without a dataId; '*', which is in no name, then stands for
 * all of the group, for 2.x too, as long as it does not check names.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "nacos/http/answer.h"
#include "nacos/http/request.h"
#include "nacos/poll/poll_private.h"
#include "util/form.h"
#include "util/log.h"

#define FIELD_END '\002'
#define RECORD_END '\001'

/* Servers hold half a second less than that. */
#define HOLD_HEADER "Long-Pulling-Timeout: 30000"
#define NO_HOLD_HEADER "Long-Pulling-Timeout-No-Hangup: true"
#define HOLD_TIMEOUT_MS 45000
#define CHECK_TIMEOUT_MS 8000

/* Of records, before they are encoded, which makes them a third longer: gateways often take 1 MiB. */
#define RECORDS_SIZE_MAX ((size_t)512 << 10)

/* All the names of 3000 configs, each as long as a name can be, and encoded. */
#define ANSWER_SIZE_MAX ((size_t)16 << 20)

void nacos_poll_question_release(struct nacos_poll_question *question)
{
	buffer_release(&question->namespace_id);
	buffer_release(&question->group);
	buffer_release(&question->query);
	buffer_release(&question->form);
}

static int append_record(const struct nacos_generation *generation, const struct place *place, const char *md5,
			 struct buffer *records)
{
	const char *namespace_id = nacos_generation_namespace_id(generation, place_namespace_id(place));
	int error = buffer_append_format(records, "%s%c%s%c%s", place_data_id(place), FIELD_END, place_group(place), FIELD_END, md5);

	if (!error && namespace_id[0])
		error = buffer_append_format(records, "%c%s", FIELD_END, namespace_id);
	return error ? error : buffer_append_byte(records, RECORD_END);
}

static int append_scope(const struct nacos_features *features, const struct place *place,
			enum nacos_watch_scope scope, struct nacos_poll_question *question)
{
	struct buffer *query = &question->query;
	const char *namespace_id = nacos_generation_namespace_id(features->generation, place_namespace_id(place));
	int error = 0;

	if (namespace_id[0])
		error = form_append(query, "tenant", namespace_id);
	if (!error && scope != NACOS_WATCH_NAMESPACE)
		error = form_append(query, "group", place_group(place));
	if (!error && scope == NACOS_WATCH_CONFIG)
		error = form_append(query, "dataId", place_data_id(place));
	if (!error && scope == NACOS_WATCH_GROUP && !features->checks_names)
		error = form_append(query, "dataId", "*");
	/* The official client signs nothing where no group is named. */
	if (!error && scope != NACOS_WATCH_NAMESPACE)
		error = buffer_append_text(&question->namespace_id, place_namespace_id(place));
	if (!error && scope != NACOS_WATCH_NAMESPACE)
		error = buffer_append_text(&question->group, place_group(place));
	return error;
}

int nacos_poll_ask_one(struct nacos_poll *poll, const struct place *place, const char *md5,
		       enum nacos_watch_scope scope, struct nacos_poll_question *ret_question)
{
	struct nacos_features features = nacos_client_features(poll->client);
	cleanup_nacos_poll_question struct nacos_poll_question question = { 0 };
	cleanup_buffer struct buffer records = BUFFER_INIT;

	if (append_record(features.generation, place, md5, &records) ||
	    append_scope(&features, place, scope, &question) ||
	    form_append_bytes(&question.form, "Listening-Configs", records.data, records.size))
		return -ENOMEM;
	*ret_question = question;
	question = (struct nacos_poll_question){ 0 };
	return 0;
}

int nacos_poll_ask_slot(struct nacos_poll *poll, struct nacos_poll_slot *slot,
			struct nacos_poll_question *ret_question)
{
	struct nacos_features features = nacos_client_features(poll->client);
	cleanup_nacos_poll_question struct nacos_poll_question question = { 0 };
	cleanup_buffer struct buffer records = BUFFER_INIT;
	struct nacos_watch_part *part, *next;

	for (part = slot->parts.first; part; part = next) {
		next = part->next;
		if (records.size > RECORDS_SIZE_MAX)
			nacos_poll_move(poll, nacos_poll_part_of(part), &poll->ready);
		else if (append_record(features.generation, part->entry->place, part->entry->md5, &records))
			return -ENOMEM;
	}
	part = slot->parts.first;
	if (append_scope(&features, part->entry->place, nacos_poll_part_of(part)->scope, &question) ||
	    form_append_bytes(&question.form, "Listening-Configs", records.data, records.size))
		return -ENOMEM;
	*ret_question = question;
	question = (struct nacos_poll_question){ 0 };
	return 0;
}

struct patience {
	struct nacos_poll *poll;
	struct nacos_poll_slot *slot;
};

static bool is_over(void *arg)
{
	const struct patience *patience = arg;
	struct nacos_poll_slot *slot = patience->slot;

	if (worker_is_stopped(&patience->poll->listener))
		return true;
	return slot && (atomic_load(&slot->leave) ||
			nacos_hosts_current(patience->poll->client) != slot->host);
}

static int judge(const struct http_answer *answer, const char *what, struct call *call)
{
	switch (answer->status) {
	case 200:
		return 0;
	case 400:
		return call_fail(call, -EINVAL, "%s: the server does not take the names", what);
	case 404:
	case 405:
	case 410:
	case 501:
		return call_fail(call, -EOPNOTSUPP, "%s: the server has no such call (HTTP %d)", what,
				 answer->status);
	default:
		return nacos_answer_fail(answer, what, call);
	}
}

int nacos_poll_send(struct nacos_poll *poll, struct nacos_poll_slot *slot,
		    const struct nacos_poll_question *question, struct buffer *ret_body)
{
	/* Has been the same since 1.0; 3.x still has it, among what its operators can switch off. */
	static const struct nacos_api listen = { "POST", "/v1/cs/configs/listener", NULL };
	static const char *const hold_headers[] = { HOLD_HEADER, NULL };
	static const char *const check_headers[] = { HOLD_HEADER, NO_HOLD_HEADER, NULL };
	cleanup_http_answer struct http_answer answer = { 0 };
	struct patience patience = { poll, slot };
	struct nacos_request request = {
		.api = &listen,
		.what = "listening for changes",
		.namespace_id = question->namespace_id.data,
		.group = question->group.data,
		.query = question->query.data,
		.form = &question->form,
		.headers = slot ? hold_headers : check_headers,
		.answer_limit = ANSWER_SIZE_MAX,
		/* What is left of the time of a hold that failed would be too short for another one elsewhere. */
		.never_repeat = slot != NULL,
	};
	struct call call;
	int error;

	call_start(&call, slot ? HOLD_TIMEOUT_MS : CHECK_TIMEOUT_MS);
	call.interrupted = is_over;
	call.interrupted_arg = &patience;
	error = nacos_request_send_simple(poll->client, &request, &call, &answer);
	if (!error)
		error = judge(&answer, request.what, &call);
	if (error && error != -EINTR)
		log_debug("%s", call.reason);
	if (!error)
		buffer_move(ret_body, &answer.body);
	return error;
}
