/*
 * The region is a row of blocks without gaps, used and free ones. Each begins with a header that knows its own
 * size and that of its left neighbour, so that free neighbours become one block; free blocks are in a list. The
 * block that fits best is taken: there are few free blocks, and large drafts must find room between many small
 * keys.
 */
#include "crypto/secret.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define GRAIN 32 /* blocks are multiples of it, headers included */
#define GUARD UINT64_C(0x9e5c0a7d41b3f268) /* what an overrun of the block before overwrites first */
#define GIVE_BACK_SIZE ((size_t)64 * 1024) /* smaller pieces are not worth a system call */

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

struct block {
	uint64_t guard;
	size_t size; /* of the whole block; the lowest bit says that it is used */
	size_t left_size; /* of the block before; 0: this is the first */
	size_t wanted; /* bytes that the caller asked for, while used */
};

/* In the payload of a free block; all the rest of it is zero. */
struct free_links {
	struct block *next, *previous;
};

#define USED_BIT ((size_t)1)
#define SMALLEST_BLOCK (sizeof(struct block) + GRAIN)

_Static_assert(sizeof(struct block) % GRAIN == 0, "payloads must be aligned");
_Static_assert(sizeof(struct free_links) <= GRAIN, "the smallest payload must hold the links");

static struct {
	pthread_mutex_t lock;
	char *mapping; /* with the guard pages; NULL: not set up */
	size_t mapping_size;
	char *start, *end;
	struct block *free;
	bool locked;
	size_t used, peak, count;
	unsigned long refused;
} region = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Whose memory is overwritten by someone can't be trusted with secrets any more. */
static _Noreturn void die(const char *what)
{
	fprintf(stderr, "nacosfs: secret memory: %s\n", what);
	abort();
}

static size_t block_size(const struct block *block)
{
	return block->size & ~USED_BIT;
}

static bool block_is_used(const struct block *block)
{
	return block->size & USED_BIT;
}

static void *block_payload(struct block *block)
{
	return block + 1;
}

static struct free_links *block_links(struct block *block)
{
	return block_payload(block);
}

static void block_check(const struct block *block)
{
	if (block->guard != GUARD || block_size(block) < SMALLEST_BLOCK || block_size(block) % GRAIN)
		die("a block was overwritten");
}

/* NULL at the end of the region. */
static struct block *block_right(struct block *block)
{
	char *right = (char *)block + block_size(block);

	if (right == region.end)
		return NULL;
	if (right > region.end)
		die("a block was overwritten");
	block_check((struct block *)right);
	return (struct block *)right;
}

static struct block *block_left(struct block *block)
{
	struct block *left;

	if (!block->left_size)
		return NULL;
	if (block->left_size > (size_t)((char *)block - region.start))
		die("a block was overwritten");
	left = (struct block *)((char *)block - block->left_size);
	block_check(left);
	return left;
}

/* Sets the size of a block, and what its right neighbour knows of it. */
static void block_set_size(struct block *block, size_t size, size_t used_bit)
{
	struct block *right;

	block->size = size | used_bit;
	right = block_right(block);
	if (right)
		right->left_size = size;
}

static void list_add(struct block *block)
{
	struct free_links *links = block_links(block);

	links->next = region.free;
	links->previous = NULL;
	if (region.free)
		block_links(region.free)->previous = block;
	region.free = block;
}

/* Leaves the payload zero. */
static void list_remove(struct block *block)
{
	struct free_links *links = block_links(block);

	if (links->previous)
		block_links(links->previous)->next = links->next;
	else
		region.free = links->next;
	if (links->next)
		block_links(links->next)->previous = links->previous;
	memset(links, 0, sizeof(*links));
}

