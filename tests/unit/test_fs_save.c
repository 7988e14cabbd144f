/*
 * One save, with all that can happen in the middle of it: what a user wrote and was told to be written always has an owner. It is
 * in the store, in a draft that somebody will save, or among the kept texts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/follow/refresh.h"
#include "fs/node/saving.h"
#include "fs/node/wake.h"
#include "fs/rename.h"
#include "test_fs_writers.h"
#include "util/thread.h"

static int set_up(void **state)
{
	*state = bed_new(&(struct bed_options){ 0 });
	return 0;
}

static int tear_down(void **state)
{
	bed_free(*state);
	return 0;
}

/* ---------------------------------------------------------------------------------- one writer */

static void test_what_was_written_is_published(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	struct node *node = add_config(bed, "a.yaml", "one");
	struct handle *handle = open_file(bed, node);
	assert_int_equal(write_text(bed, handle, " two"), 0);
	assert_int_equal(save(bed, handle), 0);
	assert_true(bed_has(bed, "a.yaml", "one two"));
	assert_null(node_draft(node));
	assert_false(saving_is_marked(bed->tree, node->place));
	/* What it saved is what it goes on from. */
	assert_int_equal(write_text(bed, handle, " three"), 0);
	assert_int_equal(save(bed, handle), 0);
	assert_true(bed_has(bed, "a.yaml", "one two three"));
	closing_end(bed->saver, handle);
	assert_int_equal(kept_count(bed->saver), 0);
	lock_give(&bed->tree->lock);
}

static void test_nothing_is_put_that_is_there(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	struct node *node = add_config(bed, "a.yaml", "one");
	struct handle *handle = open_file(bed, node);
	assert_int_equal(write_anew(bed, handle, "one"), 0);
	assert_int_equal(save(bed, handle), 0);
	assert_int_equal(bed->fake.puts, 0);
	assert_null(node_draft(node));
	/* And nothing was changed at all. */
	assert_int_equal(save(bed, handle), 0);
	assert_int_equal(bed->fake.puts, 0);
	closing_end(bed->saver, handle);
	lock_give(&bed->tree->lock);
}

static void test_an_empty_draft_waits_for_content(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	struct node *node = add_config(bed, "a.yaml", "one");
	struct handle *handle = open_file(bed, node);
	assert_int_equal(write_anew(bed, handle, " \n"), 0);
	assert_int_equal(save(bed, handle), -EINVAL);
	assert_int_equal(handle->error, 0);
	assert_true(draft_is_dirty(node));
	assert_true(bed_has(bed, "a.yaml", "one"));
	assert_int_equal(write_text(bed, handle, "two"), 0);
	assert_int_equal(save(bed, handle), 0);
	assert_true(bed_has(bed, "a.yaml", " \ntwo"));
	closing_end(bed->saver, handle);
	assert_int_equal(kept_count(bed->saver), 0);
	lock_give(&bed->tree->lock);
}

/* ------------------------------------------------------------------------- in the middle of a put */

static void write_meanwhile(void *arg, struct place *place)
{
	struct scene *scene = arg;

	lock_take(&scene->bed->tree->lock);
	assert_true(saving_is_marked(scene->bed->tree, place));
	assert_int_equal(write_text(scene->bed, scene->b, " meanwhile"), 0);
	lock_give(&scene->bed->tree->lock);
}

