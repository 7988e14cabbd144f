/* What is put off for a moment: removals, saves of what looks like a temp file, and emptied configs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_store.h"
#include "fs/node/names.h"
#include "fs/node/saving.h"
#include "fs/node/show.h"
#include "fs/node/wake.h"
#include "fs/save/closing.h"
#include "fs/save/grace.h"
#include "fs/save/handle.h"
#include "fs/save/kept.h"

#define GRACE_SHORT_MS 15
#define MODE 0640

static int start(void **state, const char *grace_ms)
{
	setenv("NACOSFS_GRACE_MS", grace_ms, 1);
	*state = bed_new(&(struct bed_options){ 0 });
	return grace_start(((struct bed *)*state)->saver);
}

static int set_up(void **state)
{
	return start(state, "15");
}

/* It does not end by itself. */
static int set_up_long(void **state)
{
	return start(state, "1000000");
}

static int tear_down(void **state)
{
	bed_free(*state);
	return 0;
}

static struct node *add_config(struct bed *bed, const char *name, const char *text)
{
	struct node *node = tree_add(bed->tree, bed->group, name, NODE_CONFIG);

	node_count_lookup(node);
	assert_non_null(node_config(node));
	if (text) {
		fake_set(&bed->fake, node->place, text);
		cleanup_version struct version *version = fake_peek(&bed->fake, node->place);
		show_version(bed->tree, node, version);
	}
	return node;
}

/* As unlink does it. With the lock. */
static struct place *hide(struct bed *bed, const char *name, const char *text, bool remove)
{
	struct node *node = add_config(bed, name, text);
	struct place *place = place_hold(node->place);
	cleanup_version struct version *base = fake_peek(&bed->fake, place);

	node->mode = MODE;
	assert_int_equal(grace_hide(bed->saver, node, base, remove, getuid()), 0);
	tree_unlink(bed->tree, node);
	tree_forget(bed->tree, node_id(node), 1);
	return place;
}

/* A draft whose file is closed. With the lock. */
static void write_draft(struct bed *bed, struct node *node, const char *text)
{
	const struct writer writer = { 0, getuid(), getgid() };
	cleanup_version struct version *base = fake_peek(&bed->fake, node->place);

	assert_int_equal(draft_start(bed->tree, node, base), 0);
	draft_note_change(node, &writer);
	assert_int_equal(buffer_append(&node_draft(node)->content, text, strlen(text)), 0);
}

struct question {
	struct bed *bed;
	const char *name, *text;
	struct place *place;
	struct node *node;
	unsigned references;
};

static bool is_stored(void *arg)
{
	struct question *question = arg;

	return bed_has(question->bed, question->name, question->text);
}

static bool is_shown(void *arg)
{
	struct question *question = arg;

	lock_take(&question->bed->tree->lock);
	bool hides = grace_hides(question->bed->saver, question->place);
	lock_give(&question->bed->tree->lock);
	return !hides;
}

static bool is_hanging(void *arg)
{
	struct question *question = arg;

	return atomic_load(&question->bed->fake.hanging_count) > 0;
}

/* Nothing is put off for the node any more; nobody here tells the kernel of it. */
static bool is_done(void *arg)
{
	struct question *question = arg;

	lock_take(&question->bed->tree->lock);
	bool done = question->node->references - question->node->is_told == question->references;
	lock_give(&question->bed->tree->lock);
	return done;
}

static bool is_due(void *arg)
{
	const int64_t *due_ms = arg;

	return clock_monotonic_ms() > *due_ms;
}

/* So long that what is put off would have been done. */
static void wait_for_graces(int count)
{
	int64_t due_ms = clock_monotonic_ms() + count * GRACE_SHORT_MS;

	assert_true(bed_wait(is_due, &due_ms));
}

/* ------------------------------------------------------------------------------------ removals */