/* Cuts a used block to size, and makes the rest, which must be zero, a free block if it can be one. */
static void block_cut(struct block *block, size_t size)
{
	size_t rest_size = block_size(block) - size;
	struct block *rest, *right;

	if (rest_size < SMALLEST_BLOCK)
		return;
	rest = (struct block *)((char *)block + size);
	rest->guard = GUARD;
	rest->wanted = 0;
	rest->left_size = size;
	block->size = size | USED_BIT;
	block_set_size(rest, rest_size, 0);
	right = block_right(rest);
	if (right && !block_is_used(right)) {
		list_remove(right);
		rest_size += block_size(right);
		memset(right, 0, sizeof(*right));
		block_set_size(rest, rest_size, 0);
	}
	list_add(rest);
}

/* The size of a block for so many bytes; 0 when there can't be one. */
static size_t block_size_for(size_t size)
{
	size_t whole;

	/* Not less than one byte: every allocation has an address of its own. */
	if (__builtin_add_overflow(size ? size : 1, sizeof(struct block) + GRAIN - 1, &whole))
		return 0;
	return whole / GRAIN * GRAIN;
}

static struct block *find_best(size_t size)
{
	struct block *best = NULL;

	for (struct block *block = region.free; block; block = block_links(block)->next) {
		block_check(block);
		if (block_size(block) >= size && (!best || block_size(block) < block_size(best)))
			best = block;
		if (best && block_size(best) == size)
			break;
	}
	return best;
}

static void count_use(size_t more)
{
	region.used += more;
	if (region.used > region.peak)
		region.peak = region.used;
}

static void *alloc_locked(size_t wanted)
{
	size_t size = block_size_for(wanted);
	struct block *block = size && region.mapping && region.locked ? find_best(size) : NULL;

	if (!block) {
		region.refused++;
		return NULL;
	}
	list_remove(block);
	block->size |= USED_BIT;
	block_cut(block, size);
	block->wanted = wanted;
	region.count++;
	count_use(block_size(block));
	return block_payload(block);
}

static struct block *block_of(void *memory)
{
	struct block *block = (struct block *)memory - 1;

	if ((char *)block < region.start || (char *)memory >= region.end || (uintptr_t)memory % GRAIN)
		die("memory was freed that is not from here");
	block_check(block);
	if (!block_is_used(block))
		die("memory was freed twice");
	return block;
}

/*
 * Gives whole pages back to the machine; they come back as zeros. Kernels that can't do that keep them, wiped
 * as they are.
 */
static void give_back(char *start, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *first = (char *)(((uintptr_t)start + page - 1) / page * page);
	char *last = (char *)((uintptr_t)(start + size) / page * page);

	if (size >= GIVE_BACK_SIZE && last > first)
		(void)madvise(first, (size_t)(last - first), MADV_DONTNEED_LOCKED);
}

/* Before the neighbours are joined: only what this block used. */
static void block_wipe(struct block *block)
{
	size_t size = block_size(block) - sizeof(*block);

	explicit_bzero(block_payload(block), size);
	give_back(block_payload(block), size);
	block->wanted = 0;
}

static void free_locked(void *memory)
{
	struct block *block = block_of(memory), *right, *left;
	size_t size = block_size(block);

	(void)block_right(block); /* an overrun shows in the guard of the block behind */
	block_wipe(block);
	region.used -= size;
	region.count--;
	block->size = size;
	right = block_right(block);
	if (right && !block_is_used(right)) {
		list_remove(right);
		size += block_size(right);
		memset(right, 0, sizeof(*right));
		block_set_size(block, size, 0);
	}
	left = block_left(block);
	if (left && !block_is_used(left)) {
		list_remove(left);
		size += block_size(left);
		memset(block, 0, sizeof(*block));
		block = left;
		block_set_size(block, size, 0);
	}
	list_add(block);
}

/* Takes what is missing from a free block on the right. False when that is not possible. */
static bool grow_in_place(struct block *block, size_t size)
{
	struct block *right = block_right(block);
	size_t old_size = block_size(block), joined;

	if (!right || block_is_used(right) || old_size + block_size(right) < size)
		return false;
	list_remove(right);
	joined = old_size + block_size(right);
	memset(right, 0, sizeof(*right));
	block_set_size(block, joined, USED_BIT);
	block_cut(block, size);
	count_use(block_size(block) - old_size);
	return true;
}

