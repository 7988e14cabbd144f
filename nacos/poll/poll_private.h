/*
 * The inside of a struct nacos_poll, for poll.c (its part in the set, and life), request.c (what is sent),
 * listen.c (the thread that asks for rights and checks) and hold.c (the threads of the holds). Nobody else includes this.
 *
 * All below the clients is under the lock of the set. A part of an entry is in exactly one list, which says what is to be done
 * with it. Nobody keeps a pointer to one without the lock: answers name configs, which are looked up again.
 *
 * Whether an answer is about what is known now is told by the tick of the set, which grows with everything that happens: what
 * was told or joined after the request was written has a larger one than the request.
 */
#ifndef NACOSFS_NACOS_POLL_POLL_PRIVATE_H
#define NACOSFS_NACOS_POLL_POLL_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nacos/poll/poll.h"
#include "nacos/watch_private.h"
#include "nacos/watch_rights.h"
#include "util/buffer.h"
#include "util/worker.h"

/* As many as the official client puts into a request; servers take 10,000, and 2 MiB. */
#define NACOS_POLL_BATCH_MAX 3000
#define NACOS_POLL_SLOTS_MAX 16

/* How often rights are asked for again, and everything that is known to be otherwise. */
#define NACOS_POLL_COMPARE_MS 180000

/* After so long a server has certainly begun to hold, unless it is in trouble: then a check says something. */
#define NACOS_POLL_CHECK_DELAY_MS 300

#define NACOS_POLL_NEVER WORKER_WHEN_WOKEN

struct nacos_poll_slot;

struct nacos_poll_part {
	struct nacos_watch_part part; /* first */
	struct nacos_poll_slot *slot; /* in whose hold it is; NULL: in none */
	uint64_t joined_tick; /* when it came into its hold */
	bool is_told; /* a check has found it unchanged since it came into its hold */

	enum nacos_watch_scope scope; /* by which right it is watched */
	unsigned rights_round; /* in which that was found out; 0: not yet */
	enum nacos_watch_right own_right; /* on the config alone, in own_round */
	unsigned own_round;

	/* Of those that wait for their caller. */
	int64_t resume_at_ms;
	int64_t quiet_ms; /* how long it was kept quiet last */
	bool is_answered; /* the caller has told the same MD5 again */
};

/* A hold: a thread, and what its request lists. */
struct nacos_poll_slot {
	struct nacos_poll *poll;
	struct worker worker;
	struct nacos_watch_list parts;
	bool is_holding; /* its request is under way */
	atomic_bool leave; /* it should end, and perhaps begin again */
	size_t host; /* at which host it probably is */
	int64_t begun_ms;
	int64_t not_before_ms; /* when the next may begin */
	int64_t check_at_ms; /* NACOS_POLL_NEVER: it was checked since it began */
	unsigned failures; /* in a row */
};

struct nacos_poll {
	struct nacos_watch_feeder feeder; /* first */
	struct nacos_watch *set;
	struct nacos_client *client;

	struct worker listener;
	struct nacos_watch_list pending; /* it is not known whether the account may watch them */
	struct nacos_watch_list ready; /* a hold is to take them */
	struct nacos_watch_list waiting; /* for another MD5 */
	struct nacos_watch_list refused;
	struct nacos_poll_slot slots[NACOS_POLL_SLOTS_MAX];
	int64_t ready_since_ms;
	int64_t resume_at_ms; /* when something in waiting may be due */

	struct nacos_watch_rights rights; /* in this round */
	unsigned rights_round; /* from 1 */
	bool is_proving; /* some that are in holds have rights of an earlier round */
	int64_t compare_at_ms;

	bool is_reachable; /* the last small request was answered */
	bool is_unsupported; /* but there is no such API */
	int64_t retry_at_ms; /* while it is not reachable */
	int64_t heard_at_ms; /* when the server answered last */
	unsigned failures; /* in a row */
	bool is_full; /* there was no room for all; logged */
};

/* ---- poll.c; all with the lock held ---- */

static inline struct nacos_poll_part *nacos_poll_part_of(struct nacos_watch_part *part)
{
	return (struct nacos_poll_part *)part;
}

/* Out of its hold, if it is in one, to the list. */
void nacos_poll_move(struct nacos_poll *poll, struct nacos_poll_part *part, struct nacos_watch_list *list);

/* Into a hold; whether it is watched stays as it is. */
void nacos_poll_join(struct nacos_poll_part *part, struct nacos_poll_slot *slot);

/* It waits for its caller until that time. */
void nacos_poll_set_aside(struct nacos_poll *poll, struct nacos_poll_part *part, int64_t resume_at_ms);

/* NULL: it is not watched. */
struct nacos_poll_part *nacos_poll_find(struct nacos_poll *poll, const struct place *place);

/* Wakes all threads. */
void nacos_poll_wake(struct nacos_poll *poll);

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
int nacos_poll_ask_one(struct nacos_poll *poll, const struct place *place, const char *md5,
		       enum nacos_watch_scope scope, struct nacos_poll_question *ret_question);

/*
 * With the lock held: about what is in a slot. Those that there is no room for are moved back to poll->ready.
 * 0 or -ENOMEM.
 */
int nacos_poll_ask_slot(struct nacos_poll *poll, struct nacos_poll_slot *slot,
			struct nacos_poll_question *ret_question);

/*
 * Sends it. For a check, slot is NULL; a hold ends early (-EINTR) when its slot shall leave or the client has moved to
 * another host. ret_body has the names of what has changed.
 *
 * -EACCES      the account may not watch what the URL names
 * -EOPNOTSUPP  the server has no such API
 * otherwise as nacos_request_send(), and -EIO for other answers
 */
int nacos_poll_send(struct nacos_poll *poll, struct nacos_poll_slot *slot,
		    const struct nacos_poll_question *question, struct buffer *ret_body);

/* ---- listen.c; all with the lock held ---- */

/* The work of the listener. */
int64_t nacos_poll_listen(void *poll);

/*
 * Takes note of what a server said has changed, to a request that was written at that tick. How many of the names are known;
 * -EBADMSG when it is no such answer, -ENOMEM.
 */
int nacos_poll_note_changes(struct nacos_poll *poll, struct buffer *body, uint64_t tick);

/* Rights, and everything that was refused, are to be asked for again. */
void nacos_poll_compare_all(struct nacos_poll *poll);

/* ---- hold.c; all with the lock held ---- */

/* The work of a slot. */
int64_t nacos_poll_hold(void *slot);

/* Nothing in it counts as watched any more, until it has been checked again. */
void nacos_poll_slot_distrust(struct nacos_poll *poll, struct nacos_poll_slot *slot);

/* Starts the thread of another hold where one is needed. When it is to be called again though nothing has happened. */
int64_t nacos_poll_start_slot(struct nacos_poll *poll);

#endif
