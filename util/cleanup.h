/*
 * Cleanup attributes: `cleanup_free char *name = NULL;` frees at the end of the scope. Each module that owns a type
 * offers one of its own (cleanup_buffer, ...).
 */
#ifndef NACOSFS_UTIL_CLEANUP_H
#define NACOSFS_UTIL_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_pointer(void *pointer)
{
	free(*(void **)pointer);
}

static inline void cleanup_close_descriptor(const int *descriptor)
{
	if (*descriptor >= 0)
		close(*descriptor);
}

#define cleanup_free __attribute__((cleanup(cleanup_free_pointer)))
#define cleanup_close __attribute__((cleanup(cleanup_close_descriptor)))

/* Takes the value out of a pointer variable that has a cleanup, leaving NULL. */
#define steal_pointer(pointer)                       \
	({                                           \
		__typeof__(pointer) stolen_ = (pointer); \
		(pointer) = NULL;                    \
		stolen_;                             \
	})

#endif
