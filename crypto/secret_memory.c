#include "crypto/secret_memory.h"

#include "crypto/secret.h"

const struct buffer_memory secret_memory = { .allocate = secret_alloc, .release = secret_free };

void secret_memory_take(struct buffer *to, struct secret_buffer *from)
{
	struct buffer taken = { from->data, from->size, from->allocated, &secret_memory };

	*from = (struct secret_buffer)SECRET_BUFFER_INIT;
	buffer_move(to, &taken);
}
