#include "crypto/secret_memory.h"

#include "crypto/secret.h"

const struct buffer_memory secret_memory = { .resize = secret_realloc, .release = secret_free };
