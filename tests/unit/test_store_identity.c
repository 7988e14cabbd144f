/* Whose stack serves a call: over stacks and logins of the test's own. */
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

/* The bottom of one stack: serves its owner's name, or refuses. */
struct bottom {
	struct store store;
	const char *text; /* NULL: may not read */
	atomic_bool hold; /* gets wait */
	atomic_uint gets;
};

struct tower {
	struct bottom bottom;
	struct rights *rights;
	struct store *cache;
};

struct bed {
	struct tower own;
	struct identity_login logins[4];
	size_t login_count;
	int open_error;
	atomic_int opened, closed;
	const char *texts[2]; /* of alice and bob */
	struct tower *last;
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
	call->answered = true;
	if (!bottom->text)
		return call_fail(call, -EACCES, "refused");
	assert_int_equal(buffer_append(&content, bottom->text, strlen(bottom->text)), 0);
	*ret_version = version_new(&content, "0123456789abcdef0123456789abcdef", "", 0);
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

static void build(struct tower *tower, const char *text)
{
	const struct rights_options rights_options = { .fresh_ms = 30000 };
	const struct cache_options cache_options = { .content_limit = 1 << 20, .fresh_ms = 0, .refresh_ms = 1000 };

	tower->bottom.store.operations = &bottom_operations;
	tower->bottom.text = text;
	assert_int_equal(cache_new(&tower->bottom.store, &cache_options, &tower->cache), 0);
	assert_int_equal(rights_new(tower->cache, &rights_options, &tower->rights), 0);
}

static void demolish(struct tower *tower)
{
	rights_free(tower->rights);
	store_free(tower->cache);
}

static int source_list(void *arg, struct call *call, struct identity_login **ret_logins, size_t *ret_count)
{
	struct bed *bed = arg;

	(void)call;
	*ret_logins = calloc(4, sizeof(**ret_logins));
	memcpy(*ret_logins, bed->logins, sizeof(bed->logins));
	*ret_count = bed->login_count;
	return 0;
}

static int source_open(void *arg, uid_t uid, struct call *call, struct identity_stack *ret_stack)
{
	struct bed *bed = arg;

	if (bed->open_error)
		return call_fail(call, bed->open_error, "can't");
	struct tower *tower = calloc(1, sizeof(*tower));
	build(tower, bed->texts[uid == BOB]);
	atomic_fetch_add(&bed->opened, 1);
	bed->last = tower;
	*ret_stack = (struct identity_stack){ rights_store(tower->rights), tower->rights, tower };
	return 0;
}

static void source_close(void *arg, struct identity_stack *stack)
{
	struct bed *bed = arg;

	demolish(stack->owner);
	free(stack->owner);
	atomic_fetch_add(&bed->closed, 1);
}

static int set_up(void **state)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	build(&bed->own, "own");
	bed->texts[0] = "alice";
	bed->logins[0] = (struct identity_login){ ALICE, 1 };
	bed->logins[1] = (struct identity_login){ BOB, 1 };
	bed->login_count = 2;
	const struct identity_store_options options = {
		.own = { rights_store(bed->own.rights), bed->own.rights, NULL },
		.source = { source_list, source_open, source_close, bed },
	};
	assert_int_equal(identity_store_new(&options, &bed->identities), 0);
	bed->layer = identity_store_layer(bed->identities);
	*state = bed;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *bed = *state;

	store_free(bed->layer);
	assert_int_equal(bed->opened, bed->closed);
	demolish(&bed->own);
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
static int get(struct bed *bed, uid_t uid, enum version_part part, char ret_text[16], size_t *ret_size)
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
	char text[16];
	size_t size;

	assert_int_equal(get(bed, uid, VERSION_WHOLE, text, &size), 0);
	assert_string_equal(text, expected);
}

static int error_of(struct bed *bed, uid_t uid)
{
	char text[16];
	size_t size;

	return get(bed, uid, VERSION_WHOLE, text, &size);
}

static void test_each_reads_with_his_own(void **state)
{
	struct bed *bed = *state;
	char text[16];
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
	bed->own.bottom.text = NULL;
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
	struct bottom *bottom = &bed->last->bottom;
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
		cmocka_unit_test_setup_teardown(test_closing_waits_for_calls, set_up, tear_down),
	};

	CONFIG = place_new("ns", "group", "name");
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	place_drop(CONFIG);
	return failed;
}
