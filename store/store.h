/*
 * What a config store is: a small table of operations that every layer of the stack implements, each changing what it
 * is there for and handing the rest to the layer below:
 *
 *	file system operations > cipher > rights > cache > nacos
 *
 * Above cipher is plain text, in memory only; below it is what the server stores.
 *
 * (main/main.c writes the stack out.) All operations may be called from any thread, block until the call's deadline, and
 * hold no lock of the caller. Places are held by the caller for as long. Who saves, for the server's history, is the user of the
 * call. They return 0 or a negative errno and leave the reason in the call:
 *
 * -ENOENT        there is no such config
 * -EACCES        this account, or this user, may not
 * -EBUSY         put, remove: the config is not at the base version any more
 * -EBADMSG       get: stored under a name that stands for ciphertext, and is none, or damaged
 * -ENOKEY        get, put: the key service refuses, can't be reached, or there is none
 * -EILSEQ        put: not UTF-8 (a server would silently damage it)
 * -EINVAL        put: empty or nothing but white space; or a name that the server refuses
 * -EFBIG, -EDQUOT  put: more than the server takes
 * -EEXIST        remove: tried, and it is still there
 * -EHOSTUNREACH, -ETIMEDOUT, -ECONNABORTED, -EIO, -EPROTO   the server can't be asked, or is in trouble
 * -EINTR         the caller was interrupted
 * -EOPNOTSUPP    the server has no such operation
 * -ENOMEM
 */
#ifndef NACOSFS_STORE_STORE_H
#define NACOSFS_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "model/place.h"
#include "model/listing.h"
#include "model/version.h"
#include "util/call.h"

/* What of a version is asked for. */
enum version_part {
	VERSION_ATTRIBUTES, /* size, md5, type, time; the content may be missing */
	VERSION_BASE, /* all of it, to be compared with, kept or put back; not to be shown to anybody */
	VERSION_WHOLE, /* all of it, for the user of the call */
};

/* What a put stores, and on what condition. */
struct put {
	const void *content;
	size_t size;
	const struct version *base; /* the config must be at this version; NULL: it must not exist */
	const char *new_type; /* type of a config that did not exist */
	struct place *metadata_of; /* take type, description, tags, ... from that config; NULL: keep one's own */
	/*
	 * The encrypted data key to store beside the text; "": none; NULL: the text is not encrypted by us, what is stored
	 * there stays.
	 */
	const char *data_key;
	/*
	 * What is there can't be read, so it is not compared and not kept, and the server's yes is all that tells of the
	 * outcome; base is NULL then. Without it, the same is done for a config that must not exist, where the server
	 * makes sure of that if it can.
	 */
	bool blind;
};

/* Names of namespaces. */
struct namespace_names {
	char **ids;
	size_t count;
};

void namespace_names_release(struct namespace_names *names);
#define cleanup_namespace_names __attribute__((cleanup(namespace_names_release)))

enum name_kind { NAME_NAMESPACE, NAME_GROUP, NAME_DATA_ID };

struct store;

/*
 * What a store tells by itself. Called from any thread, also in the middle of an operation of this table, without a lock:
 * events may ask the store what costs no request (store_is_watched()) and must be short.
 */
struct store_events {
	/* The config is probably not what it was: changed, created, removed, or the right to read it. Fetch it. */
	void (*changed)(void *arg, struct place *place);

	/*
	 * true: from now on all that appears or vanishes in the namespace is told by changed(); what did so before is
	 * not: compare the names once. false: it is not told (any more).
	 */
	void (*names_watched)(void *arg, struct place *place, bool watched);

	/*
	 * true: changes of what is watched are told. false: from now on they are not; whoever relied on that must ask
	 * again.
	 */
	void (*live)(void *arg, bool live);
};

struct store_operations {
	/* The current version; the caller drops it. */
	int (*get)(struct store *store, struct place *place, enum version_part part, struct call *call,
		   struct version **ret_version);

