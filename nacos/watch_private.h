/*
 * The inside of a struct nacos_watch, for watch.c (what callers want), watch_feed.c (what feeders note), watch_report.c (the
 * thread that tells of it), and the feeders: nacos/grpc/ and nacos/poll/. Nobody else includes this.
 *
 * All is under watch->lock, but what never changes.
 *
 * A feeder has a part of each entry: a struct of its own that begins with a struct nacos_watch_part, and is allocated and freed
 * here. It keeps its parts in lists, which say what is to be done with them. An entry lives as long as it is wanted or a
 * feeder has a part of it.
 *
 *	nacos_watch_attach -> want, tell, unwant as callers wish; notes of the feeder, from any thread of its
 *	-> its threads end -> nacos_watch_detach
 */
#ifndef NACOSFS_NACOS_WATCH_PRIVATE_H
#define NACOSFS_NACOS_WATCH_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nacos/watch.h"
#include "util/hash.h"
#include "util/table.h"
#include "util/worker.h"

struct nacos_watch_part;

/* In the order in which they came. */
struct nacos_watch_list {
	struct nacos_watch_part *first, **end;
	size_t count;
};

struct nacos_watch_part {
	struct nacos_watch_entry *entry;
	struct nacos_watch_list *list; /* NULL: it is in none */
	struct nacos_watch_part *next, **link;
	bool is_refused; /* the server does not let us watch it; the caller was, or will be told */
};

struct nacos_watch_entry {
	struct table_link link; /* first; the hash is the place's */
	struct place *place; /* held */
	char md5[HASH_MD5_HEX_SIZE];
	uint64_t md5_tick; /* when that was told */
	bool is_wanted; /* false: a feeder has yet to tell the server */
	struct nacos_watch_part *parts[NACOS_WATCH_WAYS]; /* NULL: that feeder has none */

	struct nacos_watch_part report; /* in watch->reports, if there is anything to tell */
	bool is_changed, is_refusal; /* that is to be told */
};

struct nacos_watch_names {
	struct nacos_watch_names *next;
	char *namespace_id;
	bool is_wanted;
	int error; /* how it went with telling the server */
	bool is_settled; /* the caller was, or will be told how that went: nothing has happened since */
	bool has_news; /* he is to be told */

	/* For gRPC. */
	bool is_tried; /* since the last comparison */
	bool is_told; /* the server has it, on this connection */
};

/* A name that appeared or vanished. */
struct nacos_watch_named {
	struct nacos_watch_named *next;
	struct place *place; /* held */
	bool exists;
};

struct nacos_watch_feeder;

/* All with the lock held, which is kept. */
struct nacos_watch_feeder_kind {
	enum nacos_watch_way way;
	size_t part_size;

	/* The entry of this part is wanted: since now, or again. */
	void (*want)(struct nacos_watch_feeder *feeder, struct nacos_watch_part *part);
	/* Its caller has told an MD5, which is another one than before, or the same. */
	void (*tell)(struct nacos_watch_feeder *feeder, struct nacos_watch_part *part, bool is_other);
	/* It is not wanted any more. False: the part must stay until nacos_watch_let_go(). */
	bool (*unwant)(struct nacos_watch_feeder *feeder, struct nacos_watch_part *part);
	/* Would a change be told? */
	bool (*tells)(const struct nacos_watch_feeder *feeder, const struct nacos_watch_part *part);
	/* There may be something to do. */
	void (*wake)(struct nacos_watch_feeder *feeder);
};

/* Begins the struct of a feeder. */
struct nacos_watch_feeder {
	const struct nacos_watch_feeder_kind *kind;
	struct nacos_watch *watch;
	bool is_live;
};

struct nacos_watch {
	const struct nacos_watch_events *events; /* NULL: nobody is told */
	void *arg;
	struct worker reporter;

	pthread_mutex_t lock;
	pthread_cond_t live_changed; /* that of a feeder, or the set was stopped; on the monotonic clock */
	struct table entries;
	size_t wanted_count;
	uint64_t tick; /* grows with everything that happens */
	struct nacos_watch_feeder *feeders[NACOS_WATCH_WAYS]; /* NULL: it is not there */
	struct nacos_watch_names *namespaces; /* never freed before the set: there are few, and they come back */

	/* To report. */
	struct nacos_watch_list reports; /* of the entries' own parts */
	struct nacos_watch_named *named, **named_end;
	size_t named_count;
	bool is_live; /* one of the feeders is */
	bool was_lost; /* it was not for a moment */
	bool is_told_live;
};

static inline void nacos_watch_lock(struct nacos_watch *watch)
{
	pthread_mutex_lock(&watch->lock);
}

static inline void nacos_watch_unlock(struct nacos_watch *watch)
{
	pthread_mutex_unlock(&watch->lock);
}

/* The rest is called with the lock held, but where something else is said. */

/* ---- watch.c ---- */

/* NULL: it is not in the set; it may be there and not be wanted. */
struct nacos_watch_entry *nacos_watch_find(const struct nacos_watch *watch, const struct place *place);

/* Frees the entry if it is not wanted, and no feeder has a part of it. */
void nacos_watch_drop_unused(struct nacos_watch *watch, struct nacos_watch_entry *entry);

/* ---- watch_feed.c ---- */

void nacos_watch_list_init(struct nacos_watch_list *list);

/* Moves the part to the end of the list (NULL: of none). */
void nacos_watch_move(struct nacos_watch_part *part, struct nacos_watch_list *list);

/* Without the lock. What is wanted is given to the feeder. 0 or -ENOMEM. */
int nacos_watch_attach(struct nacos_watch *watch, const struct nacos_watch_feeder_kind *kind,
		       struct nacos_watch_feeder *feeder);

/* Without the lock, when none of its threads is there any more. Does nothing for one that was not attached. */
void nacos_watch_detach(struct nacos_watch_feeder *feeder);

/* The parts of a wanted entry, from feeders that have none yet. 0 or -ENOMEM. */
int nacos_watch_give_parts(struct nacos_watch *watch, struct nacos_watch_entry *entry);

/* Frees the part, out of any list; with it perhaps the entry. */
void nacos_watch_let_go(struct nacos_watch_feeder *feeder, struct nacos_watch_part *part);

/* The text of the entry is not that of its MD5 any more. Nothing when it is not wanted. */
void nacos_watch_note_change(struct nacos_watch *watch, struct nacos_watch_entry *entry);

/* The server does not let us watch it, or does. */
void nacos_watch_note_refusal(struct nacos_watch *watch, struct nacos_watch_part *part, bool is_refused);

/* How it went with watching the names: the caller is told. */
void nacos_watch_note_names(struct nacos_watch *watch, struct nacos_watch_names *names, int error);

/* Names have come and gone without a word: callers compare. */
void nacos_watch_note_names_lost(struct nacos_watch *watch);

/* A name appeared or vanished (place NULL: which one is not known, for lack of memory). */
void nacos_watch_note_named(struct nacos_watch *watch, struct place *place, bool exists);

void nacos_watch_note_live(struct nacos_watch_feeder *feeder, bool is_live);

/* ---- watch_report.c ---- */

/* The work of the reporter. */
int64_t nacos_watch_report(void *watch);

#endif
