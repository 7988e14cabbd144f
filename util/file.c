#include "util/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/wait.h"

#define READ_STEP 4096
#define SECRET_LIMIT (64 * 1024)

static int fail_with_errno(struct call *call, const char *path)
{
	int error = errno;
	char text[128];

	return call_fail(call, -error, "%s: %s", path, strerror_r(error, text, sizeof(text)));
}

/* O_NONBLOCK: opening a FIFO that nobody writes to must fail or return, not hang. Regular files don't notice it. */
static int open_for_reading(const char *path, struct call *call, int *ret_descriptor)
{
	wait_check("a disk");
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (descriptor < 0)
		return fail_with_errno(call, path);
	*ret_descriptor = descriptor;
	return 0;
}

/* Reads to the end, however long the file claims to be: those in /proc claim nothing. */
static int read_all(int descriptor, const char *path, size_t limit, struct call *call, struct buffer *content)
{
	for (;;) {
		ssize_t count;

		if (buffer_reserve(content, READ_STEP))
			return call_fail(call, -ENOMEM, "%s: out of memory", path);
		count = read(descriptor, content->data + content->size, READ_STEP);
		if (count < 0) {
			if (errno == EINTR)
				continue;
			return fail_with_errno(call, path);
		}
		if (count == 0)
			return 0;
		if ((size_t)count > limit - content->size)
			return call_fail(call, -EFBIG, "%s: larger than %zu bytes", path, limit);
		content->size += (size_t)count;
		content->data[content->size] = '\0';
	}
}

/* Through a buffer of our own, so that ret_content is untouched when a read fails half-way. */
static int append_all(int descriptor, const char *path, size_t limit, struct call *call, struct buffer *ret_content)
{
	cleanup_buffer_wipe struct buffer content = BUFFER_INIT;
	int error = read_all(descriptor, path, limit, call, &content);

	if (error)
		return error;
	if (buffer_append(ret_content, content.data, content.size))
		return call_fail(call, -ENOMEM, "%s: out of memory", path);
	return 0;
}

int file_read_whole(const char *path, size_t limit, struct call *call, struct buffer *ret_content)
{
	cleanup_close int descriptor = -1;
	int error = open_for_reading(path, call, &descriptor);

	if (error)
		return error;
	return append_all(descriptor, path, limit, call, ret_content);
}

/* Asks the open descriptor, not the path, which may lead to another file by now. */
static int check_secret(int descriptor, const char *path, struct call *call)
{
	struct stat status;

	if (fstat(descriptor, &status) < 0)
		return fail_with_errno(call, path);
	if (!S_ISREG(status.st_mode))
		return call_fail(call, -EACCES, "%s: not a regular file; a secret must be in one", path);
	if (status.st_uid != 0 && status.st_uid != geteuid())
		return call_fail(call, -EACCES, "%s: belongs to another user (uid %lu); chown it to root or uid %lu",
				 path, (unsigned long)status.st_uid, (unsigned long)geteuid());
	if (status.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH))
		return call_fail(call, -EACCES, "%s: others can read or write it (mode %04o); chmod it to 600", path,
				 (unsigned int)(status.st_mode & 07777));
	return 0;
}

static void drop_line_end(struct buffer *content)
{
	size_t size = content->size;

	if (size > 0 && content->data[size - 1] == '\n') {
		size--;
		if (size > 0 && content->data[size - 1] == '\r')
			size--;
	}
	/* Can't fail: it does not grow. */
	(void)buffer_resize(content, size);
}

int file_read_secret(const char *path, struct call *call, struct buffer *ret_content)
{
	cleanup_buffer_wipe struct buffer content = BUFFER_INIT;
	cleanup_close int descriptor = -1;
	int error = open_for_reading(path, call, &descriptor);

	if (!error)
		error = check_secret(descriptor, path, call);
	if (!error)
		error = read_all(descriptor, path, SECRET_LIMIT, call, &content);
	if (error)
		return error;
	drop_line_end(&content);
	if (!content.size)
		return call_fail(call, -EACCES, "%s: is empty; it must hold the secret", path);
	if (buffer_append(ret_content, content.data, content.size))
		return call_fail(call, -ENOMEM, "%s: out of memory", path);
	return 0;
}