static void test_a_removal_comes_after_the_grace(void **state)
{
	struct bed *bed = *state;
	int64_t started_ms = clock_monotonic_ms();

	lock_take(&bed->tree->lock);
	cleanup_place struct place *place = hide(bed, "a.yaml", "one", true);
	assert_true(grace_hides(bed->saver, place));
	assert_int_equal(grace_count_removals(bed->saver), 1);
	cleanup_version struct version *base = grace_base(bed->saver, place);
	assert_non_null(base);
	lock_give(&bed->tree->lock);
	struct question question = { .bed = bed, .name = "a.yaml", .place = place };
	assert_true(bed_wait(is_stored, &question));
	assert_true(clock_monotonic_ms() - started_ms >= GRACE_SHORT_MS);
	assert_true(bed_wait(is_shown, &question));
	assert_int_equal(bed->fake.removes, 1);
}

static void test_what_is_taken_back_is_not_removed(void **state)
{
	struct bed *bed = *state;
	cleanup_version struct version *base = NULL;
	mode_t mode = 0;
	struct call call;

	lock_take(&bed->tree->lock);
	cleanup_place struct place *place = hide(bed, "a.yaml", "one", true);
	call_start(&call, 1000);
	assert_int_equal(grace_take_back(bed->saver, place, &call, &base, &mode), 0);
	assert_non_null(base);
	assert_int_equal(mode, MODE);
	assert_false(grace_hides(bed->saver, place));
	assert_int_equal(grace_take_back(bed->saver, place, &call, &base, &mode), -ENOENT);
	lock_give(&bed->tree->lock);
	wait_for_graces(4);
	assert_true(bed_has(bed, "a.yaml", "one"));
	assert_int_equal(bed->fake.removes, 0);
}

static void test_a_backup_is_no_removal(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	cleanup_place struct place *place = hide(bed, "a.yaml", "one", false);
	lock_give(&bed->tree->lock);
	struct question question = { .bed = bed, .place = place };
	assert_true(bed_wait(is_shown, &question));
	assert_true(bed_has(bed, "a.yaml", "one"));
	assert_int_equal(bed->fake.removes, 0);
	/* It is fetched, so that its name shows again. */
	struct wake_counts counts;
	lock_take(&bed->tree->lock);
	wake_get_counts(bed->tree, &counts);
	lock_give(&bed->tree->lock);
	assert_int_equal(counts.fetch_queue, 1);
}

static void test_a_removal_under_way_is_waited_for(void **state)
{
	struct bed *bed = *state;
	cleanup_version struct version *base = NULL;
	mode_t mode;
	struct call call;

	lock_take(&bed->tree->lock);
	cleanup_place struct place *place = hide(bed, "a.yaml", "one", true);
	fake_hang(&bed->fake, place);
	lock_give(&bed->tree->lock);
	struct question question = { .bed = bed, .name = "a.yaml", .place = place };
	assert_true(bed_wait(is_hanging, &question));
	lock_take(&bed->tree->lock);
	assert_true(saving_is_marked(bed->tree, place));
	call_start(&call, 5);
	assert_int_equal(grace_take_back(bed->saver, place, &call, &base, &mode), -ETIMEDOUT);
	assert_true(grace_hides(bed->saver, place));
	fake_hang(&bed->fake, NULL);
	call_start(&call, BED_TIMEOUT_MS);
	assert_int_equal(grace_take_back(bed->saver, place, &call, &base, &mode), -ENOENT);
	assert_false(saving_is_marked(bed->tree, place));
	lock_give(&bed->tree->lock);
	assert_true(bed_has(bed, "a.yaml", NULL));
}

static void test_a_removal_waits_for_a_save(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	cleanup_place struct place *place = hide(bed, "a.yaml", "one", true);
	assert_int_equal(saving_mark(bed->tree, place), 0);
	lock_give(&bed->tree->lock);
	wait_for_graces(4);
	assert_true(bed_has(bed, "a.yaml", "one"));
	lock_take(&bed->tree->lock);
	assert_true(grace_hides(bed->saver, place));
	saving_unmark(bed->tree, place);
	lock_give(&bed->tree->lock);
	struct question question = { .bed = bed, .name = "a.yaml" };
	assert_true(bed_wait(is_stored, &question));
}

