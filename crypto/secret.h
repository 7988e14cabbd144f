/*
 * Memory for secrets: passwords, keys, tokens, and the plaintext of configs that are stored encrypted.
 *
 * All of it is one region of fixed size: locked (never in swap), left out of core files, with a page that can't
 * be touched on either side. What is freed is overwritten at once, and what is allocated is zero. The size of
 * the region is the cap: what does not fit is refused (NULL, -ENOMEM), it never goes elsewhere. Pages are only
 * taken from the machine as they are used, and large freed pieces are given back.
 *
 *	secret_init -> secret_alloc, secret_free, ... (any thread) -> secret_shutdown
 *
 * secret_init() belongs at the very start of the program, before the first secret is read, before threads, and
 * before anything uses OpenSSL or libcurl: from then on also OpenSSL overwrites all it frees. OpenSSL's own
 * temporaries (cipher and signature contexts, TLS records) are in ordinary memory that is not locked, for the
 * length of one operation; nothing that lasts is kept there: private keys are kept here as DER and parsed anew
 * for each signature.
 *
 * fork() doesn't inherit locks; the child locks its copy anew, and where that fails it gets no more memory from
 * here and secret_statistics() says so. A program that forks to become a daemon looks at that afterwards.
 *
 * One mutex guards the region; it is held for no longer than an allocation takes.
 */
#ifndef NACOSFS_CRYPTO_SECRET_H
#define NACOSFS_CRYPTO_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "util/call.h"

struct secret_statistics {
	bool locked; /* false: before secret_init(), or a fork whose child could not lock its copy */
	size_t limit; /* bytes of the region */
	size_t used; /* bytes of it that are allocated, with what the allocator adds */
	size_t peak; /* the most that used ever was */
	size_t count; /* allocations alive */
	unsigned long refused; /* allocations that did not fit */
};

/*
 * Forbids core files and debuggers of other processes (RLIMIT_CORE, PR_SET_DUMPABLE), and sets up the region of
 * limit bytes, rounded up to pages. Raises RLIMIT_MEMLOCK where that is allowed.
 *
 * -EPERM     RLIMIT_MEMLOCK is too small; the reason says how much is needed and what to do
 * -EALREADY  there is a region already
 * -EBUSY     OpenSSL was used before
 * -ENOMEM, or the errno of a system call
 */
int secret_init(size_t limit, struct call *call);

/* Wipes and unmaps the region. Nothing in it may be in use; no other thread may be in this module. */
void secret_shutdown(void);

void secret_statistics(struct secret_statistics *ret_statistics);

/* size bytes of zeros, aligned for anything. NULL when they don't fit, and before secret_init(). */
void *secret_alloc(size_t size);

/* As realloc(): may move. New bytes are zero, cut ones are wiped. On failure (NULL) memory is untouched. */
void *secret_realloc(void *memory, size_t size);

/* Wipes and frees; NULL is fine. Memory that is not from here, or was overrun, ends the program. */
void secret_free(void *memory);

static inline void secret_free_pointer(void *pointer)
{
	secret_free(*(void **)pointer);
}
#define cleanup_secret_free __attribute__((cleanup(secret_free_pointer)))

#endif
