/*
 * Lines, the queue of those that are to be written, and the thread that writes them.
 */
#include "util/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/mutex.h"
#include "util/thread.h"

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

/* A line that waits to be written. */
struct line {
	struct line *next;
	enum log_level level;
	unsigned long lost; /* how many were lost just before this one */
	char text[];
};

static struct {
	struct mutex lock;
	pthread_cond_t queued; /* for the writer: there is a line, or it is to end */
	pthread_cond_t written; /* for who waits until all is, or until there is no writer */
	struct line *first GUARDED_BY(&lock), **end GUARDED_BY(&lock);
	size_t count GUARDED_BY(&lock);
	unsigned long lost GUARDED_BY(&lock); /* since the last line that was queued */
	bool is_running GUARDED_BY(&lock); /* there is a writer */
	bool is_writing GUARDED_BY(&lock); /* and it is at a line that is in the queue no more */
	bool stop GUARDED_BY(&lock);
	struct thread writer; /* started with the lock, joined by who was told that it ends */
} queue = { .lock = MUTEX_INIT };

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

/* Standard error is another's as well, who may have made it one that does not wait. Nobody is left to tell when it fails. */
static void write_to_stderr(const char *text, size_t length)
{
	while (length > 0) {
		ssize_t count = write(STDERR_FILENO, text, length);

		if (count < 0 && errno == EAGAIN) {
			struct pollfd writable = { .fd = STDERR_FILENO, .events = POLLOUT };
			poll(&writable, 1, -1);
		} else if (count < 0 && errno != EINTR) {
			return;
		} else if (count > 0) {
			text += count;
			length -= (size_t)count;
		}
	}
}

/* Writes one line, and waits for whoever takes it. */
static void write_line(enum log_level level, const char *text)
{
	char line[LINE_SIZE + 1];
	int length;

	if (atomic_load(&to_syslog)) {
		syslog(levels[level].priority, "%s%s", levels[level].prefix, text);
		return;
	}
	/* One write(), so that lines of several threads don't mix. */
	length = snprintf(line, LINE_SIZE, "nacosfs: %s%s", levels[level].prefix, text);
	if (length > LINE_SIZE - 1)
		length = LINE_SIZE - 1;
	line[length++] = '\n';
	write_to_stderr(line, (size_t)length);
}

static void write_lost(unsigned long lost)
{
	char text[128];

	if (!lost)
		return;
	snprintf(text, sizeof(text), "%lu lines of this log are missing here: they came faster than they could be written",
		 lost);
	write_line(LOG_LEVEL_WARNING, text);
}

/* ---------------------------------------------------------------- the writer */

/* Waits for what is to be written: a line, or only that some were lost. False: it is to end. */
static bool take_line(struct line **ret_line, unsigned long *ret_lost)
{
	bool found;

	mutex_lock(&queue.lock);
	queue.is_writing = false;
	while (!queue.first && !queue.lost && !queue.stop) {
		pthread_cond_broadcast(&queue.written);
		mutex_wait(&queue.lock, &queue.queued, NULL);
	}
	struct line *line = queue.first;
	if (line) {
		queue.first = line->next;
		if (!queue.first)
			queue.end = &queue.first;
		queue.count--;
		*ret_lost = line->lost;
	} else {
		*ret_lost = queue.lost;
		queue.lost = 0;
	}
	*ret_line = line;
	found = line || *ret_lost;
	queue.is_writing = queue.is_running = found;
	if (!found)
		pthread_cond_broadcast(&queue.written);
	mutex_unlock(&queue.lock);
	return found;
}

static void *run_writer(void *arg)
{
	unsigned long lost;
	struct line *line;

	while (take_line(&line, &lost)) {
		write_lost(lost);
		if (line)
			write_line(line->level, line->text);
		free(line);
	}
	return arg;
}

int log_start(void)
{
	static bool is_prepared;
	int error = 0;

	mutex_lock(&queue.lock);
	if (!is_prepared) {
		clock_init_condition(&queue.written);
		clock_init_condition(&queue.queued);
		queue.end = &queue.first;
		atexit(log_stop);
		is_prepared = true;
	}
	queue.stop = false;
	/* One that log_stop() gave up may still be there, and goes on. */
	if (!queue.is_running) {
		error = thread_start(&queue.writer, run_writer, NULL);
		queue.is_running = !error;
	}
	mutex_unlock(&queue.lock);
	return error;
}

static bool is_written(void) REQUIRES(&queue.lock)
{
	return !queue.is_running || (!queue.first && !queue.lost && !queue.is_writing);
}

static bool is_ended(void) REQUIRES(&queue.lock)
{
	return !queue.is_running;
}

/* Waits until that is so, for a limited time. */
static bool wait_until(bool (*is_so)(void)) REQUIRES(&queue.lock)
{
	struct timespec until = clock_from_ms(clock_monotonic_ms() + LOG_FLUSH_MS);

	while (!is_so())
		if (mutex_wait(&queue.lock, &queue.written, &until) == ETIMEDOUT)
			return is_so();
	return true;
}

void log_flush(void)
{
	mutex_lock(&queue.lock);
	wait_until(is_written);
	mutex_unlock(&queue.lock);
}

void log_stop(void)
{
	bool ended = false;

	mutex_lock(&queue.lock);
	if (queue.is_running) {
		queue.stop = true;
		pthread_cond_signal(&queue.queued);
		ended = wait_until(is_ended);
	}
	mutex_unlock(&queue.lock);
	if (ended)
		thread_join(&queue.writer);
}

/* ---------------------------------------------------------------- who has something to say */

/* Leaves the line to the writer; false where there is none. */
static bool queue_line(enum log_level level, const char *text)
{
	size_t size = strlen(text) + 1;
	struct line *line = malloc(sizeof(*line) + size);
	bool is_queued;

	if (line) {
		line->next = NULL;
		line->level = level;
		memcpy(line->text, text, size);
	}
	mutex_lock(&queue.lock);
	is_queued = queue.is_running;
	if (is_queued && (!line || queue.count >= LOG_QUEUE_LINES)) {
		queue.lost++;
	} else if (is_queued) {
		line->lost = queue.lost;
		queue.lost = 0;
		*queue.end = line;
		queue.end = &line->next;
		queue.count++;
		line = NULL;
	}
	if (is_queued)
		pthread_cond_signal(&queue.queued);
	mutex_unlock(&queue.lock);
	free(line);
	return is_queued;
}

void log_write(enum log_level level, const char *format, ...)
{
	int saved_errno = errno; /* a log line between a failure and its handling must not change it */
	char text[LINE_SIZE];
	va_list arguments;

	if (level > highest_level)
		return;
	va_start(arguments, format);
	if (vsnprintf(text, sizeof(text), format, arguments) < 0)
		text[0] = '\0';
	va_end(arguments);
	replace_controls(text);
	if (!queue_line(level, text))
		write_line(level, text);
	errno = saved_errno;
}