static void test_a_removal_that_fails_shows_the_name_again(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	bed->fake.error[FAKE_BEFORE_REMOVE] = -EACCES;
	cleanup_place struct place *place = hide(bed, "a.yaml", "one", true);
	lock_give(&bed->tree->lock);
	struct question question = { .bed = bed, .place = place };
	assert_true(bed_wait(is_shown, &question));
	assert_true(bed_has(bed, "a.yaml", "one"));
	lock_take(&bed->tree->lock);
	assert_false(saving_is_marked(bed->tree, place));
	lock_give(&bed->tree->lock);
}

/* Its base is what was there when it was hidden. */
static void test_what_changed_elsewhere_is_not_removed(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	cleanup_place struct place *place = hide(bed, "a.yaml", "one", true);
	bed_set(bed, "a.yaml", "theirs");
	lock_give(&bed->tree->lock);
	struct question question = { .bed = bed, .place = place };
	assert_true(bed_wait(is_shown, &question));
	assert_true(bed_has(bed, "a.yaml", "theirs"));
}

static void test_all_below_a_directory_is_removed_at_once(void **state)
{
	struct bed *bed = *state;
	struct call call;

	lock_take(&bed->tree->lock);
	cleanup_place struct place *a = hide(bed, "a.yaml", "one", true), *b = hide(bed, "b.yaml", "two", true);
	cleanup_place struct place *c = hide(bed, "c.yaml", "three", false);
	call_start(&call, BED_TIMEOUT_MS);
	bed->fake.error[FAKE_BEFORE_REMOVE] = -EACCES; /* of one of them */
	assert_int_equal(grace_finish_below(bed->saver, bed->group->place->above, &call), -EACCES);
	assert_false(grace_hides(bed->saver, a) || grace_hides(bed->saver, b));
	assert_true(grace_hides(bed->saver, c));
	assert_int_equal(bed->fake.removes, 1);
	assert_int_equal(grace_finish_below(bed->saver, bed->group->place, &call), 0);
	lock_give(&bed->tree->lock);
}

/* --------------------------------------------------------------------------------------- saves */

/* A new config that is saved later, closed. With the lock. */
static struct node *add_deferred(struct bed *bed, const char *name, const char *text)
{
	struct node *node = add_config(bed, name, NULL);

	write_draft(bed, node, text);
	node->config->deferred = true;
	grace_save_later(bed->saver, node);
	return node;
}

static void test_a_deferred_save_comes_after_the_grace(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	struct node *node = add_deferred(bed, "a.yamlX3fQ9a", "one");
	/* Put off again, it is still one save. */
	assert_int_equal(node->references, 1);
	grace_save_later(bed->saver, node);
	assert_int_equal(node->references, 1);
	lock_give(&bed->tree->lock);
	struct question question = { .bed = bed, .name = "a.yamlX3fQ9a", .text = "one", .node = node };
	assert_true(bed_wait(is_stored, &question));
	assert_true(bed_wait(is_done, &question));
	lock_take(&bed->tree->lock);
	assert_null(node_draft(node));
	assert_true(node->is_stored);
	lock_give(&bed->tree->lock);
}

/* Its rename waits for a server: it must not be published under the temp name meanwhile, nor afterwards. */
static void test_what_is_being_renamed_is_not_published(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	struct node *node = add_deferred(bed, "a.yamlX3fQ9a", "one");
	cleanup_place struct place *place = place_hold(node->place);
	assert_int_equal(saving_mark(bed->tree, place), 0);
	lock_give(&bed->tree->lock);
	wait_for_graces(5);
	assert_int_equal(bed->fake.puts, 0);
	lock_take(&bed->tree->lock);
	draft_drop(node);
	node->config->deferred = false;
	assert_int_equal(tree_move(bed->tree, node, bed->group, "a.yaml"), 0);
	saving_unmark(bed->tree, place);
	lock_give(&bed->tree->lock);
	struct question question = { .bed = bed, .node = node };
	assert_true(bed_wait(is_done, &question));
	assert_int_equal(bed->fake.puts, 0);
}

