/*
 * The stream of a connection: its set-up, and what the server sends by itself. Everything is
 * acknowledged first, and then handed on; a server repeats what is not acknowledged, and drops who
 * does not answer.
 */
#include <errno.h>
#include <string.h>

#include "nacos/grpc/grpc_private.h"
#include "util/json.h"
#include "util/log.h"

#define PATH "/BiRequestStream/requestBiStream"

/* A push names configs, a few at a time. */
#define PUSH_LIMIT ((size_t)1 << 20)

/* So much may wait to be sent; a server that pushes and does not read is not worth more. */
#define UNSENT_MAX ((size_t)1 << 20)

#define REQUEST_SUFFIX "Request"

/* ---- sending ---- */

static int send_on_stream(struct nacos_grpc *grpc, const char *type, const struct buffer *json)
{
	cleanup_buffer struct buffer frame = BUFFER_INIT;
	struct nacos_payload_parts parts = {
		.type = type,
		.client_ip = grpc->connection.local_address,
		.json = json->data,
		.json_size = json->size,
	};
	int error = nacos_payload_append(&parts, &frame);

	return error ? error : h2_stream_send(grpc->connection.stream, frame.data, frame.size);
}

/*
 * The table of abilities makes a 2.3 server confirm the set-up. The label tells it that this is a
 * client, not another server.
 */
static int send_setup(struct nacos_grpc *grpc)
{
	cleanup_buffer struct buffer json = BUFFER_INIT;
	int error = buffer_append_text(
		&json, "{\"clientVersion\":\"nacosfs:v" NACOSFS_VERSION "\",\"tenant\":\"\","
		       "\"labels\":{\"source\":\"sdk\",\"module\":\"config\","
		       "\"AppName\":\"nacosfs\"},\"abilityTable\":{\"fuzzyWatch\":true}}");

	return error ? error : send_on_stream(grpc, "ConnectionSetupRequest", &json);
}

/* Answers a push. extra is more of the JSON, beginning with a comma. */
static int acknowledge(struct nacos_grpc *grpc, const char *type, const char *request_id,
		       int error_code, const char *extra)
{
	cleanup_buffer struct buffer json = BUFFER_INIT;
	int error = buffer_append_format(&json, "{\"resultCode\":%d,\"errorCode\":%d%s",
					 error_code ? NACOS_GRPC_ERROR_FAILED : NACOS_GRPC_OK,
					 error_code, extra);

	if (!error && request_id)
		error = buffer_append_text(&json, ",\"requestId\":");
	if (!error && request_id)
		error = json_append_string(&json, request_id);
	if (!error)
		error = buffer_append_byte(&json, '}');
	return error ? error : send_on_stream(grpc, type, &json);
}

/* ---- what servers push ---- */

static void on_setup_ack(struct nacos_grpc *grpc, const struct json *push)
{
	grpc->connection.has_fuzzy_watch =
		json_is_true(json_member(json_member(push, "abilityTable"), "fuzzyWatch"));
	nacos_grpc_connection_confirm(grpc);
}

static void on_change(struct nacos_grpc *grpc, const struct json *push)
{
	const char *namespace_id = json_text(push, "tenant"), *group = json_text(push, "group");
	const char *data_id = json_text(push, "dataId");

	if (group && data_id)
		nacos_grpc_watch_note_change(grpc->watch, namespace_id, group, data_id);
}

static void on_name(struct nacos_grpc *grpc, const struct json *push)
{
	const char *group_key = json_text(push, "groupKey");
	const char *type = json_text(push, "changeType");

	/* A creation comes as CONFIG_CHANGED. */
	if (group_key && type)
		nacos_grpc_watch_note_name(grpc->watch, group_key, strcmp(type, "DELETE_CONFIG") != 0);
}

static void on_names(struct nacos_grpc *grpc, const struct json *push)
{
	const struct json *context = json_first(json_member(push, "contexts"));
	const char *kind = json_text(push, "syncType");

	/*
	 * What is there already when the watch begins, and what comes until all of that was sent: who watches names compares
	 * them once then.
	 */
	if (kind && !strcmp(kind, "FUZZY_WATCH_INIT_NOTIFY"))
		return;
	if (kind && !strcmp(kind, "FINISH_FUZZY_WATCH_INIT_NOTIFY"))
		nacos_grpc_watch_note_names_untold(grpc->watch);
	for (; context; context = json_next(context)) {
		const char *group_key = json_text(context, "groupKey");
		const char *type = json_text(context, "changedType");

		if (group_key && type)
			nacos_grpc_watch_note_name(grpc->watch, group_key, strcmp(type, "DELETE_CONFIG") != 0);
	}
}

/* The server wants us to go, perhaps to a host that it names (its port is not to be relied on). */
static void on_reset(struct nacos_grpc *grpc, const struct json *push)
{
	const char *address = json_text(push, "serverIp");
	size_t host = 0;

	while (host < grpc->host_count &&
	       (!address || strcmp(grpc->hosts[host].name, address) != 0))
		host++;
	nacos_grpc_connection_leave(grpc, host);
}

