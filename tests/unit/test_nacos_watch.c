/* The set of what is watched, with feeders in this program: what they are given, what callers are told, who relieves whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "nacos/watch_private.h"
#include "nacos/watch_rights.h"
#include "util/clock.h"

#define MD5_A "0123456789abcdef0123456789abcdef"
#define MD5_B "fedcba9876543210fedcba9876543210"

#define TIMEOUT_MS 5000
#define EVENTS_MAX 64

struct fake_part {
	struct nacos_watch_part part;
	unsigned wants, tells, others;
	bool is_told;
};

struct fake {
	struct nacos_watch_feeder feeder;
	struct nacos_watch_list list;
	bool keeps; /* what is not wanted stays */
	unsigned wakes;
};

static struct nacos_watch *set;
static struct fake grpc, poll_feeder;

static pthread_mutex_t events_lock = PTHREAD_MUTEX_INITIALIZER;
static char events[EVENTS_MAX][64];
static size_t event_count;

/* ---- what callers are told ---- */

static void add_event(const char *what, const char *text)
{
	pthread_mutex_lock(&events_lock);
	assert_true(event_count < EVENTS_MAX);
	snprintf(events[event_count++], sizeof(events[0]), "%s %s", what, text);
	pthread_mutex_unlock(&events_lock);
}

static void add_place_event(const char *what, const struct place *place)
{
	char text[PLACE_TEXT_SIZE];

	add_event(what, place_format(place, text, sizeof(text)));
}

static void on_changed(void *arg, struct place *place)
{
	(void)arg;
	add_place_event("changed", place);
}

static void on_refused(void *arg, struct place *place)
{
	(void)arg;
	add_place_event("refused", place);
}

static void on_named(void *arg, struct place *place, bool exists)
{
	(void)arg;
	add_place_event(exists ? "appeared" : "vanished", place);
}

static void on_names_watched(void *arg, const char *namespace_id, int error)
{
	char text[64];

	(void)arg;
	snprintf(text, sizeof(text), "%s %d", namespace_id, error);
	add_event("names", text);
}

static void on_live(void *arg, bool live)
{
	(void)arg;
	add_event(live ? "live" : "dead", "");
}

static size_t count_events(const char *event)
{
	size_t count = 0;

	pthread_mutex_lock(&events_lock);
	for (size_t i = 0; i < event_count; i++)
		count += strcmp(events[i], event) == 0;
	pthread_mutex_unlock(&events_lock);
	return count;
}

static bool wait_for_event(const char *event, size_t count)
{
	int64_t end_ms = clock_monotonic_ms() + TIMEOUT_MS;

	while (count_events(event) < count && clock_monotonic_ms() < end_ms)
		usleep(1000);
	return count_events(event) == count;
}

/* All that was noted is told: so is what comes last. */
static void drain(void)
{
	static unsigned count;
	char name[32], event[64];

	snprintf(name, sizeof(name), "drain%u", count++);
	snprintf(event, sizeof(event), "appeared n/g/%s", name);
	cleanup_place struct place *place = place_new("n", "g", name);
	nacos_watch_lock(set);
	nacos_watch_note_named(set, place, true);
	nacos_watch_unlock(set);
	assert_true(wait_for_event(event, 1));
}

/* ---- the feeders ---- */

static void want(struct nacos_watch_feeder *feeder, struct nacos_watch_part *part)
{
	((struct fake_part *)part)->wants++;
	nacos_watch_move(part, &((struct fake *)feeder)->list);
}

static void tell(struct nacos_watch_feeder *feeder, struct nacos_watch_part *part, bool is_other)
{
	(void)feeder;
	((struct fake_part *)part)->tells++;
	((struct fake_part *)part)->others += is_other;
}

static bool unwant(struct nacos_watch_feeder *feeder, struct nacos_watch_part *part)
{
	(void)part;
	return !((struct fake *)feeder)->keeps;
}

static bool tells(const struct nacos_watch_feeder *feeder, const struct nacos_watch_part *part)
{
	(void)feeder;
	return ((const struct fake_part *)part)->is_told;
}

static void wake(struct nacos_watch_feeder *feeder)
{
	((struct fake *)feeder)->wakes++;
}

#define KIND(the_way)                                                                                              \
	{                                                                                                          \
		.way = (the_way), .part_size = sizeof(struct fake_part), .want = want, .tell = tell, .unwant = unwant, \
		.tells = tells, .wake = wake,                                                                       \
	}