static void test_in_an_outage_it_is_tried_again(void **state)
{
	struct bed *bed = *state;

	pthread_mutex_lock(&bed->fake.lock);
	bed->fake.is_in_outage = true;
	pthread_mutex_unlock(&bed->fake.lock);
	lock_take(&bed->tree->lock);
	struct node *node = add_deferred(bed, "a.yamlX3fQ9a", "one");
	lock_give(&bed->tree->lock);
	wait_for_graces(4);
	lock_take(&bed->tree->lock);
	assert_true(draft_is_dirty(node));
	lock_give(&bed->tree->lock);
	pthread_mutex_lock(&bed->fake.lock);
	bed->fake.is_in_outage = false;
	pthread_mutex_unlock(&bed->fake.lock);
	struct question question = { .bed = bed, .name = "a.yamlX3fQ9a", .text = "one", .node = node };
	assert_true(bed_wait(is_stored, &question));
	assert_true(bed_wait(is_done, &question));
	lock_take(&bed->tree->lock);
	assert_int_equal(kept_count(bed->saver), 0);
	lock_give(&bed->tree->lock);
}

static void test_what_is_refused_stays_as_a_private_file(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	bed->fake.error[FAKE_BEFORE_PUT] = -EACCES;
	struct node *node = add_deferred(bed, "a.yamlX3fQ9a", "one");
	lock_give(&bed->tree->lock);
	struct question question = { .bed = bed, .node = node };
	assert_true(bed_wait(is_done, &question));
	lock_take(&bed->tree->lock);
	assert_int_equal(node->kind, NODE_PRIVATE_FILE);
	assert_int_equal(node->file->content.size, 3);
	assert_memory_equal(node->file->content.data, "one", 3);
	assert_int_equal(kept_count(bed->saver), 1);
	assert_ptr_equal(tree_child(bed->tree, bed->group, "a.yamlX3fQ9a"), node);
	lock_give(&bed->tree->lock);
	assert_true(bed_has(bed, "a.yamlX3fQ9a", NULL));
}

static void test_what_is_open_again_waits_for_its_close(void **state)
{
	struct bed *bed = *state;
	const struct writer writer = { 0, getuid(), getgid() };

	lock_take(&bed->tree->lock);
	struct node *node = add_deferred(bed, "a.yamlX3fQ9a", "one");
	struct handle *handle = handle_new(bed->saver, node, O_RDWR, NULL, &writer);
	lock_give(&bed->tree->lock);
	struct question question = { .bed = bed, .node = node, .references = 1 };
	assert_true(bed_wait(is_done, &question));
	lock_take(&bed->tree->lock);
	assert_int_equal(bed->fake.puts, 0);
	assert_true(draft_is_dirty(node));
	grace_save_later(bed->saver, node);
	closing_end(bed->saver, handle);
	lock_give(&bed->tree->lock);
	question = (struct question){ .bed = bed, .name = "a.yamlX3fQ9a", .text = "one" };
	assert_true(bed_wait(is_stored, &question));
}

/* A child has it open, too, nobody knows for how long. */
static void test_what_is_inherited_is_saved_while_it_is_open(void **state)
{
	struct bed *bed = *state;
	const struct writer writer = { 0, getuid(), getgid() };

	lock_take(&bed->tree->lock);
	struct node *node = add_config(bed, "a.yaml", "one"), *blank = add_config(bed, "b.yaml", "one");
	struct handle *handle = handle_new(bed->saver, node, O_RDWR, NULL, &writer);
	write_draft(bed, node, "two");
	write_draft(bed, blank, "");
	grace_save_open(bed->saver, node);
	grace_save_open(bed->saver, blank);
	lock_give(&bed->tree->lock);
	struct question question = { .bed = bed, .name = "a.yaml", .text = "two", .node = blank };
	assert_true(bed_wait(is_stored, &question));
	assert_true(bed_wait(is_done, &question));
	lock_take(&bed->tree->lock);
	assert_true(draft_is_dirty(blank));
	assert_true(bed_has(bed, "b.yaml", "one"));
	closing_end(bed->saver, handle);
	lock_give(&bed->tree->lock);
}

/* ---------------------------------------------------------------------------- emptied configs */

