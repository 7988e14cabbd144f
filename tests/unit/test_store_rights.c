/* Rights over a store of the test's own: what is asked for, in which order, and what is believed. */
#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <pwd.h>
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
#include "store/rights.h"
#include "util/clock.h"

#define FRESH_MS 200

static struct place *A, *B, *G, *N, *TOP; /* ns/g/a, ns/g/b, ns/g, ns, the top */

/* Grants are shell patterns for "namespace:group:dataId", NULL for none; questions have "*" for all. */
struct fake {
	struct store store;
	const char *read_grant, *write_grant;
	const char *text; /* of every config; NULL: there is none */
	bool watches;
	const struct store_events *events;
	void *events_arg;
	int error; /* of every question, if not 0 */
	char asked[1024]; /* "r:ns:g:d ..." */
	unsigned count, put_count;
	pthread_mutex_t lock;
};

struct bed {
	struct fake fake;
	struct rights *rights;
};

static int answer(struct store *store, char kind, struct place *place)
{
	const char *namespace_id = place_namespace_id(place), *group = place_group(place), *data_id = place_data_id(place);
	struct fake *fake = (struct fake *)store;
	char name[128];

	pthread_mutex_lock(&fake->lock);
	const char *grant = kind == 'r' ? fake->read_grant : fake->write_grant;
	int error = fake->error;
	snprintf(name, sizeof(name), "%s:%s:%s", namespace_id ? namespace_id : "", group ? group : "*", data_id ? data_id : "*");
	size_t used = strlen(fake->asked);
	snprintf(fake->asked + used, sizeof(fake->asked) - used, "%s%c:%s", used ? " " : "", kind, name);
	fake->count++;
	pthread_mutex_unlock(&fake->lock);
	if (error)
		return error;
	return grant && !fnmatch(grant, name, 0) ? 0 : -EACCES;
}

static int fake_get(struct store *store, struct place *place, enum version_part part, struct call *call,
		    struct version **ret_version)
{
	const struct fake *fake = (struct fake *)store;
	int error = answer(store, 'r', place);
	struct buffer content = BUFFER_INIT;

	(void)part;
	call->answered = !error || error == -EACCES;
	if (error || !fake->text)
		return error ? error : -ENOENT;
	buffer_append_text(&content, fake->text);
	*ret_version = version_new(&content, "0123456789abcdef0123456789abcdef", "", 0);
	return 0;
}

static int fake_check_read(struct store *store, struct place *place, struct call *call)
{
	(void)call;
	return answer(store, 'r', place);
}

static int fake_check_any(struct store *store, struct place *place, struct call *call)
{
	(void)call;
	return answer(store, 'r', place);
}

static int fake_check_write(struct store *store, struct place *place, struct call *call)
{
	(void)call;
	return answer(store, 'w', place);
}

static int fake_check_create(struct store *store, struct call *call)
{
	(void)call;
	return answer(store, 'w', TOP);
}

static int fake_put(struct store *store, struct place *place, const struct put *put, struct call *call,
		    struct version **ret_version)
{
	((struct fake *)store)->put_count++;
	(void)place;
	(void)put;
	(void)call;
	(void)ret_version;
	return -EACCES;
}

static void fake_set_events(struct store *store, const struct store_events *events, void *arg)
{
	((struct fake *)store)->events = events;
	((struct fake *)store)->events_arg = arg;
}

static void fake_watch(struct store *store, struct place *place, const char *md5)
{
	(void)store;
	(void)place;
	(void)md5;
}

static bool fake_is_watched(struct store *store, struct place *place)
{
	(void)place;
	return ((struct fake *)store)->watches;
}

static const struct store_operations fake_operations = {
	.get = fake_get,
	.check_read = fake_check_read,
	.set_events = fake_set_events,
	.watch = fake_watch,
	.is_watched = fake_is_watched,
	.put = fake_put,
	.check_any = fake_check_any,
	.check_write = fake_check_write,
	.check_create = fake_check_create,
};

