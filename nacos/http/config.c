#include "nacos/http/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "nacos/http/answer.h"
#include "nacos/http/config_answer.h"
#include "nacos/http/request.h"
#include "util/form.h"

/*
 * Servers parse form bodies up to this many (encoded) bytes; larger ones they take without an
 * error, and then miss the parameters in them.
 */
#define FORM_SIZE_MAX 2097152

static int fail_memory(const char *what, struct call *call)
{
	return call_fail(call, -ENOMEM, "%s: out of memory", what);
}

/* Asks once. raw: the answer is the content itself. */
static int ask(struct nacos_client *client, const struct nacos_request *request, bool raw,
	       bool wrapped, const struct nacos_config_question *question, struct call *call,
	       struct nacos_config *ret_config, bool *ret_is_gray)
{
	cleanup_http_answer struct http_answer answer = { 0 };
	int error = nacos_request_send_simple(client, request, call, &answer);

	if (error)
		return error;
	if (raw)
		return nacos_config_answer_read_raw(&answer, question, call, ret_config,
						    ret_is_gray);
	return nacos_config_answer_read_object(&answer, wrapped, question, call, ret_config,
					       ret_is_gray);
}

/* Asks until the answer is whole. */
static int read_config(struct nacos_client *client, const struct nacos_api *api, bool raw,
		       bool wrapped, const struct place *place, struct call *call,
		       struct nacos_config *ret_config, bool *ret_is_gray)
{
	struct nacos_features features = nacos_client_features(client);
	cleanup_buffer struct buffer query = BUFFER_INIT;
	char what[NACOS_WHAT_SIZE];
	struct nacos_config_question question = {
		.what = what,
		.may_be_decrypted = strncmp(place_data_id(place), "cipher-", strlen("cipher-")) == 0,
	};
	struct nacos_request request = {
		.api = api,
		.what = what,
		.namespace_id = place_namespace_id(place),
		.group = place_group(place),
		.answer_limit = NACOS_ANSWER_LIMIT_CONTENT,
	};
	unsigned torn_count = 0;
	int error;

	nacos_config_describe(place, what);
	if (nacos_request_add_place(features.generation, place, &query))
		return fail_memory(what, call);
	request.query = query.data;
	do {
		error = ask(client, &request, raw, wrapped, &question, call, ret_config,
			    ret_is_gray);
	} while (nacos_config_answer_ask_again(what, call, &error, &torn_count));
	return error;
}

int nacos_config_get_detail(struct nacos_client *client, const struct place *place,
			    struct call *call, struct nacos_config *ret_config)
{
	struct nacos_features features = nacos_client_features(client);
	bool is_gray;

	return read_config(client, &features.generation->detail, false,
			   features.generation->wrapped, place, call, ret_config, &is_gray);
}

int nacos_config_confirm_absence(struct nacos_client *client, const struct place *place,
				 struct call *call, struct nacos_config *ret_config)
{
	struct nacos_features features = nacos_client_features(client);
	int error = -EACCES;

	if (features.generation->get_hides_busy)
		error = nacos_config_get_detail(client, place, call, ret_config);
	if (error == -EACCES)
		return call_fail(call, -ENOENT, "config %s: there is none", place_data_id(place));
	return error;
}

int nacos_config_get(struct nacos_client *client, const struct place *place, struct call *call,
		     struct nacos_config *ret_config)
{
	struct nacos_features features = nacos_client_features(client);
	cleanup_nacos_config struct nacos_config config = { 0 };
	bool wrapped = features.generation->wrapped, is_gray = false;
	int error;

	if (!features.get_has_time)
		return nacos_config_get_detail(client, place, call, ret_config);
	error = read_config(client, &features.generation->get, !wrapped, wrapped, place, call,
			    &config, &is_gray);
	if (error == -ENOENT)
		return nacos_config_confirm_absence(client, place, call, ret_config);
	if (error)
		return error;
	/* What is tried out on this host of all is not what a publish would replace. */
	if (is_gray)
		return nacos_config_get_detail(client, place, call, ret_config);
	*ret_config = config;
	config = (struct nacos_config){ 0 };
	return 0;
}

