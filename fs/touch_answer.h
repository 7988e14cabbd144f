/*
 * What the toucher is answered (fs/follow/toucher.h): from memory; nothing is changed, and nobody
 * waited for.
 */
#ifndef NACOSFS_FS_TOUCH_ANSWER_H
#define NACOSFS_FS_TOUCH_ANSWER_H

#include "fs/door.h"

int touch_answer_lookup(struct request *request) LOCKED;
int touch_answer_getattr(struct request *request) LOCKED;
int touch_answer_setattr(struct request *request) LOCKED;
int touch_answer_open(struct request *request) LOCKED;
int touch_answer_create(struct request *request) LOCKED;
int touch_answer_mkdir(struct request *request) LOCKED;
int touch_answer_remove(struct request *request) LOCKED;

/* LOOKUP in the root, by somebody who may be the toucher that is not known yet. */
int touch_answer_first_lookup(struct request *request) LOCKED;

#endif
