/*
 * The inside of a struct nacos_poll_watch, for poll.c (the set, and life), request.c (what is sent),
 * listen.c (the thread that reports, asks for rights and checks) and hold.c (the threads of the holds).
 * Nobody else includes this.
 *
 * All below the lock is under it. An entry is in exactly one list, which says what is to be done with it. Nobody keeps
 * a pointer to one without the lock: answers name configs, which are looked up again.
 *
 * Whether an answer is about what is known now is told by a counter that grows with everything that happens (watch->tick):
 * what was told or joined after the request was written has a larger one than the request.
 */
#ifndef NACOSFS_NACOS_POLL_POLL_PRIVATE_H
#define NACOSFS_NACOS_POLL_POLL_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nacos/key_table.h"
#include "nacos/poll/poll.h"
#include "util/buffer.h"
#include "util/call.h"
#include "util/thread.h"

/* As many as the official client puts into a request; servers take 10,000, and 2 MiB. */
#define NACOS_POLL_BATCH_MAX 3000
#define NACOS_POLL_SLOTS_MAX 16

/* How often rights are asked for again, and everything that is known to be otherwise. */
#define NACOS_POLL_COMPARE_MS 180000

/* After so long a server has certainly begun to hold, unless it is in trouble: then a check says something. */
#define NACOS_POLL_CHECK_DELAY_MS 300

#define NACOS_POLL_NEVER INT64_MAX

struct nacos_poll_entry;

struct nacos_poll_list {
	struct nacos_poll_entry *first, **end;
	size_t count;
	bool is_hold; /* it is that of a slot */
};

/* How a request says what it is about: the server checks the right on that. */
enum nacos_poll_scope {
	NACOS_POLL_NAMESPACE,
	NACOS_POLL_GROUP,
	NACOS_POLL_CONFIG,
};

enum nacos_poll_right {
	NACOS_POLL_UNKNOWN,
	NACOS_POLL_GRANTED,
	NACOS_POLL_REFUSED,
};

struct nacos_poll_entry {
	struct nacos_key_node node; /* first; the texts follow the entry */
	struct nacos_poll_list *list;
	struct nacos_poll_entry *next, **link;

	char md5[HASH_MD5_HEX_SIZE];
	uint64_t md5_tick; /* when that was told */
	uint64_t joined_tick; /* when it came into its hold */
	bool told; /* a check has found it unchanged since it came into its hold */

	enum nacos_poll_scope scope; /* by which right it is watched */
	unsigned rights_round; /* in which that was found out; 0: not yet */
	enum nacos_poll_right own_right; /* on the config alone, in own_round */
	unsigned own_round;

	/* Of those that wait for their caller. */
	int64_t resume_at_ms;
	int64_t quiet_ms; /* how long it was kept quiet last */
	bool is_answered; /* the caller has told the same MD5 again */

	bool is_reported_refused; /* and not granted since */
};

/* What the server said about a whole namespace, or (group not NULL) group, in this round. */
struct nacos_poll_limit {
	struct nacos_poll_limit *next;
	char *namespace_id;
	char *group;
	bool granted;
};

struct nacos_poll_names {
	struct nacos_poll_names *next;
	char *namespace_id;
	bool wanted;
	bool reported;
};

/* A hold: a thread, and the entries that its request lists. */
struct nacos_poll_slot {
	struct nacos_poll_watch *watch;
	struct thread thread;
	struct nacos_poll_list entries;
	bool is_holding; /* its request is under way */
	atomic_bool leave; /* it should end, and perhaps begin again */
	size_t host; /* at which host it probably is */
	int64_t begun_ms;
	int64_t not_before_ms; /* when the next may begin */
	int64_t check_at_ms; /* NACOS_POLL_NEVER: it was checked since it began */
	unsigned failures; /* in a row */
};

struct nacos_poll_watch {
	struct nacos_client *client;
	struct nacos_watch_events events;
	void *arg;
	struct thread thread;
	atomic_bool stop;

	pthread_mutex_t lock;
	pthread_cond_t changed; /* there is something to do, for any of the threads; on the monotonic clock */