static void test_what_is_written_meanwhile_stays_unsaved(void **state)
{
	struct bed *bed = *state;

	for (enum fake_step step = FAKE_BEFORE_PUT; step <= FAKE_AFTER_PUT; step++) {
		lock_take(&bed->tree->lock);
		struct node *node = add_config(bed, step == FAKE_BEFORE_PUT ? "a.yaml" : "b.yaml", "one");
		struct scene scene = { bed, node, open_file(bed, node), open_file(bed, node) };
		assert_int_equal(write_text(bed, scene.a, " two"), 0);
		fake_hook(&bed->fake, step, write_meanwhile, &scene);
		assert_int_equal(save(bed, scene.a), 0);
		assert_true(bed_has(bed, node_name(node), "one two"));
		assert_true(draft_is_dirty(node));
		assert_string_equal(node_draft(node)->base->md5, node_md5(node));
		assert_false(handle_is_dirty(scene.a));
		assert_true(handle_is_dirty(scene.b));
		assert_int_equal(save(bed, scene.b), 0);
		assert_true(bed_has(bed, node_name(node), "one two meanwhile"));
		closing_end(bed->saver, scene.a);
		closing_end(bed->saver, scene.b);
		lock_give(&bed->tree->lock);
	}
	assert_int_equal(kept_count(bed->saver), 0);
}

static void unlink_meanwhile(void *arg, struct place *place)
{
	struct scene *scene = arg;

	(void)place;
	lock_take(&scene->bed->tree->lock);
	tree_unlink(scene->bed->tree, scene->node);
	tree_forget(scene->bed->tree, node_id(scene->node), 1);
	closing_end(scene->bed->saver, scene->b);
	lock_give(&scene->bed->tree->lock);
}

static void test_a_node_that_goes_meanwhile_lives_on(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	struct node *node = add_config(bed, "a.yaml", "one");
	struct scene scene = { bed, node, NULL, open_file(bed, node) };
	struct call call;
	assert_int_equal(write_text(bed, scene.b, " two"), 0);
	{
		cleanup_held struct held held = tree_hold(bed->tree, node);
		call_start(&call, BED_TIMEOUT_MS);
		fake_hook(&bed->fake, FAKE_BEFORE_PUT, unlink_meanwhile, &scene);
		assert_int_equal(save_draft(bed->saver, &call, &held), 0);
		assert_true(bed_has(bed, "a.yaml", "one two"));
		assert_false(saving_is_marked(bed->tree, node->place));
	}
	lock_give(&bed->tree->lock);
}

static void become_private(void *arg, struct place *place)
{
	struct scene *scene = arg;
	struct tree *tree = scene->bed->tree;

	(void)place;
	lock_take(&tree->lock);
	assert_int_equal(private_from_config(tree, scene->node, "mine", 4), 0);
	assert_int_equal(tree_move(tree, scene->node, scene->bed->group, "a.yaml~"), 0);
	lock_give(&tree->lock);
}

static void move_away(void *arg, struct place *place)
{
	struct scene *scene = arg;
	struct tree *tree = scene->bed->tree;

	(void)place;
	lock_take(&tree->lock);
	assert_int_equal(tree_move(tree, scene->node, scene->bed->group, "c.yaml"), 0);
	lock_give(&tree->lock);
}

static void test_a_node_that_becomes_something_else_is_left_alone(void **state)
{
	struct bed *bed = *state;
	void (*const hooks[])(void *, struct place *) = { become_private, move_away };

	lock_take(&bed->tree->lock);
	for (size_t i = 0; i < 2; i++) {
		struct node *node = add_config(bed, i ? "b.yaml" : "a.yaml", "one");
		struct scene scene = { bed, node, open_file(bed, node), NULL };
		char md5[HASH_MD5_HEX_SIZE];
		strcpy(md5, node_md5(node));
		assert_int_equal(write_text(bed, scene.a, " two"), 0);
		fake_hook(&bed->fake, FAKE_BEFORE_PUT, hooks[i], &scene);
		assert_int_equal(save(bed, scene.a), 0);
		assert_true(bed_has(bed, i ? "b.yaml" : "a.yaml", "one two"));
		assert_string_equal(node_md5(node), i ? md5 : "");
		closing_end(bed->saver, scene.a);
	}
	lock_give(&bed->tree->lock);
}

/* ---------------------------------------------------------------------------------- what fails */

