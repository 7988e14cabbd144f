/* The wake queue, and those who fetch: what changed elsewhere, on its way to the kernel and to programs that watch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_store.h"
#include "fs/follow/fetch.h"
#include "fs/node/show.h"
#include "fs/node/wake.h"

#define FETCH_LIMIT 16384 /* as fs/node/wake_fetch.c has it */
#define FETCHERS 4

static int set_up(void **state)
{
	struct bed *bed = bed_new(&(struct bed_options){ 0 });

	*state = bed;
	lock_take(&bed->tree->lock);
	wake_set_touches(bed->tree, true);
	return 0;
}

static int tear_down(void **state)
{
	bed_free(*state);
	return 0;
}

/* A config that is known, and in sight. With the lock. */
static struct node *add_config(struct bed *bed, const char *name, const char *text)
{
	struct node *node = tree_add(bed->tree, bed->group, name, NODE_CONFIG);

	node_count_lookup(node);
	fake_set(&bed->fake, node->place, text);
	cleanup_version struct version *version = fake_peek(&bed->fake, node->place);
	show_version(bed->tree, node, version);
	return node;
}

static struct wake_counts counts_of(struct bed *bed)
{
	struct wake_counts counts;

	wake_get_counts(bed->tree, &counts);
	return counts;
}

/* ------------------------------------------------------------------------------------- telling */

static void assert_told(struct bed *bed, const struct node *node, bool raises)
{
	struct wake_told told;
	size_t before = counts_of(bed).touch_queue;

	assert_true(wake_take_told(bed->tree, &told));
	assert_int_equal(told.id, node_id(node));
	wake_raise_told(bed->tree, &told);
	assert_int_equal(counts_of(bed).touch_queue, before + raises);
}

static void test_each_node_is_told_once(void **state)
{
	struct bed *bed = *state;
	struct node *a = add_config(bed, "a.yaml", "one"), *b = add_config(bed, "b.yaml", "one");

	wake_content(bed->tree, a);
	wake_attributes(bed->tree, b);
	wake_content(bed->tree, a);
	wake_forget(bed->tree, a);
	assert_true(a->is_told && b->is_told);
	assert_told(bed, a, true);
	assert_told(bed, b, true);
	assert_false(a->is_told || b->is_told);
	assert_int_equal(a->references, 1); /* of the event */
	/* What changes while it is told is told again. */
	struct wake_told told;
	wake_forget(bed->tree, a);
	assert_true(wake_take_told(bed->tree, &told));
	wake_content(bed->tree, a);
	wake_raise_told(bed->tree, &told);
	assert_told(bed, a, false); /* the event waits already */
}

static void test_a_node_that_goes_while_it_is_told_lives_on(void **state)
{
	struct bed *bed = *state;
	struct node *node = add_config(bed, "a.yaml", "one");
	size_t count = bed->tree->by_id.count;

	wake_content(bed->tree, node);
	tree_unlink(bed->tree, node);
	tree_forget(bed->tree, node_id(node), 1);
	assert_int_equal(bed->tree->by_id.count, count);
	assert_told(bed, node, false);
	assert_int_equal(bed->tree->by_id.count, count - 1);
}

static void test_what_nobody_can_see_is_not_told(void **state)
{
	struct bed *bed = *state;
	struct node *group = tree_add(bed->tree, bed->group->parent, "FAR", NODE_GROUP);
	struct node *node = tree_add(bed->tree, group, "a.yaml", NODE_CONFIG);

	assert_false(wake_is_within_sight(node));
	wake_content(bed->tree, node);
	wake_attributes(bed->tree, node);
	wake_created(bed->tree, node);
	assert_false(node->is_told);
	assert_int_equal(counts_of(bed).touch_queue, 0);
	/* In a directory that somebody has looked up it can be watched. */
	node_count_lookup(group);
	assert_true(wake_is_within_sight(node));
}

/* ------------------------------------------------------------------------------------- touches */

