#include "crypto/secret_memory.h"

#include "crypto/secret.h"
#include "crypto/secret_buffer.h"

const struct buffer_memory secret_memory = { .resize = secret_realloc, .release = secret_free };

void secret_memory_take(struct buffer *to, struct secret_buffer *from)
{
	buffer_move(to, secret_buffer_bytes(from));
}
