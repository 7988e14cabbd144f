/* What is watched, told to a server that plays scripts, and what is reported of it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nacos/grpc/grpc.h"
#include "nacos/watch.h"
#include "tests/unit/nacos_peer.h"
#include "util/log.h"

#define FORBIDDEN "{\"resultCode\":500,\"errorCode\":403,\"message\":\"authorization failed!\"}"
#define MD5_A "0123456789abcdef0123456789abcdef"
#define MD5_B "fedcba9876543210fedcba9876543210"

#define EVENTS_MAX 512

struct fixture {
	struct fake fake;
	struct nacos_watch *watch;
	struct nacos_grpc *grpc;

	pthread_mutex_t lock;
	char events[EVENTS_MAX][64]; /* "changed public/G/a" and the like */
	size_t event_count;
	char answer[4096]; /* to a request to listen; "" : nothing has changed */
	const char *names_answer;
};

/* The fake server has no room for more; and tests run one at a time. */
static struct fixture *current;

static void add_event(const char *what, const char *namespace_id, const char *group,
		      const char *data_id)
{
	pthread_mutex_lock(&current->lock);
	assert_true(current->event_count < EVENTS_MAX);
	snprintf(current->events[current->event_count++], sizeof(current->events[0]), "%s %s/%s/%s",
		 what, namespace_id, group, data_id);
	pthread_mutex_unlock(&current->lock);
}

static void on_changed(void *arg, struct place *place)
{
	(void)arg;
	add_event("changed", place_namespace_id(place), place_group(place), place_data_id(place));
}

static void on_refused(void *arg, struct place *place)
{
	(void)arg;
	add_event("refused", place_namespace_id(place), place_group(place), place_data_id(place));
}

static void on_named(void *arg, struct place *place, bool exists)
{
	(void)arg;
	add_event(exists ? "appeared" : "vanished", place_namespace_id(place), place_group(place), place_data_id(place));
}

static void on_names_watched(void *arg, const char *namespace_id, int error)
{
	char text[16];

	(void)arg;
	snprintf(text, sizeof(text), "%d", error);
	add_event("names", namespace_id, text, "");
}

static void on_live(void *arg, bool live)
{
	(void)arg;
	add_event(live ? "live" : "dead", "", "", "");
}

static size_t count_events(const char *event)
{
	size_t count = 0;

	pthread_mutex_lock(&current->lock);
	for (size_t i = 0; i < current->event_count; i++)
		count += strcmp(current->events[i], event) == 0;
	pthread_mutex_unlock(&current->lock);
	return count;
}

static bool wait_for_event(const char *event, size_t count)
{
	int64_t end_ms = clock_monotonic_ms() + FAKE_TIMEOUT_MS;

	while (count_events(event) < count) {
		if (clock_monotonic_ms() > end_ms)
			return false;
		usleep(2000);
	}
	return true;
}

static struct fake_reply reply_listening(struct fake *fake, const char *type, const char *json)
{
	struct fake_reply reply = { FAKE_ANSWER, "ConfigChangeBatchListenResponse", FAKE_OK };

	(void)fake;
	(void)json;
	pthread_mutex_lock(&current->lock);
	if (strcmp(type, "ConfigFuzzyWatchRequest") == 0) {
		reply.type = "ConfigFuzzyWatchResponse";
		if (current->names_answer)
			reply.json = current->names_answer;
	} else if (current->answer[0]) {
		reply.json = current->answer;
	}
	pthread_mutex_unlock(&current->lock);
	return reply;
}

static void start(const char *version, bool negotiates, bool has_fuzzy_watch,
		  struct fake_reply (*reply)(struct fake *, const char *, const char *))
{
	static const struct nacos_watch_events events = {
		on_changed, on_refused, on_named, on_names_watched, on_live,
	};
	struct nacos_host host = { (char *)(uintptr_t) "127.0.0.1", 0 };
	struct nacos_grpc_options options = { .hosts = &host, .host_count = 1 };