/* Changes the size of a used block without moving it. False when it has to move. */
static bool resize_in_place(struct block *block, size_t wanted)
{
	size_t size = block_size_for(wanted), old_size = block_size(block);

	if (!size)
		return false;
	if (size > old_size && !grow_in_place(block, size))
		return false;
	/* Up to the end of the block: what is cut off must be zero. Nothing to do for what only grew. */
	if (wanted < block->wanted)
		explicit_bzero((char *)block_payload(block) + wanted, old_size - sizeof(*block) - wanted);
	if (size < old_size) {
		block_cut(block, size);
		region.used -= old_size - block_size(block);
	}
	block->wanted = wanted;
	return true;
}

void *secret_alloc(size_t size)
{
	void *memory;

	pthread_mutex_lock(&region.lock);
	memory = alloc_locked(size);
	pthread_mutex_unlock(&region.lock);
	return memory;
}

void secret_free(void *memory)
{
	if (!memory)
		return;
	pthread_mutex_lock(&region.lock);
	free_locked(memory);
	pthread_mutex_unlock(&region.lock);
}

void *secret_realloc(void *memory, size_t size)
{
	struct block *block;
	void *moved;

	if (!memory)
		return secret_alloc(size);
	pthread_mutex_lock(&region.lock);
	block = block_of(memory);
	if (resize_in_place(block, size)) {
		moved = memory;
	} else {
		moved = alloc_locked(size);
		if (moved) {
			memcpy(moved, memory, block->wanted);
			free_locked(memory);
		}
	}
	pthread_mutex_unlock(&region.lock);
	return moved;
}

void secret_statistics(struct secret_statistics *ret_statistics)
{
	pthread_mutex_lock(&region.lock);
	*ret_statistics = (struct secret_statistics){
		.locked = region.locked,
		.limit = (size_t)(region.end - region.start),
		.used = region.used,
		.peak = region.peak,
		.count = region.count,
		.refused = region.refused,
	};
	pthread_mutex_unlock(&region.lock);
}

/* What OpenSSL frees held keys and plaintext, and not all of its callers clean up. */
static void openssl_free(void *memory, const char *file, int line)
{
	(void)file;
	(void)line;
	if (!memory)
		return;
	explicit_bzero(memory, malloc_usable_size(memory));
	free(memory);
}

static void *openssl_malloc(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return malloc(size);
}

/* Not realloc(), which would leave what it moves behind. */
static void *openssl_realloc(void *memory, size_t size, const char *file, int line)
{
	size_t old_size;
	void *moved;

	if (!memory)
		return malloc(size);
	if (!size) {
		openssl_free(memory, file, line);
		return NULL;
	}
	moved = malloc(size);
	if (!moved)
		return NULL;
	old_size = malloc_usable_size(memory);
	memcpy(moved, memory, old_size < size ? old_size : size);
	openssl_free(memory, file, line);
	return moved;
}

/* Once for the life of the program: OpenSSL takes it only before its first allocation. */
static int watch_openssl(struct call *call)
{
	static bool watched;

	if (!watched && CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) != 1)
		return call_fail(call, -EBUSY, "OpenSSL was used before the memory for secrets was set up");
	watched = true;
	return 0;
}

static int fail_with_errno(struct call *call, const char *what)
{
	int error = errno;
	char text[128];

	return call_fail(call, -error, "%s: %s", what, strerror_r(error, text, sizeof(text)));
}

static int forbid_dumps(struct call *call)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return fail_with_errno(call, "can't forbid core files");
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return fail_with_errno(call, "can't forbid dumps");
	return 0;
}

/* As far as it goes: whether it was enough, mlock() tells, because some privileges make the limit void. */
static void raise_lock_limit(size_t needed)
{
	struct rlimit limit, raised;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur >= needed)
		return;
	raised.rlim_cur = needed;
	raised.rlim_max = limit.rlim_max > needed ? limit.rlim_max : needed;
	if (setrlimit(RLIMIT_MEMLOCK, &raised) == 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_MEMLOCK, &limit);
}