/* The next event is of that kind, for that name. */
static void assert_touch(struct bed *bed, enum touch_kind kind, const char *name, const struct node *node)
{
	struct wake_touch *touch = wake_take_touch(bed->tree);

	assert_non_null(touch);
	assert_int_equal(touch->kind, kind);
	assert_string_equal(touch->name, name);
	assert_ptr_equal(touch->node, node);
	assert_ptr_equal(wake_touch_under_way(bed->tree), touch);
	assert_ptr_equal(wake_current_touch(bed->tree, bed->group, name), touch->parent == bed->group ? touch : NULL);
	wake_touched(bed->tree, touch, false);
	assert_null(wake_touch_under_way(bed->tree));
}

/* Tells all, so that events are queued. */
static void tell_all(struct bed *bed)
{
	struct wake_told told;

	for (struct node *node = tree_next(bed->tree, NULL); node;) {
		if (!node->is_told) {
			node = tree_next(bed->tree, node);
			continue;
		}
		assert_true(wake_take_told(bed->tree, &told));
		wake_raise_told(bed->tree, &told);
		node = tree_next(bed->tree, NULL);
	}
}

static void test_events_of_a_name_are_merged(void **state)
{
	struct bed *bed = *state;
	struct node *node = add_config(bed, "a.yaml", "one");

	wake_attributes(bed->tree, node);
	tell_all(bed);
	wake_content(bed->tree, node);
	tell_all(bed);
	wake_attributes(bed->tree, node);
	tell_all(bed);
	assert_int_equal(counts_of(bed).touch_queue, 1);
	assert_touch(bed, TOUCH_CONTENT, "a.yaml", node);
	wake_created(bed->tree, node);
	wake_content(bed->tree, node);
	tell_all(bed);
	assert_int_equal(counts_of(bed).touch_queue, 1);
	assert_touch(bed, TOUCH_CREATED, "a.yaml", node);
	assert_int_equal(counts_of(bed).touched, 2);
	assert_int_equal(node->references, 0);
}

static void test_that_it_went_and_came_back_is_two(void **state)
{
	struct bed *bed = *state;
	struct node *node = add_config(bed, "a.yaml", "one");

	node_hold(node);
	wake_content(bed->tree, node);
	tell_all(bed);
	wake_vanish(bed->tree, node); /* what was queued before is of no interest any more */
	assert_false(wake_has_touch(bed->tree, bed->group, "a.yaml"));
	struct node *again = add_config(bed, "a.yaml", "two");
	wake_created(bed->tree, again);
	wake_content(bed->tree, again);
	tell_all(bed);
	assert_true(wake_has_touch(bed->tree, bed->group, "a.yaml"));
	assert_int_equal(counts_of(bed).touch_queue, 2);
	assert_touch(bed, TOUCH_REMOVED, "a.yaml", node);
	assert_touch(bed, TOUCH_CREATED, "a.yaml", again);
	/* However often. */
	for (int i = 0; i < 3; i++) {
		wake_vanish(bed->tree, again);
		again = add_config(bed, "a.yaml", "two");
		wake_created(bed->tree, again);
	}
	assert_int_equal(counts_of(bed).touch_queue, 2);
	node_drop(bed->tree, node);
}

static void test_without_a_toucher_nothing_is_queued(void **state)
{
	struct bed *bed = *state;
	struct node *node = add_config(bed, "a.yaml", "one");

	wake_content(bed->tree, node);
	tell_all(bed);
	assert_int_equal(counts_of(bed).touch_queue, 1);
	wake_set_touches(bed->tree, false);
	assert_int_equal(counts_of(bed).touch_queue, 0);
	wake_content(bed->tree, node);
	tell_all(bed);
	assert_int_equal(counts_of(bed).touch_queue, 0);
	assert_int_equal(node->references, 0);
}

static void test_an_emptied_config_wakes_nobody(void **state)
{
	struct bed *bed = *state;
	struct node *node = add_config(bed, "a.yaml", "one");

	assert_int_equal(draft_start(bed->tree, node, NULL), 0);
	wake_content(bed->tree, node);
	assert_told(bed, node, false);
}

/* ------------------------------------------------------------------------------------ fetching */

/* The next thing to do is to fetch that. */
static struct wake_fetch *take_fetch(struct bed *bed, const char *data_id)
{
	struct wake_fetch *fetch = NULL;

	assert_int_equal(wake_take_task(bed->tree, &fetch), WAKE_FETCH);
	assert_string_equal(place_data_id(wake_fetch_place(fetch)), data_id);
	return fetch;
}

