/*
 * A store in memory, and a filesystem over it, for the tests of fs/: without a server, a mount or a FUSE session.
 *
 * A hook is called once, in the middle of an operation, on the thread that makes it, while the tree's lock is given up: so it can
 * take the lock and do whatever another thread could do just then. An error can be asked for, for the next operation of a kind.
 * Places can be made to hang until they are released, or the call ends.
 *
 * As a real store it never waits for a call that may not (-EWOULDBLOCK), and asserts that no lock forbids to wait.
 */
#ifndef NACOSFS_TESTS_FAKE_STORE_H
#define NACOSFS_TESTS_FAKE_STORE_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs/lifetime.h"
#include "fs/node/draft.h"
#include "store/cache.h"
#include "store/rights.h"
#include "util/clock.h"
#include "util/text.h"
#include "util/wait.h"

/* Where a hook can be called: before it has an effect, or after. */
enum fake_step { FAKE_GET, FAKE_BEFORE_PUT, FAKE_AFTER_PUT, FAKE_BEFORE_REMOVE, FAKE_AFTER_REMOVE, FAKE_STEPS };

struct fake_config {
	struct place_entry entry; /* first */
	struct version *version;
};

struct fake_store {
	struct store store; /* first */
	pthread_mutex_t lock; /* all below but the hook and the atomic ones */
	pthread_cond_t released;
	struct table configs; /* by place */
	struct place *hanging; /* what is there, or below it, is not answered; NULL: nothing */
	int error[FAKE_STEPS]; /* of the next operation at that step */
	bool is_in_outage; /* all fail with -EHOSTUNREACH */
	size_t content_limit;

	void (*hook)(void *arg, struct place *place);
	void *hook_arg;
	enum fake_step hook_step;

	atomic_int gets, puts, removes, lists, hanging_count;
	atomic_bool watches; /* tells of changes, of all */
	const struct store_events *events;
	void *events_arg;
};

static inline struct fake_store *fake_of(struct store *store)
{
	return (struct fake_store *)store;
}

/* With the lock of the fake. */
static inline struct fake_config *fake_find(struct fake_store *fake, struct place *place)
{
	return (struct fake_config *)place_table_find(&fake->configs, place);
}

static inline struct version *fake_version(const void *data, size_t size)
{
	cleanup_buffer struct buffer content = BUFFER_INIT;
	char md5[HASH_MD5_HEX_SIZE];

	if (buffer_append(&content, data, size) || hash_md5_hex(data, size, md5))
		abort();
	return version_new(&content, md5, "text", clock_to_ms(clock_now()));
}

/* As somebody else would; NULL: removes it. Nobody is told. */
static inline void fake_set_bytes(struct fake_store *fake, struct place *place, const void *data, size_t size)
{
	pthread_mutex_lock(&fake->lock);
	struct fake_config *config = fake_find(fake, place);
	if (!data && config) {
		place_table_remove(&fake->configs, &config->entry);
		version_drop(config->version);
		free(config);
	} else if (data) {
		if (!config) {
			config = calloc(1, sizeof(*config));
			place_table_add(&fake->configs, &config->entry, place);
		}
		version_drop(config->version);
		config->version = fake_version(data, size);
	}
	pthread_mutex_unlock(&fake->lock);
}

static inline void fake_set(struct fake_store *fake, struct place *place, const char *text)
{
	fake_set_bytes(fake, place, text, text ? strlen(text) : 0);
}

/* As fake_set(), and tells of it. */
static inline void fake_change(struct fake_store *fake, struct place *place, const char *text)
{
	fake_set(fake, place, text);
	fake->events->changed(fake->events_arg, place);
}

/* What is there, counted for the caller; NULL: nothing. */
static inline struct version *fake_peek(struct fake_store *fake, struct place *place)
{
	pthread_mutex_lock(&fake->lock);
	struct fake_config *config = fake_find(fake, place);
	struct version *version = config ? version_hold(config->version) : NULL;
	pthread_mutex_unlock(&fake->lock);
	return version;
}

static inline bool fake_has(struct fake_store *fake, struct place *place, const char *text)
{
	cleanup_version struct version *version = fake_peek(fake, place);

	if (!version || !text)
		return !version && !text;
	return version->content.size == strlen(text) && !memcmp(version->content.data, text, strlen(text));
}

static inline void fake_hang(struct fake_store *fake, struct place *place)
{
	pthread_mutex_lock(&fake->lock);
	fake->hanging = place;
	pthread_cond_broadcast(&fake->released);
	pthread_mutex_unlock(&fake->lock);
}

