/* With whose login and rights a call is served, over one cache; logins are of the test's own. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/cache.h"
#include "store/identity_store.h"
#include "util/buffer.h"

#define ALICE 1001
#define BOB 1002
#define STRANGER 1003

static struct place *CONFIG; /* ns/group/name */

/* What asks with one login: serves a text, or refuses. */
struct bottom {
	struct store store;
	const char *text; /* NULL: may not read */
	int error; /* of gets, if not 0 */
	atomic_bool hold; /* gets wait */
	atomic_uint gets;
};

struct bed {
	struct bottom own;
	struct store *cache;
	struct rights *rights; /* of the mount */
	struct identity_login logins[4];
	size_t login_count;
	int open_error;
	atomic_int opened, closed;
	const char *texts[2]; /* of alice and bob */
	struct bottom *last[2]; /* theirs */
	struct identity_store *identities;
	struct store *layer;
};

static int bottom_get(struct store *store, struct place *place, enum version_part part, struct call *call,
		      struct version **ret_version)
{
	struct bottom *bottom = (struct bottom *)store;
	struct buffer content = BUFFER_INIT;

	(void)place;
	(void)part;
	atomic_fetch_add(&bottom->gets, 1);
	while (atomic_load(&bottom->hold))
		usleep(1000);
	if (bottom->error)
		return call_fail(call, bottom->error, "as told");
	call->answered = true;
	if (!bottom->text)
		return call_fail(call, -EACCES, "refused");
	char md5[HASH_MD5_HEX_SIZE];
	assert_int_equal(hash_md5_hex(bottom->text, strlen(bottom->text), md5), 0);
	assert_int_equal(buffer_append(&content, bottom->text, strlen(bottom->text)), 0);
	*ret_version = version_new(&content, md5, "", 0);
	return *ret_version ? 0 : -ENOMEM;
}

static int bottom_check_read(struct store *store, struct place *place, struct call *call)
{
	(void)place;
	(void)call;
	return ((struct bottom *)store)->text ? 0 : -EACCES;
}

static int bottom_check_any(struct store *store, struct place *place, struct call *call)
{
	(void)place;
	(void)call;
	return ((struct bottom *)store)->text ? 0 : -EACCES;
}

static int bottom_check_write(struct store *store, struct place *place, struct call *call)
{
	return bottom_check_any(store, place, call);
}

static void bottom_watch(struct store *store, struct place *place, const char *md5)
{
	(void)store, (void)place, (void)md5;
}

static bool bottom_is_watched(struct store *store, struct place *place)
{
	(void)store, (void)place;
	return false;
}

static const struct store_operations bottom_operations = {
	.get = bottom_get,
	.check_read = bottom_check_read,
	.check_any = bottom_check_any,
	.check_write = bottom_check_write,
	.watch = bottom_watch,
	.is_watched = bottom_is_watched,
};

static int source_list(void *arg, struct call *call, struct identity_login **ret_logins, size_t *ret_count)
{
	struct bed *bed = arg;

	(void)call;
	*ret_logins = calloc(4, sizeof(**ret_logins));
	memcpy(*ret_logins, bed->logins, sizeof(bed->logins));
	*ret_count = bed->login_count;
	return 0;
}

static int source_open(void *arg, uid_t uid, struct call *call, struct identity_account *ret_account)
{
	struct bed *bed = arg;

	if (bed->open_error)
		return call_fail(call, bed->open_error, "can't");
	struct bottom *bottom = calloc(1, sizeof(*bottom));
	bottom->store.operations = &bottom_operations;
	bottom->text = bed->texts[uid == BOB];
	atomic_fetch_add(&bed->opened, 1);
	bed->last[uid == BOB] = bottom;
	*ret_account = (struct identity_account){ &bottom->store, bottom };
	return 0;
}

static void source_close(void *arg, struct identity_account *account)
{
	struct bed *bed = arg;

	free(account->owner);
	atomic_fetch_add(&bed->closed, 1);
}

static int set_up(void **state)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	const struct cache_options cache_options = { .content_limit = 1 << 20, .fresh_ms = 0, .refresh_ms = 1000 };
	const struct rights_options rights_options = { .fresh_ms = 30000 };

	bed->own.store.operations = &bottom_operations;
	bed->own.text = "own";
	bed->texts[0] = "alice";
	bed->logins[0] = (struct identity_login){ ALICE, 1 };
	bed->logins[1] = (struct identity_login){ BOB, 1 };
	bed->login_count = 2;
	const struct identity_store_options options = {
		.own = &bed->own.store,
		.source = { source_list, source_open, source_close, bed },
		.rights = rights_options,
	};
	assert_int_equal(identity_store_new(&options, &bed->identities), 0);
	assert_int_equal(cache_new(identity_store_bottom(bed->identities), &cache_options, &bed->cache), 0);
	assert_int_equal(rights_new(bed->cache, &rights_options, &bed->rights), 0);
	identity_store_set_stack(bed->identities, bed->cache, bed->rights);
	bed->layer = identity_store_layer(bed->identities);
	*state = bed;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *bed = *state;

	store_free(bed->layer);
	assert_int_equal(bed->opened, bed->closed);
	rights_free(bed->rights);
	store_free(bed->cache);
	free(bed);
	return 0;
}