static void change(struct bed *bed, const char *data_id)
{
	cleanup_place struct place *place = bed_place(data_id);

	wake_changed(bed->tree, place);
}

static void test_each_place_is_fetched_once(void **state)
{
	struct bed *bed = *state;

	change(bed, "a.yaml");
	change(bed, "b.yaml");
	change(bed, "a.yaml");
	assert_int_equal(counts_of(bed).fetch_queue, 2);
	struct wake_fetch *a = take_fetch(bed, "a.yaml"), *b = take_fetch(bed, "b.yaml");
	/* Told again while it runs: again, when that is over. Others may go on. */
	change(bed, "a.yaml");
	change(bed, "a.yaml");
	change(bed, "c.yaml");
	wake_fetched(bed->tree, take_fetch(bed, "c.yaml"), 0);
	wake_fetched(bed->tree, b, 0);
	wake_fetched(bed->tree, a, 0);
	wake_fetched(bed->tree, take_fetch(bed, "a.yaml"), 0);
	assert_int_equal(counts_of(bed).fetch_queue, 0);
	assert_int_equal(counts_of(bed).fetched, 4);
}

static void test_what_fails_is_due_later(void **state)
{
	struct bed *bed = *state;
	int64_t started_ms = clock_monotonic_ms();

	change(bed, "a.yaml");
	struct wake_fetch *fetch = take_fetch(bed, "a.yaml");
	assert_int_equal(wake_fetch_attempts(fetch), 0);
	wake_fetched(bed->tree, fetch, 30);
	change(bed, "b.yaml");
	wake_fetched(bed->tree, take_fetch(bed, "b.yaml"), 0);
	fetch = take_fetch(bed, "a.yaml"); /* sleeps until then */
	assert_true(clock_monotonic_ms() - started_ms >= 30);
	assert_int_equal(wake_fetch_attempts(fetch), 1);
	wake_fetched(bed->tree, fetch, 1000000);
	/* An event makes it due at once, and counts from the beginning. */
	change(bed, "a.yaml");
	fetch = take_fetch(bed, "a.yaml");
	assert_int_equal(wake_fetch_attempts(fetch), 0);
	wake_fetched(bed->tree, fetch, 1000000);
	assert_int_equal(counts_of(bed).fetch_queue, 1);
}

static void test_too_many_changes_compare_all(void **state)
{
	struct bed *bed = *state;
	struct wake_fetch *fetch = NULL;
	char name[32];

	for (int i = 0; i < FETCH_LIMIT; i++) {
		snprintf(name, sizeof(name), "%d.yaml", i);
		change(bed, name);
	}
	assert_int_equal(counts_of(bed).fetch_queue, FETCH_LIMIT);
	change(bed, "one.yaml");
	change(bed, "more.yaml");
	assert_int_equal(counts_of(bed).fetch_queue, FETCH_LIMIT);
	for (int i = 0; i < FETCH_LIMIT; i++) {
		assert_int_equal(wake_take_task(bed->tree, &fetch), WAKE_FETCH);
		wake_fetched(bed->tree, fetch, 0);
	}
	assert_int_equal(wake_take_task(bed->tree, &fetch), WAKE_COMPARE_ALL);
	/* Meanwhile others fetch, but nobody else compares. */
	change(bed, "a.yaml");
	wake_fetched(bed->tree, take_fetch(bed, "a.yaml"), 0);
	wake_compared(bed->tree, WAKE_COMPARE_ALL, 0);
	assert_int_equal(counts_of(bed).fetch_queue, 0);
}

static void test_the_queue_stops(void **state)
{
	struct bed *bed = *state;
	struct wake_fetch *fetch = NULL;
	struct wake_told told;

	change(bed, "a.yaml");
	wake_content(bed->tree, add_config(bed, "b.yaml", "one"));
	tell_all(bed);
	wake_stop(bed->tree);
	assert_true(wake_is_stopping(bed->tree));
	assert_int_equal(wake_take_task(bed->tree, &fetch), WAKE_STOP);
	assert_false(wake_take_told(bed->tree, &told));
	assert_null(wake_take_touch(bed->tree));
}

/* ---------------------------------------------------------------------- what may be believed */