/* Appends the metadata that is there. */
static int add_metadata(const struct nacos_generation *generation,
			const struct nacos_publish *publish, struct buffer *form)
{
	const struct {
		const char *name, *value;
	} fields[] = {
		{ "type", publish->type },
		{ "desc", publish->description },
		{ "appName", publish->app_name },
		{ generation->tags_parameter, publish->tags },
		{ "use", publish->use },
		{ "effect", publish->effect },
		{ "schema", publish->schema },
		{ "encryptedDataKey", publish->encrypted_data_key },
		{ generation->user_parameter, publish->source_user },
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		int error = 0;

		if (fields[i].value)
			error = form_append(form, fields[i].name, fields[i].value);
		if (error)
			return error;
	}
	return 0;
}

static int send_publish(struct nacos_client *client, const struct nacos_request *request,
			bool wrapped, struct call *call, bool *ret_uncertain)
{
	cleanup_http_answer struct http_answer answer = { 0 };
	bool sent = false;
	int error = nacos_request_send(client, request, call, &answer, &sent);

	*ret_uncertain = sent;
	if (error)
		return error == -EMSGSIZE ? -EIO : error;
	return nacos_config_answer_read_publish(&answer, wrapped, request->headers != NULL,
						request->what, call, ret_uncertain);
}

int nacos_config_publish(struct nacos_client *client, const struct place *place,
			 const struct nacos_publish *publish, struct call *call,
			 bool *ret_uncertain)
{
	struct nacos_features features = nacos_client_features(client);
	cleanup_buffer struct buffer form = BUFFER_INIT;
	char what[NACOS_WHAT_SIZE], cas_header[sizeof("casMd5: ") + HASH_MD5_HEX_SIZE];
	const char *const headers[] = { cas_header, NULL };
	struct nacos_request request = {
		.api = &features.generation->publish,
		.what = what,
		.namespace_id = place_namespace_id(place),
		.group = place_group(place),
		.form = &form,
		.answer_limit = NACOS_ANSWER_LIMIT_SMALL,
		.never_repeat = true,
	};

	*ret_uncertain = false;
	nacos_config_describe(place, what);
	if (nacos_request_add_place(features.generation, place, &form) ||
	    add_metadata(features.generation, publish, &form))
		return fail_memory(what, call);
	if (form.size + strlen("&content=") + form_encoded_size(publish->content, publish->size) >
	    FORM_SIZE_MAX)
		return call_fail(call, -EFBIG,
				 "%s: larger than the 2 MiB, percent-encoded, that servers take",
				 what);
	if (form_append_bytes(&form, "content", publish->content, publish->size))
		return fail_memory(what, call);
	if (publish->cas_md5 && features.has_cas) {
		snprintf(cas_header, sizeof(cas_header), "casMd5: %s", publish->cas_md5);
		request.headers = headers;
	}
	return send_publish(client, &request, features.generation->wrapped, call, ret_uncertain);
}

int nacos_config_remove(struct nacos_client *client, const struct place *place, struct call *call)
{
	struct nacos_features features = nacos_client_features(client);
	cleanup_http_answer struct http_answer answer = { 0 };
	cleanup_buffer struct buffer query = BUFFER_INIT;
	char what[NACOS_WHAT_SIZE];
	struct nacos_request request = {
		.api = &features.generation->remove,
		.what = what,
		.namespace_id = place_namespace_id(place),
		.group = place_group(place),
		.answer_limit = NACOS_ANSWER_LIMIT_SMALL,
	};
	int error;

	nacos_config_describe(place, what);
	if (nacos_request_add_place(features.generation, place, &query))
		return fail_memory(what, call);
	request.query = query.data;
	error = nacos_request_send_simple(client, &request, call, &answer);
	if (error)
		return error;
	return nacos_config_answer_read_remove(&answer, features.generation->wrapped, what, call);
}

int nacos_config_check_write(struct nacos_client *client, const struct place *place,
			     struct call *call)
{
	struct nacos_features features = nacos_client_features(client);
	cleanup_http_answer struct http_answer answer = { 0 };
	cleanup_buffer struct buffer form = BUFFER_INIT;
	char what[NACOS_WHAT_SIZE];
	struct nacos_request request = {
		.api = &features.generation->publish,
		.what = what,
		.namespace_id = place_namespace_id(place),
		.group = place_group(place),
		.form = &form,
		.answer_limit = NACOS_ANSWER_LIMIT_SMALL,
	};
	int error;

	nacos_config_describe(place, what);
	if (nacos_request_add_place(features.generation, place, &form) ||
	    form_append(&form, "content", ""))
		return fail_memory(what, call);
	error = nacos_request_send_simple(client, &request, call, &answer);
	if (error)
		return error;
	return nacos_config_answer_read_write_check(&answer, what, call);
}
