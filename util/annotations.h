/*
 * What clang's -Wthread-safety is told of locks (`make locks`); nothing for other compilers.
 *
 * A lock is a `struct mutex` (util/mutex.h), or a type of one's own that is marked CAPABILITY("..."); pthread_mutex_t can't
 * be marked. What it guards and who needs it is said where that is declared:
 *
 *	struct table {
 *		struct mutex lock;
 *		size_t count GUARDED_BY(&lock);
 *	};
 *
 *	static void table_grow(struct table *table) REQUIRES(&table->lock);
 *
 * The arguments are pointers to locks. GUARDED_BY on a member that names another member needs clang 22; older ones check the
 * rest. Where the code is right and clang can't see why (a lock that is taken in one function and given up in another, an
 * object that nobody else has yet), the function says NO_LOCK_ANALYSIS, and a comment why.
 */
#ifndef NACOSFS_UTIL_ANNOTATIONS_H
#define NACOSFS_UTIL_ANNOTATIONS_H

#ifdef __clang__
#define ANNOTATION(...) __attribute__((__VA_ARGS__))
#else
#define ANNOTATION(...)
#endif

#if defined(__clang__) && __clang_major__ >= 22
#define MEMBER_ANNOTATION(...) ANNOTATION(__VA_ARGS__)
#else
#define MEMBER_ANNOTATION(...)
#endif

/* Types and data: this type is a lock; this variable or member, or what this pointer points to, is touched with it only. */
#define CAPABILITY(name) ANNOTATION(capability(name))
#define GUARDED_BY(...) MEMBER_ANNOTATION(guarded_by(__VA_ARGS__))
#define POINTER_GUARDED_BY(...) MEMBER_ANNOTATION(pt_guarded_by(__VA_ARGS__))

/* Functions: takes the lock and returns with it; gives it up; is called with it; must not be called with it. */
#define ACQUIRE(...) ANNOTATION(acquire_capability(__VA_ARGS__))
#define TRY_ACQUIRE(...) ANNOTATION(try_acquire_capability(__VA_ARGS__)) /* first argument: what it returns when it has it */
#define RELEASE(...) ANNOTATION(release_capability(__VA_ARGS__))
#define REQUIRES(...) ANNOTATION(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) ANNOTATION(locks_excluded(__VA_ARGS__))

/* The function finds out at run time that the lock is held, or ends the program. */
#define ASSERT_HELD(...) ANNOTATION(assert_capability(__VA_ARGS__))

#define NO_LOCK_ANALYSIS ANNOTATION(no_thread_safety_analysis)

#endif
