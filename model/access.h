/*
 * Who may do what at one place, for users and groups of this machine. Immutable once made, shared by counted pointers.
 */
#ifndef NACOSFS_MODEL_ACCESS_H
#define NACOSFS_MODEL_ACCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Bits, as in a mode. In a directory: to list it, to create at least some names in it, to get at what is in it. */
#define RIGHT_READ 4U
#define RIGHT_WRITE 2U
#define RIGHT_ENTER 1U

struct access_entry {
	bool is_group;
	unsigned id; /* a uid or gid */
	unsigned rights; /* not 0 */
};

struct access {
	atomic_uint references;
	size_t count;
	struct access_entry entries[]; /* users, then groups, by id */
};

/* NULL stays NULL. */
struct access *access_hold(struct access *access);
void access_drop(struct access *access); /* frees it with the last holder */

static inline void access_drop_pointer(struct access **access)
{
	access_drop(*access);
}
#define cleanup_access __attribute__((cleanup(access_drop_pointer)))

/* What that user or group has an entry for; 0 without one. */
unsigned access_rights(const struct access *access, bool is_group, unsigned id);

#endif