static inline void fake_hook(struct fake_store *fake, enum fake_step step, void (*hook)(void *arg, struct place *place), void *arg)
{
	fake->hook = hook;
	fake->hook_arg = arg;
	fake->hook_step = step;
}

static inline bool fake_is_hanging(const struct fake_store *fake, const struct place *place)
{
	while (place && place != fake->hanging)
		place = place->above;
	return place;
}

/* One step of an operation: hangs, calls the hook, fails, as it is told. */
static inline int fake_step(struct fake_store *fake, enum fake_step step, struct place *place, struct call *call)
{
	int error = 0;

	if (call->from_memory)
		return -EWOULDBLOCK;
	wait_check("an answer of the fake store");
	pthread_mutex_lock(&fake->lock);
	if (fake_is_hanging(fake, place)) {
		atomic_fetch_add(&fake->hanging_count, 1);
		while (!error && fake_is_hanging(fake, place))
			error = call_wait(call, &fake->released, &fake->lock);
		atomic_fetch_sub(&fake->hanging_count, 1);
	}
	if (!error && fake->error[step]) {
		error = call_fail(call, fake->error[step], "as told");
		fake->error[step] = 0;
	}
	if (!error && fake->is_in_outage)
		error = call_fail(call, -EHOSTUNREACH, "nobody there");
	pthread_mutex_unlock(&fake->lock);
	if (fake->hook && fake->hook_step == step) {
		void (*hook)(void *arg, struct place *place) = fake->hook;

		fake->hook = NULL;
		hook(fake->hook_arg, place);
	}
	return error;
}

static inline int fake_get(struct store *store, struct place *place, enum version_part part, struct call *call,
			   struct version **ret_version)
{
	struct fake_store *fake = fake_of(store);
	char text[PLACE_TEXT_SIZE];
	int error = fake_step(fake, FAKE_GET, place, call);

	(void)part;
	if (error)
		return error;
	atomic_fetch_add(&fake->gets, 1);
	call->answered = true;
	struct version *version = fake_peek(fake, place);
	if (!version)
		return call_fail(call, -ENOENT, "%s: is not there", place_format(place, text, sizeof(text)));
	*ret_version = version;
	return 0;
}

static inline bool fake_is_at(struct fake_store *fake, struct place *place, const struct version *base)
{
	cleanup_version struct version *version = fake_peek(fake, place);

	return version && base ? !strcmp(version->md5, base->md5) : !version && !base;
}

static inline int fake_put(struct store *store, struct place *place, const struct put *put, struct call *call,
			   struct version **ret_version)
{
	struct fake_store *fake = fake_of(store);
	char text[PLACE_TEXT_SIZE];
	int error = fake_step(fake, FAKE_BEFORE_PUT, place, call);

	if (error)
		return error;
	atomic_fetch_add(&fake->puts, 1);
	call->answered = true;
	if (text_is_blank(put->content, put->size))
		return call_fail(call, -EINVAL, "can't be empty");
	if (!put->blind && !fake_is_at(fake, place, put->base))
		return call_fail(call, -EBUSY, "%s: somebody else changed it", place_format(place, text, sizeof(text)));
	fake_set_bytes(fake, place, put->content, put->size);
	*ret_version = fake_peek(fake, place);
	error = fake_step(fake, FAKE_AFTER_PUT, place, call);
	if (error) {
		version_drop(*ret_version);
		*ret_version = NULL;
	}
	return error;
}

static inline int fake_remove(struct store *store, struct place *place, const struct version *base, struct call *call)
{
	struct fake_store *fake = fake_of(store);
	char text[PLACE_TEXT_SIZE];
	int error = fake_step(fake, FAKE_BEFORE_REMOVE, place, call);

	if (error)
		return error;
	atomic_fetch_add(&fake->removes, 1);
	if (base && !fake_is_at(fake, place, base) && !fake_is_at(fake, place, NULL))
		return call_fail(call, -EBUSY, "%s: somebody else changed it", place_format(place, text, sizeof(text)));
	fake_set(fake, place, NULL);
	return fake_step(fake, FAKE_AFTER_REMOVE, place, call);
}

static inline int fake_check(struct store *store, struct place *place, struct call *call)
{
	return fake_step(fake_of(store), FAKE_GET, place, call);
}

static inline bool fake_is_below(const struct place *place, const struct place *above)
{
	while (place && place != above)
		place = place->above;
	return place;
}