static void test_a_conflict_keeps_all_texts(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	struct node *node = add_config(bed, "a.yaml", "one");
	struct handle *handle = open_file(bed, node);
	assert_int_equal(write_text(bed, handle, " mine"), 0);
	bed_set(bed, "a.yaml", "one theirs");
	assert_int_equal(save(bed, handle), -EBUSY);
	assert_true(bed_has(bed, "a.yaml", "one theirs"));
	assert_int_equal(kept_count(bed->saver), 1);
	assert_true(is_kept_as(bed, "yours", "one mine"));
	assert_true(is_kept_as(bed, "base", "one"));
	assert_true(is_kept_as(bed, "theirs", "one theirs"));
	assert_true(is_kept_as(bed, "why", "somebody else"));
	/* It stays failed, and nothing of it goes out later. */
	assert_int_equal(write_text(bed, handle, " more"), -EBUSY);
	assert_int_equal(save(bed, handle), -EBUSY);
	closing_end(bed->saver, handle);
	assert_true(bed_has(bed, "a.yaml", "one theirs"));
	assert_null(node_draft(node));
	lock_give(&bed->tree->lock);
}

static void test_a_refusal_keeps_the_text(void **state)
{
	static const int errors[] = { -EACCES, -EHOSTUNREACH, -ETIMEDOUT, -EINTR, -EFBIG };
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
		char name[32], text[32];
		snprintf(name, sizeof(name), "%zu.yaml", i);
		snprintf(text, sizeof(text), "text %zu", i);
		struct node *node = add_config(bed, name, "one");
		struct handle *handle = open_file(bed, node);
		assert_int_equal(write_anew(bed, handle, text), 0);
		bed->fake.error[FAKE_BEFORE_PUT] = errors[i];
		assert_int_equal(save(bed, handle), errors[i]);
		assert_int_equal(handle->error, errors[i]);
		assert_true(is_kept(bed, text));
		assert_non_null(node->config->error_text);
		assert_true(bed_has(bed, name, "one"));
		assert_false(saving_is_marked(bed->tree, node->place));
		closing_end(bed->saver, handle);
		assert_null(node_draft(node));
		/* Saved after all, it is not kept any more. */
		handle = open_file(bed, node);
		assert_int_equal(write_anew(bed, handle, text), 0);
		assert_int_equal(save(bed, handle), 0);
		closing_end(bed->saver, handle);
		assert_false(is_kept(bed, text));
		assert_null(node->config->error_text);
	}
	assert_int_equal(kept_count(bed->saver), 0);
	lock_give(&bed->tree->lock);
}

static void test_the_changes_of_another_writer_are_not_lost(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	struct node *node = add_config(bed, "a.yaml", "one");
	struct scene scene = { bed, node, open_file(bed, node), open_file(bed, node) };
	assert_int_equal(write_text(bed, scene.a, " two"), 0);
	fake_hook(&bed->fake, FAKE_BEFORE_PUT, write_meanwhile, &scene);
	bed->fake.error[FAKE_BEFORE_PUT] = -EACCES;
	assert_int_equal(save(bed, scene.a), -EACCES);
	assert_true(is_kept(bed, "one two"));
	assert_true(handle_is_dirty(scene.b));
	assert_int_equal(save(bed, scene.b), 0);
	assert_true(is_in_store(bed, " meanwhile"));
	closing_end(bed->saver, scene.a);
	closing_end(bed->saver, scene.b);
	lock_give(&bed->tree->lock);
}

static void write_by_the_same(void *arg, struct place *place)
{
	struct scene *scene = arg;

	scene->b = scene->a;
	write_meanwhile(arg, place);
}

