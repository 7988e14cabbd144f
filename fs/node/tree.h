/*
 * The names in the mount: one node for each directory, config and scratch file, with an inode number that is never
 * reused.
 *
 * A node is linked while it has a name. Linked nodes stay for the life of the mount, so that inode numbers are stable; an
 * unlinked one is freed when the kernel has forgotten it (lookup count) and nobody here uses it (references).
 *
 * One lock, tree->lock, guards all nodes and what hangs on them: drafts, scratch content, handles. It is held for moments
 * only: never while a store is asked, never while the kernel is called. Functions whose comment does not say otherwise
 * want the lock to be held. What one thread does to a node over a longer time (a commit) is a state of the node; others
 * wait on tree->changed.
 */
#ifndef NACOSFS_FS_NODE_TREE_H
#define NACOSFS_FS_NODE_TREE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "model/place.h"
#include "model/version.h"
#include "util/buffer.h"
#include "util/call.h"

struct draft;
struct handle;
struct listing;

enum node_kind {
	NODE_ROOT, /* lists namespaces; or is itself the namespace or group that SOURCE names */
	NODE_NAMESPACE,
	NODE_GROUP,
	NODE_CONFIG,
	NODE_SCRATCH_FILE, /* in memory only, belongs to the user who made it */
	NODE_SCRATCH_LINK,
	NODE_SCRATCH_DIRECTORY,
	NODE_STATUS, /* .nacosfs/status */
};

/* Who writes: for ownership of what is kept, and for recognising a program that cleans up after its own failure. */
struct writer {
	pid_t process; /* 0: nobody in particular */
	uid_t uid;
	gid_t gid;
};

struct node {
	uint64_t id; /* the inode number */
	enum node_kind kind;
	struct node *parent; /* NULL: the root, or unlinked */
	char *name;
	/*
	 * What the store knows it by: of the root, namespaces, groups and configs. It stays after the node is unlinked, so a node
	 * that is gone can be asked too. NULL: it is none of the store's.
	 */
	struct place *place;
	uint64_t lookup_count; /* how often the kernel was told of it */
	unsigned references; /* open handles and background work */
	struct node *next_by_id, *next_by_name; /* in the buckets */

	/* Directories. */
	struct node *first_child;
	struct node *previous_sibling, *next_sibling;
	size_t child_count;
	bool hidden; /* not listed */
	bool has_secrets; /* a config in it that is stored encrypted was opened: scratch files may hold its text */
	bool local; /* a group or namespace that mkdir made or an option names: not on the server yet */
	struct listing *merged; /* the listing whose names are among the children */
	bool names_listed; /* somebody has listed it: its names are compared from time to time */
	bool names_complete; /* the children are all there are: the store has told of any other since */
	bool names_due; /* its names are to be compared now */

	/* What the last listing of the parent said. */
	bool listed;
	char listed_md5[HASH_MD5_HEX_SIZE];

	/* What the kernel has of it (notify.h). */
	bool given_long; /* an answer that it may believe for long */
	bool noticed; /* in the queue of what it is to forget */
	unsigned char wake; /* what is to be raised then */
	struct node *next_noticed;

	/* All: what stat shows. */
	/*
	 * Permission bits. Of what the store has, those that chmod left: what is shown is what is granted of them
	 * (attributes_mode()).
	 */
	mode_t mode;
	mode_t shown_mode; /* what somebody was told last, of the store's; with S_IFMT */
	uid_t uid;
	gid_t gid;
	struct timespec modified, changed;

	/* Configs. */
	bool stored; /* the server has a config of this name, as far as known */
	bool unreadable; /* the server refused to let this account read it */
	uint64_t size; /* of the content that is shown, like md5; valid where md5 is not "" */
	char md5[HASH_MD5_HEX_SIZE];
	uint64_t shown_serial; /* of the version shown: older ones that come late are not shown any more */
	unsigned remote_changes; /* how often the content was changed by somebody else */
	int64_t remote_changed_ms; /* when that was last seen, monotonic */
	struct draft *draft; /* NULL: nobody is writing */
	struct handle *writers; /* open handles that may write */
	struct version *last_commit; /* what was last saved here, while there are writers */
	uint64_t change_count, committed_change; /* numbers of the last change to the draft, and of the last saved one */
	bool committing;
	bool deferred; /* a new name that looks like a temp file: saved only after a grace */
	pid_t failed_process; /* whose save of this config failed last; 0: none since the last success */
	int64_t failed_ms; /* when, monotonic */
	char *error_text; /* why it failed; NULL: it did not */