static inline int fake_list(struct store *store, struct place *place, struct call *call, struct listing **ret_listing)
{
	struct fake_store *fake = fake_of(store);
	int error = fake_step(fake, FAKE_GET, place, call);

	if (error)
		return error;
	atomic_fetch_add(&fake->lists, 1);
	pthread_mutex_lock(&fake->lock);
	struct listing *listing = listing_new();
	listing->items = calloc(fake->configs.count + 1, sizeof(*listing->items));
	listing->settled = true;
	for (struct table_link *link = table_next(&fake->configs, NULL); link; link = table_next(&fake->configs, link)) {
		const struct fake_config *config = (const struct fake_config *)link;
		struct listing_item *item = &listing->items[listing->count];

		if (!fake_is_below(config->entry.place, place))
			continue;
		item->group = strdup(place_group(config->entry.place));
		item->data_id = strdup(place_data_id(config->entry.place));
		strcpy(item->md5, config->version->md5);
		listing->count++;
	}
	pthread_mutex_unlock(&fake->lock);
	*ret_listing = listing;
	return 0;
}

static inline int fake_check_any(struct store *store, struct place *place, struct call *call)
{
	struct fake_store *fake = fake_of(store);
	int error = fake_step(fake, FAKE_GET, place, call);

	if (error)
		return error;
	error = -ENOENT;
	pthread_mutex_lock(&fake->lock);
	for (struct table_link *link = table_next(&fake->configs, NULL); link; link = table_next(&fake->configs, link))
		if (fake_is_below(((const struct fake_config *)link)->entry.place, place))
			error = 0;
	pthread_mutex_unlock(&fake->lock);
	return error;
}

static inline int fake_check_create(struct store *store, struct call *call)
{
	(void)store;
	return call->from_memory ? -EWOULDBLOCK : 0;
}

static inline int fake_list_namespaces(struct store *store, struct call *call, struct namespace_names *ret_names)
{
	int error = fake_step(fake_of(store), FAKE_GET, NULL, call);

	if (error)
		return error;
	ret_names->ids = calloc(1, sizeof(*ret_names->ids));
	ret_names->ids[0] = strdup("dev");
	ret_names->count = 1;
	return 0;
}

static inline void fake_set_events(struct store *store, const struct store_events *events, void *arg)
{
	fake_of(store)->events = events;
	fake_of(store)->events_arg = arg;
}

static inline void fake_watch(struct store *store, struct place *place, const char *md5)
{
	(void)store;
	(void)place;
	(void)md5;
}

static inline bool fake_is_watched(struct store *store, struct place *place)
{
	(void)place;
	return atomic_load(&fake_of(store)->watches);
}

static inline void fake_watch_names(struct store *store, struct place *place)
{
	(void)store;
	(void)place;
}

static inline size_t fake_content_limit(struct store *store)
{
	return fake_of(store)->content_limit;
}

static inline bool fake_name_is_possible(struct store *store, enum name_kind kind, const char *name)
{
	(void)store;
	(void)kind;
	return !strchr(name, '!') && *name != '.';
}

static inline void fake_free(struct store *store)
{
	(void)store;
}

static const struct store_operations fake_operations = {
	.get = fake_get,
	.put = fake_put,
	.remove = fake_remove,
	.check_write = fake_check,
	.check_read = fake_check,
	.check_create = fake_check_create,
	.list = fake_list,
	.check_any = fake_check_any,
	.list_namespaces = fake_list_namespaces,
	.create_namespace = fake_check,
	.remove_namespace = fake_check,
	.set_events = fake_set_events,
	.watch = fake_watch,
	.is_watched = fake_is_watched,
	.watch_names = fake_watch_names,
	.content_limit = fake_content_limit,
	.name_is_possible = fake_name_is_possible,
	.free = fake_free,
};

static inline void fake_start(struct fake_store *fake)
{
	memset(fake, 0, sizeof(*fake));
	fake->store.operations = &fake_operations;
	fake->content_limit = 1 << 20;
	pthread_mutex_init(&fake->lock, NULL);
	clock_init_condition(&fake->released);
}

static inline void fake_end(struct fake_store *fake)
{
	struct table_link *link;

	while ((link = table_next(&fake->configs, NULL))) {
		struct fake_config *config = (struct fake_config *)link;

		place_table_remove(&fake->configs, &config->entry);
		version_drop(config->version);
		free(config);
	}
	table_release(&fake->configs);
	pthread_cond_destroy(&fake->released);
	pthread_mutex_destroy(&fake->lock);
}