/* Two threads write through one descriptor: one of them in the middle of the other's fsync, which fails. */
static void test_what_is_written_during_a_failure_is_kept_too(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	struct node *node = add_config(bed, "a.yaml", "one");
	struct scene scene = { bed, node, open_file(bed, node), NULL };
	assert_int_equal(write_text(bed, scene.a, " two"), 0);
	fake_hook(&bed->fake, FAKE_BEFORE_PUT, write_by_the_same, &scene);
	bed->fake.error[FAKE_BEFORE_PUT] = -EACCES;
	assert_int_equal(save(bed, scene.a), -EACCES);
	assert_true(is_kept(bed, "one two meanwhile"));
	closing_end(bed->saver, scene.a);
	lock_give(&bed->tree->lock);
}

static void test_a_killed_writer_leaves_nothing(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	struct node *node = add_config(bed, "a.yaml", "one");
	struct handle *handle = open_file(bed, node);
	assert_int_equal(write_text(bed, handle, " half"), 0);
	closing_abandon(handle);
	assert_int_equal(save(bed, handle), -EINTR);
	closing_end(bed->saver, handle);
	assert_null(node_draft(node));
	assert_true(bed_has(bed, "a.yaml", "one"));
	assert_int_equal(kept_count(bed->saver), 0);
	lock_give(&bed->tree->lock);
}

static void test_what_is_left_at_the_end_is_kept(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	for (int i = 0; i < 3; i++) {
		char name[32];
		snprintf(name, sizeof(name), "%d.yaml", i);
		assert_int_equal(write_text(bed, open_file(bed, add_config(bed, name, "one")), name), 0);
	}
	save_keep_all(bed->saver);
	assert_int_equal(kept_count(bed->saver), 3);
	assert_true(is_kept(bed, "one0.yaml") && is_kept(bed, "one1.yaml") && is_kept(bed, "one2.yaml"));
	closing_end_all(bed->saver);
	lock_give(&bed->tree->lock);
}

/* ------------------------------------------------------------------------------- of two threads */

struct other {
	struct scene *scene;
	struct thread thread;
	int64_t timeout_ms;
	int result;
};

static void *save_b(void *arg)
{
	struct other *other = arg;
	struct scene *scene = other->scene;

	lock_take(&scene->bed->tree->lock);
	other->result = save_in(scene->bed, scene->b, other->timeout_ms);
	lock_give(&scene->bed->tree->lock);
	return NULL;
}

static void *save_a(void *arg)
{
	struct other *other = arg;
	struct scene *scene = other->scene;

	lock_take(&scene->bed->tree->lock);
	other->result = save_in(scene->bed, scene->a, other->timeout_ms);
	lock_give(&scene->bed->tree->lock);
	return NULL;
}

static bool one_hangs(void *arg)
{
	struct bed *bed = arg;

	return atomic_load(&bed->fake.hanging_count) == 1;
}

static struct scene start_hanging_save(struct bed *bed, struct other *first)
{
	lock_take(&bed->tree->lock);
	struct node *node = add_config(bed, "a.yaml", "one");
	struct scene scene = { bed, node, open_file(bed, node), open_file(bed, node) };
	assert_int_equal(write_text(bed, scene.a, " two"), 0);
	lock_give(&bed->tree->lock);
	fake_hang(&bed->fake, node->place);
	*first = (struct other){ .timeout_ms = BED_TIMEOUT_MS };
	return scene;
}

static void test_the_second_save_waits_for_the_first(void **state)
{
	struct bed *bed = *state;
	struct other first, second = { .timeout_ms = BED_TIMEOUT_MS };
	struct scene scene = start_hanging_save(bed, &first);

	first.scene = second.scene = &scene;
	assert_int_equal(thread_start(&first.thread, save_a, &first), 0);
	assert_true(bed_wait(one_hangs, bed));
	lock_take(&bed->tree->lock);
	assert_int_equal(write_text(bed, scene.b, " three"), 0);
	lock_give(&bed->tree->lock);
	assert_int_equal(thread_start(&second.thread, save_b, &second), 0);
	usleep(20000);
	assert_true(one_hangs(bed)); /* and the second has not asked */
	fake_hang(&bed->fake, NULL);
	thread_join(&first.thread);
	thread_join(&second.thread);
	assert_int_equal(first.result, 0);
	assert_int_equal(second.result, 0);
	assert_true(bed_has(bed, "a.yaml", "one two three"));
	assert_int_equal(bed->fake.puts, 2);
	lock_take(&bed->tree->lock);
	closing_end(bed->saver, scene.a);
	closing_end(bed->saver, scene.b);
	lock_give(&bed->tree->lock);
}

