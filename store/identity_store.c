#include "store/identity_store.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "util/clock.h"
#include "util/log.h"
#include "util/user.h"

/* One local user. */
struct identity {
	struct identity *next;
	uid_t uid;
	void *stack; /* NULL: none is open */
	struct store *top;
	unsigned users; /* calls that use it while the lock is not held */
	bool busy; /* a thread opens, looks at, or closes it */
	int error; /* why there is none: -ENOENT or why it can't be used */
	char reason[CALL_REASON_SIZE];
	int64_t check_at_ms; /* not worth looking again before */
};

struct identity_store {
	struct store store;
	struct store *own;
	struct identity_source source;
	bool others_use_own;

	pthread_mutex_t lock; /* all below */
	pthread_cond_t changed; /* an identity is not busy any more, or is not used */
	struct identity *identities;
};

static struct identity_store *identity_store_of(struct store *store)
{
	return (struct identity_store *)store;
}

static struct store *own_of(struct store *store)
{
	return identity_store_of(store)->own;
}

/* ---- whose stack ---- */

static struct identity *find(struct identity_store *store, uid_t uid)
{
	struct identity *identity = store->identities;

	while (identity && identity->uid != uid)
		identity = identity->next;
	if (identity)
		return identity;
	identity = calloc(1, sizeof(*identity));
	if (!identity)
		return NULL;
	identity->uid = uid;
	identity->next = store->identities;
	store->identities = identity;
	return identity;
}

/* With the lock, given up meanwhile: closes the stack when nobody uses it any more. Calls end within their deadlines. */
static void close_stack(struct identity_store *store, struct identity *identity)
{
	void *stack = identity->stack;

	identity->stack = NULL;
	while (identity->users)
		pthread_cond_wait(&store->changed, &store->lock);
	pthread_mutex_unlock(&store->lock);
	store->source.close(store->source.arg, stack);
	pthread_mutex_lock(&store->lock);
}

static void open_stack(struct identity_store *store, struct identity *identity, struct call *call)
{
	void *stack = NULL;
	struct store *top = NULL;
	char user[USER_NAME_SIZE];

	pthread_mutex_unlock(&store->lock);
	user_format_name(identity->uid, user);
	int error = store->source.open(store->source.arg, identity->uid, call, &stack, &top);
	if (error == -ENOENT)
		call_fail(call, error, "%s has no login of his own", user);
	else if (error)
		log_warning("the login of %s can't be used: %s", user, call->reason);
	else
		log_info("%s has a login of his own", user);
	pthread_mutex_lock(&store->lock);
	identity->stack = stack;
	identity->top = top;
	identity->error = error;
	memcpy(identity->reason, call->reason, sizeof(identity->reason));
}

/* With the lock, given up meanwhile: the stack that is right now, or none. */
static void refresh(struct identity_store *store, struct identity *identity, struct call *call)
{
	void *stack = identity->stack;
	bool is_current = false;

	identity->busy = true;
	if (stack) {
		pthread_mutex_unlock(&store->lock);
		is_current = store->source.is_current(store->source.arg, stack);
		pthread_mutex_lock(&store->lock);
		if (!is_current)
			close_stack(store, identity);
	}
	if (!is_current)
		open_stack(store, identity, call);
	identity->check_at_ms = clock_monotonic_ms();
	/* A deadline or an interrupt was this call's own. */
	if (identity->error != -EINTR)
		identity->check_at_ms += identity->error && identity->error != -ENOENT ? IDENTITY_RETRY_MS :
											 IDENTITY_CHECK_MS;
	identity->busy = false;
	pthread_cond_broadcast(&store->changed);
}

/* With the lock. 0 and the identity, with its use counted, or none where it is the mount's own stack. */
static int choose(struct identity_store *store, struct call *call, struct identity **ret_identity)
{
	struct identity *identity;

	*ret_identity = NULL;
	if (call->uid == CALL_NO_USER)
		return 0;
	identity = find(store, call->uid);
	if (!identity)
		return -ENOMEM;
	while (identity->busy) {
		int error = call_wait(call, &store->changed, &store->lock);
		if (error)
			return error;
	}
	if (clock_monotonic_ms() >= identity->check_at_ms)
		refresh(store, identity, call);
	if (identity->stack) {
		identity->users++;
		*ret_identity = identity;
		return 0;
	}
	if (identity->error == -ENOENT && (store->others_use_own || identity->uid == 0))
		return 0;
	return call_fail(call, identity->error == -ENOENT ? -EACCES : identity->error, "%s", identity->reason);
}

/* The stack that serves the call; to be given back with leave(). */
static int enter(struct store *store, struct call *call, struct store **ret_lower, struct identity **ret_identity)
{
	struct identity_store *identities = identity_store_of(store);

	pthread_mutex_lock(&identities->lock);
	int error = choose(identities, call, ret_identity);
	if (!error)
		*ret_lower = *ret_identity ? (*ret_identity)->top : identities->own;
	pthread_mutex_unlock(&identities->lock);
	return error;
}

