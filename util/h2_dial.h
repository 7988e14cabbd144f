/*
 * From a host's name to a connected socket, without waiting: its addresses one after the other,
 * each with its share of the time, so that one that is silent does not use up what the others need.
 *
 *	h2_dial_new -> poll() as h2_dial_prepare_poll() says, h2_dial_process() -> h2_dial_free
 *
 * Belongs to one thread. A name is looked up by a thread of its own, which can take as long as the
 * system's resolver likes: h2_dial_free() leaves it to itself.
 */
#ifndef NACOSFS_UTIL_H2_DIAL_H
#define NACOSFS_UTIL_H2_DIAL_H

#include <poll.h>
#include <stdint.h>

#include "util/call.h"

struct h2_dial;

/* host is a name or an address, IPv6 without brackets. 0, or -ENOMEM and the like. */
int h2_dial_new(const char *host, unsigned port, struct call *call, struct h2_dial **ret_dial);
void h2_dial_free(struct h2_dial *dial);

/*
 * Goes on. 0 and a connected, non-blocking socket (now the caller's), -EAGAIN, -EHOSTUNREACH, or
 * what call_check() says: the deadline of the call is that of the whole.
 */
int h2_dial_process(struct h2_dial *dial, struct call *call, int *ret_descriptor);

/* What to poll for, and the moment at which to go on even if that does not happen. */
void h2_dial_prepare_poll(const struct h2_dial *dial, struct pollfd *ret_poll,
			  int64_t *ret_deadline_ms);

#endif
