/*
 * The answer of the HTTP listener: the names of configs whose text is not the one that was told. Pure functions.
 *
 * The body is percent-encoded once (seen on 1.4.1, 2.2.4 and 3.1.0), and empty when nothing differs:
 *
 *	dataId %02 group [%02 namespace] %01 ... LF
 */
#ifndef NACOSFS_NACOS_POLL_ANSWER_H
#define NACOSFS_NACOS_POLL_ANSWER_H

#include <stddef.h>

#include "model/place.h"
#include "util/buffer.h"

/*
 * Goes through the names in body, which is decoded in place for that: body must be filled by the caller once, and
 * offset be 0 at first. 1: *ret_place is the next one, counted for the caller; 0: there are no more; -EBADMSG: this is no such
 * answer; -ENOMEM.
 */
int nacos_poll_answer_next(struct buffer *body, size_t *offset, struct place **ret_place);

#endif
