/*
 * The log: one line an event, for an admin. It goes to standard error until log_to_syslog(), which the daemon calls when
 * it leaves the terminal. Lines name configs, hosts and reasons; never content, never a secret, never a URL with a query.
 *
 *	log_set_level, log_to_syslog -> log_start -> log_write from any thread -> log_stop
 *
 * From log_start() on, a thread of the log's own writes the lines, and log_write() never waits: not for a pipe that
 * nobody reads, not for syslog. Lines wait in a queue; what comes while it is full is lost, and a line in its place says
 * how many were. Before log_start() and after log_stop(), log_write() writes by itself, and may wait.
 *
 * Safe from any thread. The level is set once, before threads start. A process that forks without an exec must not have
 * called log_start(): the child would have the queue, but nobody who empties it.
 */
#ifndef NACOSFS_UTIL_LOG_H
#define NACOSFS_UTIL_LOG_H

enum log_level {
	LOG_LEVEL_ERROR, /* something was lost or refused that an admin must know of */
	LOG_LEVEL_WARNING, /* something is not as it should be; nacosfs copes */
	LOG_LEVEL_INFO, /* what changed: mounted, saved, logged in */
	LOG_LEVEL_DEBUG, /* each request to a server */
};

#define LOG_QUEUE_LINES 1024 /* what may wait: some 100 KiB as lines are, 1 MiB at most */
#define LOG_FLUSH_MS 1000

void log_set_level(enum log_level level);

/* From now on to syslog, as `nacosfs`, facility daemon. */
void log_to_syslog(void);

/* Starts the thread that writes. Called after the program has gone to the background. 0 or -EAGAIN. */
int log_start(void);

/*
 * Ends it when all lines are written, or after LOG_FLUSH_MS: what is left goes with the process. Does nothing when it was not
 * started; exit() calls it too.
 */
void log_stop(void);

/* Waits until the lines that were queued are written, at most LOG_FLUSH_MS: before abort(), which asks nobody. */
void log_flush(void);

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
