/*
 * Any bytes as the answer of the HTTP listener: the names that are read must lie inside of them, and reading must end.
 */
#include "tests/fuzz/fuzz.h"

#include "nacos/poll/answer.h"

FUZZ_SEEDS(FUZZ_SEED("a%02G%01b.yaml%02G%02dev%01\n"), FUZZ_SEED("%E4%B8%AD+x%02DEFAULT_GROUP%02public%01\r\n"),
	   FUZZ_SEED(""));

static void check_inside(const struct buffer *body, const char *text)
{
	const char *end = body->data + body->size;

	if (text < body->data || text >= end || text + strlen(text) > end)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_buffer struct buffer body = BUFFER_INIT;
	struct nacos_key key;
	size_t offset = 0, before = 0;

	if (buffer_append(&body, data, size))
		return 0;
	while (nacos_poll_answer_next(&body, &offset, &key) > 0) {
		if (offset <= before || offset > body.size)
			abort();
		before = offset;
		check_inside(&body, key.data_id);
		check_inside(&body, key.group);
		if (strcmp(key.namespace_id, "public") != 0)
			check_inside(&body, key.namespace_id);
	}
	return 0;
}
