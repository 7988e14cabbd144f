#include "nacos/grpc/config.h"

#include <errno.h>
#include <string.h>

#include "nacos/grpc/grpc_private.h"
#include "nacos/grpc/json.h"
#include "nacos/http/config_answer.h"

static int fail_memory(const char *what, struct call *call)
{
	return call_fail(call, -ENOMEM, "%s: out of memory", what);
}

/* ---- writing requests ---- */

static const char *wire_namespace(const struct nacos_grpc *grpc, const struct place *place)
{
	return nacos_generation_namespace_id(grpc->features.generation, place_namespace_id(place));
}

/* Begins a request with the name of the config: the other members follow. */
static int begin_request(const struct nacos_grpc *grpc, const struct place *place,
			 struct buffer *json)
{
	int error = buffer_append_byte(json, '{');

	if (!error)
		error = nacos_grpc_json_add(json, "dataId", place_data_id(place));
	if (!error)
		error = nacos_grpc_json_add(json, "group", place_group(place));
	/* Where it is missing, some servers answer with a Java exception. */
	return error ? error : nacos_grpc_json_add(json, "tenant", wire_namespace(grpc, place));
}

static int send_request(struct nacos_grpc *grpc, const char *type, const struct place *place,
			const char *what, const struct buffer *json, bool may_repeat,
			struct call *call, struct nacos_grpc_answer *ret_answer,
			bool *ret_uncertain)
{
	const struct nacos_grpc_request request = {
		.type = type,
		.what = what,
		.subject = { .namespace_id = wire_namespace(grpc, place), .group = place_group(place) },
		.json = json,
		.may_repeat = may_repeat,
	};

	return nacos_grpc_request(grpc, &request, call, ret_answer, ret_uncertain);
}

/* -EMSGSIZE, which config.h does not know. */
static int plain_error(int error)
{
	return error == -EMSGSIZE || error == -EOPNOTSUPP ? -EIO : error;
}

/*
 * The errno and the reason for an answer that says no, and means nothing special to the operation.
 */
static int fail_answer(const struct nacos_grpc_answer *answer, const char *what, struct call *call)
{
	int error = answer->error_code == NACOS_GRPC_ERROR_FORBIDDEN ? -EACCES : -EIO;

	return call_fail(call, error, "%s: the server answers with error %d%s%s", what,
			 (int)answer->error_code, answer->phrase[0] ? ": " : "", answer->phrase);
}

/* ---- get ---- */

/* An answer of gRPC has the members that 3.x has over HTTP. */
static int read_config(const struct nacos_grpc *grpc, const struct nacos_grpc_answer *answer,
		       const char *what, struct call *call, struct nacos_config *ret_config)
{
	cleanup_nacos_config struct nacos_config config = { 0 };
	const struct nacos_config_question question = { .what = what };
	bool is_gray = false;
	int error = nacos_config_answer_read_json(&answer->json, &question, call, &config, &is_gray);

	if (error)
		return error;
	if (is_gray)
		return call_fail(call, -EOPNOTSUPP,
				 "%s: the server has a version of its own for this host", what);
	/* Older ones tell when the node wrote its file. */
	if (!grpc->features.get_has_time)
		config.modified_ms = 0;
	*ret_config = config;
	config = (struct nacos_config){ 0 };
	return 0;
}

/* Asks once. -EBUSY and -EAGAIN as in nacos/http/config_answer.h. */
static int get_once(struct nacos_grpc *grpc, const struct place *place, const char *what,
		    const struct buffer *json, struct call *call, struct nacos_config *ret_config)
{
	cleanup_nacos_grpc_answer struct nacos_grpc_answer answer = { .result_code = -1 };
	int error = send_request(grpc, "ConfigQueryRequest", place, what, json, true, call, &answer,
				 NULL);

	if (error)
		return plain_error(error);
	if (answer.result_code == NACOS_GRPC_OK)
		return read_config(grpc, &answer, what, call, ret_config);
	switch (answer.error_code) {
	case NACOS_GRPC_ERROR_NOT_FOUND:
		return call_fail(call, -ENOENT, "%s: there is none", what);
	case NACOS_GRPC_ERROR_REFUSED:
		/*
		 * The same code for a name that it does not take; then there are words about that.
		 */
		if (answer.phrase[0])
			return call_fail(call, -ENOENT, "%s: the server does not take such a name",
					 what);
		return call_fail(call, -EBUSY, "%s: the server is just writing it", what);
	}
	return fail_answer(&answer, what, call);
}

int nacos_grpc_config_get(struct nacos_grpc *grpc, const struct place *place, struct call *call,
			  struct nacos_config *ret_config)
{
	cleanup_buffer struct buffer json = BUFFER_INIT;
	char what[NACOS_WHAT_SIZE];
	unsigned torn_count = 0;
	int error;

	nacos_config_describe(place, what);
	if (begin_request(grpc, place, &json) || buffer_append_byte(&json, '}'))
		return fail_memory(what, call);
	do {
		error = get_once(grpc, place, what, &json, call, ret_config);
	} while (nacos_config_answer_ask_again(what, call, &error, &torn_count));
	return error;
}

/* ---- publish ---- */