static const struct nacos_watch_feeder_kind grpc_kind = KIND(NACOS_WATCH_GRPC);
static const struct nacos_watch_feeder_kind poll_kind = KIND(NACOS_WATCH_POLL);

static void attach(struct fake *fake, const struct nacos_watch_feeder_kind *kind)
{
	memset(fake, 0, sizeof(*fake));
	nacos_watch_list_init(&fake->list);
	assert_int_equal(nacos_watch_attach(set, kind, &fake->feeder), 0);
}

/* NULL: the feeder has none. */
static struct fake_part *part_of(const struct place *place, enum nacos_watch_way way)
{
	nacos_watch_lock(set);
	const struct nacos_watch_entry *entry = nacos_watch_find(set, place);
	struct fake_part *part = entry ? (struct fake_part *)entry->parts[way] : NULL;
	nacos_watch_unlock(set);
	return part;
}

static void note_change(const struct place *place)
{
	nacos_watch_lock(set);
	nacos_watch_note_change(set, nacos_watch_find(set, place));
	nacos_watch_unlock(set);
}

static void note_refusal(const struct place *place, enum nacos_watch_way way, bool is_refused)
{
	struct fake_part *part = part_of(place, way);

	nacos_watch_lock(set);
	nacos_watch_note_refusal(set, &part->part, is_refused);
	nacos_watch_unlock(set);
}

static void note_live(struct fake *fake, bool is_live)
{
	nacos_watch_lock(set);
	nacos_watch_note_live(&fake->feeder, is_live);
	nacos_watch_unlock(set);
}

static struct place *a;

static int begin(void **state)
{
	static const struct nacos_watch_events all = { on_changed, on_refused, on_named, on_names_watched, on_live };

	(void)state;
	event_count = 0;
	a = place_new("public", "G", "a");
	assert_int_equal(nacos_watch_new(&set), 0);
	nacos_watch_set_events(set, &all, NULL);
	return 0;
}

static int end(void **state)
{
	(void)state;
	nacos_watch_stop(set);
	nacos_watch_detach(&grpc.feeder);
	nacos_watch_detach(&poll_feeder.feeder);
	nacos_watch_free(set);
	place_drop(a);
	assert_int_equal(place_count(), 0);
	return 0;
}

/* ---- configs ---- */

static void test_a_feeder_is_given_what_is_wanted(void **state)
{
	cleanup_place struct place *b = place_new("public", "G", "b");

	(void)state;
	assert_int_equal(nacos_watch_add(set, a, MD5_A), 0);
	assert_int_equal(nacos_watch_add(set, b, ""), 0);
	nacos_watch_remove(set, b);
	attach(&grpc, &grpc_kind);
	assert_int_equal(grpc.list.count, 1);
	assert_string_equal(grpc.list.first->entry->md5, MD5_A);
	assert_int_equal(nacos_watch_add(set, b, ""), 0);
	assert_int_equal(grpc.list.count, 2);
	nacos_watch_remove(set, a);
	assert_int_equal(grpc.list.count, 1);
	assert_ptr_equal(grpc.list.first->entry->place, b);
}

static void test_a_feeder_hears_of_md5s(void **state)
{
	(void)state;
	attach(&grpc, &grpc_kind);
	assert_int_equal(nacos_watch_add(set, a, MD5_A), 0);
	struct fake_part *part = part_of(a, NACOS_WATCH_GRPC);
	uint64_t tick = part->part.entry->md5_tick;
	assert_int_equal(nacos_watch_add(set, a, MD5_A), 0);
	assert_int_equal(part->tells, 1);
	assert_int_equal(part->others, 0);
	assert_int_equal(part->part.entry->md5_tick, tick);
	assert_int_equal(nacos_watch_add(set, a, MD5_B), 0);
	assert_int_equal(part->others, 1);
	assert_true(part->part.entry->md5_tick > tick);
	assert_string_equal(part->part.entry->md5, MD5_B);
	assert_int_equal(part->wants, 1);
}

static void test_what_a_feeder_keeps_is_wanted_again(void **state)
{
	(void)state;
	attach(&grpc, &grpc_kind);
	grpc.keeps = true;
	assert_int_equal(nacos_watch_add(set, a, MD5_A), 0);
	struct fake_part *part = part_of(a, NACOS_WATCH_GRPC);
	part->is_told = true;
	assert_true(nacos_watch_tells(set, a));
	nacos_watch_remove(set, a);
	assert_false(nacos_watch_tells(set, a));
	assert_ptr_equal(part_of(a, NACOS_WATCH_GRPC), part);
	note_change(a); /* is nobody's any more */
	assert_int_equal(nacos_watch_add(set, a, MD5_B), 0);
	assert_ptr_equal(part_of(a, NACOS_WATCH_GRPC), part);
	assert_int_equal(part->wants, 2);
	nacos_watch_remove(set, a);
	nacos_watch_lock(set);
	nacos_watch_let_go(&grpc.feeder, &part->part);
	nacos_watch_unlock(set);
	assert_null(part_of(a, NACOS_WATCH_GRPC));
	assert_int_equal(nacos_watch_start(set), 0);
	drain();
	assert_int_equal(count_events("changed public/G/a"), 0);
}

