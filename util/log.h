/*
 * The log: one line an event, for an admin. It goes to standard error until log_to_syslog(), which the daemon calls when
 * it leaves the terminal. Lines name configs, hosts and reasons; never content, never a secret, never a URL with a query.
 *
 * Safe from any thread. The level is set once, before threads start.
 */
#ifndef NACOSFS_UTIL_LOG_H
#define NACOSFS_UTIL_LOG_H

enum log_level {
	LOG_LEVEL_ERROR, /* something was lost or refused that an admin must know of */
	LOG_LEVEL_WARNING, /* something is not as it should be; nacosfs copes */
	LOG_LEVEL_INFO, /* what changed: mounted, saved, logged in */
	LOG_LEVEL_DEBUG, /* each request to a server */
};

void log_set_level(enum log_level level);

/* From now on to syslog, as `nacosfs`, facility daemon. */
void log_to_syslog(void);

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
