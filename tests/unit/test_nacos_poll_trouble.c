/* The HTTP watch: rights, and servers that misbehave. */
#include "tests/unit/poll_peer.h"

/* ---- rights ---- */

static bool refuse_all(const char *query)
{
	(void)query;
	return true;
}

/* A grant on dev:G1:* and one on dev:G2:config/only. */
static bool refuse_wide(const char *query)
{
	return strcmp(query, "tenant=dev&group=G1&dataId=%2A") != 0 &&
	       strcmp(query, "tenant=dev&group=G2&dataId=only") != 0;
}

static void test_refused(void **state)
{
	struct nacos_watch_counts counts;

	(void)state;
	prepare();
	current->server.is_refused = refuse_all;
	watch("dev", "G", "a", MD5_A);
	start();
	assert_true(wait_for_event("refused dev/G/a", 1));
	assert_true(wait_for_event("live ", 1));
	assert_false(is_watched("dev", "G", "a"));
	nacos_watch_count(current->watch, &counts);
	assert_int_equal(counts.refused, 1);
	assert_int_equal(server_number(&current->server.holds), 0);
	finish();
}

static void test_narrow_rights(void **state)
{
	(void)state;
	prepare();
	current->server.is_refused = refuse_wide;
	watch("dev", "G1", "a", "");
	watch("dev", "G1", "b", "");
	watch("dev", "G2", "only", "");
	watch("dev", "G2", "other", "");
	start();
	assert_true(wait_for_event("live ", 1));
	assert_int_equal(count_events("refused dev/G2/other"), 1);
	assert_true(is_watched("dev", "G1", "a"));
	assert_true(is_watched("dev", "G1", "b"));
	assert_true(is_watched("dev", "G2", "only"));
	assert_false(is_watched("dev", "G2", "other"));
	assert_int_equal(server_number(&current->server.held_now), 1);
	/* What was refused is in no hold. */
	assert_int_equal(current->server.records, 3);
	assert_null(strstr(current->server.last_hold, "other"));
	finish();
}

static void set_refusal(bool (*is_refused)(const char *))
{
	pthread_mutex_lock(&current->server.lock);
	current->server.is_refused = is_refused;
	current->server.epoch++;
	pthread_cond_broadcast(&current->server.changed);
	pthread_mutex_unlock(&current->server.lock);
}

static void test_right_is_withdrawn(void **state)
{
	(void)state;
	prepare();
	watch("dev", "G1", "a", "");
	start();
	assert_true(wait_until_watched("dev", "G1", "a"));
	set_refusal(refuse_all);
	assert_true(wait_for_event("refused dev/G1/a", 1));
	assert_false(is_watched("dev", "G1", "a"));
	finish();
}

/* ---- trouble ---- */

static void test_lost_and_found(void **state)
{
	(void)state;
	prepare();
	watch("dev", "G", "a", "");
	assert_int_equal(nacos_watch_add_names(current->watch, "dev"), 0);
	start();
	assert_true(wait_for_event("live ", 1));
	assert_true(wait_for_event("names dev", 1));

	pthread_mutex_lock(&current->server.lock);
	current->server.status = 502;
	current->server.epoch++;
	pthread_cond_broadcast(&current->server.changed);
	pthread_mutex_unlock(&current->server.lock);
	assert_true(wait_for_event("dead ", 1));
	assert_false(is_watched("dev", "G", "a"));
	set_text("dev/G/a", MD5_A);

	pthread_mutex_lock(&current->server.lock);
	current->server.status = 0;
	pthread_mutex_unlock(&current->server.lock);
	assert_true(wait_for_event("changed dev/G/a", 1));
	watch("dev", "G", "a", MD5_A);
	assert_true(wait_for_event("live ", 2));
	assert_true(wait_until_watched("dev", "G", "a"));
	assert_true(wait_for_event("names dev", 2));
	finish();
}

/* A gateway that cuts holds: as long as the server answers otherwise, the watch lives. */
static void test_cut_holds(void **state)
{
	(void)state;
	prepare();
	watch("dev", "G", "a", "");
	start();
	assert_true(wait_until_watched("dev", "G", "a"));
	pthread_mutex_lock(&current->server.lock);
	current->server.epoch++;
	pthread_cond_broadcast(&current->server.changed);
	pthread_mutex_unlock(&current->server.lock);
	assert_true(wait_for_number(&current->server.holds, 2));
	assert_true(wait_until_watched("dev", "G", "a"));
	assert_int_equal(count_events("dead "), 0);
	finish();
}

static void test_no_such_api(void **state)
{
	(void)state;
	prepare();
	current->server.status = 410;
	watch("dev", "G", "a", "");
	assert_int_equal(nacos_watch_add_names(current->watch, "dev"), 0);
	start();
	assert_true(wait_for_event("names dev", 1));
	usleep(300000);
	assert_int_equal(count_events("live "), 0);
	assert_false(is_watched("dev", "G", "a"));
	/* It is not asked again and again. */
	assert_int_equal(server_number(&current->server.checks), 1);
	finish();
}

/* Answers that are none, or name what nobody asked for: not a hot loop. */
static void test_strange_answers(void **state)
{
	static const char *const bodies[] = { "<html>busy</html>", "x%02y%01", "%00%02%01", "a%02G%02dev", "%zz" };

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		prepare();
		current->server.body = bodies[i];
		current->server.hold_ms = 1;
		watch("dev", "G", "a", "");
		start();
		assert_true(wait_for_number(&current->server.holds, 1));
		usleep(300000);
		assert_in_range(server_number(&current->server.holds), 1, 2);
		assert_int_equal(count_events("changed dev/G/a"), 0);
		finish();
	}
}

/* Something between that answers at once instead of holding. */
static void test_holds_that_do_not_hold(void **state)
{
	(void)state;
	prepare();
	current->server.hold_ms = 0;
	watch("dev", "G", "a", "");
	start();
	usleep(1500000);
	assert_in_range(server_number(&current->server.holds), 1, 3);
	set_text("dev/G/a", MD5_A);
	assert_true(wait_for_event("changed dev/G/a", 1));
	finish();
}

/* finish() measures. */
static void test_free_while_the_server_hangs(void **state)
{
	(void)state;
	prepare();
	current->server.is_deaf = true;
	watch("dev", "G", "a", "");
	start();
	assert_true(wait_for_number(&current->server.checks, 1));
	finish();

	prepare();
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_narrow_rights),
		cmocka_unit_test(test_right_is_withdrawn),
		cmocka_unit_test(test_lost_and_found),
		cmocka_unit_test(test_cut_holds),
		cmocka_unit_test(test_no_such_api),
		cmocka_unit_test(test_strange_answers),
		cmocka_unit_test(test_holds_that_do_not_hold),
		cmocka_unit_test(test_free_while_the_server_hangs),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("nacos/poll: rights and trouble", tests, NULL, NULL);
}