static void test_changes_that_come_fast_are_told_once(void **state)
{
	(void)state;
	attach(&grpc, &grpc_kind);
	assert_int_equal(nacos_watch_add(set, a, MD5_A), 0);
	note_change(a);
	note_change(a);
	assert_int_equal(nacos_watch_start(set), 0);
	drain();
	assert_int_equal(count_events("changed public/G/a"), 1);
	note_change(a);
	drain();
	assert_int_equal(count_events("changed public/G/a"), 2);
}

static void test_a_refusal_is_told_until_it_is_granted(void **state)
{
	struct nacos_watch_counts counts;

	(void)state;
	attach(&grpc, &grpc_kind);
	assert_int_equal(nacos_watch_start(set), 0);
	assert_int_equal(nacos_watch_add(set, a, MD5_A), 0);
	nacos_watch_count(set, &counts);
	assert_int_equal(counts.waiting, 1);
	note_refusal(a, NACOS_WATCH_GRPC, true);
	note_refusal(a, NACOS_WATCH_GRPC, true);
	drain();
	assert_int_equal(count_events("refused public/G/a"), 1);
	nacos_watch_count(set, &counts);
	assert_int_equal(counts.watched, 1);
	assert_int_equal(counts.waiting, 0);
	assert_int_equal(counts.refused, 1);
	note_refusal(a, NACOS_WATCH_GRPC, false);
	note_refusal(a, NACOS_WATCH_GRPC, true);
	drain();
	assert_int_equal(count_events("refused public/G/a"), 2);
}

/* ---- the change from one feeder to the other ---- */

static void test_one_relieves_the_other(void **state)
{
	(void)state;
	assert_int_equal(nacos_watch_start(set), 0);
	attach(&grpc, &grpc_kind);
	assert_int_equal(nacos_watch_add(set, a, MD5_A), 0);
	attach(&poll_feeder, &poll_kind);
	part_of(a, NACOS_WATCH_POLL)->is_told = true;
	note_live(&poll_feeder, true);
	assert_true(wait_for_event("live ", 1));
	assert_true(nacos_watch_tells(set, a));

	/* gRPC is back, and the other goes. */
	part_of(a, NACOS_WATCH_GRPC)->is_told = true;
	note_live(&grpc, true);
	assert_true(nacos_watch_wait(set, NACOS_WATCH_GRPC, true, INT64_MAX));
	nacos_watch_detach(&poll_feeder.feeder);
	assert_true(nacos_watch_tells(set, a));
	drain();
	assert_int_equal(count_events("live "), 1);
	assert_int_equal(count_events("dead "), 0);

	/* And is lost: the set stays. */
	note_live(&grpc, false);
	assert_true(wait_for_event("dead ", 1));
	attach(&poll_feeder, &poll_kind);
	assert_non_null(part_of(a, NACOS_WATCH_POLL));
	assert_int_equal(part_of(a, NACOS_WATCH_GRPC)->wants, 1);
}

/* What the one could watch and the other may not. */
static void test_a_refusal_is_told_again_when_the_other_goes(void **state)
{
	cleanup_place struct place *b = place_new("public", "G", "b");

	(void)state;
	assert_int_equal(nacos_watch_start(set), 0);
	attach(&grpc, &grpc_kind);
	attach(&poll_feeder, &poll_kind);
	assert_int_equal(nacos_watch_add(set, a, MD5_A), 0);
	assert_int_equal(nacos_watch_add(set, b, MD5_A), 0);
	part_of(a, NACOS_WATCH_POLL)->is_told = true;
	note_refusal(a, NACOS_WATCH_GRPC, true);
	note_refusal(b, NACOS_WATCH_GRPC, true);
	drain();
	assert_true(nacos_watch_tells(set, a));
	assert_false(nacos_watch_tells(set, b));
	nacos_watch_detach(&poll_feeder.feeder);
	assert_false(nacos_watch_tells(set, a));
	drain();
	assert_int_equal(count_events("refused public/G/a"), 2);
	assert_int_equal(count_events("refused public/G/b"), 1);
}