/* Its text must not be lost with it. */
static void test_who_waits_too_long_fails_and_is_kept(void **state)
{
	struct bed *bed = *state;
	struct other first;
	struct scene scene = start_hanging_save(bed, &first);

	first.scene = &scene;
	assert_int_equal(thread_start(&first.thread, save_a, &first), 0);
	assert_true(bed_wait(one_hangs, bed));
	lock_take(&bed->tree->lock);
	assert_int_equal(write_text(bed, scene.b, " three"), 0);
	assert_int_equal(save_in(bed, scene.b, 10), -ETIMEDOUT);
	assert_int_equal(scene.b->error, -ETIMEDOUT);
	bool is_owned = is_kept(bed, " three") || is_in_draft(bed, " three");
	lock_give(&bed->tree->lock);
	fake_hang(&bed->fake, NULL);
	thread_join(&first.thread);
	assert_int_equal(first.result, 0);
	assert_true(is_owned);
	lock_take(&bed->tree->lock);
	closing_end(bed->saver, scene.a);
	closing_end(bed->saver, scene.b);
	assert_true(is_kept(bed, " three") || is_in_store(bed, " three"));
	lock_give(&bed->tree->lock);
}

/* ------------------------------------------------------------------------------------- renames */

/* As the door would call it, from the group to the group. With the lock. */
static int rename_in(struct bed *bed, const char *name, const char *new_name, int64_t timeout_ms)
{
	static struct request_kind kind = { .name = "rename" };
	struct request request = {
		.kind = &kind,
		.filesystem = &bed->filesystem,
		.thread = getpid(),
		.asker = { .uid = getuid(), .gid = getgid() },
		.id = node_id(bed->group),
		.new_parent_id = node_id(bed->group),
		.name = name,
		.new_name = new_name,
		.node = tree_hold(bed->tree, bed->group),
		.new_parent = tree_hold(bed->tree, bed->group),
	};

	call_start(&request.call, timeout_ms);
	int error = rename_node(&request);
	while (request.other_count)
		tree_drop(&request.others[--request.other_count]);
	tree_drop(&request.new_parent);
	tree_drop(&request.node);
	return error;
}

static int rename_to(struct bed *bed, const char *name, const char *new_name)
{
	return rename_in(bed, name, new_name, BED_TIMEOUT_MS);
}

static void test_a_temp_file_becomes_the_config(void **state)
{
	struct bed *bed = *state;

	lock_take(&bed->tree->lock);
	add_config(bed, "a.yaml", "one");
	struct node *temp = private_add(bed->tree, bed->group, "a.yaml~", NODE_PRIVATE_FILE, 0600, getuid(), getgid());
	assert_int_equal(private_write(bed->tree, temp, "two", 3, 0, false), 0);
	assert_int_equal(rename_to(bed, "a.yaml~", "a.yaml"), 0);
	assert_true(bed_has(bed, "a.yaml", "two"));
	assert_ptr_equal(tree_child(bed->tree, bed->group, "a.yaml"), temp);
	assert_int_equal(temp->kind, NODE_CONFIG);
	lock_give(&bed->tree->lock);
}