static void test_an_answer_that_was_overtaken_is_taken_back(void **state)
{
	struct bed *bed = *state;
	struct node *node = add_config(bed, "a.yaml", "one");
	unsigned before = wake_count_events(bed->tree);

	atomic_store(&bed->fake.watches, true);
	assert_true(wake_is_told(bed->tree, node));
	assert_true(show_timeout_s(bed->tree, node) > WAKE_SHORT_S);
	assert_true(node->given_long);
	wake_recheck(bed->tree, node_id(node), before);
	assert_false(node->is_told);
	wake_count_event(bed->tree);
	wake_recheck(bed->tree, node_id(node), before);
	assert_true(node->is_told);
	assert_told(bed, node, false);
	assert_false(node->given_long);
	/* What the kernel may not believe for long need not be taken back; nor what is gone. */
	wake_recheck(bed->tree, node_id(node), before);
	assert_false(node->is_told);
	wake_recheck(bed->tree, 1000000, before);
	atomic_store(&bed->fake.watches, false);
	assert_false(wake_is_told(bed->tree, node));
}

static void test_absent_names_are_remembered(void **state)
{
	struct bed *bed = *state;
	cleanup_place struct place *place = bed_place("a.yaml");
	unsigned before = wake_count_events(bed->tree);

	/* Only what is told. */
	assert_false(wake_add_absent(bed->tree, bed->group, "a.yaml", place));
	atomic_store(&bed->fake.watches, true);
	assert_true(wake_add_absent(bed->tree, bed->group, "a.yaml", place));
	assert_int_equal(counts_of(bed).absent, 1);
	assert_true(wake_add_absent(bed->tree, bed->group, ".git", NULL)); /* only the kernel can make it appear */
	assert_int_equal(counts_of(bed).absent, 1);
	wake_recheck_absent(bed->tree, node_id(bed->group), "a.yaml", before);
	assert_int_equal(counts_of(bed).absent, 1);
	wake_count_event(bed->tree);
	wake_recheck_absent(bed->tree, node_id(bed->group), "a.yaml", before);
	assert_int_equal(counts_of(bed).absent, 0);
	assert_touch(bed, TOUCH_FORGET_ABSENT, "a.yaml", NULL);
	wake_doubt_absent(bed->tree, bed->group, "a.yaml");
	assert_int_equal(counts_of(bed).touch_queue, 0);
	/* It appears. */
	assert_true(wake_add_absent(bed->tree, bed->group, "a.yaml", place));
	struct node *node = add_config(bed, "a.yaml", "one");
	wake_found(bed->tree, node);
	assert_int_equal(counts_of(bed).absent, 0);
	assert_touch(bed, TOUCH_CREATED, "a.yaml", node);
	/* One that the kernel does not believe to be absent was there all the time. */
	wake_found(bed->tree, node);
	assert_int_equal(counts_of(bed).touch_queue, 0);
	/* Without a toucher the kernel could not be made to forget it. */
	wake_set_touches(bed->tree, false);
	assert_false(wake_add_absent(bed->tree, bed->group, "b.yaml", place));
}

static void test_names_that_are_told_of_are_not_compared(void **state)
{
	struct bed *bed = *state;
	struct directory *directory = bed->group->directory;
	struct place *namespace = bed->group->place->above;
	struct wake_fetch *fetch = NULL;

	assert_false(wake_names_are_watched(bed->tree, bed->group->place));
	directory->names_listed = directory->names_complete = true;
	wake_set_names_watched(bed->tree, namespace, true);
	assert_true(wake_names_are_watched(bed->tree, bed->group->place));
	/* What changed before it was told is compared once. */
	assert_true(directory->names_due && !directory->names_complete);
	assert_int_equal(wake_take_task(bed->tree, &fetch), WAKE_COMPARE_NAMES);
	directory->names_due = false;
	wake_compared(bed->tree, WAKE_COMPARE_NAMES, 0);
	/* And then not even when they would be due. */
	change(bed, "a.yaml");
	wake_fetched(bed->tree, take_fetch(bed, "a.yaml"), 0);
	assert_false(directory->names_due);
	/* Other namespaces are none of it; and when nothing is told any more, neither is this. */
	cleanup_place struct place *other = place_new("prod", "APP", NULL);
	assert_false(wake_names_are_watched(bed->tree, other));
	directory->names_complete = true;
	wake_set_live(bed->tree, true);
	assert_true(directory->names_complete);
	wake_set_live(bed->tree, false);
	assert_false(directory->names_complete || wake_names_are_watched(bed->tree, bed->group->place));
}

