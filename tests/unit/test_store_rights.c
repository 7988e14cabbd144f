/* Rights over a store of the test's own: what is asked for, in which order, and what is believed. */
#include <errno.h>
#include <fnmatch.h>
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

#include "store/rights.h"
#include "util/clock.h"

#define FRESH_MS 200

static struct place *A, *B, *G, *N, *TOP; /* ns/g/a, ns/g/b, ns/g, ns, the top */

/* Grants are shell patterns for "namespace:group:dataId", NULL for none; questions have "*" for all. */
struct fake {
	struct store store;
	const char *read_grant, *write_grant;
	int error; /* of every question, if not 0 */
	char asked[1024]; /* "r:ns:g:d ..." */
	unsigned count;
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
	int error = answer(store, 'r', place);

	(void)part;
	(void)call;
	(void)ret_version;
	return error ? error : -ENOENT;
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
	(void)store;
	(void)place;
	(void)put;
	(void)call;
	(void)ret_version;
	return -EACCES;
}

static const struct store_operations fake_operations = {
	.get = fake_get,
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
