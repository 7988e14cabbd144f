/* The HTTP watch: what is held, what is told, and when. */
#include "tests/unit/poll_peer.h"

static void test_one_hold_for_all(void **state)
{
	(void)state;
	prepare();
	for (int i = 0; i < 500; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		watch(i % 2 ? "public" : "dev", "G", name, "");
	}
	assert_false(is_watched("dev", "G", "n0"));
	start();
	assert_true(wait_for_event("live ", 1));
	assert_true(is_watched("dev", "G", "n0"));
	assert_true(is_watched("public", "G", "n499"));
	assert_false(is_watched("public", "G", "n0"));
	assert_int_equal(current->server.held_now, 1);
	assert_int_equal(current->server.records, 500);
	/* The public one has no name there. */
	assert_non_null(strstr(current->server.last_hold, "n0\2G\2\2dev\1"));
	assert_non_null(strstr(current->server.last_hold, "n1\2G\2\1"));
	/* The right on each of the two namespaces, and the check; a knock at first. */
	assert_int_equal(count_queries("tenant=dev") + count_queries(""), current->server.checks);
	assert_true(current->server.checks <= 4);
	assert_int_equal(count_events("changed dev/G/n0"), 0);
	finish();
}

static void test_changes_are_told(void **state)
{
	int64_t begun_ms;

	(void)state;
	prepare();
	set_text("dev/G/a", MD5_A);
	set_text("dev/G/old", MD5_B);
	current->fetches = true;
	watch("dev", "G", "a", MD5_A);
	watch("dev", "G", "absent", "");
	watch("dev", "G", "old", MD5_A);
	start();
	/* What was different from the beginning. */
	assert_true(wait_for_event("changed dev/G/old", 1));
	assert_true(wait_for_event("live ", 1));
	assert_true(wait_until_watched("dev", "G", "old"));
	assert_true(wait_until_watched("dev", "G", "a"));

	begun_ms = clock_monotonic_ms();
	set_text("dev/G/a", MD5_B);
	assert_true(wait_for_event("changed dev/G/a", 1));
	assert_true(clock_monotonic_ms() - begun_ms < 500);
	set_text("dev/G/absent", MD5_A);
	assert_true(wait_for_event("changed dev/G/absent", 1));
	set_text("dev/G/absent", "");
	assert_true(wait_for_event("changed dev/G/absent", 2));
	assert_true(wait_until_watched("dev", "G", "absent"));
	assert_int_equal(count_events("changed dev/G/a"), 1);
	assert_int_equal(count_events("changed dev/G/old"), 1);
	assert_int_equal(count_events("dead "), 0);
	finish();
}

static void test_new_names_join_within_a_second(void **state)
{
	(void)state;
	prepare();
	for (int i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		watch("dev", "G", name, "");
	}
	start();
	assert_true(wait_for_event("live ", 1));
	for (int i = 0; i < 5; i++) {
		int64_t begun_ms = clock_monotonic_ms();
		char name[16];

		snprintf(name, sizeof(name), "more%d", i);
		watch("dev", "G", name, "");
		assert_true(wait_until_watched("dev", "G", name));
		assert_true(clock_monotonic_ms() - begun_ms < 1500);
		assert_true(is_watched("dev", "G", "n0"));
	}
	/* Holds of few are taken over by others. */
	assert_true(server_number(&current->server.held_now) <= 4);
	assert_int_equal(count_events("dead "), 0);
	finish();
}

static void test_own_md5_is_no_news(void **state)
{
	(void)state;
	prepare();
	set_text("dev/G/a", MD5_A);
	watch("dev", "G", "a", MD5_A);
	start();
	assert_true(wait_until_watched("dev", "G", "a"));
	/* As after a publish of ours: told before the server says it. */
	watch("dev", "G", "a", MD5_B);
	set_text("dev/G/a", MD5_B);
	assert_true(wait_for_number(&current->server.holds, 2));
	assert_true(wait_for_number(&current->server.held_now, 1));
	assert_true(is_watched("dev", "G", "a"));
	assert_int_equal(count_events("changed dev/G/a"), 0);
	finish();
}