static int append_metadata(const struct nacos_publish *publish, struct buffer *json)
{
	const struct {
		const char *name, *value;
	} members[] = {
		{ "type", publish->type },
		{ "desc", publish->description },
		{ "appName", publish->app_name },
		{ "config_tags", publish->tags },
		{ "use", publish->use },
		{ "effect", publish->effect },
		{ "schema", publish->schema },
		{ "encryptedDataKey", publish->encrypted_data_key },
		{ "src_user", publish->source_user },
	};
	int error = buffer_append_text(json, ",\"additionMap\":{");

	for (size_t i = 0; !error && i < sizeof(members) / sizeof(members[0]); i++) {
		if (members[i].value)
			error = nacos_grpc_json_add(json, members[i].name, members[i].value);
	}
	return error ? error : buffer_append_byte(json, '}');
}

static int write_publish(const struct nacos_grpc *grpc, const struct place *place,
			 const struct nacos_publish *publish, struct buffer *json)
{
	bool has_cas = grpc->features.has_cas || !publish->encrypted_data_key;
	int error = begin_request(grpc, place, json);

	if (!error && has_cas && publish->cas_md5)
		error = nacos_grpc_json_add(json, "casMd5", publish->cas_md5);
	if (!error)
		error = append_metadata(publish, json);
	if (!error)
		error = nacos_grpc_json_add_bytes(json, "content", publish->content, publish->size);
	return error ? error : buffer_append_byte(json, '}');
}

/* The outcome of a publish that was answered. */
static int judge_publish(const struct nacos_grpc_answer *answer, const char *what,
			 struct call *call, bool *ret_uncertain)
{
	int error = 0;

	if (answer->result_code == NACOS_GRPC_OK)
		return 0;
	switch (answer->error_code) {
	case NACOS_GRPC_ERROR_FORBIDDEN:
		return fail_answer(answer, what, call);
	case NACOS_GRPC_ERROR_REFUSED:
		error = -EINVAL;
		break;
	case NACOS_CODE_OVER_CLUSTER_QUOTA:
	case NACOS_CODE_OVER_GROUP_QUOTA:
	case NACOS_CODE_OVER_NAMESPACE_QUOTA:
		error = -EDQUOT;
		break;
	case NACOS_CODE_OVER_SIZE_QUOTA:
		error = -EFBIG;
		break;
	}
	if (error)
		return call_fail(call, error, "%s: the server does not take it (error %d%s%s)",
				 what, (int)answer->error_code, answer->phrase[0] ? ": " : "",
				 answer->phrase);
	/* The code is that of any trouble; only the words say that it was this. */
	if (answer->is_cas_refused)
		return call_fail(call, -EBUSY, "%s: changed on the server meanwhile", what);
	*ret_uncertain = true;
	return fail_answer(answer, what, call);
}

int nacos_grpc_config_publish(struct nacos_grpc *grpc, const struct place *place,
			      const struct nacos_publish *publish, struct call *call,
			      bool *ret_uncertain)
{
	cleanup_nacos_grpc_answer struct nacos_grpc_answer answer = { .result_code = -1 };
	cleanup_buffer struct buffer json = BUFFER_INIT;
	char what[NACOS_WHAT_SIZE];
	int error;

	*ret_uncertain = false;
	nacos_config_describe(place, what);
	if (write_publish(grpc, place, publish, &json))
		return fail_memory(what, call);
	error = send_request(grpc, "ConfigPublishRequest", place, what, &json, false, call, &answer,
			     ret_uncertain);
	if (error == -EMSGSIZE && json.size > NACOS_ANSWER_LIMIT_SMALL) {
		*ret_uncertain = false;
		return call_fail(call, -EFBIG, "%s: larger than the server takes", what);
	}
	if (error)
		return plain_error(error);
	return judge_publish(&answer, what, call, ret_uncertain);
}

/* ---- remove, and the question ---- */

int nacos_grpc_config_remove(struct nacos_grpc *grpc, const struct place *place,
			     struct call *call)
{
	cleanup_nacos_grpc_answer struct nacos_grpc_answer answer = { .result_code = -1 };
	cleanup_buffer struct buffer json = BUFFER_INIT;
	char what[NACOS_WHAT_SIZE];
	int error;

	nacos_config_describe(place, what);
	if (begin_request(grpc, place, &json) || buffer_append_byte(&json, '}'))
		return fail_memory(what, call);
	error = send_request(grpc, "ConfigRemoveRequest", place, what, &json, true, call, &answer,
			     NULL);
	if (error)
		return plain_error(error);
	return answer.result_code == NACOS_GRPC_OK ? 0 : fail_answer(&answer, what, call);
}

int nacos_grpc_config_check_write(struct nacos_grpc *grpc, const struct place *place,
				  struct call *call)
{
	cleanup_nacos_grpc_answer struct nacos_grpc_answer answer = { .result_code = -1 };
	cleanup_buffer struct buffer json = BUFFER_INIT;
	char what[NACOS_WHAT_SIZE];
	int error;

	nacos_config_describe(place, what);
	if (begin_request(grpc, place, &json) || buffer_append_text(&json, ",\"content\":\"\"}"))
		return fail_memory(what, call);
	error = send_request(grpc, "ConfigPublishRequest", place, what, &json, true, call, &answer,
			     NULL);
	if (error)
		return plain_error(error);
	if (answer.result_code == NACOS_GRPC_OK)
		return call_fail(call, -EIO, "%s: the server took an empty content", what);
	/* Rights are checked first; then come quotas, the name, and the content. */
	switch (answer.error_code) {
	case NACOS_GRPC_ERROR_REFUSED:
	case NACOS_CODE_OVER_CLUSTER_QUOTA:
	case NACOS_CODE_OVER_GROUP_QUOTA:
	case NACOS_CODE_OVER_NAMESPACE_QUOTA:
		return 0;
	}
	return fail_answer(&answer, what, call);
}