static void sync_now(struct bed *bed)
{
	struct call call;

	call_start(&call, 5000);
	identity_store_sync(bed->identities, &call);
}

/* What that user reads; NULL and the error. */
static int get(struct bed *bed, uid_t uid, enum version_part part, char ret_text[32], size_t *ret_size)
{
	cleanup_version struct version *version = NULL;
	struct call call;

	call_start(&call, 5000);
	call.uid = uid;
	int error = store_get(bed->layer, CONFIG, part, &call, &version);
	if (error)
		return error;
	memcpy(ret_text, version->content.data ? version->content.data : "", version->content.size);
	ret_text[version->content.size] = '\0';
	*ret_size = version->size;
	return 0;
}

static void assert_reads(struct bed *bed, uid_t uid, const char *expected)
{
	char text[32];
	size_t size;

	assert_int_equal(get(bed, uid, VERSION_WHOLE, text, &size), 0);
	assert_string_equal(text, expected);
}

static int error_of(struct bed *bed, uid_t uid)
{
	char text[32];
	size_t size;

	return get(bed, uid, VERSION_WHOLE, text, &size);
}

static void test_each_reads_with_his_own(void **state)
{
	struct bed *bed = *state;
	char text[32];
	size_t size;

	sync_now(bed);
	for (int i = 0; i < 2; i++) {
		assert_reads(bed, ALICE, "alice");
		assert_int_equal(error_of(bed, BOB), -EACCES);
		assert_reads(bed, STRANGER, "own"); /* whom the kernel lets come so far */
		assert_reads(bed, 0, "own");
		assert_reads(bed, CALL_NO_USER, "own");
	}
	/* Attributes are the mount's, and no content goes with them. */
	assert_int_equal(get(bed, BOB, VERSION_ATTRIBUTES, text, &size), 0);
	assert_string_equal(text, "");
	assert_int_equal(size, 3);
	/* Where the mount's account may not read, the user's own tells. */
	bed->own.text = NULL;
	assert_int_equal(get(bed, ALICE, VERSION_ATTRIBUTES, text, &size), 0);
	assert_string_equal(text, "");
	assert_int_equal(size, 5);
	assert_int_equal(get(bed, BOB, VERSION_ATTRIBUTES, text, &size), -EACCES);
}

static void test_logins_that_go_change_and_fail(void **state)
{
	struct bed *bed = *state;

	assert_reads(bed, ALICE, "own"); /* not known yet */
	sync_now(bed);
	assert_int_equal(identity_store_count(bed->identities), 2);
	sync_now(bed);
	assert_int_equal(bed->opened, 2);
	bed->logins[0].state = 2;
	bed->texts[0] = "anew";
	sync_now(bed);
	assert_int_equal(bed->opened, 3);
	assert_reads(bed, ALICE, "anew");
	/* Who had one does not fall back to the mount's. */
	bed->login_count = 0;
	sync_now(bed);
	assert_int_equal(bed->closed, 3);
	assert_int_equal(error_of(bed, ALICE), -EACCES);
	assert_true(identity_store_knows(bed->identities, ALICE));
	assert_reads(bed, STRANGER, "own");
	bed->login_count = 2;
	bed->open_error = -EACCES;
	sync_now(bed);
	assert_int_equal(error_of(bed, ALICE), -EACCES);
	bed->open_error = 0;
	sync_now(bed); /* too early to try again */
	assert_int_equal(error_of(bed, ALICE), -EACCES);
	bed->logins[0].state = 3;
	sync_now(bed);
	assert_reads(bed, ALICE, "anew");
}

static void test_access_names_everybody(void **state)
{
	struct bed *bed = *state;
	struct call call;

	assert_null(identity_store_find_access(bed->identities, CONFIG));
	sync_now(bed);
	call_start(&call, 5000);
	assert_false(identity_store_are_rights_known(bed->identities, CONFIG, RIGHT_READ | RIGHT_WRITE));
	assert_int_equal(identity_store_load_rights(bed->identities, CONFIG, RIGHT_READ | RIGHT_WRITE, &call), 0);
	assert_true(identity_store_are_rights_known(bed->identities, CONFIG, RIGHT_READ | RIGHT_WRITE));
	cleanup_access struct access *access = identity_store_find_access(bed->identities, CONFIG);
	assert_int_equal(access->count, 2);
	assert_int_equal(access->entries[0].id, ALICE);
	assert_int_equal(access->entries[0].rights, RIGHT_READ | RIGHT_WRITE | RIGHT_ENTER);
	assert_int_equal(access->entries[1].id, BOB);
	assert_int_equal(access->entries[1].rights, RIGHT_ENTER);
	bed->login_count = 1;
	sync_now(bed);
	cleanup_access struct access *after = identity_store_find_access(bed->identities, CONFIG);
	assert_int_equal(after->count, 2);
	assert_int_equal(after->entries[1].rights, 0);
}

