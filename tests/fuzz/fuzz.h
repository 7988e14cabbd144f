/*
 * What the fuzz targets share. Each is one file with LLVMFuzzerTestOneInput(), for libFuzzer:
 *
 *	clang -DFUZZ_WITH_LIBFUZZER -fsanitize=fuzzer,address,undefined -I. -D_GNU_SOURCE tests/fuzz/fuzz_X.c ...
 *
 * or, where there is none, with the main() below:
 *
 *	gcc -fsanitize=address,undefined -I. -D_GNU_SOURCE -std=gnu11 tests/fuzz/fuzz_X.c build-asan/libnacosfs.a \
 *		-lcurl -lcrypto -lcjson -pthread
 *	./a.out FILE...      replays the files
 *	./a.out ROUNDS       changes its own seeds at random, that often
 */
#ifndef NACOSFS_FUZZ_FUZZ_H
#define NACOSFS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "crypto/secret_buffer.h"
#include "util/buffer.h"
#include "util/call.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Good inputs, from which a target without libFuzzer starts. */
struct fuzz_seed {
	const char *data;
	size_t size;
};

#define FUZZ_SEED(literal) { (literal), sizeof(literal) - 1 }

/* At the start of each input: the memory for secrets, and a call with time enough. */
static inline void fuzz_start(struct call *call)
{
	static int started;

	call_start(call, 60000);
	if (!started && secret_init((size_t)8 << 20, call))
		abort();
	started = 1;
}

/* At its end: nothing may be left but what the target keeps for good. */
static inline void fuzz_end(size_t kept)
{
	struct secret_statistics statistics;

	secret_statistics(&statistics);
	if (statistics.count != kept)
		abort();
}

#ifndef FUZZ_WITH_LIBFUZZER

extern const struct fuzz_seed fuzz_seeds[];
extern const size_t fuzz_seed_count;

#define FUZZ_SEEDS(...)                                        \
	const struct fuzz_seed fuzz_seeds[] = { __VA_ARGS__ }; \
	const size_t fuzz_seed_count = sizeof(fuzz_seeds) / sizeof(fuzz_seeds[0])

static inline void fuzz_replay(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(1 << 20);
	size_t size;

	if (!file || !data)
		exit(1);
	size = fread(data, 1, 1 << 20, file);
	fclose(file);
	(void)LLVMFuzzerTestOneInput(data, size);
	free(data);
}

/* Changes some bytes, cuts, repeats, or puts in what parsers stumble over. */
static inline size_t fuzz_change(uint8_t *data, size_t size, size_t room)
{
	static const char *const pieces[] = { "\"", "\\u0000", "{", "}", "\xff\xff\xff\xff\xff", "=", "==", ",", "null", "\x80" };
	size_t at = size ? (size_t)random() % size : 0;

	switch (random() % 5) {
	case 0:
		if (size)
			data[at] = (uint8_t)random();
		return size;
	case 1:
		if (size)
			data[at] ^= (uint8_t)(1 << random() % 8);
		return size;
	case 2:
		return at;
	case 3: {
		const char *piece = pieces[(size_t)random() % (sizeof(pieces) / sizeof(pieces[0]))];
		size_t length = strlen(piece);

		if (size + length > room)
			return size;
		memmove(data + at + length, data + at, size - at);
		memcpy(data + at, piece, length);
		return size + length;
	}
	default:
		if (size > 1 && at + 1 < size) {
			memmove(data + at, data + at + 1, size - at - 1);
			return size - 1;
		}
		return size;
	}
}

static inline void fuzz_one_change(const struct fuzz_seed *seed)
{
	size_t room = seed->size + 64, size = seed->size;
	uint8_t *data = malloc(room), *exact;

	if (!data)
		exit(1);
	memcpy(data, seed->data, seed->size);
	for (long count = random() % 8; count >= 0; count--)
		size = fuzz_change(data, size, room);
	/* In memory of exactly that size, so that a byte too far is noticed. */
	exact = malloc(size ? size : 1);
	if (!exact)
		exit(1);
	memcpy(exact, data, size);
	(void)LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	free(data);
}

int main(int argc, char **argv)
{
	char *end;
	long rounds = argc == 2 ? strtol(argv[1], &end, 10) : 0;

	if (argc == 2 && !*end) {
		for (long round = 0; round < rounds; round++) {
			srandom((unsigned int)round);
			fuzz_one_change(&fuzz_seeds[(size_t)round % fuzz_seed_count]);
		}
		return 0;
	}
	for (int i = 1; i < argc; i++)
		fuzz_replay(argv[i]);
	return 0;
}

#else
#define FUZZ_SEEDS(...) extern const int fuzz_no_seeds
#endif

#endif
