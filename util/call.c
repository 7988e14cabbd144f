#include "util/call.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/clock.h"
#include "util/wait.h"

void call_start(struct call *call, int64_t timeout_ms)
{
	memset(call, 0, sizeof(*call));
	call->uid = CALL_NO_USER;
	/* "For ever" is written as a huge timeout, which must not wrap to a moment in the past. */
	if (__builtin_add_overflow(clock_monotonic_ms(), timeout_ms, &call->deadline_ms))
		call->deadline_ms = INT64_MAX;
}

void call_start_part(struct call *part, const struct call *whole, int64_t timeout_ms)
{
	call_start(part, timeout_ms);
	if (part->deadline_ms > whole->deadline_ms)
		part->deadline_ms = whole->deadline_ms;
	part->interrupted = whole->interrupted;
	part->interrupted_arg = whole->interrupted_arg;
	part->uid = whole->uid;
	part->from_memory = whole->from_memory;
	part->find_groups = whole->find_groups;
	part->find_groups_arg = whole->find_groups_arg;
}

int call_check(struct call *call)
{
	/* Who gave up waiting is told so, even when the time is over too. */
	if (call->interrupted && call->interrupted(call->interrupted_arg))
		return call_fail(call, -EINTR, "interrupted");
	if (call_left_ms(call) == 0)
		return call_fail(call, -ETIMEDOUT, "no answer in time");
	return 0;
}

int64_t call_left_ms(const struct call *call)
{
	int64_t now_ms = clock_monotonic_ms();

	return call->deadline_ms > now_ms ? call->deadline_ms - now_ms : 0;
}

int call_slice_ms(const struct call *call)
{
	int64_t left_ms = call_left_ms(call);

	return left_ms < CALL_SLICE_MS ? (int)left_ms : CALL_SLICE_MS;
}

int call_sleep(struct call *call, int64_t delay_ms)
{
	int64_t end_ms;

	wait_check("a pause to end");
	if (__builtin_add_overflow(clock_monotonic_ms(), delay_ms, &end_ms))
		end_ms = INT64_MAX;
	for (;;) {
		int64_t slice_ms, left_ms;
		struct timespec pause;
		int error = call_check(call);

		if (error)
			return error;
		left_ms = end_ms - clock_monotonic_ms();
		if (left_ms <= 0)
			return 0;
		slice_ms = call_slice_ms(call);
		pause = clock_from_ms(left_ms < slice_ms ? left_ms : slice_ms);
		/* A signal only makes the slice shorter. */
		nanosleep(&pause, NULL);
	}
}

/* A reason can quote what a server or a user wrote, and ends up in terminals: no control characters, one line. */
static void reason_make_harmless(char *reason)
{
	for (; *reason; reason++) {
		if ((unsigned char)*reason < 0x20 || *reason == 0x7f)
			*reason = '?';
	}
}

/* Where snprintf() cut, half of a multi-byte character may be left at the end. */
static void reason_drop_torn_character(char *reason)
{
	size_t end = strlen(reason);

	while (end > 0 && ((unsigned char)reason[end - 1] & 0xc0) == 0x80)
		end--;
	if (end > 0 && ((unsigned char)reason[end - 1] & 0xc0) == 0xc0)
		end--;
	reason[end] = '\0';
}

int call_fail(struct call *call, int error, const char *format, ...)
{
	char reason[CALL_REASON_SIZE]; /* arguments may point into call->reason */
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	if (length < 0)
		snprintf(reason, sizeof(reason), "%s", format);
	if (length >= (int)sizeof(reason))
		reason_drop_torn_character(reason);
	reason_make_harmless(reason);
	memcpy(call->reason, reason, sizeof(reason));
	return error;
}

int call_wait(struct call *call, pthread_cond_t *condition, pthread_mutex_t *lock)
{
	struct timespec until;

	if (call->from_memory)
		return -EWOULDBLOCK;
	wait_check("another thread");
	int error = call_check(call);
	if (error)
		return error;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)call_slice_ms(call) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(condition, lock, &until);
	return 0;
}
