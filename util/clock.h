/*
 * The two clocks of the program. Deadlines and ages use the monotonic one, times that people see the real one.
 */
#ifndef NACOSFS_UTIL_CLOCK_H
#define NACOSFS_UTIL_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* Milliseconds since some fixed moment; never jumps. */
int64_t clock_monotonic_ms(void);

/* The time of day, to the nanosecond. */
struct timespec clock_now(void);

/* Milliseconds since 1970 as a timespec, and back (cut to the millisecond). */
struct timespec clock_from_ms(int64_t time_ms);
int64_t clock_to_ms(struct timespec time);

/*
 * Makes a condition whose timed waits are on the clock of clock_monotonic_ms(): a step of the system clock must not lengthen
 * them. Can't fail on Linux.
 */
void clock_init_condition(pthread_cond_t *condition);

#endif
