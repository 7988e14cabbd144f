/* The messages of gRPC and their frames: what is written, and what any bytes are read as. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nacos/grpc/payload.h"

#define BYTES(text) (text), sizeof(text) - 1

/* Type T, header k=v, client address c, JSON {}: written by protobuf's own tools. */
static const char sample[] = "\x12\x0e\x1a\x01T\x3a\x06\x0a\x01k\x12\x01v\x42\x01"
			     "c\x1a\x04\x12\x02{}";
#define SAMPLE_SIZE (sizeof(sample) - 1)

static void test_writes_what_protobuf_writes(void **state)
{
	struct buffer headers = BUFFER_INIT, frame = BUFFER_INIT;
	const struct nacos_payload_parts parts = {
		.type = "T",
		.headers = &headers,
		.client_ip = "c",
		.json = "{}",
		.json_size = 2,
	};

	(void)state;
	assert_int_equal(nacos_payload_add_header(&headers, "k", "v"), 0);
	assert_int_equal(nacos_payload_append(&parts, &frame), 0);
	assert_int_equal(frame.size, NACOS_FRAME_PREFIX_SIZE + SAMPLE_SIZE);
	assert_memory_equal(frame.data, "\0\0\0\0\x16", NACOS_FRAME_PREFIX_SIZE);
	assert_memory_equal(frame.data + NACOS_FRAME_PREFIX_SIZE, sample, SAMPLE_SIZE);
	buffer_release(&headers);
	buffer_release(&frame);
}

static void test_reads_what_it_writes(void **state)
{
	static const size_t sizes[] = { 0, 1, 127, 128, 16383, 16384, 300000 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buffer json = BUFFER_INIT, frame = BUFFER_INIT;
		struct nacos_payload_parts parts = { .type = "ConfigQueryRequest" };
		struct nacos_payload payload;

		assert_int_equal(buffer_resize(&json, sizes[i]), 0);
		if (sizes[i] > 0)
			memset(json.data, 'x', sizes[i]);
		parts.json = json.data;
		parts.json_size = json.size;
		assert_int_equal(nacos_payload_append(&parts, &frame), 0);
		assert_int_equal(nacos_payload_read(frame.data + NACOS_FRAME_PREFIX_SIZE,
						    frame.size - NACOS_FRAME_PREFIX_SIZE, &payload),
				 0);
		assert_string_equal(payload.type, "ConfigQueryRequest");
		assert_int_equal(payload.json_size, sizes[i]);
		if (sizes[i] > 0)
			assert_memory_equal(payload.json, json.data, sizes[i]);
		buffer_release(&json);
		buffer_release(&frame);
	}
}

static void test_reads_any_prefix_without_reading_past_it(void **state)
{
	(void)state;
	for (size_t size = 0; size <= SAMPLE_SIZE; size++) {
		/* A copy of just that size, so that a sanitizer sees one byte too many. */
		char *copy = malloc(size + !size);
		struct nacos_payload payload;
		int error;

		memcpy(copy, sample, size);
		error = nacos_payload_read(copy, size, &payload);
		/* It can be cut between the fields of the outermost message only. */
		assert_int_equal(error,
				 size == 0 || size == 16 || size == SAMPLE_SIZE ? 0 : -EBADMSG);
		free(copy);
	}
}

static int read_bytes(const char *bytes, size_t size, struct nacos_payload *payload)
{
	return nacos_payload_read(bytes, size, payload);
}

static void test_passes_over_what_it_does_not_know(void **state)
{
	struct nacos_payload payload;

	(void)state;
	/* Fields 1 (number), 4 (bytes), 5 (eight bytes), 6 (four bytes), then a body. */
	assert_int_equal(read_bytes(BYTES("\x08\x96\x01\x22\x01z\x29zzzzzzzz\x35zzzz"
					  "\x1a\x04\x12\x02[]"),
				    &payload),
			 0);
	assert_string_equal(payload.type, "");
	assert_int_equal(payload.json_size, 2);
	assert_memory_equal(payload.json, "[]", 2);
	/* The type twice: the last one counts. */
	assert_int_equal(read_bytes(BYTES("\x12\x06\x1a\x01"
					  "A\x1a\x01"
					  "B"),
				    &payload),
			 0);
	assert_string_equal(payload.type, "B");
}

