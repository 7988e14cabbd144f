#include "crypto/secret_buffer.h"

#include <errno.h>

#include "util/file.h"

int secret_buffer_read_file(const char *path, struct call *call, struct secret_buffer *ret_content)
{
	/* Through ordinary memory, for as long as it takes to read and wipe it. */
	cleanup_buffer_wipe struct buffer content = BUFFER_INIT;
	int error = file_read_secret(path, call, &content);

	if (error)
		return error;
	if (secret_buffer_append(ret_content, content.data, content.size))
		return call_fail(call, -ENOMEM, "%s: no room in the memory for secrets", path);
	return 0;
}
