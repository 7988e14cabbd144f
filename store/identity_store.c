#include "store/identity_store.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/thread.h"
#include "util/user.h"

/* A local user who has a login, or had one. */
struct identity {
	struct identity *next; /* by uid */
	uid_t uid;
	bool listed; /* there is a login */
	uint64_t state; /* of that */
	bool busy; /* its stack is being opened or closed */
	bool is_open;
	struct identity_account account; /* if is_open */
	struct rights *rights; /* if is_open */
	uint64_t login; /* another number after each opening and closing (store_login_of()) */
	unsigned users; /* calls that use it while the lock is not held */
	int error; /* why there is no stack */
	char reason[CALL_REASON_SIZE];
	int64_t retry_at_ms, retry_ms;
};

/* The two layers are parts of it. */
struct identity_store {
	struct store store; /* first: the one above the rights, which chooses whose those are */
	struct bottom {
		struct store store; /* first: the one below the cache, which chooses whose login asks */
		struct identity_store *identities;
	} bottom;
	struct store *cache; /* between the two; not owned */
	struct rights *own_rights; /* not owned */
	struct identity_source source;
	struct rights_options rights_options;

	pthread_mutex_t lock; /* all below */
	pthread_cond_t changed; /* an identity is not busy any more, or is not used; the thread is to stop */
	struct identity *identities; /* none is ever freed before the end */
	size_t count;
	uint64_t last_login;
	bool list_failed, too_many; /* and that was logged */
	struct thread thread;
	atomic_bool stopping;
};

static struct identity_store *identities_of(struct store *store)
{
	return (struct identity_store *)store;
}

static struct identity *find(const struct identity_store *store, uid_t uid)
{
	struct identity *identity = store->identities;

	while (identity && identity->uid != uid)
		identity = identity->next;
	return identity;
}

static struct identity *add(struct identity_store *store, uid_t uid)
{
	struct identity **place = &store->identities;
	struct identity *identity = store->count < IDENTITY_MAX ? calloc(1, sizeof(*identity)) : NULL;

	if (!identity) {
		if (!store->too_many)
			log_error("no more than %d users can have a login of their own: the others have none", IDENTITY_MAX);
		store->too_many = true;
		return NULL;
	}
	while (*place && (*place)->uid < uid)
		place = &(*place)->next;
	identity->uid = uid;
	identity->login = ++store->last_login;
	identity->next = *place;
	*place = identity;
	store->count++;
	return identity;
}

/* ------------------------------------------------------------ opening, closing */

/* With the lock, given up meanwhile. Calls that use the stack end within their deadlines. */
static void close_stack(struct identity_store *store, struct identity *identity)
{
	identity->is_open = false;
	identity->error = -EACCES;
	while (identity->users)
		pthread_cond_wait(&store->changed, &store->lock);
	identity->login = ++store->last_login;
	pthread_mutex_unlock(&store->lock);
	rights_free(identity->rights);
	store->source.close(store->source.arg, &identity->account);
	pthread_mutex_lock(&store->lock);
}

/* No lock. */
static int open_account(struct identity_store *store, uid_t uid, struct call *call, struct identity_account *ret_account,
			struct rights **ret_rights)
{
	struct rights_options options = store->rights_options;
	struct identity_account account = { 0 };
	int error = store->source.open(store->source.arg, uid, call, &account);

	if (error)
		return error;
	options.is_of_user = true;
	options.uid = uid;
	error = rights_new(store->cache, &options, ret_rights);
	if (error) {
		store->source.close(store->source.arg, &account);
		return call_fail(call, error, "out of memory");
	}
	*ret_account = account;
	return 0;
}

/* With the lock, given up meanwhile. */
static void open_stack(struct identity_store *store, struct identity *identity, struct call *call)
{
	struct identity_account account = { 0 };
	struct rights *rights = NULL;
	char user[USER_NAME_SIZE];
	struct call part;

	pthread_mutex_unlock(&store->lock);
	call_start_part(&part, call, IDENTITY_OPEN_MS);
	user_format_name(identity->uid, user);
	int error = open_account(store, identity->uid, &part, &account, &rights);
	pthread_mutex_lock(&store->lock);
	identity->is_open = !error;
	identity->account = account;
	identity->rights = rights;
	identity->login = ++store->last_login;
	if (!error) {
		log_info("%s has a login of his own", user);
		identity->retry_ms = 0;
		*identity->reason = '\0';
	} else {
		if (strcmp(identity->reason, part.reason) != 0)
			log_warning("%s has no access, his login can't be used: %s", user, part.reason);
		memcpy(identity->reason, part.reason, sizeof(identity->reason));
		identity->retry_ms = identity->retry_ms ? identity->retry_ms * 2 : IDENTITY_RETRY_FIRST_MS;
		if (identity->retry_ms > IDENTITY_RETRY_LAST_MS)
			identity->retry_ms = IDENTITY_RETRY_LAST_MS;
		identity->retry_at_ms = clock_monotonic_ms() + identity->retry_ms;
	}
	identity->error = error;
}

