/* Telling the server in which namespaces names are watched as they come and go (3.x). */
#include <errno.h>

#include "nacos/grpc/json.h"
#include "nacos/grpc/watch_private.h"

/* Error codes of the watch for names. */
#define ERROR_TOO_MANY_PATTERNS 50310
#define ERROR_TOO_MANY_NAMES 50311

static int judge(int error, const struct nacos_grpc_answer *answer)
{
	if (error)
		return error;
	if (answer->result_code == NACOS_GRPC_OK)
		return 0;
	switch (answer->error_code) {
	case NACOS_GRPC_ERROR_FORBIDDEN:
		return -EACCES;
	case ERROR_TOO_MANY_PATTERNS:
		return -EDQUOT;
	case ERROR_TOO_MANY_NAMES:
		return -E2BIG;
	}
	return -EIO;
}

/* Without the lock. */
static int send_names(struct nacos_grpc_watch *watch, const char *namespace_id, bool is_wanted, uint64_t epoch)
{
	cleanup_nacos_grpc_answer struct nacos_grpc_answer answer = { .result_code = -1 };
	cleanup_buffer struct buffer json = BUFFER_INIT;
	cleanup_buffer struct buffer pattern = BUFFER_INIT;
	int error = buffer_append_format(&pattern, "%s>>*>>*", nacos_grpc_watch_wire_namespace(watch, namespace_id));

	if (!error)
		error = buffer_append_byte(&json, '{');
	if (!error)
		error = nacos_grpc_json_add(&json, "groupKeyPattern", pattern.data);
	if (!error)
		error = nacos_grpc_json_add(&json, "watchType", is_wanted ? "WATCH" : "CANCEL_WATCH");
	if (!error)
		error = buffer_append_text(&json, ",\"initializing\":true,\"receivedGroupKeys\":[]}");
	if (error)
		return error;
	error = nacos_grpc_watch_send(watch, "ConfigFuzzyWatchRequest", "watching names", &json, epoch, &answer);
	return judge(error, &answer);
}

/* A namespace that the server must be told about. */
static struct nacos_watch_names *next_names(const struct nacos_grpc_watch *watch)
{
	struct nacos_watch_names *names = watch->feeder.watch->namespaces;

	if (!nacos_grpc_watch_can_tell(watch))
		return NULL;
	while (names && (names->is_tried || (!names->is_wanted && !names->is_told)))
		names = names->next;
	return names;
}

/* Keeps what came of telling the server. */
static void settle(struct nacos_grpc_watch *watch, struct nacos_watch_names *names, bool was_wanted, uint64_t epoch,
		   int error)
{
	bool is_news = was_wanted && names->is_wanted && watch->epoch == epoch &&
		       (!names->is_settled || names->error != error);

	names->is_told = was_wanted && (error == 0 || error == -E2BIG);
	switch (error) {
	case 0:
	case -EACCES:
	case -EDQUOT:
	case -E2BIG:
	case -EOPNOTSUPP:
		break;
	default:
		names->is_tried = false;
		nacos_grpc_watch_delay(watch);
	}
	if (is_news)
		nacos_watch_note_names(watch->feeder.watch, names, error);
	else
		names->error = error;
}

bool nacos_grpc_watch_tell_names(struct nacos_grpc_watch *watch)
{
	struct nacos_watch_names *names = next_names(watch);
	int error = -EOPNOTSUPP;

	if (!names)
		return false;
	bool is_wanted = names->is_wanted;
	uint64_t epoch = watch->epoch;
	names->is_tried = true;
	if (watch->has_fuzzy_watch) {
		nacos_watch_unlock(watch->feeder.watch);
		/* It is not freed before the set. */
		error = send_names(watch, names->namespace_id, is_wanted, epoch);
		nacos_watch_lock(watch->feeder.watch);
	}
	settle(watch, names, is_wanted, epoch, error);
	return true;
}