/* What is written to it through an open file, while it is published under the new name, or moved there. */
static void test_what_is_written_during_a_rename_is_not_lost(void **state)
{
	struct bed *bed = *state;
	static const enum fake_step steps[] = { FAKE_BEFORE_PUT, FAKE_AFTER_PUT, FAKE_BEFORE_REMOVE, FAKE_AFTER_REMOVE };

	for (size_t i = 0; i < 2 * sizeof(steps) / sizeof(*steps); i++) {
		enum fake_step step = steps[i / 2];
		bool of_private = i % 2;
		if (of_private && step >= FAKE_BEFORE_REMOVE)
			continue;
		lock_take(&bed->tree->lock);
		struct node *node = of_private ? private_add(bed->tree, bed->group, "a.yaml~", NODE_PRIVATE_FILE, 0600,
							     getuid(), getgid()) :
						 add_config(bed, "a.yaml", "one");
		struct handle *handle = open_file(bed, node);
		struct scene scene = { bed, node, NULL, handle };
		assert_int_equal(write_text(bed, handle, of_private ? "one two" : " two"), 0);
		fake_hook(&bed->fake, step, write_meanwhile, &scene);
		assert_int_equal(rename_to(bed, of_private ? "a.yaml~" : "a.yaml", "b.yaml"), 0);
		assert_true(bed_has(bed, "b.yaml", "one two"));
		assert_true(is_in_draft(bed, "one two meanwhile"));
		assert_int_equal(save(bed, handle), 0);
		assert_true(bed_has(bed, "b.yaml", "one two meanwhile"));
		closing_end(bed->saver, handle);
		tree_unlink(bed->tree, node);
		bed_set(bed, "b.yaml", NULL);
		assert_int_equal(kept_count(bed->saver), 0);
		lock_give(&bed->tree->lock);
	}
}

struct move {
	struct bed *bed;
	struct thread thread;
	const char *from, *to;
	int rounds, moved, failed;
};

static void *move_often(void *arg)
{
	struct move *move = arg;

	for (int i = 0; i < move->rounds; i++) {
		lock_take(&move->bed->tree->lock);
		int error = rename_to(move->bed, move->from, move->to);
		lock_give(&move->bed->tree->lock);
		move->moved += !error;
		move->failed += error && error != -ENOENT;
	}
	return NULL;
}

static void test_crossing_renames_do_not_wait_for_each_other(void **state)
{
	struct bed *bed = *state;
	struct move moves[] = { { .bed = bed, .from = "a.yaml", .to = "b.yaml", .rounds = 1000 },
				{ .bed = bed, .from = "b.yaml", .to = "a.yaml", .rounds = 1000 } };

	lock_take(&bed->tree->lock);
	add_config(bed, "a.yaml", "one");
	lock_give(&bed->tree->lock);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(thread_start(&moves[i].thread, move_often, &moves[i]), 0);
	for (size_t i = 0; i < 2; i++)
		thread_join(&moves[i].thread);
	assert_int_equal(moves[0].failed + moves[1].failed, 0);
	assert_true(moves[0].moved);
	assert_true(bed_has(bed, "a.yaml", "one") != bed_has(bed, "b.yaml", "one"));
}

static void test_both_places_of_a_rename_are_marked(void **state)
{
	struct bed *bed = *state;
	struct call call;

	lock_take(&bed->tree->lock);
	cleanup_place struct place *a = bed_place("a.yaml"), *b = bed_place("b.yaml"), *c = bed_place("c.yaml");
	struct save save = { .place = a }, crossing = { .place = b }, other = { .place = c };
	call_start(&call, 1000);
	assert_int_equal(save_begin(bed->saver, &call, &save, b), 0);
	assert_true(saving_is_marked(bed->tree, a) && saving_is_marked(bed->tree, b));
	call_start(&call, 5);
	assert_int_equal(save_begin(bed->saver, &call, &crossing, a), -ETIMEDOUT);
	save_end(bed->saver, &call, &crossing);
	/* Where only the place that it comes from is marked, too. */
	call_start(&call, 5);
	assert_int_equal(save_begin(bed->saver, &call, &other, a), -ETIMEDOUT);
	assert_true(saving_is_marked(bed->tree, a) && saving_is_marked(bed->tree, b));
	save_end(bed->saver, &call, &save);
	assert_false(saving_is_marked(bed->tree, a) || saving_is_marked(bed->tree, b));
	lock_give(&bed->tree->lock);
}