static struct bed *make_bed(const struct rights_options *options)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	bed->fake.store.operations = &fake_operations;
	pthread_mutex_init(&bed->fake.lock, NULL);
	assert_int_equal(rights_new(&bed->fake.store, options, &bed->rights), 0);
	return bed;
}

static int setup(void **state)
{
	const struct rights_options options = { .fresh_ms = FRESH_MS };

	*state = make_bed(&options);
	return 0;
}

static int teardown(void **state)
{
	struct bed *bed = *state;

	rights_free(bed->rights);
	free(bed);
	return 0;
}


static int load(struct bed *bed, struct place *place)
{
	struct call call;

	call_start(&call, 5000);
	return rights_load(bed->rights, place, RIGHT_READ | RIGHT_WRITE, &call);
}

/* What is known once the place was asked for. */
static unsigned find(struct bed *bed, struct place *place)
{
	assert_int_equal(load(bed, place), 0);
	return rights_peek(bed->rights, place);
}

static void forget_questions(struct bed *bed)
{
	bed->fake.asked[0] = '\0';
	bed->fake.count = 0;
}

static void grow_stale(void)
{
	usleep((FRESH_MS + 20) * 1000);
}

static void test_nothing_is_granted_that_is_not_known(void **state)
{
	struct bed *bed = *state;

	assert_int_equal(rights_peek(bed->rights, A), 0);
	assert_false(rights_are_known(bed->rights, A, RIGHT_READ));
	assert_int_equal(bed->fake.count, 0);
}

static void test_a_wide_yes_settles_all_below(void **state)
{
	struct bed *bed = *state;

	bed->fake.read_grant = bed->fake.write_grant = "ns:*:*";
	assert_int_equal(find(bed, A), RIGHT_READ | RIGHT_WRITE);
	assert_int_equal(find(bed, B), RIGHT_READ | RIGHT_WRITE);
	assert_int_equal(find(bed, G), RIGHT_READ | RIGHT_WRITE);
	assert_int_equal(find(bed, N), RIGHT_READ | RIGHT_WRITE);
	assert_true(rights_are_known(bed->rights, B, RIGHT_READ | RIGHT_WRITE));
	assert_string_equal(bed->fake.asked, "r:ns:*:* w:ns:*:*");
}

static void test_from_wide_to_narrow(void **state)
{
	struct bed *bed = *state;

	bed->fake.read_grant = "ns:g:*";
	bed->fake.write_grant = "ns:g:a";
	assert_int_equal(find(bed, A), RIGHT_READ | RIGHT_WRITE);
	assert_string_equal(bed->fake.asked, "r:ns:*:* r:ns:g:* w:ns:*:* w:ns:g:* w:ns:g:a");
	forget_questions(bed);
	assert_int_equal(find(bed, B), RIGHT_READ);
	assert_string_equal(bed->fake.asked, "w:ns:g:b");
	forget_questions(bed);
	assert_int_equal(find(bed, A), RIGHT_READ | RIGHT_WRITE);
	assert_int_equal(bed->fake.count, 0);
}

static void test_a_directory_with_a_writable_name_takes_names(void **state)
{
	struct bed *bed = *state;

	bed->fake.write_grant = "ns:g:a";
	assert_int_equal(find(bed, G), 0);
	find(bed, B);
	assert_int_equal(rights_peek(bed->rights, G), 0);
	find(bed, A);
	assert_int_equal(rights_peek(bed->rights, G), RIGHT_WRITE);
	assert_int_equal(rights_peek(bed->rights, N), RIGHT_WRITE);
	assert_int_equal(rights_peek(bed->rights, TOP), RIGHT_READ);
	bed->fake.write_grant = NULL;
	grow_stale();
	find(bed, A);
	assert_int_equal(rights_peek(bed->rights, G), 0);
}

