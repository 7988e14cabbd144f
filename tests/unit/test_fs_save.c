/*
 * One save, with all that can happen in the middle of it: what a user wrote and was told to be written always has an owner. It is
 * in the store, in a draft that somebody will save, or among the kept texts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>

#include "fake_store.h"
#include "fs/node/names.h"
#include "fs/node/saving.h"
#include "fs/node/show.h"
#include "fs/rename.h"
#include "fs/save/closing.h"
#include "fs/save/handle.h"
#include "fs/save/kept.h"
#include "fs/save/private.h"
#include "fs/save/save.h"
#include "util/thread.h"

/* --------------------------------------------------------------------------- what the handlers do */

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

/* A config that is in the store (text NULL: it is not), and known here. With the lock. */
static struct node *add_config(struct bed *bed, const char *name, const char *text)
{
	struct node *node = tree_add(bed->tree, bed->group, name, NODE_CONFIG);

	assert_non_null(node_config(node));
	node_count_lookup(node);
	if (text) {
		fake_set(&bed->fake, node->place, text);
		cleanup_version struct version *version = fake_peek(&bed->fake, node->place);
		show_version(bed->tree, node, version);
	}
	return node;
}

static struct handle *open_file(struct bed *bed, struct node *node)
{
	const struct writer writer = { 0, getuid(), getgid() };
	cleanup_version struct version *version = node->place ? fake_peek(&bed->fake, node->place) : NULL;

	return handle_new(bed->saver, node, O_RDWR, version, &writer);
}

/* Appends; with the answer that the program gets. */
static int write_text(struct bed *bed, struct handle *handle, const char *text)
{
	struct node *node = handle->node;

	if (node->kind != NODE_CONFIG)
		return private_write(bed->tree, node, text, strlen(text), 0, true);
	if (handle->error)
		return handle->error;
	int error = handle_change(bed->tree, handle);
	return error ? error : buffer_append(&node_draft(node)->content, text, strlen(text));
}

static int write_anew(struct bed *bed, struct handle *handle, const char *text)
{
	int error = handle->error ? handle->error : handle_change(bed->tree, handle);

	if (error)
		return error;
	buffer_clear(&node_draft(handle->node)->content);
	return write_text(bed, handle, text);
}

/* As fsync and close do it (fs/file.c). */
static int save_in(struct bed *bed, struct handle *handle, int64_t timeout_ms)
{
	struct node *node = handle->node;
	struct call call;

	if (handle->error || node->kind != NODE_CONFIG || !handle_is_dirty(handle))
		return handle->error;
	cleanup_held struct held held = tree_hold(bed->tree, node);
	call_start(&call, timeout_ms);
	int error = save_draft(bed->saver, &call, &held);
	if (error && !(error == -EINVAL && draft_is_blank(node)))
		handle_fail(handle, error);
	return error;
}

static int save(struct bed *bed, struct handle *handle)
{
	return save_in(bed, handle, BED_TIMEOUT_MS);
}

static struct node *unsaved(struct bed *bed)
{
	struct node *control = tree_child(bed->tree, bed->tree->root, NAMES_CONTROL);

	return tree_child(bed->tree, control, "unsaved");
}

static bool contains(const struct buffer *content, const char *text)
{
	return content->size && memmem(content->data, content->size, text, strlen(text));
}

/* Is the text in that file of a kept text? */
static bool is_kept_as(struct bed *bed, const char *file, const char *text)
{
	for (struct node *record = unsaved(bed)->directory->first_child; record; record = record->next_sibling) {
		struct node *node = tree_child(bed->tree, record, file);

		if (node && contains(&node->file->content, text))
			return true;
	}
	return false;
}

static bool is_kept(struct bed *bed, const char *text)
{
	return is_kept_as(bed, "yours", text);
}

static bool is_in_store(struct bed *bed, const char *text)
{
	bool found = false;

	pthread_mutex_lock(&bed->fake.lock);
	for (struct table_link *link = table_next(&bed->fake.configs, NULL); link; link = table_next(&bed->fake.configs, link))
		found |= contains(&((struct fake_config *)link)->version->content, text);
	pthread_mutex_unlock(&bed->fake.lock);
	return found;
}