/* ------------------------------------------------------------------- a filesystem over it */

#define BED_TIMEOUT_MS 10000

struct bed {
	struct fake_store fake;
	struct store *cache; /* NULL: none */
	struct rights *rights;
	struct filesystem filesystem;
	struct tree *tree;
	struct saver *saver;
	struct node *group; /* dev/APP, in sight of the kernel */
};

struct bed_options {
	bool cached;
	const char *kept_directory;
	const char *mountpoint;
};

/* The tree's lock is not held. No thread runs. */
static inline struct bed *bed_new(const struct bed_options *options)
{
	struct bed *bed = calloc(1, sizeof(*bed));
	struct terms *terms = &bed->filesystem.terms;
	const struct cache_options cache_options = { 64 << 20, CACHE_FRESH_MS, 3600000 };
	const struct rights_options rights_options = { .off = true, .fresh_ms = 30000 };

	fake_start(&bed->fake);
	if ((options->cached && cache_new(&bed->fake.store, &cache_options, &bed->cache)) ||
	    rights_new(bed->cache ? bed->cache : &bed->fake.store, &rights_options, &bed->rights))
		abort();
	*terms = (struct terms){
		.store = rights_store(bed->rights),
		.rights = bed->rights,
		.server_text = "fake",
		.mountpoint = options->mountpoint ? options->mountpoint : "/nowhere",
		.uid = getuid(),
		.gid = getgid(),
		.umask = 022,
		.timeout_ms = BED_TIMEOUT_MS,
		.refresh_ms = 3600000,
	};
	if (lifetime_init(&bed->filesystem, options->kept_directory))
		abort();
	bed->tree = &bed->filesystem.tree;
	bed->saver = &bed->filesystem.saver;
	lock_take(&bed->tree->lock);
	struct node *namespace = tree_add(bed->tree, bed->tree->root, "dev", NODE_NAMESPACE);
	node_count_lookup(namespace);
	bed->group = tree_add(bed->tree, namespace, "APP", NODE_GROUP);
	node_count_lookup(bed->group);
	lock_give(&bed->tree->lock);
	return bed;
}

/* A test that failed has it still. Without the lock, this is only sure where it is true. */
__attribute__((no_sanitize("thread"), noinline)) static bool bed_has_lock(const struct bed *bed)
{
	return bed->tree->lock.is_held && pthread_equal(bed->tree->lock.holder, pthread_self());
}

/* Ends what runs, does what was put off, and frees all. */
static inline void bed_free(struct bed *bed)
{
	if (bed_has_lock(bed))
		lock_give(&bed->tree->lock);
	lifetime_stop(&bed->filesystem);
	lifetime_release(&bed->filesystem);
	rights_free(bed->rights);
	store_free(bed->cache);
	fake_end(&bed->fake);
	free(bed);
}

static inline struct place *bed_place(const char *data_id)
{
	return place_new("dev", "APP", data_id);
}

/* The text of a config of the group, in the store. */
static inline void bed_set(struct bed *bed, const char *data_id, const char *text)
{
	cleanup_place struct place *place = bed_place(data_id);

	fake_set(&bed->fake, place, text);
}

static inline bool bed_has(struct bed *bed, const char *data_id, const char *text)
{
	cleanup_place struct place *place = bed_place(data_id);

	return fake_has(&bed->fake, place, text);
}

/* Of the sanitizers, where they are. */
extern void __sanitizer_set_report_fd(void *descriptor) __attribute__((weak));

/*
 * Has the log nowhere to go: what is meant to fail a thousand times says so. What cmocka and the sanitizers say is heard. With V in
 * the environment the log is, too. First thing in main().
 */
static inline void bed_mute_log(void)
{
	int heard = getenv("V") ? -1 : dup(STDERR_FILENO);
	int nowhere = heard < 0 ? -1 : open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (nowhere < 0)
		return;
	stderr = fdopen(heard, "w");
	setvbuf(stderr, NULL, _IONBF, 0);
	if (__sanitizer_set_report_fd)
		__sanitizer_set_report_fd((void *)(intptr_t)heard);
	dup2(nowhere, STDERR_FILENO);
	close(nowhere);
}

/* Waits until it is so, for 10 s at most: with is(arg) called every millisecond. */
static inline bool bed_wait(bool (*is)(void *arg), void *arg)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	for (int i = 0; i < 10000; i++) {
		if (is(arg))
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

#endif