	current = calloc(1, sizeof(*current));
	pthread_mutex_init(&current->lock, NULL);
	current->fake.negotiates = negotiates;
	current->fake.has_fuzzy_watch = has_fuzzy_watch;
	current->fake.reply = reply;
	fake_start(&current->fake);
	host.port = current->fake.port - 1000;
	nacos_features_from_version(version, &options.features);
	assert_int_equal(nacos_watch_new(&current->watch), 0);
	nacos_watch_set_events(current->watch, &events, NULL);
	assert_int_equal(nacos_watch_start(current->watch), 0);
	options.watch = current->watch;
	assert_int_equal(nacos_grpc_new(&options, &current->grpc), 0);
}

static void finish(void)
{
	nacos_watch_stop(current->watch);
	nacos_grpc_free(current->grpc);
	nacos_watch_free(current->watch);
	fake_stop(&current->fake);
	pthread_mutex_destroy(&current->lock);
	free(current);
	current = NULL;
}

static void set_answer(const char *answer)
{
	pthread_mutex_lock(&current->lock);
	snprintf(current->answer, sizeof(current->answer), "%s", answer);
	pthread_mutex_unlock(&current->lock);
}

static void watch(const char *namespace_id, const char *group, const char *data_id, const char *md5)
{
	cleanup_place struct place *place = place_new(namespace_id, group, data_id);

	assert_int_equal(nacos_watch_add(current->watch, place, md5), 0);
}

static void unwatch(const char *namespace_id, const char *group, const char *data_id)
{
	cleanup_place struct place *place = place_new(namespace_id, group, data_id);

	nacos_watch_remove(current->watch, place);
}

static bool is_watched(const char *namespace_id, const char *group, const char *data_id)
{
	cleanup_place struct place *place = place_new(namespace_id, group, data_id);

	return nacos_watch_tells(current->watch, place);
}

#define LISTEN "ConfigBatchListenRequest"

/* ---- configs ---- */

static void test_one_request_a_namespace(void **state)
{
	(void)state;
	start("2.2.4", false, false, reply_listening);
	for (int i = 0; i < 500; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		watch(i % 2 ? "public" : "dev", "G", name, MD5_A);
	}
	assert_false(is_watched("dev", "G", "n0"));
	assert_int_equal(nacos_grpc_start(current->grpc), 0);
	assert_true(wait_for_event("live //", 1));
	assert_true(is_watched("dev", "G", "n0"));
	assert_true(is_watched("public", "G", "n499"));
	assert_false(is_watched("public", "G", "n0"));
	assert_int_equal(fake_count(&current->fake, LISTEN, NULL), 2);
	/* "public" is called "" there. */
	assert_int_equal(
		fake_count(&current->fake, LISTEN,
			   "{\"dataId\":\"n1\",\"group\":\"G\",\"tenant\":\"\",\"md5\":\"" MD5_A
			   "\"}"),
		1);
	assert_int_equal(fake_count(&current->fake, LISTEN, "\"tenant\":\"dev\""), 1);
	assert_int_equal(count_events("changed dev/G/n0"), 0);
	finish();
}

static void test_changes_are_reported(void **state)
{
	(void)state;
	start("3.1.0", true, false, reply_listening);
	assert_int_equal(nacos_grpc_start(current->grpc), 0);
	/* What differs already. */
	set_answer("{\"resultCode\":200,\"changedConfigs\":[{\"dataId\":\"a\",\"group\":\"G\","
		   "\"tenant\":\"dev\"},{\"dataId\":\"unknown\",\"group\":\"G\"},{},7]}");
	watch("dev", "G", "a", MD5_A);
	watch("dev", "G", "b", "");
	assert_true(wait_for_event("changed dev/G/a", 1));
	set_answer("");
	watch("public", "G", "c", "");
	assert_true(fake_wait(&current->fake, LISTEN, "\"tenant\":\"public\"", 1));
	assert_true(wait_for_event("live //", 1));

	/* What is pushed; no namespace is the public one. */
	fake_push(&current->fake, "ConfigChangeNotifyRequest",
		  "{\"requestId\":\"1\",\"dataId\":\"b\",\"group\":\"G\",\"tenant\":\"dev\"}");
	fake_push(&current->fake, "ConfigChangeNotifyRequest",
		  "{\"requestId\":\"2\",\"dataId\":\"c\",\"group\":\"G\",\"tenant\":null}");
	fake_push(&current->fake, "ConfigChangeNotifyRequest",
		  "{\"requestId\":\"3\",\"dataId\":\"unknown\",\"group\":\"G\"}");
	fake_push(&current->fake, "ConfigChangeNotifyRequest", "{\"requestId\":\"4\"}");
	assert_true(wait_for_event("changed dev/G/b", 1));
	assert_true(wait_for_event("changed public/G/c", 1));
	assert_true(fake_wait(&current->fake, "ConfigChangeNotifyResponse", NULL, 4));
	assert_int_equal(count_events("changed public/G/unknown"), 0);
	finish();
}