	/*
	 * Scratch files and links (its target). Of configs it is empty, and only says in what memory their text must be:
	 * that for secrets where they are stored encrypted.
	 */
	struct buffer content;
	int64_t created_ms; /* monotonic */
	int error; /* a failed write or close: must not become a config */
};

/* A config that was seen to be gone from the server. */
struct vanished {
	uint64_t parent_id;
	char *name; /* NULL: unused */
	int64_t seen_ms; /* monotonic */
};

#define VANISHED_COUNT 64 /* how many are remembered */

struct tree {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a node stopped committing, a removal ended */
	struct node *root;
	uint64_t next_id;
	struct node **by_id, **by_name;
	size_t bucket_count; /* of each */
	size_t node_count;

	struct vanished vanished[VANISHED_COUNT]; /* the last ones */
	unsigned vanished_next;

	size_t scratch_size, scratch_count; /* bytes and files in memory */
};

/* Makes a tree whose root is as deep as namespace_id and group say (kept, not copied). No lock. 0 or -ENOMEM. */
int tree_init(struct tree *tree, const char *namespace_id, const char *group);
void tree_destroy(struct tree *tree);

/* What the children of a directory are: the kind of the node as the store sees it. */
enum directory_level {
	LEVEL_NAMESPACES, /* the children are namespaces */
	LEVEL_GROUPS,
	LEVEL_CONFIGS,
	LEVEL_SCRATCH, /* in memory only */
	LEVEL_NONE, /* not a directory */
};
enum directory_level node_level(const struct node *node);

/* Its place, if it is linked and one of the store's; NULL: it is not. */
struct place *node_linked_place(const struct node *node);

bool node_is_directory(const struct node *node);
bool node_is_scratch(const struct node *node);

/* The node the kernel knows by that number. The kernel never asks for one that it has forgotten: abort() if it does. */
struct node *tree_node(struct tree *tree, uint64_t id);

/* The node of that number, known to the kernel or not; NULL: there is none any more. */
struct node *tree_find(const struct tree *tree, uint64_t id);

struct node *tree_child(const struct tree *tree, const struct node *parent, const char *name);

/*
 * Makes a linked node. NULL without memory. There must be no child of that name; namespaces, groups and configs are made in what
 * has a place.
 */
struct node *tree_add(struct tree *tree, struct node *parent, const char *name, enum node_kind kind);

/* Takes the name away; the node lives on while it is used. Children of a directory go with it. */
void tree_unlink(struct tree *tree, struct node *node);

/* Gives a node (also one that was unlinked, and is held) another name. There must be no child of that name. 0 or -ENOMEM. */
int tree_move(struct tree *tree, struct node *node, struct node *parent, const char *name);

/* Remembers that somebody else removed this config, for saves that began before; before it is unlinked. */
void tree_note_vanished(struct tree *tree, const struct node *node);

/* Was a config of that name seen to vanish since then? */
bool tree_has_vanished(const struct tree *tree, const struct node *parent, const char *name,
		       int64_t since_ms);

/*
 * Names in the directory changed: its times move. Not for names that were found out to be there: who reads a directory must
 * not change it.
 */
void node_touch_names(struct node *directory);

/* Counts a user of the node, and one less. */
void node_hold(struct node *node);
void tree_drop(struct tree *tree, struct node *node);

/* The kernel was told of the node once more; it forgot count of these. */
void node_count_lookup(struct node *node);
void tree_forget(struct tree *tree, uint64_t id, uint64_t count);

/* Waits for a broadcast of changed for at most a slice of the call; 0, -ETIMEDOUT or -EINTR. */
int tree_wait(struct tree *tree, struct call *call);

/* Remembers why a read failed; NULL: it did not. */
void node_set_error(struct node *node, const char *reason);

/* Remembers why a save by that process failed. */
void node_set_failure(struct node *node, const char *reason, pid_t process);

#endif