static bool is_in_draft(struct bed *bed, const char *text)
{
	for (struct node *node = tree_next(bed->tree, NULL); node; node = tree_next(bed->tree, node))
		if ((node->parent && draft_is_dirty(node) && contains(&node_draft(node)->content, text)) ||
		    (node->kind == NODE_PRIVATE_FILE && node->parent && node->parent == bed->group &&
		     contains(&node->file->content, text)))
			return true;
	return false;
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

/* What a hook does it to. */
struct scene {
	struct bed *bed;
	struct node *node;
	struct handle *a, *b;
};

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
	cleanup_place struct place *a = bed_place("a.yaml"), *b = bed_place("b.yaml");
	struct save save = { .place = a }, crossing = { .place = b };
	call_start(&call, 1000);
	assert_int_equal(save_begin(bed->saver, &call, &save, b), 0);
	assert_true(saving_is_marked(bed->tree, a) && saving_is_marked(bed->tree, b));
	call_start(&call, 5);
	assert_int_equal(save_begin(bed->saver, &call, &crossing, a), -ETIMEDOUT);
	save_end(bed->saver, &call, &crossing);
	assert_true(saving_is_marked(bed->tree, a) && saving_is_marked(bed->tree, b));
	save_end(bed->saver, &call, &save);
	assert_false(saving_is_marked(bed->tree, a) || saving_is_marked(bed->tree, b));
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

/* ------------------------------------------------------------------- every pair at every step */

enum act { NOTHING, WRITE_A, WRITE_B, SAVE_A, SAVE_B, TRUNCATE_A, TRUNCATE_B, KILL_A, KILL_B, CHANGE_ELSEWHERE, UNLINK, ACT_COUNT };

static const char *const act_names[ACT_COUNT] = {
	"nothing", "write A", "write B", "save A", "save B", "truncate A", "truncate B", "kill A", "kill B",
	"change elsewhere", "unlink",
};

enum outcome { SAVED, REFUSED, CONFLICT, OUTAGE, ANSWER_LOST, OUTCOME_COUNT };

static const char *const outcome_names[OUTCOME_COUNT] = { "saved", "refused", "conflict", "outage", "answer lost" };

#define TOKENS_MAX 16

struct play {
	struct scene scene;
	enum act acts[2];
	char tokens[TOKENS_MAX][8]; /* what was written, and acknowledged */
	const struct handle *by[TOKENS_MAX];
	size_t token_count;
	bool is_unlinked;
	bool theirs_written;
};

static void write_token(struct play *play, struct handle *handle)
{
	char token[8];

	snprintf(token, sizeof(token), "<%zu>", play->token_count);
	if (write_text(play->scene.bed, handle, token))
		return;
	strcpy(play->tokens[play->token_count], token);
	play->by[play->token_count++] = handle;
}

static void truncate_by(struct play *play, struct handle *handle)
{
	if (handle->error || handle_change(play->scene.bed->tree, handle))
		return;
	buffer_clear(&node_draft(handle->node)->content);
	/* What was there is to go. */
	for (size_t i = 0; i < play->token_count; i++)
		*play->tokens[i] = '\0';
	write_token(play, handle);
}

static void kill_writer(struct play *play, struct handle *handle)
{
	if (handle->error)
		return;
	closing_abandon(handle);
	for (size_t i = 0; i < play->token_count; i++)
		if (play->by[i] == handle)
			*play->tokens[i] = '\0';
}

static void perform(struct play *play, enum act act)
{
	struct scene *scene = &play->scene;
	struct bed *bed = scene->bed;

	switch (act) {
	case WRITE_A:
	case WRITE_B:
		write_token(play, act == WRITE_A ? scene->a : scene->b);
		break;
	case SAVE_A:
	case SAVE_B:
		save_in(bed, act == SAVE_A ? scene->a : scene->b, 1);
		break;
	case TRUNCATE_A:
	case TRUNCATE_B:
		truncate_by(play, act == TRUNCATE_A ? scene->a : scene->b);
		break;
	case KILL_A:
	case KILL_B:
		kill_writer(play, act == KILL_A ? scene->a : scene->b);
		break;
	case CHANGE_ELSEWHERE:
		bed_set(bed, "a.yaml", "theirs");
		break;
	case UNLINK:
		if (scene->node->parent)
			tree_unlink(bed->tree, scene->node);
		play->is_unlinked = true;
		break;
	case NOTHING:
	case ACT_COUNT:
		break;
	}
}

static void perform_both(void *arg, struct place *place)
{
	struct play *play = arg;

	(void)place;
	lock_take(&play->scene.bed->tree->lock);
	perform(play, play->acts[0]);
	perform(play, play->acts[1]);
	lock_give(&play->scene.bed->tree->lock);
}

static void assert_owned(struct play *play, const char *when, enum outcome outcome, enum fake_step step)
{
	struct bed *bed = play->scene.bed;

	/* Who removes a file does not want what is in it; what changed elsewhere may have replaced what was saved. */
	if (play->is_unlinked)
		return;
	for (size_t i = 0; i < play->token_count; i++) {
		const char *token = play->tokens[i];
		bool replaced = (play->acts[0] == CHANGE_ELSEWHERE || play->acts[1] == CHANGE_ELSEWHERE) &&
				(outcome == SAVED || outcome == ANSWER_LOST) && step == FAKE_AFTER_PUT;

		if (!*token || replaced || is_in_store(bed, token) || is_in_draft(bed, token) || is_kept(bed, token))
			continue;
		fail_msg("%s is lost %s: the save %s, step %d: %s, %s", token, when, outcome_names[outcome], step,
			 act_names[play->acts[0]], act_names[play->acts[1]]);
	}
}

static void play_one(enum outcome outcome, enum fake_step step, enum act first, enum act second)
{
	struct bed *bed = bed_new(&(struct bed_options){ 0 });

	lock_take(&bed->tree->lock);
	struct node *node = add_config(bed, "a.yaml", "base");
	struct play play = { .scene = { bed, node, open_file(bed, node), open_file(bed, node) }, .acts = { first, second } };
	write_token(&play, play.scene.a);
	write_token(&play, play.scene.b);
	if (outcome == CONFLICT)
		bed_set(bed, "a.yaml", "theirs");
	if (outcome == REFUSED || outcome == OUTAGE)
		bed->fake.error[FAKE_BEFORE_PUT] = outcome == REFUSED ? -EACCES : -EHOSTUNREACH;
	if (outcome == ANSWER_LOST)
		bed->fake.error[FAKE_AFTER_PUT] = -EHOSTUNREACH;
	fake_hook(&bed->fake, step, perform_both, &play);
	save(bed, play.scene.a);
	bed->fake.hook = NULL;
	assert_owned(&play, "after it", outcome, step);
	assert_false(saving_is_marked(bed->tree, node->place));
	/* Both close. */
	memset(bed->fake.error, 0, sizeof(bed->fake.error));
	save(bed, play.scene.b);
	assert_owned(&play, "after B closed", outcome, step);
	save(bed, play.scene.a);
	closing_end(bed->saver, play.scene.b);
	closing_end(bed->saver, play.scene.a);
	assert_owned(&play, "at the end", outcome, step);
	assert_false(draft_is_dirty(node));
	lock_give(&bed->tree->lock);
	bed_free(bed);
}

static void test_every_pair_at_every_step(void **state)
{
	(void)state;
	for (enum outcome outcome = 0; outcome < OUTCOME_COUNT; outcome++)
		for (enum fake_step step = FAKE_GET; step <= FAKE_AFTER_PUT; step++)
			for (enum act first = NOTHING; first < ACT_COUNT; first++)
				for (enum act second = NOTHING; second < ACT_COUNT; second++)
					play_one(outcome, step, first, second);
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
		cmocka_unit_test_setup_teardown(test_a_save_that_waits_for_a_rename_goes_to_the_new_name, set_up, tear_down),
		cmocka_unit_test(test_every_pair_at_every_step),
	};

	bed_mute_log();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
