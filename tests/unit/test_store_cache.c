/* The cache layer over a store of the test's own: what it asks for, and what it serves when. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/cache.h"
#include "util/clock.h"

static struct place *CONFIG; /* dev/APP/a.yaml */

/* One config, with a count of what was asked. */
struct fake {
	struct store store;
	pthread_mutex_t lock;
	char text[64]; /* "": there is none */
	char put_text[64]; /* where a put goes; "" into text: the read path lags behind */
	int error; /* of get and list */
	int put_error;
	int delay_ms;
	atomic_int gets, lists;

	const struct store_events *events;
	void *events_arg;
	bool watches; /* what it is asked to */
	atomic_int watch_questions;
	char watched_md5[HASH_MD5_HEX_SIZE]; /* what it was told last; "-": not to watch */
	bool change_in_get; /* tells of a change while it answers */
};

struct bed {
	struct fake fake;
	struct store *cache;
};

static struct fake *fake_of(struct store *store)
{
	return (struct fake *)store;
}

static struct version *make_version(const char *text)
{
	struct buffer content = BUFFER_INIT;
	char md5[HASH_MD5_HEX_SIZE];

	buffer_append_text(&content, text);
	hash_md5_hex(text, strlen(text), md5);
	return version_new(&content, md5, "yaml", 1000);
}

static int fake_get(struct store *store, struct place *place, enum version_part part, struct call *call,
		    struct version **ret_version)
{
	struct fake *fake = fake_of(store);

	(void)part;
	atomic_fetch_add(&fake->gets, 1);
	if (fake->delay_ms && call_sleep(call, fake->delay_ms))
		return call_check(call);
	if (fake->error)
		return call_fail(call, fake->error, "as told");
	pthread_mutex_lock(&fake->lock);
	bool exists = *fake->text;
	if (exists)
		*ret_version = make_version(fake->text);
	pthread_mutex_unlock(&fake->lock);
	if (fake->change_in_get)
		fake->events->changed(fake->events_arg, place);
	return exists ? 0 : -ENOENT;
}

static int fake_put(struct store *store, struct place *place, const struct put *put, struct call *call,
		    struct version **ret_version)
{
	struct fake *fake = fake_of(store);

	(void)place;
	if (fake->put_error)
		return call_fail(call, fake->put_error, "as told");
	snprintf(fake->put_text, sizeof(fake->put_text), "%.*s", (int)put->size, (const char *)put->content);
	*ret_version = make_version(fake->put_text);
	return 0;
}

static int fake_remove(struct store *store, struct place *place, const struct version *base, struct call *call)
{
	(void)store;
	(void)place;
	(void)base;
	(void)call;
	return 0;
}

static int fake_list(struct store *store, struct place *place, struct call *call,
		     struct listing **ret_listing)
{
	struct fake *fake = fake_of(store);

	(void)place;
	atomic_fetch_add(&fake->lists, 1);
	if (fake->error)
		return call_fail(call, fake->error, "as told");
	struct listing *listing = listing_new();
	listing->items = calloc(1, sizeof(*listing->items));
	listing->items[0].group = strdup("APP");
	listing->items[0].data_id = strdup("a.yaml");
	hash_md5_hex(fake->text, strlen(fake->text), listing->items[0].md5);
	listing->count = 1;
	listing->settled = true;
	*ret_listing = listing;
	return 0;
}

static void fake_set_events(struct store *store, const struct store_events *events, void *arg)
{
	fake_of(store)->events = events;
	fake_of(store)->events_arg = arg;
}

static void fake_watch(struct store *store, struct place *place, const char *md5)
{
	(void)place;
	snprintf(fake_of(store)->watched_md5, HASH_MD5_HEX_SIZE, "%s", md5 ? md5 : "-");
}

static bool fake_is_watched(struct store *store, struct place *place)
{
	(void)place;
	atomic_fetch_add(&fake_of(store)->watch_questions, 1);
	return fake_of(store)->watches;
}

static const struct store_operations fake_operations = {
	.set_events = fake_set_events,
	.watch = fake_watch,
	.is_watched = fake_is_watched,
	.get = fake_get,
	.put = fake_put,
	.remove = fake_remove,
	.list = fake_list,
};

/* What the cache told those above it. */
static struct {
	int changed, names_watched, live;
} told;

static void note_changed(void *arg, struct place *place)
{
	(void)arg;
	assert_ptr_equal(place, CONFIG);
	told.changed++;
}

static void note_names_watched(void *arg, struct place *place, bool watched)
{
	(void)arg;
	(void)watched;
	assert_ptr_equal(place, CONFIG->above->above);
	told.names_watched++;
}

static void note_live(void *arg, bool live)
{
	(void)arg;
	(void)live;
	told.live++;
}