/* Notes which logins there are, with the lock. */
static void take_list(struct identity_store *store, const struct identity_login *logins, size_t count)
{
	for (struct identity *identity = store->identities; identity; identity = identity->next)
		identity->listed = false;
	for (size_t i = 0; i < count; i++) {
		struct identity *identity = find(store, logins[i].uid);

		if (!identity)
			identity = add(store, logins[i].uid);
		if (identity) /* what it has is another one's: closed by update() */
			identity->listed = true;
	}
}

static const struct identity_login *find_login(const struct identity_login *logins, size_t count, uid_t uid)
{
	for (size_t i = 0; i < count; i++)
		if (logins[i].uid == uid)
			return &logins[i];
	return NULL;
}

/* With the lock, given up meanwhile; login is what there is now, NULL: none. */
static int update(struct identity_store *store, struct identity *identity, const struct identity_login *login,
		  struct call *call)
{
	bool is_new = login && login->state != identity->state;
	char user[USER_NAME_SIZE];

	identity->busy = true;
	if (identity->is_open && (!login || is_new)) {
		close_stack(store, identity);
		if (!login) {
			pthread_mutex_unlock(&store->lock);
			user_format_name(identity->uid, user);
			log_info("%s has no login any more, and no access", user);
			pthread_mutex_lock(&store->lock);
		}
	}
	if (is_new)
		identity->retry_at_ms = identity->retry_ms = 0;
	identity->state = login ? login->state : 0;
	if (!login) {
		identity->error = -EACCES;
		*identity->reason = '\0';
	} else if (!identity->is_open && clock_monotonic_ms() >= identity->retry_at_ms) {
		open_stack(store, identity, call);
	}
	identity->busy = false;
	pthread_cond_broadcast(&store->changed);
	return login && !identity->is_open ? identity->error : 0;
}

void identity_store_sync(struct identity_store *store, struct call *call)
{
	cleanup_free struct identity_login *logins = NULL;
	size_t count = 0;
	int error = store->source.list(store->source.arg, call, &logins, &count);
	bool is_outage = false;

	pthread_mutex_lock(&store->lock);
	if (error && !store->list_failed)
		log_error("no user has a login of his own: %s", call->reason);
	store->list_failed = error;
	take_list(store, logins, count);
	for (struct identity *identity = store->identities; identity && !store->stopping; identity = identity->next) {
		const struct identity_login *login = find_login(logins, count, identity->uid);
		/* One that can't be asked for is as good as many. */
		if (is_outage && login && !identity->is_open)
			continue;
		is_outage |= store_error_is_outage(update(store, identity, login, call));
	}
	pthread_mutex_unlock(&store->lock);
}

static bool is_stopping(void *arg)
{
	const struct identity_store *store = arg;

	return atomic_load(&store->stopping);
}

