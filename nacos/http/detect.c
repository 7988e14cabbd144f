#include "nacos/http/detect.h"

#include <errno.h>
#include <string.h>

#include "nacos/http/answer.h"
#include "nacos/http/client_private.h"
#include "nacos/http/login.h"
#include "nacos/http/request.h"
#include "util/json.h"
#include "util/log.h"

/* A config that nobody has: its name says to whoever reads the server's log who asked. */
#define PROBE_NAME "nacosfs.connect.probe"

/* The version that 3.x is taken for when it hides its own. */
#define OLDEST_3 "3.0.0"

int nacos_detect_read_version(const struct http_answer *answer,
			      struct nacos_features *ret_features)
{
	cleanup_json struct json *document = NULL;
	const struct json *data;
	const char *version;
	int error;

	if (answer->status != 200)
		return -ENOENT;
	error = json_parse(answer->body.data, answer->body.size, &document);
	if (error)
		return error == -ENOMEM ? error : -ENOENT;
	data = json_member(document, "data");
	version = json_text(document, "version");
	if (!version)
		version = json_text(data, "version");
	if (!version)
		version = json_text(json_member(data, "extendInfo"), "version");
	if (nacos_features_from_version(version, ret_features))
		return -ENOENT;
	return 0;
}

bool nacos_detect_is_nacos(const struct http_answer *answer)
{
	if (answer->status == 404)
		return nacos_answer_has_text(answer, "config data not exist");
	if (answer->status == 409)
		return nacos_answer_has_text(answer, "requested file is being modified");
	if (answer->status != 403)
		return false;
	return nacos_answer_refusal(answer) == NACOS_REFUSAL_TOKEN ||
	       nacos_answer_has_text(answer, "authorization failed") ||
	       nacos_answer_has_text(answer, "\"/nacos/v1/cs/configs\"");
}

static int ask(struct nacos_client *client, const struct nacos_api *api, bool anonymous, struct call *call,
	       struct http_answer *ret_answer)
{
	struct nacos_request request = {
		.api = api,
		.what = "connect",
		.answer_limit = NACOS_ANSWER_LIMIT_SMALL,
		.takes_refusals = true,
		.namespace_id = "public", /* of PROBE_NAME */
		.group = PROBE_NAME,
	};
	bool sent;
	int error = anonymous ? nacos_hosts_send(client, &request, call, ret_answer, &sent)
			      : nacos_request_send(client, &request, call, ret_answer, &sent);

	/* It was reached, and what it said is no answer of Nacos. */
	if (error == -EIO || error == -EMSGSIZE)
		return call_fail(call, -EPROTO, "not a Nacos server? %s", call->reason);
	if (error)
		return error;

	if (ret_answer->status >= 300 && ret_answer->status < 400)
		error = call_fail(call, -EPROTO,
				  "not a Nacos server, or not its address: it redirects (HTTP %d)",
				  ret_answer->status);
	else if (ret_answer->status >= 502 && ret_answer->status <= 504)
		error = call_fail(call, -EHOSTUNREACH,
				  "the server, or the gateway before it, is not ready (HTTP %d)",
				  ret_answer->status);
	if (error)
		http_answer_release(ret_answer);
	return error;
}

/*
 * Asks the calls that tell the version. -ENOENT when none does. The last of them is not meant for
 * this, but managed servers, which have no console, do have it.
 */
static int find_version(struct nacos_client *client, struct call *call,
			struct nacos_features *ret_features)
{
	static const struct nacos_api apis[] = {
		{ "GET", "/v3/admin/core/state", NULL },
		{ "GET", "/v1/console/server/state", NULL },
		{ "GET", "/v1/core/cluster/self", NULL },
	};
	bool has_v1_switched_off = false;

	for (size_t i = 0; i < sizeof(apis) / sizeof(apis[0]); i++) {
		cleanup_http_answer struct http_answer answer = { 0 };
		int error = ask(client, &apis[i], true, call, &answer);

		if (!error)
			error = nacos_detect_read_version(&answer, ret_features);
		if (error != -ENOENT)
			return error;
		if (answer.status == 410)
			has_v1_switched_off = true;
	}
	if (has_v1_switched_off)
		return nacos_features_from_version(OLDEST_3, ret_features);
	return -ENOENT;
}

/* Tells a Nacos that hides its version from something else. */
static int check_is_nacos(struct nacos_client *client, struct call *call)
{
	static const struct nacos_api probe = {
		"GET", "/v1/cs/configs", "dataId=" PROBE_NAME "&group=" PROBE_NAME,
	};
	cleanup_http_answer struct http_answer answer = { 0 };
	int error = ask(client, &probe, true, call, &answer);

	if (error)
		return error;
	if (nacos_detect_is_nacos(&answer))
		return 0;
	return call_fail(call, -EPROTO,
			 "not a Nacos server: /nacos/v1/cs/configs answers HTTP %d in another way",
			 answer.status);
}

/*
 * Without a user name: may a client read without a login, or with its access key? Only a server that
 * wants another one is an error, not that there is no right to read that.
 */
static int check_login_is_optional(struct nacos_client *client,
				   const struct nacos_generation *generation, struct call *call)
{
	cleanup_place struct place *probe = place_new("public", PROBE_NAME, PROBE_NAME);
	cleanup_http_answer struct http_answer answer = { 0 };
	cleanup_buffer struct buffer query = BUFFER_INIT;
	int error = probe ? nacos_request_add_place(generation, probe, &query) : -ENOMEM;
	struct nacos_api api = { generation->get.method, generation->get.path, query.data };

	if (error)
		return call_fail(call, error, "connect: out of memory");
	error = ask(client, &api, false, call, &answer);
	if (error)
		return error;
	if (nacos_answer_refusal(&answer) == NACOS_REFUSAL_TOKEN)
		return call_fail(call, -EACCES, "the server %s",
				 client->credentials.get
					 ? "does not take the access key (access_key_file=, ram_role=)"
					 : "wants a login (username=, password_file=)");
	return 0;
}

static int detect(struct nacos_client *client, struct call *call,
		  struct nacos_features *ret_features)
{
	int error = find_version(client, call, ret_features);

	if (error != -ENOENT)
		return error;
	error = check_is_nacos(client, call);
	if (!error)
		nacos_features_assume_managed(ret_features);
	return error;
}

int nacos_client_connect(struct nacos_client *client, struct call *call)
{
	cleanup_buffer_wipe struct buffer token_header = BUFFER_INIT;
	struct nacos_features features;
	unsigned long serial;
	int error = detect(client, call, &features);

	if (error == -ENOMEM)
		return call_fail(call, error, "connect: out of memory");
	if (error)
		return error;

	pthread_mutex_lock(&client->lock);
	client->features = features;
	pthread_mutex_unlock(&client->lock);
	if (client->username)
		error = nacos_login_get_header(client, 0, call, &token_header, &serial);
	else
		error = check_login_is_optional(client, features.generation, call);
	if (error)
		return error;
	if (features.major > 0)
		log_debug("connected to Nacos %d.%d.%d", features.major, features.minor,
			 features.patch);
	else
		log_debug("connected to a Nacos that does not tell its version, taken for %s",
			 features.generation->name);
	return 0;
}