static const struct store_events events = {
	.changed = note_changed,
	.names_watched = note_names_watched,
	.live = note_live,
};

static int set_up(void **state)
{
	struct bed *bed = calloc(1, sizeof(*bed));
	const struct cache_options options = { .content_limit = 1 << 20, .fresh_ms = CACHE_FRESH_MS, .refresh_ms = 30000 };

	bed->fake.store.operations = &fake_operations;
	pthread_mutex_init(&bed->fake.lock, NULL);
	strcpy(bed->fake.text, "one");
	*state = bed;
	memset(&told, 0, sizeof(told));
	if (cache_new(&bed->fake.store, &options, &bed->cache))
		return -1;
	store_set_events(bed->cache, &events, NULL);
	return 0;
}

static int tear_down(void **state)
{
	struct bed *bed = *state;

	store_free(bed->cache);
	free(bed);
	return 0;
}

/* What the cache serves: the text in a static buffer, or the name of the error. */
static const char *get(struct bed *bed)
{
	static _Thread_local char text[64];
	struct version *version = NULL;
	struct call call;

	call_start(&call, 5000);
	int error = store_get(bed->cache, CONFIG, VERSION_WHOLE, &call, &version);
	if (error)
		return error == -ENOENT ? "ENOENT" : error == -EACCES ? "EACCES" : "error";
	snprintf(text, sizeof(text), "%.*s", (int)version->content.size, version->content.data);
	version_drop(version);
	return text;
}

/* Waits until what was fetched is not fresh any more. */
static void grow_stale(void)
{
	usleep((CACHE_FRESH_MS + 50) * 1000);
}

static void put(struct bed *bed, const char *text, const char *before)
{
	struct version *base = before ? make_version(before) : NULL, *version = NULL;
	const struct put put = { .content = text, .size = strlen(text), .base = base };
	struct call call;

	call_start(&call, 5000);
	assert_int_equal(store_put(bed->cache, CONFIG, &put, &call, &version), 0);
	version_drop(version);
	version_drop(base);
}

static void test_fresh_versions_are_not_asked_for(void **state)
{
	struct bed *bed = *state;

	for (int i = 0; i < 5; i++)
		assert_string_equal(get(bed), "one");
	assert_int_equal(bed->fake.gets, 1);
	strcpy(bed->fake.text, "two");
	grow_stale();
	assert_string_equal(get(bed), "two");
	assert_int_equal(bed->fake.gets, 2);
}

static void test_absence_is_remembered_as_long(void **state)
{
	struct bed *bed = *state;

	*bed->fake.text = '\0';
	assert_string_equal(get(bed), "ENOENT");
	assert_string_equal(get(bed), "ENOENT");
	assert_int_equal(bed->fake.gets, 1);
	strcpy(bed->fake.text, "there");
	grow_stale();
	assert_string_equal(get(bed), "there");
}

static void *get_in_thread(void *bed)
{
	assert_string_equal(get(bed), "one");
	return NULL;
}