	/*
	 * Stores put->content and returns the version that the store then has, read back and compared. Nothing is
	 * written when the store has exactly those bytes already. With any error but one after a lost answer the store
	 * is as it was.
	 */
	int (*put)(struct store *store, struct place *place, const struct put *put, struct call *call,
		   struct version **ret_version);

	/*
	 * Removes the config if it is still at base (NULL: whatever is there, which can't be read). Success when it is gone already. -EEXIST, -EBUSY and -EACCES say that
	 * it is still there for sure; with other errors nobody knows.
	 */
	int (*remove)(struct store *store, struct place *place, const struct version *base,
		      struct call *call);

	/*
	 * May this account put and remove (get) here? 0 or -EACCES; writes nothing. The rights layer knows most answers; what is
	 * not known of reading passes, as reading will tell. Below it they ask the server: check_read whether that config can be
	 * read (0 too where there is none), check_write also for many, where a dataId "*" stands for all of a group, a group "*"
	 * too for all of a namespace.
	 */
	int (*check_write)(struct store *store, struct place *place, struct call *call);
	int (*check_read)(struct store *store, struct place *place, struct call *call);

	/* May it create namespaces? Below the rights layer only. */
	int (*check_create)(struct store *store, struct call *call);

	/* The names in a namespace, or in a group. */
	int (*list)(struct store *store, struct place *place, struct call *call, struct listing **ret_listing);

	/* Is there any config in that namespace or group? 0, -ENOENT, ... Cheap, however many there are. */
	int (*check_any)(struct store *store, struct place *place, struct call *call);

	int (*list_namespaces)(struct store *store, struct call *call, struct namespace_names *ret_names);
	int (*create_namespace)(struct store *store, struct place *place, struct call *call);
	int (*remove_namespace)(struct store *store, struct place *place, struct call *call);

	/* Who is told. Once, before the first other call; events begin when the bottom of the stack is started. */
	void (*set_events)(struct store *store, const struct store_events *events, void *arg);

	/*
	 * Asks to be told when the config is not at md5 ("": not absent) any more; again after each get that follows a
	 * change that was told, with what came, even if it is the same. Costs no request here and now. md5 NULL: it does not
	 * matter any more. A cache watches what it holds by itself; then this
	 * does nothing.
	 */
	void (*watch)(struct store *store, struct place *place, const char *md5);

	/*
	 * Would a change of it be told, as far as is known now? True from the moment that the store has begun to watch it: what
	 * changes before the server knows is told then. When true turns false, live() or changed() says so.
	 */
	bool (*is_watched)(struct store *store, struct place *place);

	/* Asks to be told of names that appear or vanish; names_watched() says what came of it. Again: does nothing. */
	void (*watch_names)(struct store *store, struct place *place);

	/*
	 * The config was just stored through another stack for the same server: it is now at version (NULL: removed), and was at
	 * base before. As if it had been put here.
	 */
	void (*note_put)(struct store *store, struct place *place, struct version *version, const struct version *base);

	/*
	 * By which login is that user served? 0: that of the mount; otherwise a number which no other login has, before or after.
	 * Asks nobody. Without this operation in any layer, all are served by that of the mount.
	 */
	uint64_t (*login_of)(struct store *store, uid_t uid);

	/* No put of more bytes than these can succeed, as things are now. Asks nobody. */
	size_t (*content_limit)(struct store *store);

	/* Could the store hold that name? Asks nobody. */
	bool (*name_is_possible)(struct store *store, enum name_kind kind, const char *name);

	void (*free)(struct store *store);
};

/*
 * A layer begins with this. It implements what it changes; what it leaves out of its table, the first layer below that has it
 * does. All but free(), which each layer has.
 */
struct store {
	const struct store_operations *operations;
	struct store *lower; /* not owned; NULL: the bottom */
};

static inline int store_get(struct store *store, struct place *place, enum version_part part,
			    struct call *call, struct version **ret_version)
{
	while (!store->operations->get)
		store = store->lower;
	return store->operations->get(store, place, part, call, ret_version);
}

