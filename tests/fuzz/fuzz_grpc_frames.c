/*
 * Any bytes as a stream of gRPC frames: cut to pieces in whatever way, they must make the same
 * messages, and the same failure at the same place, as in one piece. The first byte of the input
 * says how long the pieces are.
 */
#include "tests/fuzz/fuzz.h"

#include <stdbool.h>

#include "nacos/grpc/payload.h"

#define LIMIT 4096

FUZZ_SEEDS(FUZZ_SEED("\3\0\0\0\0\5hello\0\0\0\0\0\0\0\0\0\3wor"),
	   FUZZ_SEED("\0\0\0\0\0\1x\1\0\0\0\0"));

/* Takes one piece after the other; writes all messages, each behind its size, to ret_messages. */
static int take_all(const uint8_t *data, size_t size, size_t piece, struct buffer *ret_messages)
{
	struct nacos_frames frames = { .limit = LIMIT };
	size_t done = 0;
	int error = 0;

	while (!error && done < size) {
		size_t part = size - done < piece ? size - done : piece, used = 0;

		error = nacos_frames_take(&frames, data + done, part, &used);
		if (error)
			break;
		if (used == 0 || used > part || (used < part && !frames.complete) ||
		    frames.message.size > LIMIT)
			abort();
		done += used;
		if (frames.complete &&
		    (buffer_append(ret_messages, &frames.message.size, sizeof(size_t)) ||
		     buffer_append(ret_messages, frames.message.data, frames.message.size)))
			abort();
	}
	if (!error && buffer_append_byte(ret_messages, nacos_frames_is_torn(&frames)))
		abort();
	nacos_frames_release(&frames);
	return error;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_buffer struct buffer whole = BUFFER_INIT, pieces = BUFFER_INIT;
	int whole_error, pieces_error;

	if (size < 2)
		return 0;
	whole_error = take_all(data + 1, size - 1, size, &whole);
	pieces_error = take_all(data + 1, size - 1, data[0] % 32 + 1, &pieces);
	if (whole_error != pieces_error || whole.size != pieces.size ||
	    (whole.size > 0 && memcmp(whole.data, pieces.data, whole.size) != 0))
		abort();
	return 0;
}
