/* crypto/protobuf: any bytes; what was read is written again and must read the same. */
#include "tests/fuzz/fuzz.h"

#include "crypto/protobuf.h"

FUZZ_SEEDS(FUZZ_SEED("\x0a\x12key-hzzvectors0001\x18\x20"), FUZZ_SEED("\x0a\x03" "abc\x12\x02xy\x1a\x0c" "abcdefghijkl"),
	   FUZZ_SEED("\x08\x90\x03\x12\x0cInvalidParam\x1a\x01x"), FUZZ_SEED("\x0d" "abcd\x09" "abcdefgh\x0a\x00"));

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct protobuf_reader reader = { (const char *)data, (const char *)data + size };
	struct protobuf_field field, again;
	struct call call;

	fuzz_start(&call);
	while (protobuf_next(&reader, &field) > 0) {
		cleanup_secret_buffer struct secret_buffer message = SECRET_BUFFER_INIT;

		if (field.is_bytes ? protobuf_append_bytes(&message, field.number, field.data, field.size) :
				     protobuf_append_number(&message, field.number, field.value))
			abort();
		struct protobuf_reader second = { message.data, message.data + message.size };
		if (protobuf_next(&second, &again) != 1 || again.number != field.number || again.value != field.value ||
		    again.size != field.size || (field.size && memcmp(again.data, field.data, field.size) != 0))
			abort();
	}
	(void)protobuf_find_bytes((const char *)data, size, 2, &field);
	fuzz_end(0);
	return 0;
}