/* Seen to be gone while a rename had it marked: whatever becomes of the rename, the name must not stay for good. */
static void test_where_a_rename_comes_from_is_looked_at_again(void **state)
{
	struct bed *bed = *state;
	struct wake_counts counts;
	struct call call;

	lock_take(&bed->tree->lock);
	struct node *node = add_config(bed, "a.yaml", "one");
	cleanup_place struct place *a = bed_place("a.yaml"), *b = bed_place("b.yaml");
	struct save save = { .place = b };
	call_start(&call, BED_TIMEOUT_MS);
	assert_int_equal(save_begin(bed->saver, &call, &save, a), 0);
	fake_set(&bed->fake, a, NULL);
	{
		cleanup_held struct held held = tree_hold(bed->tree, node);
		struct version *version = NULL;
		assert_int_equal(refresh_config(bed->tree, &call, &held, VERSION_BASE, &version), -ENOENT);
	}
	assert_non_null(node->parent);
	wake_get_counts(bed->tree, &counts);
	assert_int_equal(counts.fetch_queue, 0);
	save_end(bed->saver, &call, &save);
	wake_get_counts(bed->tree, &counts);
	assert_int_equal(counts.fetch_queue, 1);
	lock_give(&bed->tree->lock);
}

static void start_saving(void *arg, struct place *place)
{
	struct other *saving = arg;
	struct scene *scene = saving->scene;

	(void)place;
	lock_take(&scene->bed->tree->lock);
	assert_int_equal(write_text(scene->bed, scene->b, " two"), 0);
	lock_give(&scene->bed->tree->lock);
	assert_int_equal(thread_start(&saving->thread, save_b, saving), 0);
	usleep(20000); /* it waits, most likely */
}

/* A save that waits for the end of a rename goes to where the config is then. */
static void test_a_save_that_waits_for_a_rename_goes_to_the_new_name(void **state)
{
	struct bed *bed = *state;
	struct other saving = { .timeout_ms = BED_TIMEOUT_MS };

	lock_take(&bed->tree->lock);
	struct node *node = add_config(bed, "a.yaml", "one");
	struct scene scene = { bed, node, NULL, open_file(bed, node) };
	saving.scene = &scene;
	fake_hook(&bed->fake, FAKE_AFTER_REMOVE, start_saving, &saving);
	assert_int_equal(rename_to(bed, "a.yaml", "b.yaml"), 0);
	lock_give(&bed->tree->lock);
	thread_join(&saving.thread);
	assert_int_equal(saving.result, 0);
	assert_true(bed_has(bed, "a.yaml", NULL));
	assert_true(bed_has(bed, "b.yaml", "one two"));
	lock_take(&bed->tree->lock);
	closing_end(bed->saver, scene.b);
	lock_give(&bed->tree->lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_was_written_is_published, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_is_put_that_is_there, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_an_empty_draft_waits_for_content, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_written_meanwhile_stays_unsaved, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_node_that_goes_meanwhile_lives_on, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_node_that_becomes_something_else_is_left_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_conflict_keeps_all_texts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_refusal_keeps_the_text, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_changes_of_another_writer_are_not_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_written_during_a_failure_is_kept_too, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_killed_writer_leaves_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_left_at_the_end_is_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_second_save_waits_for_the_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_who_waits_too_long_fails_and_is_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_temp_file_becomes_the_config, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_written_during_a_rename_is_not_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_crossing_renames_do_not_wait_for_each_other, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_both_places_of_a_rename_are_marked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_where_a_rename_comes_from_is_looked_at_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_save_that_waits_for_a_rename_goes_to_the_new_name, set_up, tear_down),
	};

	bed_mute_log();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
