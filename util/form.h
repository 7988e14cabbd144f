/*
 * application/x-www-form-urlencoded text, for query strings and form bodies. Everything outside A-Z a-z 0-9 - _ . ~ is
 * percent-encoded in upper-case hex, so any bytes survive, a NUL too.
 */
#ifndef NACOSFS_UTIL_FORM_H
#define NACOSFS_UTIL_FORM_H

#include <stddef.h>

#include "util/buffer.h"

/* Appends name=value, with a '&' before it where the buffer has a field already. 0 or -ENOMEM. */
int form_append(struct buffer *form, const char *name, const char *value);
int form_append_bytes(struct buffer *form, const char *name, const void *value, size_t size);
int form_append_number(struct buffer *form, const char *name, long value);

/* How many bytes size bytes take once they are encoded. */
size_t form_encoded_size(const void *value, size_t size);

#endif
