#include "util/clock.h"

#define MS_PER_SECOND 1000
#define NS_PER_MS 1000000

int64_t clock_monotonic_ms(void)
{
	struct timespec now;

	/* Can't fail: the clock exists on every Linux and the pointer is good. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	return clock_to_ms(now);
}

struct timespec clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now;
}

struct timespec clock_from_ms(int64_t time_ms)
{
	int64_t seconds = time_ms / MS_PER_SECOND;
	int64_t rest_ms = time_ms % MS_PER_SECOND;

	/* C rounds towards zero, but tv_nsec must not be negative for times before 1970. */
	if (rest_ms < 0) {
		seconds--;
		rest_ms += MS_PER_SECOND;
	}
	return (struct timespec){ .tv_sec = seconds, .tv_nsec = rest_ms * NS_PER_MS };
}

int64_t clock_to_ms(struct timespec time)
{
	int64_t time_ms;

	/* A time can come from outside (a file's utimens): one that milliseconds can't express is clamped. */
	if (__builtin_mul_overflow((int64_t)time.tv_sec, MS_PER_SECOND, &time_ms) ||
	    __builtin_add_overflow(time_ms, time.tv_nsec / NS_PER_MS, &time_ms))
		return time.tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return time_ms;
}

void clock_init_condition(pthread_cond_t *condition)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &monotonic);
	pthread_condattr_destroy(&monotonic);
}