static void leave(struct store *store, struct identity *identity)
{
	struct identity_store *identities = identity_store_of(store);

	if (!identity)
		return;
	pthread_mutex_lock(&identities->lock);
	if (!--identity->users)
		pthread_cond_broadcast(&identities->changed);
	pthread_mutex_unlock(&identities->lock);
}

/* Does the same with the stack of whoever asks: result = operation(lower, ...). */
#define WITH_STACK_OF_CALLER(store, call, expression)                                  \
	do {                                                                           \
		struct identity *identity;                                             \
		struct store *lower = NULL;                                            \
		int error = enter(store, call, &lower, &identity);                     \
		if (error)                                                             \
			return error;                                                  \
		error = (expression);                                                  \
		leave(store, identity);                                                \
		return error;                                                          \
	} while (0)

/* ---- the table ---- */

static int identity_get(struct store *store, const struct key *key, enum version_part part, struct call *call,
			struct version **ret_version)
{
	WITH_STACK_OF_CALLER(store, call, store_get(lower, key, part, call, ret_version));
}

static int identity_put(struct store *store, const struct key *key, const struct put *put, struct call *call,
			struct version **ret_version)
{
	WITH_STACK_OF_CALLER(store, call, store_put(lower, key, put, call, ret_version));
}

static int identity_remove(struct store *store, const struct key *key, const struct version *base,
			   struct call *call)
{
	WITH_STACK_OF_CALLER(store, call, store_remove(lower, key, base, call));
}

static int identity_check_write(struct store *store, const struct key *key, struct call *call)
{
	WITH_STACK_OF_CALLER(store, call, store_check_write(lower, key, call));
}

static int identity_check_read(struct store *store, const struct key *key, struct call *call)
{
	WITH_STACK_OF_CALLER(store, call, store_check_read(lower, key, call));
}

static int identity_list(struct store *store, const char *namespace_id, const char *group, struct call *call,
			 struct listing **ret_listing)
{
	WITH_STACK_OF_CALLER(store, call, store_list(lower, namespace_id, group, call, ret_listing));
}

static int identity_check_any(struct store *store, const char *namespace_id, const char *group,
			      struct call *call)
{
	WITH_STACK_OF_CALLER(store, call, store_check_any(lower, namespace_id, group, call));
}

static int identity_list_namespaces(struct store *store, struct call *call, struct namespace_names *ret_names)
{
	WITH_STACK_OF_CALLER(store, call, store_list_namespaces(lower, call, ret_names));
}

static int identity_create_namespace(struct store *store, const char *namespace_id, struct call *call)
{
	WITH_STACK_OF_CALLER(store, call, store_create_namespace(lower, namespace_id, call));
}

static int identity_remove_namespace(struct store *store, const char *namespace_id, struct call *call)
{
	WITH_STACK_OF_CALLER(store, call, store_remove_namespace(lower, namespace_id, call));
}

static void identity_set_events(struct store *store, const struct store_events *events, void *arg)
{
	store_set_events(own_of(store), events, arg);
}

static void identity_watch(struct store *store, const struct key *key, const char *md5)
{
	store_watch(own_of(store), key, md5);
}

static bool identity_is_watched(struct store *store, const struct key *key)
{
	return store_is_watched(own_of(store), key);
}

static void identity_watch_names(struct store *store, const char *namespace_id)
{
	store_watch_names(own_of(store), namespace_id);
}

static size_t identity_content_limit(struct store *store)
{
	return store_content_limit(own_of(store));
}

static bool identity_name_is_possible(struct store *store, enum name_kind kind, const char *name)
{
	return store_name_is_possible(own_of(store), kind, name);
}

static void identity_free(struct store *store)
{
	struct identity_store *identities = identity_store_of(store);

	while (identities->identities) {
		struct identity *identity = identities->identities;

		identities->identities = identity->next;
		if (identity->stack)
			identities->source.close(identities->source.arg, identity->stack);
		free(identity);
	}
	pthread_cond_destroy(&identities->changed);
	pthread_mutex_destroy(&identities->lock);
	free(identities);
}

static const struct store_operations identity_operations = {
	.get = identity_get,
	.put = identity_put,
	.remove = identity_remove,
	.check_write = identity_check_write,
	.check_read = identity_check_read,
	.list = identity_list,
	.check_any = identity_check_any,
	.list_namespaces = identity_list_namespaces,
	.create_namespace = identity_create_namespace,
	.remove_namespace = identity_remove_namespace,
	.set_events = identity_set_events,
	.watch = identity_watch,
	.is_watched = identity_is_watched,
	.watch_names = identity_watch_names,
	.content_limit = identity_content_limit,
	.name_is_possible = identity_name_is_possible,
	.free = identity_free,
};

int identity_store_new(struct store *own, const struct identity_source *source, bool others_use_own,
		       struct store **ret_store)
{
	struct identity_store *store = calloc(1, sizeof(*store));

	if (!store)
		return -ENOMEM;
	store->store.operations = &identity_operations;
	store->own = own;
	store->source = *source;
	store->others_use_own = others_use_own;
	pthread_mutex_init(&store->lock, NULL);
	clock_init_condition(&store->changed);
	*ret_store = &store->store;
	return 0;
}