/* A caller that finds the same again and again, because another node lags, is not driven round and round. */
static void test_same_md5_is_asked_seldom(void **state)
{
	struct nacos_watch_counts counts;
	int64_t end_ms;

	(void)state;
	prepare();
	set_text("dev/G/a", MD5_B);
	watch("dev", "G", "a", MD5_A);
	watch("dev", "G", "b", "");
	start();
	end_ms = clock_monotonic_ms() + 1800;
	while (clock_monotonic_ms() < end_ms) {
		watch("dev", "G", "a", MD5_A);
		usleep(20000);
	}
	assert_in_range(count_events("changed dev/G/a"), 1, 2);
	assert_false(is_watched("dev", "G", "a"));
	assert_true(is_watched("dev", "G", "b"));
	assert_in_range(server_number(&current->server.holds), 1, 8);
	nacos_watch_count(current->watch, &counts);
	assert_int_equal(counts.watched, 2);
	assert_int_equal(counts.waiting, 1);
	assert_int_equal(counts.refused, 0);
	/* It is told again. */
	assert_true(wait_for_event("changed dev/G/a", 2));
	finish();
}

/* A server that misses a change between its comparison and its registration. */
static void test_check_finds_what_a_hold_missed(void **state)
{
	(void)state;
	prepare();
	current->server.loses_changes = true;
	watch("dev", "G", "a", "");
	start();
	assert_true(wait_for_number(&current->server.held_now, 1));
	set_text("dev/G/a", MD5_A);
	assert_true(wait_for_event("changed dev/G/a", 1));
	finish();
}

static void test_storm(void **state)
{
	(void)state;
	prepare();
	current->fetches = true;
	for (int i = 0; i < 50; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		watch("dev", "G", name, "");
	}
	start();
	assert_true(wait_for_event("live ", 1));
	for (int round = 0; round < 40; round++) {
		for (int i = 0; i < 50; i++) {
			char name[32], md5[40];

			snprintf(name, sizeof(name), "dev/G/n%d", i);
			snprintf(md5, sizeof(md5), "%032d", round);
			set_text(name, md5);
		}
		usleep(20000);
	}
	/* All is settled when all is watched with the last text. */
	for (int i = 0; i < 50; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		assert_true(wait_until_watched("dev", "G", name));
	}
	assert_int_equal(count_events("dead "), 0);
	usleep(100000);
	pthread_mutex_lock(&current->server.lock);
	for (int i = 0; i < 50; i++) {
		char record[80];

		snprintf(record, sizeof(record), "%032d\2dev\1", 39);
		assert_non_null(strstr(current->server.last_hold, record));
	}
	pthread_mutex_unlock(&current->server.lock);
	finish();
}

static void test_many(void **state)
{
	struct nacos_watch_counts counts;
	cleanup_place struct place *place = place_new("dev", "G", "n6999");

	(void)state;
	prepare();
	for (int i = 0; i < 7000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		watch("dev", "G", name, "");
	}
	start();
	assert_true(wait_for_event("live ", 1));
	assert_true(is_watched("dev", "G", "n6999"));
	assert_int_equal(server_number(&current->server.held_now), 3);
	nacos_watch_remove(current->watch, place);
	assert_false(is_watched("dev", "G", "n6999"));
	nacos_watch_count(current->watch, &counts);
	assert_int_equal(counts.watched, 6999);
	assert_int_equal(counts.waiting, 0);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_hold_for_all),
		cmocka_unit_test(test_changes_are_told),
		cmocka_unit_test(test_new_names_join_within_a_second),
		cmocka_unit_test(test_own_md5_is_no_news),
		cmocka_unit_test(test_same_md5_is_asked_seldom),
		cmocka_unit_test(test_check_finds_what_a_hold_missed),
		cmocka_unit_test(test_storm),
		cmocka_unit_test(test_many),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("nacos/poll: the watch", tests, NULL, NULL);
}
