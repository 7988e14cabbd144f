/* crypto/protobuf, against messages of the official clients and against rubbish. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "crypto/protobuf.h"
#include "crypto/secret.h"

#include "test_crypto_vectors.h"

static struct json *vectors;

static int start(void **state)
{
	struct call call;

	(void)state;
	call_start(&call, 1000);
	if (secret_init((size_t)1 << 20, &call))
		return -1;
	vectors = vectors_read();
	return 0;
}

static int stop(void **state)
{
	(void)state;
	json_free(vectors);
	secret_shutdown();
	return 0;
}

/* Reads each captured request and writes it again from its fields: byte for byte the same. */
static void captured_requests_come_out_the_same(void **state)
{
	size_t count = 0;

	(void)state;
	for (const struct json *sample = json_first(json_member(vectors, "signatures")); sample;
	     sample = json_next(sample)) {
		cleanup_secret_buffer struct secret_buffer again = SECRET_BUFFER_INIT;
		cleanup_buffer struct buffer body = BUFFER_INIT;
		struct protobuf_field field;
		int got;

		if (strcmp(json_text(sample, "protocol"), "dkms") != 0)
			continue;
		vectors_bytes(sample, "requestBodyHex", &body);
		struct protobuf_reader reader = { body.data, body.data + body.size };
		while ((got = protobuf_next(&reader, &field)) > 0) {
			if (field.is_bytes)
				got = protobuf_append_bytes(&again, field.number, field.data, field.size);
			else
				got = protobuf_append_number(&again, field.number, field.value);
			assert_int_equal(got, 0);
		}
		assert_int_equal(got, 0);
		assert_int_equal(again.size, body.size);
		assert_memory_equal(again.data, body.data, body.size);
		count++;
	}
	assert_int_equal(count, 6);
}

static void numbers_of_all_sizes(void **state)
{
	static const uint64_t values[] = { 0, 1, 127, 128, 16383, 16384, UINT32_MAX, INT64_MAX, UINT64_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		cleanup_secret_buffer struct secret_buffer message = SECRET_BUFFER_INIT;
		struct protobuf_field field;

		assert_int_equal(protobuf_append_number(&message, (1 << 29) - 1, values[i]), 0);
		struct protobuf_reader reader = { message.data, message.data + message.size };
		assert_int_equal(protobuf_next(&reader, &field), 1);
		assert_int_equal(field.number, (1 << 29) - 1);
		assert_true(field.value == values[i]);
		assert_false(field.is_bytes);
		assert_int_equal(protobuf_next(&reader, &field), 0);
		/* Each beginning of it is torn. */
		for (size_t size = 1; size < message.size; size++) {
			struct protobuf_reader torn = { message.data, message.data + size };

			assert_int_equal(protobuf_next(&torn, &field), -EBADMSG);
		}
	}
}

static void rubbish_is_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} bad[] = {
		{ "\x00\x00", 2 }, /* field 0 */
		{ "\x0a\x05" "abc", 5 }, /* longer than it is */
		{ "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11 }, /* 2^64 - 1 bytes */
		{ "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10 },
		{ "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11 }, /* more than 64 bits */
		{ "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12 },
		{ "\x0b\x0c", 2 }, /* a group */
		{ "\x0e", 1 }, { "\x0f", 1 }, /* no wire types */
		{ "\x0d" "abc", 4 }, { "\x09" "abcdefg", 8 }, /* torn, of fixed size */
		{ "\x80\x80\x80\x80\x10\x00", 6 }, /* a field number beyond 2^29 */
		{ "<html>", 6 },
	};
	struct protobuf_field field;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (protobuf_find_bytes(bad[i].bytes, bad[i].size, 1, &field) != -EBADMSG)
			fail_msg("rubbish %zu", i);
	}
	/* Of fixed size, and whole: passed over. The last of two counts, an empty one too. */
	assert_int_equal(protobuf_find_bytes("\x0d" "abcd" "\x0a\x01" "x" "\x09" "abcdefgh" "\x0a\x00", 19, 1, &field), 0);
	assert_int_equal(field.size, 0);
	assert_int_equal(protobuf_find_bytes("\x08\x01", 2, 1, &field), -ENOENT);
	assert_int_equal(protobuf_find_bytes("", 0, 1, &field), -ENOENT);
	/* Found, but what follows is torn. */
	assert_int_equal(protobuf_find_bytes("\x0a\x01x\x0a", 4, 1, &field), -EBADMSG);
}

static void random_bytes_end(void **state)
{
	char bytes[40];

	(void)state;
	srandom(1);
	for (int round = 0; round < 100000; round++) {
		size_t size = (size_t)random() % sizeof(bytes);
		struct protobuf_reader reader = { bytes, bytes + size };
		struct protobuf_field field;

		for (size_t i = 0; i < size; i++)
			bytes[i] = (char)(random() % 3 ? random() : random() % 32);
		while (protobuf_next(&reader, &field) > 0) {
			assert_true(!field.is_bytes || (field.data >= bytes && field.data + field.size <= bytes + size));
			assert_true(field.number > 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(captured_requests_come_out_the_same),
		cmocka_unit_test(numbers_of_all_sizes),
		cmocka_unit_test(rubbish_is_refused),
		cmocka_unit_test(random_bytes_end),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