static void test_a_new_md5_costs_no_request(void **state)
{
	size_t requests;

	(void)state;
	start("3.1.0", true, false, reply_listening);
	assert_int_equal(nacos_grpc_start(current->grpc), 0);
	watch("dev", "G", "a", MD5_A);
	assert_true(fake_wait(&current->fake, LISTEN, NULL, 1));
	assert_true(wait_for_event("live //", 1));
	requests = fake_count(&current->fake, LISTEN, NULL);
	watch("dev", "G", "a", MD5_B);
	usleep(50000);
	assert_int_equal(fake_count(&current->fake, LISTEN, NULL), requests);
	finish();
}

static void test_everything_is_told_again_after_a_lost_connection(void **state)
{
	(void)state;
	start("3.1.0", true, false, reply_listening);
	watch("dev", "G", "a", MD5_A);
	watch("dev", "G", "gone", MD5_A);
	assert_int_equal(nacos_grpc_start(current->grpc), 0);
	assert_true(wait_for_event("live //", 1));
	watch("dev", "G", "a", MD5_B);
	unwatch("dev", "G", "gone");
	assert_true(fake_wait(&current->fake, LISTEN, "\"listen\":false", 1));

	set_answer("{\"resultCode\":200,\"changedConfigs\":[{\"dataId\":\"a\",\"group\":\"G\","
		   "\"tenant\":\"dev\"}]}");
	atomic_store(&current->fake.hang_up, true);
	assert_true(wait_for_event("dead //", 1));
	assert_true(wait_for_event("live //", 2));
	assert_true(wait_for_event("changed dev/G/a", 1));
	/* With the MD5 held now, and without what is not watched any more. */
	assert_int_equal(fake_count(&current->fake, LISTEN, "\"md5\":\"" MD5_B "\""), 1);
	assert_int_equal(fake_count(&current->fake, LISTEN, "gone"), 2);
	assert_true(is_watched("dev", "G", "a"));
	finish();
}

static void test_what_is_not_watched_is_not_reported(void **state)
{
	(void)state;
	start("3.1.0", true, false, reply_listening);
	watch("dev", "G", "a", MD5_A);
	watch("dev", "G", "b", MD5_A);
	assert_int_equal(nacos_grpc_start(current->grpc), 0);
	assert_true(wait_for_event("live //", 1));
	unwatch("dev", "G", "a");
	unwatch("dev", "G", "never");
	assert_true(fake_wait(&current->fake, LISTEN, "\"listen\":false", 1));
	fake_push(&current->fake, "ConfigChangeNotifyRequest",
		  "{\"dataId\":\"a\",\"group\":\"G\",\"tenant\":\"dev\"}");
	fake_push(&current->fake, "ConfigChangeNotifyRequest",
		  "{\"dataId\":\"b\",\"group\":\"G\",\"tenant\":\"dev\"}");
	assert_true(wait_for_event("changed dev/G/b", 1));
	assert_int_equal(count_events("changed dev/G/a"), 0);
	assert_false(is_watched("dev", "G", "a"));
	/* And wanted again. */
	watch("dev", "G", "a", MD5_A);
	assert_true(fake_wait(&current->fake, LISTEN, "\"listen\":true", 2));
	finish();
}