static void test_answers_grow_stale_and_are_kept_when_nobody_answers(void **state)
{
	struct bed *bed = *state;

	bed->fake.read_grant = "ns:*:*";
	assert_int_equal(find(bed, A), RIGHT_READ);
	grow_stale();
	bed->fake.error = -EHOSTUNREACH;
	forget_questions(bed);
	assert_int_equal(load(bed, A), -EHOSTUNREACH);
	assert_int_equal(rights_peek(bed->rights, A), RIGHT_READ);
	assert_int_equal(load(bed, A), 0); /* nobody asks for a while */
	assert_int_equal(bed->fake.count, 1);
}

static void test_a_grant_and_a_revocation_act(void **state)
{
	struct bed *bed = *state;

	assert_int_equal(find(bed, A), 0);
	bed->fake.read_grant = "ns:g:*";
	grow_stale();
	assert_int_equal(find(bed, A), RIGHT_READ);
	bed->fake.read_grant = NULL;
	grow_stale();
	assert_int_equal(find(bed, A), 0);
}

static void test_a_refusal_is_believed_at_once(void **state)
{
	struct bed *bed = *state;
	struct version *version = NULL;
	struct call call;

	bed->fake.read_grant = "ns:*:*";
	assert_int_equal(find(bed, A), RIGHT_READ);
	bed->fake.read_grant = NULL;
	call_start(&call, 1000);
	assert_int_equal(store_get(rights_store(bed->rights), A, VERSION_WHOLE, &call, &version), -EACCES);
	assert_int_equal(rights_peek(bed->rights, A), 0);
	assert_int_equal(find(bed, B), 0); /* the wide answer was asked for again */
}

static void test_a_refused_change_makes_the_right_be_asked_for_again(void **state)
{
	struct bed *bed = *state;
	const struct put put = { 0 };
	struct version *version = NULL;
	struct call call;

	bed->fake.write_grant = "ns:*:*";
	assert_int_equal(find(bed, A), RIGHT_WRITE);
	bed->fake.write_grant = NULL;
	call_start(&call, 1000);
	assert_int_equal(store_put(rights_store(bed->rights), A, &put, &call, &version), -EACCES);
	assert_int_equal(find(bed, A), 0);
}

static void test_reading_answers_for_itself(void **state)
{
	struct bed *bed = *state;
	struct version *version = NULL;
	struct call call;

	bed->fake.read_grant = "ns:g:a";
	call_start(&call, 1000);
	store_get(rights_store(bed->rights), A, VERSION_WHOLE, &call, &version);
	forget_questions(bed);
	assert_int_equal(find(bed, A), RIGHT_READ);
	assert_null(strstr(bed->fake.asked, "r:ns:g:a"));
}

/* ------------------------------------------------------------- above a cache */

#define ALICE 1001
#define BOB 1002
#define GUEST 1003
#define OWNER 1004
static gid_t team_gid = 2001;

/* Alice may read and write, bob may write, the team may read. */
static struct access *find_users(void *arg, struct place *place)
{
	struct access *access = calloc(1, sizeof(*access) + 3 * sizeof(access->entries[0]));

	(void)arg;
	(void)place;
	atomic_init(&access->references, 1);
	access->count = 3;
	access->entries[0] = (struct access_entry){ false, ALICE, RIGHT_READ | RIGHT_WRITE };
	access->entries[1] = (struct access_entry){ false, BOB, RIGHT_WRITE };
	access->entries[2] = (struct access_entry){ true, team_gid, RIGHT_READ };
	return access;
}

static int refresh_users(void *arg, struct call *call, bool *ret_changed)
{
	(void)arg;
	(void)call;
	*ret_changed = false;
	return 0;
}

static int find_groups(void *team, uid_t uid, gid_t **ret_groups)
{
	(void)uid;
	*ret_groups = calloc(1, sizeof(**ret_groups));
	(*ret_groups)[0] = team ? team_gid : 1;
	return 1;
}

/* The stack of a mount, with a text that the cache keeps for as long as it is told of no change. */
struct tower {
	struct fake fake;
	struct store *cache;
	struct rights *rights;
};