static void test_when_nothing_is_told_any_more_all_is_forgotten(void **state)
{
	struct bed *bed = *state;
	struct node *a = add_config(bed, "a.yaml", "one"), *b = add_config(bed, "b.yaml", "one");
	cleanup_place struct place *place = bed_place("c.yaml");

	atomic_store(&bed->fake.watches, true);
	wake_set_live(bed->tree, true);
	assert_true(show_timeout_s(bed->tree, a) > WAKE_SHORT_S);
	assert_true(wake_add_absent(bed->tree, bed->group, "c.yaml", place));
	wake_set_live(bed->tree, false);
	assert_true(a->is_told);
	assert_false(b->is_told);
	assert_int_equal(counts_of(bed).absent, 0);
	assert_touch(bed, TOUCH_FORGET_ABSENT, "c.yaml", NULL);
}

/* ------------------------------------------------------------------------------- who fetches */

struct fetchers {
	struct bed *bed;
	struct thread threads[FETCHERS], teller;
	atomic_int told;
};

static void *run_fetcher(void *arg)
{
	fetch_run(((struct fetchers *)arg)->bed->saver);
	return NULL;
}

/* As the one that tells the kernel. */
static void *run_teller(void *arg)
{
	struct fetchers *fetchers = arg;
	struct tree *tree = fetchers->bed->tree;
	struct wake_told told;

	lock_take(&tree->lock);
	while (wake_take_told(tree, &told)) {
		atomic_fetch_add(&fetchers->told, 1);
		wake_raise_told(tree, &told);
	}
	lock_give(&tree->lock);
	return NULL;
}

/* The lock is given, and not taken again. */
static void start(struct fetchers *fetchers)
{
	lock_give(&fetchers->bed->tree->lock);
	assert_int_equal(thread_start(&fetchers->teller, run_teller, fetchers), 0);
	for (size_t i = 0; i < FETCHERS; i++)
		assert_int_equal(thread_start(&fetchers->threads[i], run_fetcher, fetchers), 0);
}

static void stop(struct fetchers *fetchers)
{
	struct tree *tree = fetchers->bed->tree;

	lock_take(&tree->lock);
	wake_stop(tree);
	lock_give(&tree->lock);
	for (size_t i = 0; i < FETCHERS; i++)
		thread_join(&fetchers->threads[i]);
	thread_join(&fetchers->teller);
}

struct question {
	struct fetchers *fetchers;
	const char *name, *text;
	int hanging;
};

/* Is that text shown of the config? NULL: it has no name any more. */
static bool is_shown(void *arg)
{
	const struct question *question = arg;
	struct bed *bed = question->fetchers->bed;
	char md5[HASH_MD5_HEX_SIZE] = "";

	if (question->text)
		hash_md5_hex(question->text, strlen(question->text), md5);
	lock_take(&bed->tree->lock);
	const struct node *node = tree_child(bed->tree, bed->group, question->name);
	bool shown = question->text ? node && !strcmp(node_md5(node), md5) : !node;
	lock_give(&bed->tree->lock);
	return shown;
}

static bool two_are_told(void *arg)
{
	return atomic_load(&((struct fetchers *)arg)->told) >= 2;
}

static bool is_hanging(void *arg)
{
	const struct question *question = arg;

	return atomic_load(&question->fetchers->bed->fake.hanging_count) == question->hanging;
}

static void change_elsewhere(struct bed *bed, const char *data_id, const char *text)
{
	cleanup_place struct place *place = bed_place(data_id);

	fake_change(&bed->fake, place, text);
}

static void test_a_change_elsewhere_is_fetched_and_told(void **state)
{
	struct bed *bed = *state;
	struct fetchers fetchers = { .bed = bed };

	add_config(bed, "a.yaml", "one");
	start(&fetchers);
	change_elsewhere(bed, "a.yaml", "two");
	assert_true(bed_wait(is_shown, &(struct question){ &fetchers, "a.yaml", "two", 0 }));
	change_elsewhere(bed, "b.yaml", "new");
	assert_true(bed_wait(is_shown, &(struct question){ &fetchers, "b.yaml", "new", 0 }));
	change_elsewhere(bed, "a.yaml", NULL);
	assert_true(bed_wait(is_shown, &(struct question){ &fetchers, "a.yaml", NULL, 0 }));
	assert_true(bed_wait(two_are_told, &fetchers));
	stop(&fetchers);
}