struct push_kind {
	const char *type;
	const char *answer; /* its type; NULL: it is not answered */
	const char *extra; /* of the answer */
	void (*handle)(struct nacos_grpc *grpc, const struct json *push);
	bool for_watch; /* nothing but the watch has a use for it */
};

static const struct push_kind push_kinds[] = {
	{ "SetupAckRequest", NULL, "", on_setup_ack, false },
	{ "ConfigChangeNotifyRequest", "ConfigChangeNotifyResponse", "", on_change, true },
	{ "ConfigFuzzyWatchChangeNotifyRequest", "ConfigFuzzyWatchChangeNotifyResponse", "",
	  on_name, true },
	{ "ConfigFuzzyWatchSyncRequest", "ConfigFuzzyWatchSyncResponse", "", on_names, true },
	{ "ConnectResetRequest", "ConnectResetResponse", "", on_reset, false },
	{ "ClientDetectionRequest", "ClientDetectionResponse", "", NULL, false },
	{ "ClientConfigMetricRequest", "ClientConfigMetricResponse", ",\"metrics\":{}", NULL,
	  false },
};

static bool has_suffix(const char *text, const char *suffix)
{
	size_t length = strlen(text), suffix_length = strlen(suffix);

	return length >= suffix_length && strcmp(text + length - suffix_length, suffix) == 0;
}

static int handle_known(struct nacos_grpc *grpc, const struct push_kind *kind,
			const struct json *push)
{
	int error = 0;

	if (kind->answer)
		error = acknowledge(grpc, kind->answer, json_text(push, "requestId"), 0,
				    kind->extra);
	if (!error && kind->handle && (grpc->watch || !kind->for_watch))
		kind->handle(grpc, push);
	return error;
}

/* 0, or -ENOMEM. What does not make sense is passed over: a later server may have more to say. */
static int handle(struct nacos_grpc *grpc, const struct buffer *message)
{
	cleanup_json struct json *push = NULL;
	struct nacos_payload payload;
	int error;

	if (nacos_payload_read(message->data, message->size, &payload))
		return -EBADMSG;
	error = json_parse(payload.json, payload.json_size, &push);
	if (error == -ENOMEM)
		return error;
	if (error) {
		log_debug("gRPC: a push of type %s is no JSON", payload.type);
		return 0;
	}
	for (size_t i = 0; i < sizeof(push_kinds) / sizeof(push_kinds[0]); i++) {
		if (strcmp(push_kinds[i].type, payload.type) == 0)
			return handle_known(grpc, &push_kinds[i], push);
	}
	log_debug("gRPC: a push of an unknown type: %s", payload.type);
	if (!has_suffix(payload.type, REQUEST_SUFFIX))
		return 0;
	return acknowledge(grpc, "ErrorResponse", json_text(push, "requestId"),
			   NACOS_GRPC_ERROR_NO_HANDLER, "");
}

/* ---- the stream ---- */

static void on_header(void *arg, const char *name, const char *value)
{
	/* Whatever is wrong with the stream, it will end, and that is all that matters. */
	(void)arg;
	(void)name;
	(void)value;
}

static int on_data(void *arg, const void *data, size_t size)
{
	struct nacos_grpc *grpc = arg;
	struct nacos_grpc_connection *connection = &grpc->connection;

	while (size > 0) {
		size_t used = 0;
		int error = nacos_frames_take(&connection->pushes, data, size, &used);

		if (error)
			return error;
		data = (const char *)data + used;
		size -= used;
		if (!connection->pushes.complete)
			continue;
		pthread_mutex_lock(&grpc->lock);
		grpc->status.pushes++;
		pthread_mutex_unlock(&grpc->lock);
		error = handle(grpc, &connection->pushes.message);
		if (!error && h2_stream_unsent(connection->stream) > UNSENT_MAX)
			error = -EMSGSIZE;
		if (error)
			return error;
	}
	return 0;
}

static void on_ended(void *arg, const struct h2_end *end)
{
	struct nacos_grpc *grpc = arg;

	grpc->connection.stream = NULL;
	if (end->error && end->error != -EIO)
		nacos_grpc_connection_doom(grpc, -EIO, "what the server pushes makes no sense");
	else
		nacos_grpc_connection_doom(grpc, -EIO, "the server closed the stream");
}

int nacos_grpc_push_open(struct nacos_grpc *grpc)
{
	static const struct h2_stream_events events = {
		.header = on_header,
		.data = on_data,
		.ended = on_ended,
	};
	const struct h2_request request = {
		.method = "POST",
		.path = PATH,
		.headers = nacos_grpc_headers,
		.header_count = NACOS_GRPC_HEADER_COUNT,
		.goes_on = true,
	};
	struct nacos_grpc_connection *connection = &grpc->connection;
	int error;

	connection->pushes = (struct nacos_frames){ .limit = PUSH_LIMIT };
	error = h2_stream_open(connection->h2, &request, &events, grpc, &connection->stream);
	return error ? error : send_setup(grpc);
}
