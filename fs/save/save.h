/*
 * A save: bytes of a user on their way to the store. There is this one way, for a close, an fsync,
 * a truncate, a grace that ends, a temp file that is renamed onto a config, and a config that is
 * moved:
 *
 *	struct save save = { .place = place };
 *	error = save_begin(saver, call, &save, also)   waits till nothing else is under way there, and marks the place
 *	... fill in what is to be saved ...
 *	error = save_run(saver, call, &save)           asks the store; the lock is given up meanwhile
 *	... show what the store has now (save.version) ...
 *	save_end(saver, call, &save)                   takes the marks away; what could not be saved is kept
 *	save_release(&save)
 *
 * What came of it is in the save between run and end; bytes that are written meanwhile are the
 * caller's, and stay unsaved.
 *
 * All functions want tree->lock; save_begin(), save_run(), save_end() and what is built of them
 * give it up.
 */
#ifndef NACOSFS_FS_SAVE_SAVE_H
#define NACOSFS_FS_SAVE_SAVE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "fs/save/saver.h"
#include "model/place.h"
#include "model/version.h"
#include "util/buffer.h"

struct save {
	struct place *place; /* where to; not owned, but held while it is marked */
	struct place *also; /* marked with it: where it comes from; NULL: nothing */
	bool is_begun;

	/* What is to be saved. */
	struct buffer content;
	struct version *base; /* what the store must have there; NULL: nothing */
	bool blind; /* what is there can't be read */
	struct place *metadata_of; /* as in struct put; not owned */
	struct writer writer;

	/* What came of it. */
	int error;
	struct version *version; /* what the store has now */
	struct version *theirs; /* what it has instead, where that is why it failed */
	bool is_kept; /* the text is to be kept when it ends, as it could not be saved */
};

/*
 * Marks the place, and also (NULL: none), as soon as neither is marked. 0, -ETIMEDOUT, -EINTR,
 * -ENOMEM.
 */
int save_begin(struct saver *saver, struct call *call, struct save *save, struct place *also) LOCKED;

/* Waits until nothing is under way there. 0, -ETIMEDOUT or -EINTR. */
int save_wait(struct saver *saver, struct call *call, struct place *place) LOCKED;

/* Puts it into the store: save->version, or what the store says, with a line in the log. */
int save_run(struct saver *saver, struct call *call, struct save *save) LOCKED;

/*
 * It failed before the store was asked: with that error, and the reason in the call; theirs: what
 * the store has instead, NULL: not known. Returns the error.
 */
int save_refuse(struct save *save, int error, struct version *theirs) LOCKED;

/* Keeps the text where that is to be (reason: in the call), and takes the marks away. */
void save_end(struct saver *saver, struct call *call, struct save *save) LOCKED;

/* Frees what is in it. */
void save_release(struct save *save) LOCKED;
#define cleanup_save __attribute__((cleanup(save_release)))

/*
 * Shows what the store has now, saved from here: a draft as it was at that change
 * (config->change_count), with that time. Changes that were written since stay unsaved, on the new
 * base.
 */
void save_show(struct node *node, struct version *version, uint64_t change, struct timespec modified)
	LOCKED;

/* Is that what the version has? NULL has nothing. */
bool save_is_content_of(const struct version *version, const struct buffer *content) LOCKED;

/*
 * Saves the draft of a config: waits for a save that is under way; nothing to do: 0. An empty one:
 * -EINVAL, and the draft stays. What is written meanwhile stays unsaved, on the new base. What
 * can't be saved is kept, and the draft stays.
 */
int save_draft(struct saver *saver, struct call *call, struct held *node) LOCKED;

/* Keeps what was written and not saved of all configs, at the end. */
void save_keep_all(struct saver *saver) LOCKED;

#endif
