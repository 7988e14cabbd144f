/*
 * What an account may do with each config, found without leaving a trace, and remembered for a moment.
 *
 * One of these is the rights of one account, whose login the bottom of the stack carries. It is a layer of the stack, above the
 * cache (file system operations > cipher > rights > cache > nacos), and refuses by itself: what this account may not read does
 * not come out of what is kept below, and what the user of the call may not read (rights_set_users()) neither. It also sees the
 * answers of the server: what was read may be read, what was refused may not, and neither has to be asked for then. What is
 * served from the cache is no answer (call->answered): whether it may still be read is asked for, when that is not known.
 *
 * A place is a namespace, a group or a config, or the top, where namespaces are. Grants only add up, so it is asked from wide to narrow: a yes for a namespace or a group holds for all that is in it, and only where
 * both said no is a single name asked for. How: by counting the configs of a namespace or group, by reading the config,
 * and by publishing nothing, which servers refuse only after they have checked the right. Nothing is ever written.
 *
 * An answer is fresh for fresh_ms. After that the next who wants to know asks again (a thread asks for the wide places
 * that are in use, before anybody has to wait). When the server can't be asked, the last answer stays. Refusals on use
 * are believed at once, and make the wide answers that said otherwise be asked for again.
 *
 *	rights_new -> rights_start (in the background process) -> rights_load, rights_peek, ... from any thread
 *	-> rights_stop -> rights_free
 *
 * One lock guards all; it is held for moments only, never while the layer below works, and may be taken with the lock of
 * the tree held.
 */
#ifndef NACOSFS_STORE_RIGHTS_H
#define NACOSFS_STORE_RIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "model/access.h"
#include "model/place.h"
#include "store/store.h"
#include "util/call.h"

/* Longer than this an answer is never believed, whatever fresh_ms says: changes of grants must act within a minute. */
#define RIGHTS_FRESH_MAX_MS 30000

struct rights;

struct rights_options {
	bool off; /* rights are not asked for ahead: the account may do anything, until the server says no */
	bool read_only; /* the right to write is of no interest: nobody has it */
	int64_t fresh_ms;
	bool is_of_user; /* questions are asked on behalf of uid, with his login; otherwise on nobody's, with the mount's */
	uid_t uid;
};

/* 0 or -ENOMEM. lower is not owned and must outlive the rights. */
int rights_new(struct store *lower, const struct rights_options *options, struct rights **ret_rights);
void rights_free(struct rights *rights);

/*
 * What users of this machine may do, where that is not what the account may (store/rbac.h). The account does it for them, so they
 * may no more than it may.
 */
struct rights_users {
	/* Who may do what at a place; counted for the caller, NULL for nobody. Asks nobody. */
	struct access *(*find)(void *arg, struct place *place);

	/* Finds out anew, for find(); whether it changed is set even on failure. By one thread at a time. */
	int (*refresh)(void *arg, struct call *call, bool *ret_changed);
	void *arg;
	uid_t owner; /* of the mount */
	bool owner_has_all; /* without an entry of his own he may what the account may: he knows its password */
};

/* From then on users count; they are kept fresh from here, and must outlive the rights. Before rights_start() and any call. */
void rights_set_users(struct rights *rights, const struct rights_users *users);

/*
 * Who is told, from the thread and without a lock, that what rights_peek() says of some places is not what it was. Soon after
 * it changed, once for many changes. Before rights_start().
 */
void rights_set_changed(struct rights *rights, void (*changed)(void *arg), void *arg);

/* Starts the thread that keeps wide answers fresh. 0 or a negative errno: then they are only asked for when needed. */
int rights_start(struct rights *rights);
void rights_stop(struct rights *rights);

/* The layer of the stack that this is. Belongs to the rights. */
struct store *rights_store(struct rights *rights);

/*
 * Makes sure that these bits of the place are known and fresh, asking at most once per place and right, within
 * RIGHTS_ASK_MS or the rest of the call. 0, -EINTR, -ENOMEM, or an outage (store_error_is_outage()): then what was
 * known stays, and for a moment nobody asks.
 */
int rights_load(struct rights *rights, struct place *place, unsigned bits, struct call *call);
#define RIGHTS_ASK_MS 3000

/* What is known of the place, however old; asks nobody. What is not known is not granted. */
unsigned rights_peek(struct rights *rights, struct place *place);

/*
 * What users and groups of this machine may do at the place, with rights_set_users(); counted for the caller, NULL for nobody. Mask
 * it with rights_peek().
 */
struct access *rights_find_access(struct rights *rights, struct place *place);

/*
 * May the user of the call do that at the place, as far as the account may? 0 or -EACCES; 0 too where users don't count, for root,
 * whom the kernel would not keep back either, and for what nobody asked for. What the account may is another question
 * (rights_check_read()). Asks no server; may read /proc, and, where nobody asks but it is done on behalf of somebody, the
 * machine's database of users.
 */
int rights_check_user(struct rights *rights, struct place *place, unsigned bits, struct call *call);

/* Is it known and fresh, so that rights_load() would ask nobody? */
bool rights_are_known(struct rights *rights, struct place *place, unsigned bits);

/*
 * May the account do that to the config? 0, -EACCES, or as rights_load(). Of reading only a known no counts: what
 * is not known will be told by reading.
 */
int rights_check_read(struct rights *rights, struct place *place, struct call *call);
int rights_check_write(struct rights *rights, struct place *place, struct call *call);

/*
 * Do changes of what rights_peek() says of it show by themselves, told by rights_set_changed()? So it is with directories in
 * use, and with configs that a wide yes is for. Otherwise who relies on an answer has to ask again after fresh_ms.
 */
bool rights_are_followed(struct rights *rights, struct place *place);
int64_t rights_fresh_ms(const struct rights *rights);

/* How many questions were sent, for tests and metrics. */
unsigned long rights_question_count(struct rights *rights);

#endif
