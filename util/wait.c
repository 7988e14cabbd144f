/*
 * The count of reasons not to wait, in builds that have it.
 */
#include "util/wait.h"

#ifdef NACOSFS_CHECKED

#include <stdlib.h>

#include "util/log.h"

static _Thread_local unsigned reason_count;

void wait_forbid(void)
{
	reason_count++;
}

void wait_allow(void)
{
	if (reason_count == 0) {
		log_error("a bug: wait_allow() without wait_forbid()");
		log_flush();
		abort();
	}
	reason_count--;
}

void wait_check(const char *what)
{
	if (reason_count == 0)
		return;
	log_error("a bug: a thread that may not wait would wait for %s", what);
	log_flush();
	abort();
}

#endif