static void *run(void *arg)
{
	struct identity_store *store = arg;
	struct call call;

	pthread_mutex_lock(&store->lock);
	while (!store->stopping) {
		struct timespec until = clock_from_ms(clock_monotonic_ms() + IDENTITY_CHECK_MS);

		pthread_cond_timedwait(&store->changed, &store->lock, &until);
		if (store->stopping)
			break;
		pthread_mutex_unlock(&store->lock);
		call_start(&call, INT64_MAX / 2);
		call.interrupted = is_stopping;
		call.interrupted_arg = store;
		identity_store_sync(store, &call);
		pthread_mutex_lock(&store->lock);
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

int identity_store_start(struct identity_store *store)
{
	return thread_start(&store->thread, run, store);
}

void identity_store_stop(struct identity_store *store)
{
	pthread_mutex_lock(&store->lock);
	store->stopping = true;
	pthread_cond_broadcast(&store->changed);
	pthread_mutex_unlock(&store->lock);
	thread_join(&store->thread);
}

/* ---------------------------------------------------------------- whose stack */

/*
 * The rights that the call goes by, to be given back with leave(); ret_identity is NULL for the mount's own. While a login is being
 * replaced, its user waits.
 */
static int enter(struct identity_store *store, struct call *call, struct rights **ret_rights,
		 struct identity **ret_identity)
{
	struct identity *identity = NULL;
	int error = 0;

	pthread_mutex_lock(&store->lock);
	if (call->uid != CALL_NO_USER)
		identity = find(store, call->uid);
	while (!error && identity && identity->busy && !identity->is_open)
		error = call_wait(call, &store->changed, &store->lock);
	if (!error && identity && !identity->is_open)
		error = call_fail(call, identity->error, "the login of uid %u can't be used: %s", (unsigned)call->uid,
				  *identity->reason ? identity->reason : "there is none any more");
	if (!error) {
		if (identity)
			identity->users++;
		*ret_identity = identity;
		*ret_rights = identity ? identity->rights : store->own_rights;
	}
	pthread_mutex_unlock(&store->lock);
	return error;
}

static void leave(struct identity_store *store, struct identity *identity)
{
	if (!identity)
		return;
	pthread_mutex_lock(&store->lock);
	if (!--identity->users)
		pthread_cond_broadcast(&store->changed);
	pthread_mutex_unlock(&store->lock);
}

/* Does the expression with the rights of whoever asks: result = operation(rights, ...). */
#define WITH_RIGHTS_OF_CALLER(identities, call, expression)                            \
	do {                                                                           \
		struct identity *identity_of_caller;                                   \
		struct rights *rights;                                                 \
		int error_of_caller = enter(identities, call, &rights, &identity_of_caller); \
		if (error_of_caller)                                                   \
			return error_of_caller;                                        \
		error_of_caller = (expression);                                        \
		leave(identities, identity_of_caller);                                 \
		return error_of_caller;                                                \
	} while (0)

bool identity_store_knows(struct identity_store *store, uid_t uid)
{
	pthread_mutex_lock(&store->lock);
	bool known = find(store, uid);
	pthread_mutex_unlock(&store->lock);
	return known;
}

size_t identity_store_count(struct identity_store *store)
{
	size_t count = 0;

	pthread_mutex_lock(&store->lock);
	for (const struct identity *identity = store->identities; identity; identity = identity->next)
		count += identity->is_open;
	pthread_mutex_unlock(&store->lock);
	return count;
}

/* ----------------------------------------------------------------- rights */

static int load_of_caller(struct identity_store *store, struct place *place, unsigned bits,
			  struct call *call)
{
	WITH_RIGHTS_OF_CALLER(store, call, rights_load(rights, place, bits, call));
}

/* An open one whose uid is at least that, with its use counted; NULL: there is none. */
static struct identity *enter_from(struct identity_store *store, uid_t uid)
{
	pthread_mutex_lock(&store->lock);
	struct identity *identity = store->identities;
	while (identity && (identity->uid < uid || !identity->is_open))
		identity = identity->next;
	if (identity)
		identity->users++;
	pthread_mutex_unlock(&store->lock);
	return identity;
}

int identity_store_load_rights(struct identity_store *store, struct place *place, unsigned bits,
			       struct call *call)
{
	struct identity *identity;
	struct call part;
	int own_error = rights_load(store->own_rights, place, bits, call);
	int error = call->uid == CALL_NO_USER || own_error == -EWOULDBLOCK ? 0 : load_of_caller(store, place, bits, call);

	if (own_error == -EWOULDBLOCK || error == -EWOULDBLOCK)
		return -EWOULDBLOCK;

	call_start_part(&part, call, RIGHTS_ASK_MS);
	for (uid_t uid = 0; (identity = enter_from(store, uid)); uid = identity->uid + 1) {
		/* What can't be found out for others in time is shown as no right, until somebody asks again. */
		int late = rights_are_known(identity->rights, place, bits) ?
				   0 :
				   rights_load(identity->rights, place, bits, &part);
		leave(store, identity);
		if (late == -EINTR || late == -ENOMEM || late == -EWOULDBLOCK)
			return late;
		if (store_error_is_outage(late) || call_check(&part))
			break;
	}
	return error && error != -EACCES ? error : own_error;
}

bool identity_store_are_rights_known(struct identity_store *store, struct place *place, unsigned bits)
{
	bool known = rights_are_known(store->own_rights, place, bits);

	pthread_mutex_lock(&store->lock);
	for (struct identity *identity = store->identities; identity && known; identity = identity->next)
		known = !identity->is_open || rights_are_known(identity->rights, place, bits);
	pthread_mutex_unlock(&store->lock);
	return known;
}

/* With the lock. Who has a login may go through any directory, as he may own something in it. */
static unsigned peek(const struct identity *identity, struct place *place)
{
	return identity->is_open ? rights_peek(identity->rights, place) | RIGHT_ENTER : 0;
}

struct access *identity_store_find_access(struct identity_store *store, struct place *place)
{
	pthread_mutex_lock(&store->lock);
	struct access *access = store->count ? malloc(sizeof(*access) + store->count * sizeof(access->entries[0])) : NULL;
	if (access) {
		atomic_init(&access->references, 1);
		access->count = 0;
		for (const struct identity *identity = store->identities; identity; identity = identity->next)
			access->entries[access->count++] = (struct access_entry){ false, identity->uid, peek(identity, place) };
	}
	pthread_mutex_unlock(&store->lock);
	return access;
}

unsigned identity_store_peek(struct identity_store *store, uid_t uid, struct place *place)
{
	pthread_mutex_lock(&store->lock);
	const struct identity *identity = find(store, uid);
	unsigned rights = identity ? peek(identity, place) : rights_peek(store->own_rights, place);
	pthread_mutex_unlock(&store->lock);
	return rights;
}

/* ------------------------------------------------------------------ the table */

static bool own_may_read(struct store *store, struct place *place)
{
	return rights_peek(identities_of(store)->own_rights, place) & RIGHT_READ;
}

/* Makes the call one of the mount's own; the user is to be given back to it. */
static uid_t take_user(struct call *call)
{
	uid_t uid = call->uid;

	call->uid = CALL_NO_USER;
	return uid;
}

/* As the mount's own, so that what comes can't be taken for an answer to it when the user has a login only by now. */
static int get_as_mount(struct store *layer, struct place *place, enum version_part part, struct call *call,
			struct version **ret_version)
{
	uid_t uid = take_user(call);
	int error = store_get(layer, place, part, call, ret_version);

	call->uid = uid;
	return error;
}

static int get_of_caller(struct identity_store *store, struct place *place, enum version_part part,
			 struct call *call, struct version **ret_version)
{
	WITH_RIGHTS_OF_CALLER(store, call,
			      rights == store->own_rights ?
				      get_as_mount(store->store.lower, place, part, call, ret_version) :
				      store_get(rights_store(rights), place, part, call, ret_version));
}

/* Attributes are shown to more than may read: no content goes with them. */
static int without_content(const struct version *version, struct version **ret_version)
{
	struct buffer nothing = BUFFER_INIT;

	*ret_version = version_new_like(version, &nothing, version->size);
	return *ret_version ? 0 : -ENOMEM;
}

static int identity_get(struct store *store, struct place *place, enum version_part part, struct call *call,
			struct version **ret_version)
{
	cleanup_version struct version *version = NULL;

	if (part != VERSION_ATTRIBUTES)
		return get_of_caller(identities_of(store), place, part, call, ret_version);
	int error = get_as_mount(store->lower, place, part, call, &version);
	/* Some servers say that there is none where one may not know. */
	if (call->uid != CALL_NO_USER && (error == -EACCES || (error == -ENOENT && !own_may_read(store, place))))
		error = get_of_caller(identities_of(store), place, part, call, &version);
	return error ? error : without_content(version, ret_version);
}

/* The mount's stack, which serves the attributes, knows of the change at once, as if it had made it. */
static int put_of_caller(struct store *store, struct rights *rights, struct place *place,
			 const struct put *put, struct call *call, struct version **ret_version)
{
	int error = store_put(rights_store(rights), place, put, call, ret_version);

	if (!error && rights != identities_of(store)->own_rights && own_may_read(store, place))
		store_note_put(store->lower, place, *ret_version, put->base);
	return error;
}

static int identity_put(struct store *store, struct place *place, const struct put *put, struct call *call,
			struct version **ret_version)
{
	WITH_RIGHTS_OF_CALLER(identities_of(store), call, put_of_caller(store, rights, place, put, call, ret_version));
}

static int remove_of_caller(struct store *store, struct rights *rights, struct place *place,
			    const struct version *base, struct call *call)
{
	int error = store_remove(rights_store(rights), place, base, call);

	if (!error && rights != identities_of(store)->own_rights)
		store_note_put(store->lower, place, NULL, base);
	return error;
}

static int identity_remove(struct store *store, struct place *place, const struct version *base,
			   struct call *call)
{
	WITH_RIGHTS_OF_CALLER(identities_of(store), call, remove_of_caller(store, rights, place, base, call));
}

static int identity_check_write(struct store *store, struct place *place, struct call *call)
{
	WITH_RIGHTS_OF_CALLER(identities_of(store), call, store_check_write(rights_store(rights), place, call));
}

static int identity_check_read(struct store *store, struct place *place, struct call *call)
{
	WITH_RIGHTS_OF_CALLER(identities_of(store), call, store_check_read(rights_store(rights), place, call));
}

static int list_of_caller(struct identity_store *store, struct place *place, struct call *call, struct listing **ret_listing)
{
	WITH_RIGHTS_OF_CALLER(store, call, store_list(rights_store(rights), place, call, ret_listing));
}

static int identity_list(struct store *store, struct place *place, struct call *call,
			 struct listing **ret_listing)
{
	uid_t uid = take_user(call);
	int error = store_list(store->lower, place, call, ret_listing);
	call->uid = uid;

	if (error != -EACCES || call->uid == CALL_NO_USER)
		return error;
	return list_of_caller(identities_of(store), place, call, ret_listing);
}

static int check_any_of_caller(struct identity_store *store, struct place *place, struct call *call)
{
	WITH_RIGHTS_OF_CALLER(store, call, store_check_any(rights_store(rights), place, call));
}

static int identity_check_any(struct store *store, struct place *place, struct call *call)
{
	uid_t uid = take_user(call);
	int error = store_check_any(store->lower, place, call);
	call->uid = uid;

	if (error != -EACCES || call->uid == CALL_NO_USER)
		return error;
	return check_any_of_caller(identities_of(store), place, call);
}

static int identity_create_namespace(struct store *store, struct place *place, struct call *call)
{
	WITH_RIGHTS_OF_CALLER(identities_of(store), call, store_create_namespace(rights_store(rights), place, call));
}

static int identity_remove_namespace(struct store *store, struct place *place, struct call *call)
{
	WITH_RIGHTS_OF_CALLER(identities_of(store), call, store_remove_namespace(rights_store(rights), place, call));
}

/* Of what the mount's account may not read, nothing that is told is to be believed. */
static bool identity_is_watched(struct store *store, struct place *place)
{
	return own_may_read(store, place) && store_is_watched(store->lower, place);
}

static void identity_free(struct store *layer)
{
	struct identity_store *store = identities_of(layer);

	identity_store_stop(store);
	while (store->identities) {
		struct identity *identity = store->identities;

		store->identities = identity->next;
		if (identity->is_open) {
			rights_free(identity->rights);
			store->source.close(store->source.arg, &identity->account);
		}
		free(identity);
	}
	pthread_cond_destroy(&store->changed);
	pthread_mutex_destroy(&store->lock);
	free(store);
}

static const struct store_operations identity_operations = {
	.get = identity_get,
	.put = identity_put,
	.remove = identity_remove,
	.check_write = identity_check_write,
	.check_read = identity_check_read,
	.list = identity_list,
	.check_any = identity_check_any,
	.create_namespace = identity_create_namespace,
	.remove_namespace = identity_remove_namespace,
	.is_watched = identity_is_watched,
	.free = identity_free,
};

/* ----------------------------------------------------------------- the bottom */

static struct identity_store *identities_of_bottom(struct store *bottom)
{
	return ((struct bottom *)bottom)->identities;
}

/*
 * The bottom that asks with the login of the call's user, to be given back with leave(). Who comes through the layer above has
 * his use counted already, and is let through also when his login is being closed: that waits for him.
 */
static int enter_bottom(struct identity_store *store, struct call *call, struct store **ret_bottom,
			struct identity **ret_identity)
{
	struct identity *identity = NULL;
	int error = 0;

	pthread_mutex_lock(&store->lock);
	if (call->uid != CALL_NO_USER)
		identity = find(store, call->uid);
	if (identity && !identity->is_open && !identity->users)
		error = call_fail(call, -EACCES, "the login of uid %u can't be used now", (unsigned)call->uid);
	if (!error) {
		if (identity)
			identity->users++;
		*ret_identity = identity;
		*ret_bottom = identity ? identity->account.bottom : store->bottom.store.lower;
	}
	pthread_mutex_unlock(&store->lock);
	return error;
}

/* Does the expression with the bottom of whoever asks: result = operation(bottom, ...). */
#define WITH_BOTTOM_OF_CALLER(store, call, expression)                                                          \
	do {                                                                                                    \
		struct identity *identity_of_caller;                                                            \
		struct store *bottom;                                                                           \
		int error_of_caller = enter_bottom(identities_of_bottom(store), call, &bottom, &identity_of_caller); \
		if (error_of_caller)                                                                            \
			return error_of_caller;                                                                 \
		error_of_caller = (expression);                                                                 \
		leave(identities_of_bottom(store), identity_of_caller);                                         \
		return error_of_caller;                                                                         \
	} while (0)

static int bottom_get(struct store *store, struct place *place, enum version_part part, struct call *call,
		      struct version **ret_version)
{
	WITH_BOTTOM_OF_CALLER(store, call, store_get(bottom, place, part, call, ret_version));
}

static int bottom_put(struct store *store, struct place *place, const struct put *put, struct call *call,
		      struct version **ret_version)
{
	WITH_BOTTOM_OF_CALLER(store, call, store_put(bottom, place, put, call, ret_version));
}

static int bottom_remove(struct store *store, struct place *place, const struct version *base, struct call *call)
{
	WITH_BOTTOM_OF_CALLER(store, call, store_remove(bottom, place, base, call));
}

static int bottom_check_write(struct store *store, struct place *place, struct call *call)
{
	WITH_BOTTOM_OF_CALLER(store, call, store_check_write(bottom, place, call));
}

static int bottom_check_read(struct store *store, struct place *place, struct call *call)
{
	WITH_BOTTOM_OF_CALLER(store, call, store_check_read(bottom, place, call));
}

static int bottom_check_create(struct store *store, struct call *call)
{
	WITH_BOTTOM_OF_CALLER(store, call, store_check_create(bottom, call));
}

static int bottom_list(struct store *store, struct place *place, struct call *call, struct listing **ret_listing)
{
	WITH_BOTTOM_OF_CALLER(store, call, store_list(bottom, place, call, ret_listing));
}

static int bottom_check_any(struct store *store, struct place *place, struct call *call)
{
	WITH_BOTTOM_OF_CALLER(store, call, store_check_any(bottom, place, call));
}

static int bottom_create_namespace(struct store *store, struct place *place, struct call *call)
{
	WITH_BOTTOM_OF_CALLER(store, call, store_create_namespace(bottom, place, call));
}

static int bottom_remove_namespace(struct store *store, struct place *place, struct call *call)
{
	WITH_BOTTOM_OF_CALLER(store, call, store_remove_namespace(bottom, place, call));
}

static uint64_t bottom_login_of(struct store *layer, uid_t uid)
{
	struct identity_store *store = identities_of_bottom(layer);

	pthread_mutex_lock(&store->lock);
	const struct identity *identity = uid == CALL_NO_USER ? NULL : find(store, uid);
	uint64_t login = identity ? identity->login : 0;
	pthread_mutex_unlock(&store->lock);
	return login;
}

/* It belongs to the identities. */
static void bottom_free(struct store *store)
{
	(void)store;
}

static const struct store_operations bottom_operations = {
	.get = bottom_get,
	.put = bottom_put,
	.remove = bottom_remove,
	.check_write = bottom_check_write,
	.check_read = bottom_check_read,
	.check_create = bottom_check_create,
	.list = bottom_list,
	.check_any = bottom_check_any,
	.create_namespace = bottom_create_namespace,
	.remove_namespace = bottom_remove_namespace,
	.login_of = bottom_login_of,
	.free = bottom_free,
};

struct store *identity_store_bottom(struct identity_store *store)
{
	return &store->bottom.store;
}

void identity_store_set_stack(struct identity_store *store, struct store *cache, struct rights *rights)
{
	store->cache = cache;
	store->own_rights = rights;
	store->store.lower = rights_store(rights);
}

struct store *identity_store_layer(struct identity_store *store)
{
	return &store->store;
}

int identity_store_new(const struct identity_store_options *options, struct identity_store **ret_store)
{
	struct identity_store *store = calloc(1, sizeof(*store));

	if (!store)
		return -ENOMEM;
	store->store.operations = &identity_operations;
	store->bottom.store.operations = &bottom_operations;
	store->bottom.store.lower = options->own;
	store->bottom.identities = store;
	store->source = options->source;
	store->rights_options = options->rights;
	pthread_mutex_init(&store->lock, NULL);
	clock_init_condition(&store->changed);
	*ret_store = store;
	return 0;
}