static int build(void **state)
{
	const struct cache_options cache_options = { .content_limit = 1 << 20, .fresh_ms = CACHE_FRESH_MS, .refresh_ms = 30000 };
	const struct rights_options options = { .fresh_ms = FRESH_MS };
	struct tower *tower = calloc(1, sizeof(*tower));

	tower->fake.store.operations = &fake_operations;
	tower->fake.text = "text";
	tower->fake.watches = true;
	tower->fake.read_grant = tower->fake.write_grant = "ns:g:*";
	pthread_mutex_init(&tower->fake.lock, NULL);
	assert_int_equal(cache_new(&tower->fake.store, &cache_options, &tower->cache), 0);
	assert_int_equal(rights_new(tower->cache, &options, &tower->rights), 0);
	*state = tower;
	return 0;
}

static int demolish(void **state)
{
	struct tower *tower = *state;

	rights_free(tower->rights);
	store_free(tower->cache);
	free(tower);
	return 0;
}

static int get_as(struct tower *tower, uid_t uid, bool in_team, enum version_part part)
{
	cleanup_version struct version *version = NULL;
	struct call call;

	call_start(&call, 5000);
	call.uid = uid;
	call.find_groups = find_groups;
	call.find_groups_arg = in_team ? tower : NULL;
	int error = store_get(rights_store(tower->rights), A, part, &call, &version);
	assert_true(error ? !version : version->content.size == 4);
	return error;
}

static int get_kept(struct tower *tower)
{
	return get_as(tower, CALL_NO_USER, false, VERSION_BASE);
}

static void test_a_kept_text_stays_in_once_the_right_is_gone(void **state)
{
	struct tower *tower = *state;

	assert_int_equal(get_kept(tower), 0);
	tower->fake.asked[0] = '\0';
	for (int i = 0; i < 3; i++)
		assert_int_equal(get_kept(tower), 0);
	assert_string_equal(tower->fake.asked, "r:ns:*:* r:ns:g:*"); /* the text is kept; what else may be read is asked for once */
	tower->fake.read_grant = NULL;
	grow_stale();
	assert_int_equal(get_kept(tower), -EACCES);
	tower->fake.asked[0] = '\0';
	assert_int_equal(get_kept(tower), -EACCES); /* known: nobody is asked */
	assert_string_equal(tower->fake.asked, "");
	tower->fake.read_grant = "ns:g:a";
	grow_stale();
	assert_int_equal(get_kept(tower), 0);
}

static void test_what_is_kept_is_no_answer_about_the_right(void **state)
{
	struct tower *tower = *state;

	tower->fake.read_grant = "ns:g:a";
	assert_int_equal(get_kept(tower), 0);
	/* Served from the cache again and again, the right still grows stale, and is asked for. */
	tower->fake.read_grant = NULL;
	int64_t until_ms = clock_monotonic_ms() + 10 * FRESH_MS;
	while (!get_kept(tower))
		assert_true(clock_monotonic_ms() < until_ms);
	assert_int_equal(rights_peek(tower->rights, A) & RIGHT_READ, 0);
}

static void test_without_the_server_what_could_be_read_can_be(void **state)
{
	struct tower *tower = *state;

	assert_int_equal(get_kept(tower), 0);
	grow_stale();
	tower->fake.error = -EHOSTUNREACH;
	assert_int_equal(get_kept(tower), 0);
	assert_int_equal(get_kept(tower), 0);
}

