/*
 * The memory for secrets as memory of buffers (util/buffer.h): for layers that handle text without knowing whether it is
 * one.
 */
#ifndef NACOSFS_CRYPTO_SECRET_MEMORY_H
#define NACOSFS_CRYPTO_SECRET_MEMORY_H

#include "util/buffer.h"

struct secret_buffer;

extern const struct buffer_memory secret_memory;

/*
 * Moves the bytes of a secret buffer into an ordinary one, which is in secret memory then. from is empty
 * afterwards.
 */
void secret_memory_take(struct buffer *to, struct secret_buffer *from);

#endif
