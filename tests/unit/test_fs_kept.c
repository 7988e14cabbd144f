/* Texts of saves that failed: how many, whose, and what of them is on the disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <ftw.h>
#include <sys/stat.h>

#include "fake_store.h"
#include "fs/node/names.h"
#include "fs/save/kept.h"
#include "util/cleanup.h"

static char directory[] = "/tmp/nacosfs-kept-XXXXXX"; /* one for all; each test has unsaved/ in it */
static char kept_directory[64];

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
	(void)stat;
	(void)type;
	(void)walk;
	return remove(path);
}

static int make_directory(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(kept_directory, sizeof(kept_directory), "%s/unsaved", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	return nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int set_up(void **state)
{
	*state = bed_new(&(struct bed_options){ .kept_directory = kept_directory });
	return 0;
}

static int set_up_in_memory(void **state)
{
	*state = bed_new(&(struct bed_options){ 0 });
	return 0;
}

static int tear_down(void **state)
{
	if (*state)
		bed_free(*state);
	nftw(kept_directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return 0;
}

static void keep_of(struct bed *bed, const char *data_id, const char *text, const struct buffer_memory *memory)
{
	cleanup_place struct place *place = bed_place(data_id);
	const struct kept_text kept = {
		.place = place,
		.yours = text,
		.size = strlen(text),
		.memory = memory,
		.uid = 4711,
		.gid = 4712,
		.reason = "as told",
	};

	lock_take(&bed->tree->lock);
	kept_keep(bed->saver, &kept);
	lock_give(&bed->tree->lock);
}

static void keep(struct bed *bed, const char *data_id, const char *text)
{
	keep_of(bed, data_id, text, NULL);
}

/* The directory of the numberth newest record; NULL: there is none. They are listed newest first. */
static struct node *record(struct bed *bed, size_t number)
{
	struct node *control = tree_child(bed->tree, bed->tree->root, NAMES_CONTROL);
	struct node *node = tree_child(bed->tree, control, "unsaved")->directory->first_child;

	while (node && number--)
		node = node->next_sibling;
	return node;
}

static bool has_file(struct bed *bed, const struct node *record, const char *file, const char *text)
{
	const struct node *node = tree_child(bed->tree, record, file);

	return node && node->file->content.size == strlen(text) && !memcmp(node->file->content.data, text, strlen(text));
}

static size_t count(struct bed *bed)
{
	lock_take(&bed->tree->lock);
	size_t kept = kept_count(bed->saver);
	lock_give(&bed->tree->lock);
	return kept;
}

static size_t count_on_disk(void)
{
	DIR *disk = opendir(kept_directory);
	size_t found = 0;

	assert_non_null(disk);
	for (const struct dirent *entry; (entry = readdir(disk));)
		found += *entry->d_name != '.';
	closedir(disk);
	return found;
}

/* What is in that file of a record on the disk. */
static bool is_on_disk(const struct node *record, const char *file, const char *text)
{
	char path[512], bytes[256];

	snprintf(path, sizeof(path), "%s/%s/%s", kept_directory, node_name(record), file);
	cleanup_close int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = descriptor < 0 ? -1 : read(descriptor, bytes, sizeof(bytes));
	return size == (ssize_t)strlen(text) && !memcmp(bytes, text, strlen(text));
}

/* Ends the filesystem, and starts it again. */
static struct bed *restart(void **state)
{
	bed_free(*state);
	set_up(state);
	return *state;
}

static void test_the_oldest_go_when_there_are_too_many(void **state)
{
	struct bed *bed = *state;
	char text[32];

	for (int i = 0; i < KEPT_COUNT_LIMIT + 5; i++) {
		snprintf(text, sizeof(text), "text %d", i);
		keep(bed, "a.yaml", text);
	}
	assert_int_equal(count(bed), KEPT_COUNT_LIMIT);
	lock_take(&bed->tree->lock);
	assert_true(has_file(bed, record(bed, 0), "yours", text));
	assert_true(has_file(bed, record(bed, KEPT_COUNT_LIMIT - 1), "yours", "text 5"));
	assert_null(record(bed, KEPT_COUNT_LIMIT));
	lock_give(&bed->tree->lock);
}

static void test_the_oldest_go_when_they_are_too_large(void **state)
{
	struct bed *bed = *state;
	size_t size = KEPT_SIZE_LIMIT / 3;
	char *text = malloc(size + 1);

	memset(text, 'x', size);
	text[size] = '\0';
	for (int i = 0; i < 4; i++) {
		text[0] = (char)('0' + i);
		keep(bed, "a.yaml", text);
	}
	/* Three of them, and why, are more than that. */
	assert_int_equal(count(bed), 2);
	lock_take(&bed->tree->lock);
	assert_true(has_file(bed, record(bed, 0), "yours", text));
	lock_give(&bed->tree->lock);
	free(text);
	/* One that is too large by itself is kept all the same: there is no other copy. */
	text = malloc(KEPT_SIZE_LIMIT + 2);
	memset(text, 'y', KEPT_SIZE_LIMIT + 1);
	text[KEPT_SIZE_LIMIT + 1] = '\0';
	keep(bed, "b.yaml", text);
	assert_int_equal(count(bed), 1);
	free(text);
}

static void test_the_same_text_is_kept_once(void **state)
{
	struct bed *bed = *state;

	for (int i = 0; i < 3; i++) {
		keep(bed, "a.yaml", "one");
		keep(bed, "b.yaml", "one");
		keep(bed, "a.yaml", "two");
	}
	assert_int_equal(count(bed), 3);
	assert_int_equal(count_on_disk(), 3);
	/* Saved after all: that text of that config goes, no other. */
	cleanup_place struct place *place = bed_place("a.yaml");
	lock_take(&bed->tree->lock);
	kept_forget(bed->saver, place, "one", 3);
	kept_forget(bed->saver, place, "three", 5);
	kept_sync(bed->saver);
	assert_int_equal(kept_count(bed->saver), 2);
	assert_true(has_file(bed, record(bed, 0), "yours", "two"));
	assert_true(has_file(bed, record(bed, 1), "yours", "one"));
	lock_give(&bed->tree->lock);
	assert_int_equal(count_on_disk(), 2);
}

static void test_they_belong_to_their_writer(void **state)
{
	struct bed *bed = *state;

	keep(bed, "a.yaml", "one");
	lock_take(&bed->tree->lock);
	const struct node *directory_node = record(bed, 0), *yours = tree_child(bed->tree, directory_node, "yours");
	assert_int_equal(directory_node->file->uid, 4711);
	assert_int_equal(directory_node->file->gid, 4712);
	assert_int_equal(directory_node->mode, 0700);
	assert_int_equal(yours->file->uid, 4711);
	assert_int_equal(yours->mode, 0600);
	lock_give(&bed->tree->lock);
}

static void test_they_are_read_back(void **state)
{
	struct bed *bed = *state;

	keep(bed, "a.yaml", "one");
	keep(bed, "b.yaml", "two");
	bed = restart(state);
	assert_int_equal(count(bed), 2);
	lock_take(&bed->tree->lock);
	assert_true(has_file(bed, record(bed, 0), "yours", "two"));
	assert_true(has_file(bed, record(bed, 1), "yours", "one"));
	assert_true(has_file(bed, record(bed, 0), "why",
			     "as told\nnamespace=dev\ngroup=APP\ndataId=b.yaml\nwriter=4711:4712\n"));
	assert_int_equal(record(bed, 0)->file->uid, 4711);
	lock_give(&bed->tree->lock);
	/* And known for what they are. */
	keep(bed, "b.yaml", "two");
	assert_int_equal(count(bed), 2);
	assert_int_equal(count_on_disk(), 2);
}

static void test_what_is_no_record_is_left_alone(void **state)
{
	struct bed *bed = *state;
	char path[128];

	keep(bed, "a.yaml", "one");
	snprintf(path, sizeof(path), "%s/20261121T195959.123-1-strange", kept_directory);
	assert_int_equal(mkdir(path, 0700), 0);
	bed = restart(state);
	assert_int_equal(count(bed), 1);
	assert_int_equal(access(path, F_OK), 0);
}

static void test_the_directory_is_ours_alone(void **state)
{
	struct bed *bed = *state;
	struct stat stat_of;
	char path[512];

	keep(bed, "a.yaml", "one");
	assert_int_equal(stat(kept_directory, &stat_of), 0);
	assert_int_equal(stat_of.st_mode & 07777, 0700);
	lock_take(&bed->tree->lock);
	assert_true(is_on_disk(record(bed, 0), "yours", "one"));
	snprintf(path, sizeof(path), "%s/%s", kept_directory, node_name(record(bed, 0)));
	lock_give(&bed->tree->lock);
	assert_int_equal(stat(path, &stat_of), 0);
	assert_int_equal(stat_of.st_mode & 07777, 0700);
	strcat(path, "/yours");
	assert_int_equal(stat(path, &stat_of), 0);
	assert_int_equal(stat_of.st_mode & 07777, 0600);
}

/* Nothing is read from it, nothing written to it. */
static void assert_refused(void **state)
{
	struct bed *bed = restart(state);

	assert_int_equal(count(bed), 0);
	keep(bed, "a.yaml", "two");
	assert_int_equal(count(bed), 1);
	assert_int_equal(count_on_disk(), 1);
}

static void test_a_directory_that_others_can_enter_is_refused(void **state)
{
	static const mode_t modes[] = { 0777, 0750, 0701, 0710 };

	keep(*state, "a.yaml", "one");
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		assert_int_equal(chmod(kept_directory, modes[i]), 0);
		assert_refused(state);
	}
	assert_int_equal(chmod(kept_directory, 0700), 0);
	assert_int_equal(count(restart(state)), 1);
}

static void test_a_directory_of_somebody_else_is_refused(void **state)
{
	keep(*state, "a.yaml", "one");
	if (geteuid() || chown(kept_directory, 4711, 4711))
		skip();
	assert_refused(state);
	assert_int_equal(chown(kept_directory, 0, 0), 0);
}

static void test_a_link_is_refused(void **state)
{
	char path[128];

	keep(*state, "a.yaml", "one");
	snprintf(path, sizeof(path), "%s/elsewhere", directory);
	assert_int_equal(rename(kept_directory, path), 0);
	assert_int_equal(symlink(path, kept_directory), 0);
	assert_refused(state);
	assert_int_equal(unlink(kept_directory), 0);
	assert_int_equal(rename(path, kept_directory), 0);
}

static void test_secrets_are_not_on_the_disk(void **state)
{
	static const struct buffer_memory memory = { .resize = realloc, .release = free };
	struct bed *bed = *state;

	keep(bed, "cipher-a.yaml", "secret one");
	keep_of(bed, "copy.yaml", "secret two", &memory);
	keep_of(bed, "cipher-b.yaml", "secret three", &memory);
	assert_int_equal(count(bed), 3);
	assert_int_equal(count_on_disk(), 0);
	lock_take(&bed->tree->lock);
	const struct node *yours = tree_child(bed->tree, record(bed, 0), "yours");
	assert_ptr_equal(yours->file->content.memory, &memory);
	lock_give(&bed->tree->lock);
}

static void test_what_its_owner_removes_goes_from_the_disk(void **state)
{
	struct bed *bed = *state;

	keep(bed, "a.yaml", "one");
	lock_take(&bed->tree->lock);
	struct node *node = record(bed, 0), *why = tree_child(bed->tree, node, "why");
	cleanup_free char *name = strdup(node_name(node));
	kept_node_removed(bed->saver, why);
	tree_unlink(bed->tree, why);
	kept_sync(bed->saver);
	assert_false(is_on_disk(node, "why", "as told\nnamespace=dev\ngroup=APP\ndataId=a.yaml\nwriter=4711:4712\n"));
	assert_true(is_on_disk(node, "yours", "one"));
	kept_node_removed(bed->saver, node);
	kept_sync(bed->saver);
	assert_int_equal(kept_count(bed->saver), 0);
	lock_give(&bed->tree->lock);
	assert_int_equal(count_on_disk(), 0);
}

static void test_the_oldest_go_from_the_disk_too(void **state)
{
	struct bed *bed = *state;
	char text[32];

	for (int i = 0; i < KEPT_COUNT_LIMIT + 3; i++) {
		snprintf(text, sizeof(text), "text %d", i);
		keep(bed, "a.yaml", text);
	}
	assert_int_equal(count_on_disk(), KEPT_COUNT_LIMIT);
	bed = restart(state);
	assert_int_equal(count(bed), KEPT_COUNT_LIMIT);
	lock_take(&bed->tree->lock);
	assert_true(has_file(bed, record(bed, 0), "yours", text));
	assert_true(has_file(bed, record(bed, KEPT_COUNT_LIMIT - 1), "yours", "text 3"));
	lock_give(&bed->tree->lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_oldest_go_when_there_are_too_many, set_up_in_memory, tear_down),
		cmocka_unit_test_setup_teardown(test_the_oldest_go_when_they_are_too_large, set_up_in_memory, tear_down),
		cmocka_unit_test_setup_teardown(test_the_same_text_is_kept_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_they_belong_to_their_writer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_they_are_read_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_no_record_is_left_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_directory_is_ours_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_directory_that_others_can_enter_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_directory_of_somebody_else_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_link_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_secrets_are_not_on_the_disk, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_its_owner_removes_goes_from_the_disk, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_oldest_go_from_the_disk_too, set_up, tear_down),
	};

	bed_mute_log();
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