static void test_an_emptied_config_reads_as_empty_for_a_while(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	struct node *node = add_config(bed, "a.yaml", "one"), *added = add_config(bed, "b.yaml", NULL);
	write_draft(bed, node, "");
	write_draft(bed, added, " \n");
	node_hold(added);
	grace_keep_empty(bed->saver, node);
	grace_keep_empty(bed->saver, added);
	assert_true(draft_is_blank(node));
	int64_t started_ms = clock_monotonic_ms();
	lock_give(&bed->tree->lock);
	struct question question = { .bed = bed, .node = node };
	assert_true(bed_wait(is_done, &question));
	assert_true(clock_monotonic_ms() - started_ms >= GRACE_EMPTY_MS / (GRACE_MS / GRACE_SHORT_MS));
	question = (struct question){ .bed = bed, .node = added, .references = 1 };
	assert_true(bed_wait(is_done, &question));
	lock_take(&bed->tree->lock);
	assert_null(node_draft(node));
	assert_non_null(node->parent);
	/* What was never stored goes. */
	assert_null(tree_child(bed->tree, bed->group, "b.yaml"));
	node_drop(bed->tree, added);
	lock_give(&bed->tree->lock);
	assert_true(bed_has(bed, "a.yaml", "one"));
	assert_int_equal(bed->fake.puts, 0);
}

/* ------------------------------------------------------------------------------------- the end */

static void test_the_end_does_what_was_put_off(void **state)
{
	struct bed *bed = *state;
	const struct writer writer = { 0, getuid(), getgid() };

	lock_take(&bed->tree->lock);
	cleanup_place struct place *removed = hide(bed, "a.yaml", "one", true), *backup = hide(bed, "b.yaml", "two", false);
	struct node *node = add_deferred(bed, "c.yamlX3fQ9a", "three");
	struct node *open = add_config(bed, "d.yaml", "four");
	handle_new(bed->saver, open, O_RDWR, NULL, &writer);
	write_draft(bed, open, "four and more");
	lock_give(&bed->tree->lock);
	assert_true(bed_has(bed, "a.yaml", "one"));
	grace_stop(bed->saver);
	assert_true(bed_has(bed, "a.yaml", NULL));
	assert_true(bed_has(bed, "b.yaml", "two"));
	assert_true(bed_has(bed, "c.yamlX3fQ9a", "three"));
	assert_true(bed_has(bed, "d.yaml", "four"));
	lock_take(&bed->tree->lock);
	assert_null(node_draft(node));
	assert_int_equal(kept_count(bed->saver), 1); /* of what nobody closed */
	assert_int_equal(grace_count_removals(bed->saver), 0);
	lock_give(&bed->tree->lock);
}

static void test_at_the_end_an_outage_keeps_the_text(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	cleanup_place struct place *place = hide(bed, "a.yaml", "one", true);
	add_deferred(bed, "c.yamlX3fQ9a", "three");
	bed->fake.is_in_outage = true;
	lock_give(&bed->tree->lock);
	grace_stop(bed->saver);
	assert_true(bed_has(bed, "a.yaml", "one"));
	lock_take(&bed->tree->lock);
	assert_int_equal(kept_count(bed->saver), 1);
	lock_give(&bed->tree->lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_removal_comes_after_the_grace, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_taken_back_is_not_removed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_backup_is_no_removal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_removal_under_way_is_waited_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_removal_waits_for_a_save, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_removal_that_fails_shows_the_name_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_changed_elsewhere_is_not_removed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_all_below_a_directory_is_removed_at_once, set_up_long, tear_down),
		cmocka_unit_test_setup_teardown(test_a_deferred_save_comes_after_the_grace, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_being_renamed_is_not_published, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_in_an_outage_it_is_tried_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_refused_stays_as_a_private_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_open_again_waits_for_its_close, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_inherited_is_saved_while_it_is_open, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_an_emptied_config_reads_as_empty_for_a_while, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_end_does_what_was_put_off, set_up_long, tear_down),
		cmocka_unit_test_setup_teardown(test_at_the_end_an_outage_keeps_the_text, set_up_long, tear_down),
	};

	bed_mute_log();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
