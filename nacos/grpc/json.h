/*
 * The JSON of requests, member by member. Pure functions on a buffer, which holds the beginning of
 * an object when they are called.
 */
#ifndef NACOSFS_NACOS_GRPC_JSON_H
#define NACOSFS_NACOS_GRPC_JSON_H

#include <stddef.h>

#include "util/buffer.h"

/* Appends "name":"value", with a comma before it where it is not the first. 0 or -ENOMEM. */
int nacos_grpc_json_add(struct buffer *json, const char *name, const char *value);

/* The same for size bytes of UTF-8, which may hold a NUL. */
int nacos_grpc_json_add_bytes(struct buffer *json, const char *name, const void *data, size_t size);

#endif
