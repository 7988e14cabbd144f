/*
 * Two who write to one config, and one saves: every pair of what can happen, at every step of the save, however it ends. What they
 * wrote and were told to be written always has an owner: it is in the store, in a draft that somebody will save, or among the kept
 * texts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/node/saving.h"
#include "test_fs_writers.h"

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
		cmocka_unit_test(test_every_pair_at_every_step),
	};

	bed_mute_log();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
