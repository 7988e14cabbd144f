/*
 * May this thread wait? A guard for what must not happen anywhere below: that a thread waits for a server, a disk, another
 * process or the network while it holds a lock that all requests need, or while it is one that receives the requests of the
 * kernel. Each thread counts the reasons why it may not wait just now:
 *
 *	lock:      pthread_mutex_lock(&tree->lock); wait_forbid();
 *	unlock:    wait_allow(); pthread_mutex_unlock(&tree->lock);
 *	receiver:  wait_forbid(); for as long as the thread lives
 *
 * and every door behind which somebody may wait says so first:
 *
 *	int store_get(...)
 *	{
 *		wait_check("an answer of the server");
 *		...
 *
 * Who waits on a condition of the very lock that forbids it gives that lock up meanwhile, and says so:
 *
 *	wait_allow();
 *	error = call_wait(call, &tree->changed, &tree->lock);
 *	wait_forbid();
 *
 * A thread that has another reason besides (a receiver) is caught there too.
 *
 * Only builds with -DNACOSFS_CHECKED count (`make checked`, the unit tests, the builds with sanitizers): there wait_check()
 * ends the program with a line that names what would be waited for. Elsewhere all this is nothing.
 *
 * Safe from any thread; each thread has its own count, which begins at zero.
 */
#ifndef NACOSFS_UTIL_WAIT_H
#define NACOSFS_UTIL_WAIT_H

#ifdef NACOSFS_CHECKED

/* One reason more, and one less: they come in pairs, in the same thread. */
void wait_forbid(void);
void wait_allow(void);

/* Aborts if the thread may not wait. what: "an answer of the server"; the line says "would wait for" before it. */
void wait_check(const char *what);

#else

static inline void wait_forbid(void)
{
}

static inline void wait_allow(void)
{
}

static inline void wait_check(const char *what)
{
	(void)what;
}

#endif

#endif