static void test_one_that_hangs_holds_up_no_other(void **state)
{
	struct bed *bed = *state;
	struct fetchers fetchers = { .bed = bed };
	char name[32];

	struct node *hanging = add_config(bed, "hanging.yaml", "one");
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "%d.yaml", i);
		add_config(bed, name, "one");
	}
	fake_hang(&bed->fake, hanging->place);
	start(&fetchers);
	change_elsewhere(bed, "hanging.yaml", "two");
	assert_true(bed_wait(is_hanging, &(struct question){ &fetchers, NULL, NULL, 1 }));
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "%d.yaml", i);
		change_elsewhere(bed, name, "two");
	}
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "%d.yaml", i);
		assert_true(bed_wait(is_shown, &(struct question){ &fetchers, name, "two", 0 }));
	}
	assert_true(is_hanging(&(struct question){ &fetchers, NULL, NULL, 1 }));
	assert_true(bed_wait(two_are_told, &fetchers));
	/* What was told once more meanwhile is fetched once more: what is shown is what is there. */
	change_elsewhere(bed, "hanging.yaml", "three");
	fake_hang(&bed->fake, NULL);
	assert_true(bed_wait(is_shown, &(struct question){ &fetchers, "hanging.yaml", "three", 0 }));
	stop(&fetchers);
}

static void test_a_fetch_that_hangs_ends_with_the_others(void **state)
{
	struct bed *bed = *state;
	struct fetchers fetchers = { .bed = bed };
	struct node *hanging = add_config(bed, "hanging.yaml", "one");
	int64_t started_ms = clock_monotonic_ms();

	fake_hang(&bed->fake, hanging->place);
	start(&fetchers);
	change_elsewhere(bed, "hanging.yaml", "two");
	assert_true(bed_wait(is_hanging, &(struct question){ &fetchers, NULL, NULL, 1 }));
	stop(&fetchers);
	assert_true(clock_monotonic_ms() - started_ms < 3000);
}

/* The last config of a group that goes takes the group with it, whoever is in it (SIGSEGV and use after free once). */
static void test_the_last_config_of_a_group_goes_elsewhere(void **state)
{
	struct bed *bed = *state;
	struct fetchers fetchers = { .bed = bed };
	struct node *group = bed->group;

	add_config(bed, "a.yaml", "one");
	node_hold(group);
	start(&fetchers);
	change_elsewhere(bed, "a.yaml", NULL);
	assert_true(bed_wait(is_shown, &(struct question){ &fetchers, "a.yaml", NULL, 0 }));
	stop(&fetchers);
	lock_take(&bed->tree->lock);
	assert_non_null(group->place);
	node_drop(bed->tree, group);
	lock_give(&bed->tree->lock);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_each_node_is_told_once),
		TEST(test_a_node_that_goes_while_it_is_told_lives_on),
		TEST(test_what_nobody_can_see_is_not_told),
		TEST(test_events_of_a_name_are_merged),
		TEST(test_that_it_went_and_came_back_is_two),
		TEST(test_without_a_toucher_nothing_is_queued),
		TEST(test_an_emptied_config_wakes_nobody),
		TEST(test_each_place_is_fetched_once),
		TEST(test_what_fails_is_due_later),
		TEST(test_too_many_changes_compare_all),
		TEST(test_the_queue_stops),
		TEST(test_an_answer_that_was_overtaken_is_taken_back),
		TEST(test_absent_names_are_remembered),
		TEST(test_names_that_are_told_of_are_not_compared),
		TEST(test_when_nothing_is_told_any_more_all_is_forgotten),
		TEST(test_a_change_elsewhere_is_fetched_and_told),
		TEST(test_one_that_hangs_holds_up_no_other),
		TEST(test_a_fetch_that_hangs_ends_with_the_others),
		TEST(test_the_last_config_of_a_group_goes_elsewhere),
	};

	bed_mute_log();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
