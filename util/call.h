/*
 * One operation on behalf of one caller: how long it may take, how the caller can interrupt it, and, after a failure,
 * why it failed in words.
 *
 * A call is made on the stack of the thread that does the work (a FUSE handler, a background task, the start of the
 * program), handed down through every layer, and never shared between threads. Whoever waits, waits in slices of
 * call_slice_ms() and asks call_check() between them: no wake-up has to be registered anywhere, and an interrupt is
 * noticed within CALL_SLICE_MS.
 *
 * The reason is meant for people (log, user.nacos.error, the one line at start). It names things, never content or
 * secrets.
 */
#ifndef NACOSFS_UTIL_CALL_H
#define NACOSFS_UTIL_CALL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CALL_SLICE_MS 100
#define CALL_REASON_SIZE 256
#define CALL_NO_USER ((uid_t)-1)

struct call {
	int64_t deadline_ms; /* on the clock of clock_monotonic_ms() */
	int64_t step_ms; /* how long one step of many (a page of a listing) may take; 0: until the deadline */
	bool (*interrupted)(void *arg); /* NULL: can't be interrupted */
	void *interrupted_arg;
	bool from_memory; /* it must not wait at all: -EWOULDBLOCK instead of asking a server, or waiting for who does */
	uid_t uid; /* the local user on whose behalf it is; CALL_NO_USER: nobody's in particular */
	/*
	 * The groups of whoever asks, if that is uid: their count, and the groups to be freed; negative: it can't be told. NULL: nobody
	 * asks, the work is only done on behalf of uid.
	 */
	int (*find_groups)(void *arg, uid_t uid, gid_t **ret_groups);
	void *find_groups_arg;
	bool answered; /* the other side itself said yes or no in the course of it: what came is not older than the call */
	char reason[CALL_REASON_SIZE]; /* of the last failure, "" when there was none */
};

/* Starts a call that may take timeout_ms from now, can't be interrupted, and is on nobody's behalf. */
void call_start(struct call *call, int64_t timeout_ms);

/*
 * Makes part a call that ends when whole does or after timeout_ms, whichever comes first, with the same interrupt
 * and user. Used where a step must leave time for the step after it.
 */
void call_start_part(struct call *part, const struct call *whole, int64_t timeout_ms);

/* May the call go on? 0, -ETIMEDOUT after the deadline, -EINTR when it was interrupted (both set the reason). */
int call_check(struct call *call);

/* Milliseconds until the deadline, 0 when it has passed. */
int64_t call_left_ms(const struct call *call);

/* How long to wait before the next call_check(): at most CALL_SLICE_MS, and never past the deadline. */
int call_slice_ms(const struct call *call);

/*
 * Waits on a condition (of CLOCK_MONOTONIC, with its lock held) for a slice at most; 0, or what call_check() said before
 * that. The caller looks at what it waits for and calls again. (Where it is the lock that forbids waiting: see util/wait.h.)
 */
int call_wait(struct call *call, pthread_cond_t *condition, pthread_mutex_t *lock);

/* Sleeps delay_ms in slices. 0, or what call_check() said. */
int call_sleep(struct call *call, int64_t delay_ms);

/* Writes the reason and returns error, so that a failing function can end with `return call_fail(...)`. */
int call_fail(struct call *call, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
