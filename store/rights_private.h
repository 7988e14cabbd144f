/*
 * The inside of struct rights, for the files that make it up: rights.c (what is known, and asking), rights_user.c (users of this
 * machine), rights_store.c (the layer: refusing, and learning from what passes through). Nobody else includes this.
 */
#ifndef NACOSFS_STORE_RIGHTS_PRIVATE_H
#define NACOSFS_STORE_RIGHTS_PRIVATE_H

#include <pthread.h>

#include "store/rights.h"
#include "util/thread.h"

enum rights_answer { ANSWER_UNKNOWN, ANSWER_NO, ANSWER_YES };

/* What is known of one right at one place. */
struct rights_known {
	enum rights_answer answer;
	int64_t fresh_until_ms;
	bool asking; /* somebody is asking the layer below */
};

enum rights_kind { KIND_READ, KIND_WRITE, KIND_COUNT };

struct rights_node {
	struct place_entry place_entry; /* first */
	struct rights_node *parent; /* NULL: where namespaces are */
	struct rights_known known[KIND_COUNT];
	size_t children;
	size_t writable_below; /* places in it where writing is granted */
	unsigned users; /* pointers to it that are held while the lock is not */
	int64_t used_ms; /* when somebody last wanted to know */
};

struct rights {
	struct store store; /* first: the layer of the stack */
	struct rights_options options;

	pthread_mutex_t lock; /* all below; never held while lower works */
	pthread_cond_t answered; /* an answer came; the thread has something to do */
	struct table nodes; /* by place; that of the top is always there */
	unsigned asking_count;
	unsigned long question_count;
	int64_t outage_until_ms; /* nobody asks before */
	struct rights_users users; /* without find: they don't count; constant once the thread runs */
	int64_t users_due_ms; /* when what they may do is read again */
	struct thread thread;
	bool stopping;
	int64_t tell_at_ms; /* when changed() is called, if is_changed */
	bool is_changed; /* since the last call of changed() */
	void (*changed)(void *arg); /* constant once the thread runs */
	void *changed_arg;
};

extern const struct store_operations rights_operations;

/*
 * Is the right known, and fresh? 0: it is granted; -EACCES: it is not; -EAGAIN: it has to be asked for. No lock.
 */
int rights_known_answer(struct rights *rights, struct place *place, enum rights_kind kind);

/*
 * What came of using a config: it was done, or refused with -EACCES (other errors say nothing). No lock.
 */
void rights_learn(struct rights *rights, struct place *place, enum rights_kind kind, int error);

/* A change was refused, by which right is not clear: both are asked for anew when somebody wants to know. No lock. */
void rights_doubt(struct rights *rights, struct place *place);

#endif
