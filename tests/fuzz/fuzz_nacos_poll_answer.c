/*
 * Any bytes as the answer of the HTTP listener: the names that are read are whole ones, and reading must end.
 */
#include "tests/fuzz/fuzz.h"

#include "nacos/poll/answer.h"

FUZZ_SEEDS(FUZZ_SEED("a%02G%01b.yaml%02G%02dev%01\n"), FUZZ_SEED("%E4%B8%AD+x%02DEFAULT_GROUP%02public%01\r\n"),
	   FUZZ_SEED(""));

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_buffer struct buffer body = BUFFER_INIT;
	struct place *place;
	size_t offset = 0, before = 0;

	if (buffer_append(&body, data, size))
		return 0;
	while (nacos_poll_answer_next(&body, &offset, &place) > 0) {
		if (offset <= before || offset > body.size)
			abort();
		before = offset;
		if (!*place_data_id(place) || !*place_group(place) || !*place_namespace_id(place))
			abort();
		place_drop(place);
	}
	return 0;
}