static void test_many_readers_make_one_fetch(void **state)
{
	struct bed *bed = *state;
	pthread_t threads[16];

	bed->fake.delay_ms = 200;
	for (int i = 0; i < 16; i++)
		pthread_create(&threads[i], NULL, get_in_thread, bed);
	for (int i = 0; i < 16; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(bed->fake.gets, 1);
}

static void test_an_outage_is_covered_by_what_is_known(void **state)
{
	struct bed *bed = *state;

	bed->fake.error = -EHOSTUNREACH;
	assert_string_equal(get(bed), "error");
	bed->fake.error = 0;
	assert_string_equal(get(bed), "one");
	grow_stale();
	bed->fake.error = -EHOSTUNREACH;
	assert_string_equal(get(bed), "one");
}

static void test_a_refusal_is_not_covered(void **state)
{
	struct bed *bed = *state;

	assert_string_equal(get(bed), "one");
	grow_stale();
	bed->fake.error = -EACCES;
	assert_string_equal(get(bed), "EACCES");
	/* Nor does an outage bring back what was refused. */
	bed->fake.error = -EHOSTUNREACH;
	assert_string_equal(get(bed), "error");
}

static void test_own_text_is_shown_until_the_server_serves_it(void **state)
{
	struct bed *bed = *state;

	assert_string_equal(get(bed), "one");
	put(bed, "mine", "one");
	assert_string_equal(get(bed), "mine");
	grow_stale();
	assert_string_equal(get(bed), "mine"); /* the read path still says "one" */
	strcpy(bed->fake.text, "mine");
	grow_stale();
	assert_string_equal(get(bed), "mine");
	/* From here on the old text is news again. */
	strcpy(bed->fake.text, "one");
	grow_stale();
	assert_string_equal(get(bed), "one");
}

static void test_what_others_write_after_our_own_is_shown(void **state)
{
	struct bed *bed = *state;

	assert_string_equal(get(bed), "one");
	put(bed, "mine", "one");
	strcpy(bed->fake.text, "theirs");
	grow_stale();
	assert_string_equal(get(bed), "theirs");
}

static void test_a_new_config_is_there_before_the_server_serves_it(void **state)
{
	struct bed *bed = *state;

	*bed->fake.text = '\0';
	assert_string_equal(get(bed), "ENOENT");
	put(bed, "new", NULL);
	grow_stale();
	assert_string_equal(get(bed), "new");
}

static void test_a_removed_config_stays_away(void **state)
{
	struct bed *bed = *state;
	struct version *base = make_version("one");
	struct call call;

	assert_string_equal(get(bed), "one");
	call_start(&call, 1000);
	assert_int_equal(store_remove(bed->cache, CONFIG, base, &call), 0);
	version_drop(base);
	grow_stale();
	assert_string_equal(get(bed), "ENOENT"); /* the read path still has it */
}

static void list(struct bed *bed, const char *group)
{
	cleanup_place struct place *place = place_new("dev", group, NULL);
	struct listing *listing = NULL;
	struct call call;

	call_start(&call, 1000);
	assert_int_equal(store_list(bed->cache, place, &call, &listing), 0);
	listing_drop(listing);
}

static void test_a_listing_confirms_versions(void **state)
{
	struct bed *bed = *state;

	assert_string_equal(get(bed), "one");
	grow_stale();
	list(bed, NULL);
	assert_string_equal(get(bed), "one");
	assert_int_equal(bed->fake.gets, 1);
	/* The listing of a namespace has its groups' names. */
	list(bed, "APP");
	assert_int_equal(bed->fake.lists, 1);
	strcpy(bed->fake.text, "two");
	grow_stale();
	list(bed, NULL);
	assert_string_equal(get(bed), "two");
}

static bool always(void *argument)
{
	(void)argument;
	return true;
}

static void test_an_interrupted_reader_does_not_spoil_it_for_others(void **state)
{
	struct bed *bed = *state;
	struct version *version = NULL;
	struct call call;

	bed->fake.delay_ms = 50;
	call_start(&call, 5000);
	call.interrupted = always;
	assert_int_equal(store_get(bed->cache, CONFIG, VERSION_WHOLE, &call, &version), -EINTR);
	assert_string_equal(get(bed), "one");
}

static void change(struct bed *bed, const char *text)
{
	strcpy(bed->fake.text, text);
	bed->fake.events->changed(bed->fake.events_arg, CONFIG);
}

static void test_what_is_watched_is_fresh_until_a_change_is_told(void **state)
{
	struct bed *bed = *state;
	char md5[HASH_MD5_HEX_SIZE];

	bed->fake.watches = true;
	assert_false(store_is_watched(bed->cache, CONFIG));
	assert_string_equal(get(bed), "one");
	hash_md5_hex("one", 3, md5);
	assert_string_equal(bed->fake.watched_md5, md5);
	assert_true(store_is_watched(bed->cache, CONFIG));
	grow_stale();
	assert_string_equal(get(bed), "one");
	assert_int_equal(bed->fake.gets, 1);

	change(bed, "two");
	assert_int_equal(told.changed, 1);
	assert_false(store_is_watched(bed->cache, CONFIG));
	assert_string_equal(get(bed), "two");
	assert_int_equal(bed->fake.gets, 2);
	hash_md5_hex("two", 3, md5);
	assert_string_equal(bed->fake.watched_md5, md5);

	change(bed, "");
	assert_string_equal(get(bed), "ENOENT");
	assert_string_equal(bed->fake.watched_md5, "");
	grow_stale();
	assert_string_equal(get(bed), "ENOENT");
	assert_int_equal(bed->fake.gets, 3);
	change(bed, "three");
	assert_string_equal(get(bed), "three");

	/* When the watch ends, it is time that counts again. */
	grow_stale();
	bed->fake.watches = false;
	strcpy(bed->fake.text, "four");
	assert_string_equal(get(bed), "four");
}

static void test_a_hit_asks_nobody_while_changes_are_told(void **state)
{
	struct bed *bed = *state;

	bed->fake.watches = true;
	bed->fake.events->live(bed->fake.events_arg, true);
	assert_string_equal(get(bed), "one");
	assert_true(store_is_watched(bed->cache, CONFIG));
	grow_stale();
	int questions = bed->fake.watch_questions;
	for (int i = 0; i < 5; i++) {
		assert_string_equal(get(bed), "one");
		assert_true(store_is_watched(bed->cache, CONFIG));
	}
	assert_int_equal(bed->fake.watch_questions, questions);
	assert_int_equal(bed->fake.gets, 1);

	/* A change, and the end of being live, are told: then it is asked, and believed, anew. */
	change(bed, "two");
	assert_false(store_is_watched(bed->cache, CONFIG));
	assert_string_equal(get(bed), "two");
	assert_true(store_is_watched(bed->cache, CONFIG));
	bed->fake.watches = false;
	bed->fake.events->live(bed->fake.events_arg, false);
	assert_false(store_is_watched(bed->cache, CONFIG));
	strcpy(bed->fake.text, "three");
	grow_stale();
	assert_string_equal(get(bed), "three");
	bed->fake.events->live(bed->fake.events_arg, true);
	assert_false(store_is_watched(bed->cache, CONFIG));
}

static void test_a_change_during_a_fetch_is_not_lost(void **state)
{
	struct bed *bed = *state;

	bed->fake.watches = true;
	bed->fake.change_in_get = true;
	assert_string_equal(get(bed), "one");
	bed->fake.change_in_get = false;
	assert_false(store_is_watched(bed->cache, CONFIG));
	strcpy(bed->fake.text, "two");
	assert_string_equal(get(bed), "two");
	assert_int_equal(bed->fake.gets, 2);
	assert_true(store_is_watched(bed->cache, CONFIG));
}

static void test_a_conflict_is_news(void **state)
{
	struct bed *bed = *state;
	const struct put put = { .content = "mine", .size = 4 };
	struct version *version = NULL;
	struct call call;

	bed->fake.watches = true;
	bed->fake.events->live(bed->fake.events_arg, true);
	assert_string_equal(get(bed), "one");
	strcpy(bed->fake.text, "theirs"); /* and the push is not there yet */
	bed->fake.put_error = -EBUSY;
	call_start(&call, 1000);
	assert_int_equal(store_put(bed->cache, CONFIG, &put, &call, &version), -EBUSY);
	assert_string_equal(get(bed), "theirs");
}

static void test_our_own_text_is_not_replaced_by_what_was_before(void **state)
{
	struct bed *bed = *state;

	bed->fake.watches = true;
	assert_string_equal(get(bed), "one");
	put(bed, "mine", "one");
	bed->fake.events->changed(bed->fake.events_arg, CONFIG); /* a node that has not heard of it yet */
	assert_string_equal(get(bed), "mine");
	assert_false(store_is_watched(bed->cache, CONFIG));
	change(bed, "mine");
	assert_string_equal(get(bed), "mine");
	assert_true(store_is_watched(bed->cache, CONFIG));
}

static void test_watched_names_keep_listings_fresh(void **state)
{
	struct bed *bed = *state;

	bed->fake.watches = true;
	list(bed, NULL);
	bed->fake.events->names_watched(bed->fake.events_arg, CONFIG->above->above, true);
	assert_int_equal(told.names_watched, 1);
	grow_stale();
	list(bed, NULL); /* what was before it was watched is not told */
	assert_int_equal(bed->fake.lists, 2);
	grow_stale();
	list(bed, NULL);
	assert_int_equal(bed->fake.lists, 2);
	change(bed, "new name");
	list(bed, NULL);
	assert_int_equal(bed->fake.lists, 3);
	bed->fake.events->live(bed->fake.events_arg, false);
	assert_int_equal(told.live, 1);
	grow_stale();
	list(bed, NULL);
	assert_int_equal(bed->fake.lists, 4);
}

static void test_a_listing_finds_a_lost_push(void **state)
{
	struct bed *bed = *state;

	bed->fake.watches = true;
	assert_string_equal(get(bed), "one");
	strcpy(bed->fake.text, "two");
	list(bed, NULL);
	assert_int_equal(told.changed, 1);
	assert_string_equal(get(bed), "two");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_fresh_versions_are_not_asked_for),
		TEST(test_absence_is_remembered_as_long),
		TEST(test_many_readers_make_one_fetch),
		TEST(test_an_outage_is_covered_by_what_is_known),
		TEST(test_a_refusal_is_not_covered),
		TEST(test_own_text_is_shown_until_the_server_serves_it),
		TEST(test_what_others_write_after_our_own_is_shown),
		TEST(test_a_new_config_is_there_before_the_server_serves_it),
		TEST(test_a_removed_config_stays_away),
		TEST(test_a_listing_confirms_versions),
		TEST(test_an_interrupted_reader_does_not_spoil_it_for_others),
		TEST(test_what_is_watched_is_fresh_until_a_change_is_told),
		TEST(test_a_hit_asks_nobody_while_changes_are_told),
		TEST(test_a_change_during_a_fetch_is_not_lost),
		TEST(test_a_conflict_is_news),
		TEST(test_our_own_text_is_not_replaced_by_what_was_before),
		TEST(test_watched_names_keep_listings_fresh),
		TEST(test_a_listing_finds_a_lost_push),
	};

	CONFIG = place_new("dev", "APP", "a.yaml");
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	place_drop(CONFIG);
	return failed;
}