static void test_refuses_what_is_no_protobuf(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} bad[] = {
		{ BYTES("\x00") }, /* field 0 */
		{ BYTES("\x13\x14") }, /* a group */
		{ BYTES("\x17") }, /* wire type 7 */
		{ BYTES("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01") }, /* 2^64 - 1 bytes */
		{ BYTES("\x12\xff\xff\xff\xff\x0f") }, /* 2^32 - 1 bytes */
		{ BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01") }, /* 11 bytes long */
		{ BYTES("\x12\x02\x1a\x05") }, /* the inner one is longer than the outer one */
		{ BYTES("\x29zzz") },
		{ BYTES("\x1a\x02\x12\x01") },
	};
	struct nacos_payload payload = { .type = "untouched" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(read_bytes(bad[i].bytes, bad[i].size, &payload), -EBADMSG);
	assert_string_equal(payload.type, "untouched");
}

static void test_does_not_cut_a_type(void **state)
{
	char message[80] = "\x12\x48\x1a\x46"; /* a type of 70 bytes */
	struct nacos_payload payload;

	(void)state;
	memset(message + 4, 'T', 70);
	assert_int_equal(nacos_payload_read(message, 74, &payload), 0);
	assert_string_equal(payload.type, "");
	/* Nor one with a NUL in it. */
	assert_int_equal(read_bytes(BYTES("\x12\x05\x1a\x03"
					  "A\0B"),
				    &payload),
			 0);
	assert_string_equal(payload.type, "");
}

/* Two messages and the beginning of a third, of which the second is empty. */
static const char stream[] = "\0\0\0\0\x05hello\0\0\0\0\0\0\0\0\0\x03wo";
#define STREAM_SIZE (sizeof(stream) - 1)

static void test_frames_come_in_pieces_of_any_size(void **state)
{
	(void)state;
	for (size_t piece = 1; piece <= STREAM_SIZE; piece++) {
		struct nacos_frames frames = { .limit = 100 };
		size_t position = 0, count = 0;

		while (position < STREAM_SIZE) {
			size_t size =
				STREAM_SIZE - position < piece ? STREAM_SIZE - position : piece;
			size_t used;

			assert_int_equal(nacos_frames_take(&frames, stream + position, size, &used),
					 0);
			assert_true(used > 0 && used <= size);
			assert_true(used == size || frames.complete);
			position += used;
			if (!frames.complete)
				continue;
			assert_int_equal(frames.message.size, count == 0 ? 5 : 0);
			if (count == 0)
				assert_memory_equal(frames.message.data, "hello", 5);
			count++;
		}
		assert_int_equal(count, 2);
		assert_true(nacos_frames_is_torn(&frames));
		nacos_frames_release(&frames);
	}
}

static void test_frames_refuse_what_can_not_be(void **state)
{
	struct nacos_frames compressed = { .limit = 100 }, large = { .limit = 100 };
	struct nacos_frames just = { .limit = 100 };
	size_t used;

	(void)state;
	assert_int_equal(nacos_frames_take(&compressed, "\1\0\0\0\1x", 6, &used), -EBADMSG);
	assert_int_equal(nacos_frames_take(&large, "\0\0\0\0\x65", 5, &used), -EMSGSIZE);
	assert_int_equal(nacos_frames_take(&just, "\0\0\0\0\x64", 5, &used), 0);
	nacos_frames_release(&compressed);
	nacos_frames_release(&large);
	nacos_frames_release(&just);
}

static void test_frames_do_not_reserve_what_is_only_announced(void **state)
{
	struct nacos_frames frames = { .limit = (size_t)1 << 30 };
	size_t used;

	(void)state;
	assert_int_equal(nacos_frames_take(&frames, "\0\x20\0\0\0z", 6, &used), 0);
	assert_int_equal(used, 6);
	assert_true(frames.message.allocated < (size_t)4 << 20);
	nacos_frames_release(&frames);
}

static void test_a_message_can_be_taken_away(void **state)
{
	struct nacos_frames frames = { .limit = 100 };
	struct buffer message = BUFFER_INIT;
	size_t used;

	(void)state;
	assert_int_equal(nacos_frames_take(&frames, stream, 10, &used), 0);
	assert_true(frames.complete);
	buffer_move(&message, &frames.message);
	assert_string_equal(message.data, "hello");
	assert_false(nacos_frames_is_torn(&frames));
	assert_int_equal(nacos_frames_take(&frames, stream, 10, &used), 0);
	assert_true(frames.complete);
	assert_string_equal(frames.message.data, "hello");
	buffer_release(&message);
	nacos_frames_release(&frames);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writes_what_protobuf_writes),
		cmocka_unit_test(test_reads_what_it_writes),
		cmocka_unit_test(test_reads_any_prefix_without_reading_past_it),
		cmocka_unit_test(test_passes_over_what_it_does_not_know),
		cmocka_unit_test(test_refuses_what_is_no_protobuf),
		cmocka_unit_test(test_does_not_cut_a_type),
		cmocka_unit_test(test_frames_come_in_pieces_of_any_size),
		cmocka_unit_test(test_frames_refuse_what_can_not_be),
		cmocka_unit_test(test_frames_do_not_reserve_what_is_only_announced),
		cmocka_unit_test(test_a_message_can_be_taken_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