static void test_a_user_gets_no_text_that_he_may_not_read(void **state)
{
	struct tower *tower = *state;
	const struct rights_users users = { find_users, refresh_users, NULL, OWNER, true };

	rights_set_users(tower->rights, &users);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(get_as(tower, ALICE, false, VERSION_WHOLE), 0);
		assert_int_equal(get_as(tower, BOB, false, VERSION_WHOLE), -EACCES);
		assert_int_equal(get_as(tower, BOB, true, VERSION_WHOLE), 0);
		assert_int_equal(get_as(tower, GUEST, false, VERSION_WHOLE), -EACCES);
		assert_int_equal(get_as(tower, GUEST, true, VERSION_WHOLE), 0);
		assert_int_equal(get_as(tower, OWNER, false, VERSION_WHOLE), 0);
		assert_int_equal(get_as(tower, 0, false, VERSION_WHOLE), 0);
		/* For the program's own use, and attributes: who comes so far, the directory decides. */
		assert_int_equal(get_as(tower, GUEST, false, VERSION_BASE), 0);
		assert_int_equal(get_as(tower, GUEST, false, VERSION_ATTRIBUTES), 0);
	}
	/* Nobody may more than the account. */
	tower->fake.read_grant = NULL;
	grow_stale();
	assert_int_equal(get_as(tower, ALICE, false, VERSION_WHOLE), -EACCES);
	assert_int_equal(get_as(tower, OWNER, false, VERSION_WHOLE), -EACCES);
}

/* What is done later on behalf of somebody, when nobody asks any more, goes by the groups that the machine knows him to be in. */
static void test_groups_of_who_is_not_there(void **state)
{
	struct tower *tower = *state;
	const struct rights_users users = { find_users, refresh_users, NULL, OWNER, true };
	const struct passwd *nobody = getpwnam("nobody");
	gid_t before = team_gid;
	struct call call;

	if (!nobody)
		skip();
	rights_set_users(tower->rights, &users);
	call_start(&call, 5000);
	call.uid = nobody->pw_uid;
	assert_int_equal(rights_check_user(tower->rights, A, RIGHT_READ, &call), -EACCES);
	team_gid = nobody->pw_gid;
	assert_int_equal(rights_check_user(tower->rights, A, RIGHT_READ, &call), 0);
	assert_int_equal(rights_check_user(tower->rights, A, RIGHT_WRITE, &call), -EACCES);
	team_gid = before;
}

static void test_a_user_changes_nothing_that_he_may_not_write(void **state)
{
	struct tower *tower = *state;
	const struct rights_users users = { find_users, refresh_users, NULL, OWNER, true };
	const struct put put = { 0 }, move = { .metadata_of = B };
	struct version *version = NULL;
	struct call call;

	rights_set_users(tower->rights, &users);
	call_start(&call, 5000);
	assert_int_equal(rights_load(tower->rights, A, RIGHT_READ | RIGHT_WRITE, &call), 0);
	tower->fake.put_count = 0;
	call.uid = GUEST;
	call.find_groups = find_groups;
	assert_int_equal(store_put(rights_store(tower->rights), A, &put, &call, &version), -EACCES);
	assert_int_equal(store_remove(rights_store(tower->rights), A, NULL, &call), -EACCES);
	call.uid = BOB;
	assert_int_equal(store_put(rights_store(tower->rights), A, &move, &call, &version), -EACCES); /* he may not read B */
	assert_int_equal(tower->fake.put_count, 0);
	assert_int_equal(store_put(rights_store(tower->rights), A, &put, &call, &version), -EACCES); /* the server's no */
	assert_int_equal(tower->fake.put_count, 1);
}

static void test_checks(void **state)
{
	struct bed *bed = *state;
	struct call call;

	call_start(&call, 1000);
	bed->fake.error = -EHOSTUNREACH;
	assert_int_equal(rights_check_read(bed->rights, A, &call), 0); /* nothing speaks against trying */
	assert_int_equal(rights_check_write(bed->rights, A, &call), -EHOSTUNREACH);
}

static void test_a_right_known_to_be_gone_stays_gone_without_the_server(void **state)
{
	struct bed *bed = *state;
	struct call call;

	call_start(&call, 1000);
	assert_int_equal(find(bed, N), 0);
	grow_stale();
	bed->fake.error = -EHOSTUNREACH;
	load(bed, N);
	assert_int_equal(rights_check_read(bed->rights, A, &call), -EACCES);
}