static void test_a_short_loss_is_told(void **state)
{
	(void)state;
	attach(&grpc, &grpc_kind);
	note_live(&grpc, true);
	assert_int_equal(nacos_watch_start(set), 0);
	assert_true(wait_for_event("live ", 1));
	nacos_watch_lock(set);
	nacos_watch_note_live(&grpc.feeder, false);
	nacos_watch_note_live(&grpc.feeder, true);
	nacos_watch_unlock(set);
	assert_true(wait_for_event("live ", 2));
	assert_int_equal(count_events("dead "), 1);
}

static void *wait_for_grpc(void *arg)
{
	*(bool *)arg = nacos_watch_wait(set, NACOS_WATCH_GRPC, true, INT64_MAX);
	return NULL;
}

static void test_who_waits_does_so_no_longer_than_he_wants(void **state)
{
	int64_t begun_ms = clock_monotonic_ms();
	struct thread thread;
	bool is_live = true;

	(void)state;
	assert_false(nacos_watch_wait(set, NACOS_WATCH_GRPC, true, begun_ms + 20));
	assert_in_range(clock_monotonic_ms() - begun_ms, 20, TIMEOUT_MS);
	assert_true(nacos_watch_wait(set, NACOS_WATCH_GRPC, false, INT64_MAX));
	assert_int_equal(thread_start(&thread, wait_for_grpc, &is_live), 0);
	nacos_watch_stop(set);
	thread_join(&thread);
	assert_false(is_live);
}

/* ---- names ---- */

static void test_names(void **state)
{
	(void)state;
	assert_int_equal(nacos_watch_start(set), 0);
	assert_int_equal(nacos_watch_add_names(set, "dev"), 0);
	assert_int_equal(nacos_watch_add_names(set, "dev"), 0);
	assert_null(set->namespaces->next);
	nacos_watch_lock(set);
	set->namespaces->is_told = true;
	nacos_watch_note_names(set, set->namespaces, 0);
	nacos_watch_unlock(set);
	assert_true(wait_for_event("names dev 0", 1));
	nacos_watch_lock(set);
	nacos_watch_note_named(set, NULL, true); /* no memory */
	nacos_watch_unlock(set);
	assert_true(wait_for_event("names dev 0", 2));
	nacos_watch_remove_names(set, "dev");
	nacos_watch_lock(set);
	nacos_watch_note_names(set, set->namespaces, 0);
	nacos_watch_unlock(set);
	drain();
	assert_int_equal(count_events("names dev 0"), 2);
}

/* ---- rights ---- */

static void test_rights(void **state)
{
	cleanup_place struct place *b = place_new("public", "H", "b");
	struct nacos_watch_rights rights = { 0 };

	(void)state;
	assert_int_equal(nacos_watch_rights_find(&rights, a, NACOS_WATCH_NAMESPACE), NACOS_WATCH_UNKNOWN);
	nacos_watch_rights_keep(&rights, a, NACOS_WATCH_NAMESPACE, false);
	nacos_watch_rights_keep(&rights, a, NACOS_WATCH_GROUP, true);
	assert_int_equal(nacos_watch_rights_find(&rights, b, NACOS_WATCH_NAMESPACE), NACOS_WATCH_REFUSED);
	assert_int_equal(nacos_watch_rights_find(&rights, a, NACOS_WATCH_GROUP), NACOS_WATCH_GRANTED);
	assert_int_equal(nacos_watch_rights_find(&rights, b, NACOS_WATCH_GROUP), NACOS_WATCH_UNKNOWN);
	nacos_watch_rights_forget(&rights);
	assert_int_equal(nacos_watch_rights_find(&rights, b, NACOS_WATCH_NAMESPACE), NACOS_WATCH_UNKNOWN);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_feeder_is_given_what_is_wanted),
		TEST(test_a_feeder_hears_of_md5s),
		TEST(test_what_a_feeder_keeps_is_wanted_again),
		TEST(test_changes_that_come_fast_are_told_once),
		TEST(test_a_refusal_is_told_until_it_is_granted),
		TEST(test_one_relieves_the_other),
		TEST(test_a_refusal_is_told_again_when_the_other_goes),
		TEST(test_a_short_loss_is_told),
		TEST(test_who_waits_does_so_no_longer_than_he_wants),
		TEST(test_names),
		TEST(test_rights),
	};

	return cmocka_run_group_tests_name("nacos/watch", tests, NULL, NULL);
}
