/*
 * What can be said of bytes that should be text.
 */
#ifndef NACOSFS_UTIL_TEXT_H
#define NACOSFS_UTIL_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Strict UTF-8: no overlong forms, no surrogates, nothing past U+10FFFF. NUL is allowed. */
bool text_is_utf8(const char *data, size_t size);

/*
 * Empty, or nothing but what Java's Character.isWhitespace() calls white space (U+00A0, U+2007, U+202F and NUL are
 * not). size bytes of valid UTF-8.
 */
bool text_is_blank(const char *data, size_t size);

/* How many UTF-16 units size bytes of valid UTF-8 make: the unit in which Java measures lengths. */
size_t text_utf16_length(const char *data, size_t size);

#endif