static void test_a_read_only_mount_never_asks_for_writing(void **state)
{
	const struct rights_options options = { .fresh_ms = FRESH_MS, .read_only = true };
	struct bed *bed = make_bed(&options);

	(void)state;
	bed->fake.read_grant = bed->fake.write_grant = "*";
	assert_int_equal(find(bed, A), RIGHT_READ);
	assert_string_equal(bed->fake.asked, "r:ns:*:*");
	rights_free(bed->rights);
	free(bed);
}

static void test_off_asks_for_one_name_before_it_is_written(void **state)
{
	const struct rights_options options = { .fresh_ms = FRESH_MS, .off = true };
	struct bed *bed = make_bed(&options);
	struct call call;

	(void)state;
	call_start(&call, 1000);
	assert_int_equal(find(bed, A), RIGHT_READ | RIGHT_WRITE);
	assert_int_equal(bed->fake.count, 0);
	assert_int_equal(rights_check_write(bed->rights, A, &call), -EACCES);
	bed->fake.write_grant = "ns:g:a";
	for (int i = 0; i < 3; i++)
		assert_int_equal(rights_check_write(bed->rights, A, &call), 0);
	assert_string_equal(bed->fake.asked, "w:ns:g:a w:ns:g:a");
	rights_free(bed->rights);
	free(bed);
}

static void test_the_thread_keeps_wide_answers_fresh(void **state)
{
	struct bed *bed = *state;

	bed->fake.read_grant = "ns:*:*";
	find(bed, A);
	assert_int_equal(rights_start(bed->rights), 0);
	for (int i = 0; i < 40; i++) {
		usleep(FRESH_MS * 1000 / 20);
		assert_int_equal(find(bed, A) & RIGHT_READ, RIGHT_READ);
	}
	rights_stop(bed->rights);
	assert_true(bed->fake.count > 4);
}

static void *load_again(void *argument)
{
	for (int i = 0; i < 50; i++)
		find(argument, i % 2 ? A : G);
	return NULL;
}

static void test_many_threads_ask_once(void **state)
{
	struct bed *bed = *state;
	pthread_t threads[8];

	bed->fake.read_grant = bed->fake.write_grant = "ns:*:*";
	for (size_t i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, load_again, bed);
	for (size_t i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	assert_true(bed->fake.count <= 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nothing_is_granted_that_is_not_known, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_wide_yes_settles_all_below, setup, teardown),
		cmocka_unit_test_setup_teardown(test_from_wide_to_narrow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_directory_with_a_writable_name_takes_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answers_grow_stale_and_are_kept_when_nobody_answers, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_grant_and_a_revocation_act, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_refusal_is_believed_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_refused_change_makes_the_right_be_asked_for_again, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_reading_answers_for_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_kept_text_stays_in_once_the_right_is_gone, build, demolish),
		cmocka_unit_test_setup_teardown(test_what_is_kept_is_no_answer_about_the_right, build, demolish),
		cmocka_unit_test_setup_teardown(test_without_the_server_what_could_be_read_can_be, build, demolish),
		cmocka_unit_test_setup_teardown(test_a_user_gets_no_text_that_he_may_not_read, build, demolish),
		cmocka_unit_test_setup_teardown(test_groups_of_who_is_not_there, build, demolish),
		cmocka_unit_test_setup_teardown(test_a_user_changes_nothing_that_he_may_not_write, build, demolish),
		cmocka_unit_test_setup_teardown(test_checks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_right_known_to_be_gone_stays_gone_without_the_server, setup,
						teardown),
		cmocka_unit_test(test_a_read_only_mount_never_asks_for_writing),
		cmocka_unit_test(test_off_asks_for_one_name_before_it_is_written),
		cmocka_unit_test_setup_teardown(test_the_thread_keeps_wide_answers_fresh, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_threads_ask_once, setup, teardown),
	};

	A = place_new("ns", "g", "a");
	B = place_new("ns", "g", "b");
	G = A->above;
	N = G->above;
	TOP = N->above;
	int failed = cmocka_run_group_tests_name("store_rights", tests, NULL, NULL);
	place_drop(A);
	place_drop(B);
	return failed;
}
