/*
 * The memory for secrets as memory of buffers (util/buffer.h): for layers that handle text without knowing whether it is
 * one.
 */
#ifndef NACOSFS_CRYPTO_SECRET_MEMORY_H
#define NACOSFS_CRYPTO_SECRET_MEMORY_H

#include "util/buffer.h"

extern const struct buffer_memory secret_memory;

#endif