	struct nacos_key_table table;
	uint64_t tick;
	struct nacos_poll_list pending; /* it is not known whether the account may watch them */
	struct nacos_poll_list ready; /* a hold is to take them */
	struct nacos_poll_list reports; /* they have changed, and the caller is to be told */
	struct nacos_poll_list waiting; /* for another MD5 */
	struct nacos_poll_list new_refused; /* the caller is to be told */
	struct nacos_poll_list refused;
	struct nacos_poll_slot slots[NACOS_POLL_SLOTS_MAX];
	int64_t ready_since_ms;
	int64_t resume_at_ms; /* when something in waiting may be due */

	struct nacos_poll_limit *limits;
	unsigned rights_round; /* from 1 */
	bool is_proving; /* some that are in holds have rights of an earlier round */
	int64_t compare_at_ms;
	struct nacos_poll_names *namespaces;

	bool is_reachable; /* the last small request was answered */
	bool is_unsupported; /* but there is no such API */
	int64_t retry_at_ms; /* while it is not reachable */
	int64_t heard_at_ms; /* when the server answered last */
	unsigned failures; /* in a row */
	bool live; /* as reported */
	bool is_full; /* there was no room for all; logged */
};

/* ---- poll.c; all with the lock held ---- */

void nacos_poll_move(struct nacos_poll_watch *watch, struct nacos_poll_entry *entry, struct nacos_poll_list *list);
struct nacos_poll_entry *nacos_poll_find(struct nacos_poll_watch *watch, const struct nacos_key *key);

/* Wakes all threads. */
void nacos_poll_wake(struct nacos_poll_watch *watch);

/* Waits until that time or until something has changed. */
void nacos_poll_wait(struct nacos_poll_watch *watch, int64_t until_ms);

/* With jitter, so that many mounts do not come back at once. */
int64_t nacos_poll_delay_ms(unsigned failures);

/* ---- request.c ---- */

struct nacos_poll_question {
	struct buffer namespace_id, group; /* what the URL names, for signatures; empty: neither */
	struct buffer query; /* encoded */
	struct buffer form;
};

void nacos_poll_question_release(struct nacos_poll_question *question);
#define cleanup_nacos_poll_question __attribute__((cleanup(nacos_poll_question_release)))

/* About one config, which need not be watched. 0 or -ENOMEM. */
int nacos_poll_ask_one(struct nacos_poll_watch *watch, const struct nacos_key *key, const char *md5,
		       enum nacos_poll_scope scope, struct nacos_poll_question *ret_question);

/*
 * With the lock held: about the entries of a slot. Those that there is no room for are moved back to watch->ready.
 * 0 or -ENOMEM.
 */
int nacos_poll_ask_slot(struct nacos_poll_watch *watch, struct nacos_poll_slot *slot,
			struct nacos_poll_question *ret_question);

/*
 * Sends it. For a check, slot is NULL; a hold ends early (-EINTR) when its slot shall leave or the client has moved to
 * another host. ret_body has the names of what has changed.
 *
 * -EACCES      the account may not watch what the URL names
 * -EOPNOTSUPP  the server has no such API
 * otherwise as nacos_request_send(), and -EIO for other answers
 */
int nacos_poll_send(struct nacos_poll_watch *watch, struct nacos_poll_slot *slot,
		    const struct nacos_poll_question *question, struct buffer *ret_body);

/* ---- listen.c ---- */

void *nacos_poll_listen_run(void *watch);

/*
 * With the lock held: takes note of what a server said has changed, to a request that was written at that tick. How
 * many of the names are known; -EBADMSG when it is no such answer.
 */
int nacos_poll_note_changed(struct nacos_poll_watch *watch, struct buffer *body, uint64_t tick);

/* With the lock held: rights, and everything that was refused, are to be asked for again. */
void nacos_poll_compare_all(struct nacos_poll_watch *watch);
void nacos_poll_forget_limits(struct nacos_poll_watch *watch);

/* ---- hold.c ---- */

void *nacos_poll_hold_run(void *slot);

/* With the lock held: nothing in it counts as watched any more, until it has been checked again. */
void nacos_poll_slot_distrust(struct nacos_poll_watch *watch, struct nacos_poll_slot *slot);

/* With the lock held: when what is ready has been gathered for long enough. */
int64_t nacos_poll_gathered_at_ms(const struct nacos_poll_watch *watch);

/* With the lock held: starts the thread of another hold where one is needed. */
void nacos_poll_start_slot(struct nacos_poll_watch *watch);

#endif
