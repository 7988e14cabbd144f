/*
 * Small files that are read whole: settings and secrets.
 */
#ifndef NACOSFS_UTIL_FILE_H
#define NACOSFS_UTIL_FILE_H

#include <stddef.h>

#include "util/buffer.h"
#include "util/call.h"

/* Appends the content of the file to ret_content; -EFBIG beyond limit bytes, or the errno of the system call. */
int file_read_whole(const char *path, size_t limit, struct call *call, struct buffer *ret_content);

/*
 * As file_read_whole(), for a file that holds a secret: a regular file (symbolic links are followed) that belongs to root or
 * to the user who runs this, and that neither group nor others can read or write; otherwise -EACCES with a reason that
 * says what to change. One line end at the end of the content is dropped; what is empty then is refused too. The caller
 * wipes the buffer.
 */
int file_read_secret(const char *path, struct call *call, struct buffer *ret_content);

#endif