/* ---- rights ---- */

/* May watch the group G1, and of G2 the config "mine". */
static struct fake_reply reply_narrow(struct fake *fake, const char *type, const char *json)
{
	bool allowed = strstr(json, "true,\"tenant\":\"dev\",\"group\":\"G1\"") ||
		       strstr(json, "\"group\":\"G2\",\"dataId\":\"mine\",\"configListen");

	(void)fake;
	(void)type;
	return (struct fake_reply){ FAKE_ANSWER, "ConfigChangeBatchListenResponse",
				    allowed ? FAKE_OK : FORBIDDEN };
}

static void watch_narrow_set(void)
{
	watch("dev", "G1", "a", MD5_A);
	watch("dev", "G1", "b", MD5_A);
	watch("dev", "G2", "mine", MD5_A);
	watch("dev", "G2", "theirs", MD5_A);
}

static void test_narrow_rights(void **state)
{
	struct nacos_watch_counts counts;

	(void)state;
	start("3.1.0", true, false, reply_narrow);
	watch_narrow_set();
	assert_int_equal(nacos_grpc_start(current->grpc), 0);
	assert_true(wait_for_event("live //", 1));
	assert_true(is_watched("dev", "G1", "a"));
	assert_true(is_watched("dev", "G1", "b"));
	assert_true(is_watched("dev", "G2", "mine"));
	assert_false(is_watched("dev", "G2", "theirs"));
	assert_int_equal(count_events("refused dev/G2/theirs"), 1);
	assert_int_equal(count_events("refused dev/G2/mine"), 0);
	/* The namespace, two groups, two configs. */
	assert_int_equal(fake_count(&current->fake, LISTEN, NULL), 5);
	nacos_watch_count(current->watch, &counts);
	assert_int_equal(counts.watched, 4);
	assert_int_equal(counts.waiting, 0);
	assert_int_equal(counts.refused, 1);

	/* What was found out is remembered. */
	watch("dev", "G1", "c", "");
	assert_true(fake_wait(&current->fake, LISTEN, "\"dataId\":\"c\"", 1));
	usleep(20000);
	assert_true(is_watched("dev", "G1", "c"));
	assert_int_equal(fake_count(&current->fake, LISTEN, NULL), 6);
	finish();
}

static void test_narrow_rights_on_an_old_server(void **state)
{
	(void)state;
	start("2.2.4", false, false, reply_narrow);
	watch_narrow_set();
	assert_int_equal(nacos_grpc_start(current->grpc), 0);
	assert_true(wait_for_event("refused dev/G1/a", 1));
	assert_true(wait_for_event("refused dev/G2/theirs", 1));
	assert_int_equal(fake_count(&current->fake, LISTEN, NULL), 1);
	assert_false(is_watched("dev", "G1", "a"));
	finish();
}

static struct fake_reply reply_failing_once(struct fake *fake, const char *type, const char *json)
{
	struct fake_reply reply = reply_listening(fake, type, json);

	if (atomic_fetch_add(&fake->script, 1) == 0)
		reply.json = "{\"resultCode\":500,\"errorCode\":500,\"message\":\"later\"}";
	return reply;
}

static void test_trouble_is_tried_again(void **state)
{
	(void)state;
	start("3.1.0", true, false, reply_failing_once);
	watch("dev", "G", "a", MD5_A);
	assert_int_equal(nacos_grpc_start(current->grpc), 0);
	assert_true(wait_for_event("live //", 1));
	assert_true(is_watched("dev", "G", "a"));
	assert_int_equal(fake_count(&current->fake, LISTEN, NULL), 2);
	finish();
}

/* ---- names ---- */