/* Pages are locked when they are first touched; the limit is asked for all of them now. */
static int lock_pages(void *start, size_t size)
{
	if (mlock2(start, size, MLOCK_ONFAULT) == 0)
		return 0;
	return errno == ENOSYS || errno == EINVAL ? mlock(start, size) : -1;
}

static int fail_to_lock(size_t size, struct call *call)
{
	int error = errno;
	struct rlimit limit = { 0, 0 };
	char text[128];

	(void)getrlimit(RLIMIT_MEMLOCK, &limit);
	if (error == ENOMEM || error == EPERM || error == EAGAIN)
		return call_fail(call, -EPERM,
				 "can't lock %zu KiB of memory for secrets: RLIMIT_MEMLOCK is %llu KiB; raise it "
				 "(LimitMEMLOCK= of the systemd unit, memlock in limits.conf, ulimit -l)",
				 size / 1024, (unsigned long long)limit.rlim_cur / 1024);
	return call_fail(call, -error, "can't lock memory for secrets: %s", strerror_r(error, text, sizeof(text)));
}

static int map_region(size_t size, struct call *call)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), mapping_size = size + 2 * page;
	char *mapping = mmap(NULL, mapping_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int error = 0;

	if (mapping == MAP_FAILED)
		return fail_with_errno(call, "can't get memory for secrets");
	if (mprotect(mapping + page, size, PROT_READ | PROT_WRITE) < 0 ||
	    madvise(mapping + page, size, MADV_DONTDUMP) < 0)
		error = fail_with_errno(call, "can't protect the memory for secrets");
	else if (lock_pages(mapping + page, size) < 0)
		error = fail_to_lock(size, call);
	if (error) {
		munmap(mapping, mapping_size);
		return error;
	}
	region.mapping = mapping;
	region.mapping_size = mapping_size;
	region.start = mapping + page;
	region.end = region.start + size;
	return 0;
}

static void before_fork(void)
{
	pthread_mutex_lock(&region.lock);
}

static void after_fork_in_parent(void)
{
	pthread_mutex_unlock(&region.lock);
}

static void after_fork_in_child(void)
{
	if (region.mapping)
		region.locked = lock_pages(region.start, (size_t)(region.end - region.start)) == 0;
	pthread_mutex_unlock(&region.lock);
}

static void watch_forks(void)
{
	(void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

static int set_up(size_t limit, struct call *call)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size;
	struct block *whole;
	int error;

	if (region.mapping)
		return call_fail(call, -EALREADY, "the memory for secrets is set up already");
	/* Two guard pages must fit beside it, and it must hold something. */
	if (limit == 0 || limit > PTRDIFF_MAX - 3 * page)
		return call_fail(call, -EINVAL, "%zu bytes can't be the size of the memory for secrets", limit);
	size = (limit + page - 1) / page * page;
	raise_lock_limit(size);
	error = map_region(size, call);
	if (error)
		return error;
	whole = (struct block *)region.start;
	whole->guard = GUARD;
	whole->size = size;
	region.free = NULL;
	list_add(whole);
	region.locked = true;
	region.used = region.peak = region.count = 0;
	region.refused = 0;
	return 0;
}

int secret_init(size_t limit, struct call *call)
{
	static pthread_once_t forks_watched = PTHREAD_ONCE_INIT;
	int error = watch_openssl(call);

	if (!error)
		error = forbid_dumps(call);
	if (error)
		return error;
	pthread_once(&forks_watched, watch_forks);
	pthread_mutex_lock(&region.lock);
	error = set_up(limit, call);
	pthread_mutex_unlock(&region.lock);
	return error;
}

void secret_shutdown(void)
{
	pthread_mutex_lock(&region.lock);
	if (region.mapping) {
		explicit_bzero(region.start, (size_t)(region.end - region.start));
		munmap(region.mapping, region.mapping_size);
	}
	region.mapping = region.start = region.end = NULL;
	region.mapping_size = 0;
	region.free = NULL;
	region.locked = false;
	region.used = region.count = 0;
	pthread_mutex_unlock(&region.lock);
}
