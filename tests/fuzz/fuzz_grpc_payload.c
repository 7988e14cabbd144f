/*
 * Any bytes as a gRPC message of a server: what is read must lie inside of them, and what is
 * written from it must be read as the same.
 */
#include "tests/fuzz/fuzz.h"

#include "nacos/grpc/payload.h"
#include "util/json.h"

FUZZ_SEEDS(FUZZ_SEED("\x12\x0e\x1a\x01T\x3a\x06\x0a\x01k\x12\x01v\x42\x01"
		     "c\x1a\x04\x12\x02{}"),
	   FUZZ_SEED("\x08\x96\x01\x22\x01z\x29zzzzzzzz\x35zzzz\x1a\x04\x12\x02[]"));

static void check_round_trip(const struct nacos_payload *payload)
{
	const struct nacos_payload_parts parts = {
		.type = payload->type,
		.json = payload->json,
		.json_size = payload->json_size,
	};
	cleanup_buffer struct buffer frame = BUFFER_INIT;
	struct nacos_payload again;

	if (nacos_payload_append(&parts, &frame) ||
	    nacos_payload_read(frame.data + NACOS_FRAME_PREFIX_SIZE,
			       frame.size - NACOS_FRAME_PREFIX_SIZE, &again) ||
	    strcmp(again.type, payload->type) != 0 || again.json_size != payload->json_size ||
	    (again.json_size > 0 && memcmp(again.json, payload->json, again.json_size) != 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_json struct json *document = NULL;
	struct nacos_payload payload;

	if (nacos_payload_read(data, size, &payload))
		return 0;
	if (strlen(payload.type) >= NACOS_PAYLOAD_TYPE_SIZE)
		abort();
	if (payload.json_size > 0 &&
	    ((const uint8_t *)payload.json < data ||
	     (const uint8_t *)payload.json + payload.json_size > data + size))
		abort();
	check_round_trip(&payload);
	if (payload.json_size > 0 && json_parse(payload.json, payload.json_size, &document) == 0)
		json_integer(document, "errorCode", 0);
	return 0;
}
