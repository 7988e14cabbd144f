/*
 * JSON as servers send it. The only module that knows cJSON; a document is parsed whole, read through the accessors, and
 * freed. Values belong to their document.
 *
 * A difference from plain cJSON: strings may hold NUL (\u0000), which C strings can't. json_bytes() returns the true
 * bytes; json_text() treats such a string as missing. Input is hostile: any bytes may come, nesting is bounded, and a
 * value of the wrong type is the same as an absent one.
 */
#ifndef NACOSFS_UTIL_JSON_H
#define NACOSFS_UTIL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buffer.h"

struct json;

/* Parses size bytes. 0, -EBADMSG when they are not one JSON value (followed by nothing but blanks), or -ENOMEM. */
int json_parse(const char *data, size_t size, struct json **ret_document);
void json_free(struct json *document);

static inline void json_free_pointer(struct json **document)
{
	json_free(*document);
}
#define cleanup_json __attribute__((cleanup(json_free_pointer)))

bool json_is_object(const struct json *value); /* false for NULL, here and below */
bool json_is_array(const struct json *value);
bool json_is_true(const struct json *value);

/* The member of that name (exact case), or NULL when there is none or value is no object. */
const struct json *json_member(const struct json *value, const char *name);

/* The string member of that name, or NULL. Valid as long as the document. */
const char *json_text(const struct json *value, const char *name);

/* Appends the bytes of the string member to ret_bytes. 0, -ENOENT when there is no such string, or -ENOMEM. */
int json_bytes(const struct json *value, const char *name, struct buffer *ret_bytes);

/* The whole number in that member (a number, or a string of digits), or fallback. */
int64_t json_integer(const struct json *value, const char *name, int64_t fallback);

/* The elements of an array: for (e = json_first(a); e; e = json_next(e)). NULL when value is no array. */
const struct json *json_first(const struct json *value);
const struct json *json_next(const struct json *element);
size_t json_count(const struct json *value);

/* Appends text (UTF-8) as a JSON string, with its quotes. 0 or -ENOMEM. */
int json_append_string(struct buffer *json, const char *text);

#endif