/* The version as that user gets it, for where its bytes are. */
static struct version *version_as(struct bed *bed, uid_t uid)
{
	struct version *version = NULL;
	struct call call;

	call_start(&call, 5000);
	call.uid = uid;
	assert_int_equal(store_get(bed->layer, CONFIG, VERSION_WHOLE, &call, &version), 0);
	return version;
}

static void test_bytes_are_kept_once(void **state)
{
	struct bed *bed = *state;

	bed->own.text = bed->texts[0] = bed->texts[1] = "the same for all";
	sync_now(bed);
	cleanup_version struct version *own = version_as(bed, STRANGER);
	cleanup_version struct version *alice = version_as(bed, ALICE);
	cleanup_version struct version *bob = version_as(bed, BOB);
	assert_ptr_equal(alice->content.data, own->content.data);
	assert_ptr_equal(bob->content.data, own->content.data);
	/* Each was told by the server, with his own login. */
	assert_int_equal(bed->last[0]->gets, 1);
	assert_int_equal(bed->last[1]->gets, 1);
	bed->last[1]->text = "another one";
	cleanup_version struct version *changed = version_as(bed, BOB);
	assert_ptr_not_equal(changed->content.data, own->content.data);
	assert_reads(bed, BOB, "another one");
	bed->last[1]->text = NULL;
	assert_int_equal(error_of(bed, BOB), -EACCES);
	assert_reads(bed, ALICE, "the same for all");
}

/* What is kept for when the server can't be asked is served to nobody whom it was not served to before. */
static void test_kept_bytes_are_for_whom_they_were_told(void **state)
{
	struct bed *bed = *state;

	bed->own.text = bed->texts[0] = bed->texts[1] = "the same for all";
	sync_now(bed);
	assert_reads(bed, ALICE, "the same for all");
	assert_reads(bed, STRANGER, "the same for all");
	bed->own.error = bed->last[0]->error = bed->last[1]->error = -EHOSTUNREACH;
	assert_reads(bed, ALICE, "the same for all");
	assert_reads(bed, STRANGER, "the same for all");
	assert_int_equal(error_of(bed, BOB), -EHOSTUNREACH);
	/* Nor to another login of the same user. */
	bed->logins[0].state = 2;
	sync_now(bed);
	bed->last[0]->error = -EHOSTUNREACH;
	assert_int_equal(error_of(bed, ALICE), -EHOSTUNREACH);
	bed->last[0]->error = 0;
	bed->last[0]->text = NULL;
	assert_int_equal(error_of(bed, ALICE), -EACCES);
}

static void test_a_refused_user_does_not_spoil_it_for_others(void **state)
{
	struct bed *bed = *state;

	sync_now(bed);
	assert_reads(bed, STRANGER, "own");
	assert_int_equal(error_of(bed, BOB), -EACCES);
	bed->own.error = -EHOSTUNREACH;
	assert_reads(bed, STRANGER, "own");
	assert_int_equal(error_of(bed, BOB), -EACCES);
}

static void *sync_in_thread(void *arg)
{
	sync_now(arg);
	return NULL;
}

static void *read_as_alice(void *arg)
{
	assert_reads(arg, ALICE, "alice");
	return NULL;
}

/* A stack is not freed below a call: whoever closes it waits. */
static void test_closing_waits_for_calls(void **state)
{
	struct bed *bed = *state;
	pthread_t reader, closer;

	bed->logins[0] = (struct identity_login){ ALICE, 1 };
	bed->login_count = 1;
	sync_now(bed);
	struct bottom *bottom = bed->last[0];
	atomic_store(&bottom->hold, true);
	assert_int_equal(pthread_create(&reader, NULL, read_as_alice, bed), 0);
	while (!atomic_load(&bottom->gets))
		usleep(1000);
	bed->login_count = 0;
	assert_int_equal(pthread_create(&closer, NULL, sync_in_thread, bed), 0);
	usleep(50000);
	assert_int_equal(bed->closed, 0);
	atomic_store(&bottom->hold, false);
	pthread_join(reader, NULL);
	pthread_join(closer, NULL);
	assert_int_equal(bed->closed, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_reads_with_his_own, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_logins_that_go_change_and_fail, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_access_names_everybody, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bytes_are_kept_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_kept_bytes_are_for_whom_they_were_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_refused_user_does_not_spoil_it_for_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_closing_waits_for_calls, set_up, tear_down),
	};

	CONFIG = place_new("ns", "group", "name");
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	place_drop(CONFIG);
	return failed;
}