static void test_names_that_come_and_go(void **state)
{
	(void)state;
	start("3.1.0", true, true, reply_listening);
	assert_int_equal(nacos_watch_add_names(current->watch, "dev"), 0);
	assert_int_equal(nacos_grpc_start(current->grpc), 0);
	assert_true(wait_for_event("names dev/0/", 1));
	assert_int_equal(fake_count(&current->fake, "ConfigFuzzyWatchRequest",
				    "\"groupKeyPattern\":\"dev>>*>>*\",\"watchType\":\"WATCH\""),
			 1);
	/* What is there already is no news. */
	fake_push(&current->fake, "ConfigFuzzyWatchSyncRequest",
		  "{\"requestId\":\"0\",\"syncType\":\"FUZZY_WATCH_INIT_NOTIFY\",\"contexts\":[{\"groupKey\":"
		  "\"old+G+dev\",\"changedType\":\"ADD_CONFIG\"}]}");
	fake_push(&current->fake, "ConfigFuzzyWatchSyncRequest",
		  "{\"requestId\":\"1\",\"contexts\":[{\"groupKey\":\"a+G+dev\",\"changedType\":"
		  "\"ADD_CONFIG\"},{\"groupKey\":\"b+G+dev\",\"changedType\":\"DELETE_CONFIG\"},"
		  "{\"groupKey\":\"broken\",\"changedType\":\"ADD_CONFIG\"},{}]}");
	fake_push(&current->fake, "ConfigFuzzyWatchChangeNotifyRequest",
		  "{\"requestId\":\"2\",\"groupKey\":\"c%2B%25+G+dev\",\"changeType\":"
		  "\"CONFIG_CHANGED\"}");
	fake_push(&current->fake, "ConfigFuzzyWatchChangeNotifyRequest",
		  "{\"requestId\":\"3\",\"groupKey\":\"d+G+\",\"changeType\":\"DELETE_CONFIG\"}");
	assert_true(wait_for_event("appeared dev/G/a", 1));
	assert_true(wait_for_event("vanished dev/G/b", 1));
	assert_true(wait_for_event("appeared dev/G/c+%", 1));
	assert_true(wait_for_event("vanished public/G/d", 1));
	assert_int_equal(count_events("appeared dev/G/old"), 0);
	assert_true(fake_wait(&current->fake, "ConfigFuzzyWatchSyncResponse", NULL, 2));
	assert_true(fake_wait(&current->fake, "ConfigFuzzyWatchChangeNotifyResponse", NULL, 2));

	/* After a lost connection all has to be compared. */
	atomic_store(&current->fake.hang_up, true);
	assert_true(wait_for_event("names dev/0/", 2));
	nacos_watch_remove_names(current->watch, "dev");
	assert_true(fake_wait(&current->fake, "ConfigFuzzyWatchRequest", "CANCEL_WATCH", 1));
	assert_int_equal(count_events("names dev/0/"), 2);
	finish();
}

static void expect_names_error(const char *answer, bool has_fuzzy_watch, const char *event)
{
	start("3.1.0", true, has_fuzzy_watch, reply_listening);
	current->names_answer = answer;
	assert_int_equal(nacos_watch_add_names(current->watch, "dev"), 0);
	assert_int_equal(nacos_grpc_start(current->grpc), 0);
	assert_true(wait_for_event(event, 1));
	finish();
}

static void test_names_that_are_not_told(void **state)
{
	(void)state;
	expect_names_error(NULL, false, "names dev/-95/");
	expect_names_error(FORBIDDEN, true, "names dev/-13/");
	expect_names_error("{\"resultCode\":500,\"errorCode\":50310}", true, "names dev/-122/");
	expect_names_error("{\"resultCode\":500,\"errorCode\":50311}", true, "names dev/-7/");
	expect_names_error("{\"resultCode\":500,\"errorCode\":500}", true, "names dev/-5/");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_request_a_namespace),
		cmocka_unit_test(test_changes_are_reported),
		cmocka_unit_test(test_a_new_md5_costs_no_request),
		cmocka_unit_test(test_everything_is_told_again_after_a_lost_connection),
		cmocka_unit_test(test_what_is_not_watched_is_not_reported),
		cmocka_unit_test(test_narrow_rights),
		cmocka_unit_test(test_narrow_rights_on_an_old_server),
		cmocka_unit_test(test_trouble_is_tried_again),
		cmocka_unit_test(test_names_that_come_and_go),
		cmocka_unit_test(test_names_that_are_not_told),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