static inline int store_put(struct store *store, struct place *place, const struct put *put,
			    struct call *call, struct version **ret_version)
{
	while (!store->operations->put)
		store = store->lower;
	return store->operations->put(store, place, put, call, ret_version);
}

static inline int store_remove(struct store *store, struct place *place, const struct version *base,
			       struct call *call)
{
	while (!store->operations->remove)
		store = store->lower;
	return store->operations->remove(store, place, base, call);
}

static inline int store_check_write(struct store *store, struct place *place, struct call *call)
{
	while (!store->operations->check_write)
		store = store->lower;
	return store->operations->check_write(store, place, call);
}

static inline int store_check_read(struct store *store, struct place *place, struct call *call)
{
	while (!store->operations->check_read)
		store = store->lower;
	return store->operations->check_read(store, place, call);
}

static inline int store_check_create(struct store *store, struct call *call)
{
	while (!store->operations->check_create)
		store = store->lower;
	return store->operations->check_create(store, call);
}

static inline int store_list(struct store *store, struct place *place, struct call *call,
			     struct listing **ret_listing)
{
	while (!store->operations->list)
		store = store->lower;
	return store->operations->list(store, place, call, ret_listing);
}

static inline int store_check_any(struct store *store, struct place *place, struct call *call)
{
	while (!store->operations->check_any)
		store = store->lower;
	return store->operations->check_any(store, place, call);
}

static inline int store_list_namespaces(struct store *store, struct call *call,
					struct namespace_names *ret_names)
{
	while (!store->operations->list_namespaces)
		store = store->lower;
	return store->operations->list_namespaces(store, call, ret_names);
}

static inline int store_create_namespace(struct store *store, struct place *place, struct call *call)
{
	while (!store->operations->create_namespace)
		store = store->lower;
	return store->operations->create_namespace(store, place, call);
}

static inline int store_remove_namespace(struct store *store, struct place *place, struct call *call)
{
	while (!store->operations->remove_namespace)
		store = store->lower;
	return store->operations->remove_namespace(store, place, call);
}

static inline void store_set_events(struct store *store, const struct store_events *events, void *arg)
{
	while (!store->operations->set_events)
		store = store->lower;
	store->operations->set_events(store, events, arg);
}

static inline void store_watch(struct store *store, struct place *place, const char *md5)
{
	while (!store->operations->watch)
		store = store->lower;
	store->operations->watch(store, place, md5);
}

static inline bool store_is_watched(struct store *store, struct place *place)
{
	while (!store->operations->is_watched)
		store = store->lower;
	return store->operations->is_watched(store, place);
}

static inline void store_watch_names(struct store *store, struct place *place)
{
	while (!store->operations->watch_names)
		store = store->lower;
	store->operations->watch_names(store, place);
}

static inline void store_note_put(struct store *store, struct place *place, struct version *version,
				  const struct version *base)
{
	while (!store->operations->note_put)
		store = store->lower;
	store->operations->note_put(store, place, version, base);
}

static inline uint64_t store_login_of(struct store *store, uid_t uid)
{
	while (store && !store->operations->login_of)
		store = store->lower;
	return store ? store->operations->login_of(store, uid) : 0;
}

static inline size_t store_content_limit(struct store *store)
{
	while (!store->operations->content_limit)
		store = store->lower;
	return store->operations->content_limit(store);
}

static inline bool store_name_is_possible(struct store *store, enum name_kind kind, const char *name)
{
	while (!store->operations->name_is_possible)
		store = store->lower;
	return store->operations->name_is_possible(store, kind, name);
}

/* Frees the layer; not the one below it. NULL is fine. */
static inline void store_free(struct store *store)
{
	if (store)
		store->operations->free(store);
}

/* Does this error say that the store could not be asked at all, as opposed to that it said no? */
bool store_error_is_outage(int error);

#endif
