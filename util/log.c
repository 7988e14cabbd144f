#include "util/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define LINE_SIZE 1024 /* a longer line is cut: it names things, and names are short */

static const struct {
	const char *prefix;
	int priority;
} levels[] = {
	[LOG_LEVEL_ERROR] = { "error: ", LOG_ERR },
	[LOG_LEVEL_WARNING] = { "warning: ", LOG_WARNING },
	[LOG_LEVEL_INFO] = { "", LOG_INFO },
	[LOG_LEVEL_DEBUG] = { "debug: ", LOG_DEBUG },
};

static enum log_level highest_level = LOG_LEVEL_INFO;
static atomic_bool to_syslog;

void log_set_level(enum log_level level)
{
	highest_level = level;
}

void log_to_syslog(void)
{
	/* LOG_NDELAY: the socket is opened now, before a chroot or a shortage of descriptors can prevent it. */
	openlog("nacosfs", LOG_PID | LOG_NDELAY, LOG_DAEMON);
	atomic_store(&to_syslog, true);
}

/*
 * Names of configs and answers of servers are in these lines. They must not forge a second line, nor send commands to
 * the terminal that shows them: that takes the C0 controls, DEL, and the C1 controls (in UTF-8: C2 80 to C2 9F).
 */
static void replace_controls(char *text)
{
	for (unsigned char *byte = (unsigned char *)text; *byte; byte++) {
		if (*byte < 0x20 || *byte == 0x7f) {
			*byte = '?';
		} else if (byte[0] == 0xc2 && byte[1] >= 0x80 && byte[1] <= 0x9f) {
			byte[0] = '?';
			byte[1] = '?';
		}
	}
}

void log_write(enum log_level level, const char *format, ...)
{
	int saved_errno = errno; /* a log line between a failure and its handling must not change it */
	char line[LINE_SIZE];
	size_t prefix_length, length;
	va_list arguments;

	if (level > highest_level)
		return;
	prefix_length = (size_t)snprintf(line, sizeof(line), "nacosfs: %s", levels[level].prefix);
	va_start(arguments, format);
	/* One byte less: room for the line end after a message that fills all. */
	if (vsnprintf(line + prefix_length, sizeof(line) - prefix_length - 1, format, arguments) < 0)
		line[prefix_length] = '\0';
	va_end(arguments);
	replace_controls(line);

	if (atomic_load(&to_syslog)) {
		syslog(levels[level].priority, "%s", line + prefix_length);
	} else {
		length = strlen(line);
		line[length++] = '\n';
		/* One write(), so that lines of several threads don't mix. Nobody is left to tell when it fails. */
		(void)!write(STDERR_FILENO, line, length);
	}
	errno = saved_errno;
}
