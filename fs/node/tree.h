/*
 * The names in the mount: one node for each directory, config and private file, with an inode
 * number that is never reused.
 *
 * A node is linked while it has a name. Linked nodes stay for the life of the mount, so that inode
 * numbers are stable; an unlinked one is freed when the kernel has forgotten it (lookup count) and
 * nobody here uses it (references).
 *
 * A node owns its place (model/place.h) and keeps it after it is unlinked: asking a dead node what
 * it was is legal.
 *
 * All is guarded by tree->lock (lock.h): functions want it unless they say otherwise, and none of
 * them waits. What one thread does to a node over a longer time is a state (saving.h), and others
 * wait for it with tree_wait(). A function that may give the lock up takes a struct held: a node
 * that can't go meanwhile.
 */
#ifndef NACOSFS_FS_NODE_TREE_H
#define NACOSFS_FS_NODE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "fs/node/config.h"
#include "fs/node/holding.h"
#include "fs/node/lock.h"
#include "fs/node/terms.h"
#include "model/listing.h"
#include "model/place.h"
#include "model/version.h"
#include "util/buffer.h"
#include "util/call.h"
#include "util/table.h"

struct handle;
struct wake;
struct saving;

enum node_kind {
	NODE_ROOT, /* lists namespaces; or is itself the namespace or group that SOURCE names */
	NODE_NAMESPACE,
	NODE_GROUP,
	NODE_CONFIG,
	NODE_PRIVATE_FILE, /* in memory only, belongs to the user who made it */
	NODE_PRIVATE_LINK,
	NODE_PRIVATE_DIRECTORY,
	NODE_STATUS, /* .nacosfs/status */
};

/* The bits of a node that chmod never narrowed. */
#define MODE_ANY 07777

/* What belongs to directories. */
struct directory {
	struct timespec modified, changed;
	struct node *first_child;
	size_t child_count;
	struct listing *merged; /* the listing whose names are among the children */
	bool hidden; /* not listed */
	/* a config in it that is stored encrypted was opened: private files may hold its text */
	bool has_secrets;
	/*
	 * a group or namespace that mkdir made, an option names, or in which something was removed
	 * here
	 */
	bool is_local;
	bool names_listed; /* somebody has listed it: its names are compared from time to time */
	/* the children are all there are: the store has told of any other since */
	bool names_complete;
	bool names_due; /* its names are to be compared now */
};

/* What belongs to private files, links (the content is the target) and .nacosfs/status. */
struct private_file {
	struct timespec modified, changed;
	struct buffer content;
	uid_t uid;
	gid_t gid;
	int64_t created_ms; /* monotonic */
	int error; /* a failed write or close: must not become a config */
};

struct node {
	struct table_link by_id; /* first; the hash is the inode number */
	struct table_link by_name; /* while linked */
	struct node *parent; /* NULL: the root, or unlinked */
	struct node *previous_sibling, *next_sibling;
	struct place *place; /* of the root, namespaces, groups and configs; NULL: it has none */
	char *private_name; /* of what has no place */
	struct directory *directory; /* of directories */
	struct config *config; /* of configs (config.h); NULL: only listed so far */
	/* of private files, links, private directories (as their owner) and status */
	struct private_file *file;
	struct handle *writers; /* open handles that may write */
	struct node *next_told; /* in the wake queue */
	uint64_t lookup_count; /* how often the kernel was told of it */
	unsigned references; /* requests, open handles and background work */
	unsigned char kind; /* enum node_kind */
	/* what is to be raised when the kernel has forgotten what it knew (wake.h) */
	unsigned char wake;
	bool is_told : 1; /* in the queue of what the kernel is to forget */
	bool given_long : 1; /* the kernel has an answer that it may believe for long */
	bool listed : 1; /* the last listing of the parent has it */
	bool is_stored : 1; /* the server has a config of this name, as far as known */
	/*
	 * Permission bits. Of what the store has, those that chmod left: what is shown is what is
	 * granted of them (attributes_mode()).
	 */
	uint16_t mode;
	uint16_t shown_mode; /* what somebody was told last, of the store's; with S_IFMT */
	char listed_md5[HASH_MD5_HEX_SIZE]; /* what that listing says; "": nothing */
};

/* A config that was seen to be gone from the server. */
struct vanished {
	struct place *place; /* NULL: unused */
	int64_t seen_ms; /* monotonic */
};

#define VANISHED_COUNT 64 /* how many are remembered */

struct tree {
	struct lock lock;
	const struct terms *terms;
	struct node *root;
	uint64_t next_id;
	struct table by_id, by_name;
	struct vanished vanished[VANISHED_COUNT]; /* the last ones */
	unsigned vanished_next;
	struct holdings holdings; /* what each user makes us hold */
	struct wake *wake; /* wake.h; made and freed by whoever makes the tree */
	struct saving *saving; /* saving.h: what is being saved, moved or removed; likewise */
};

/* Makes a tree whose root is as deep as the terms say (kept, not copied). No lock. 0 or -ENOMEM. */
int tree_init(struct tree *tree, const struct terms *terms) UNLOCKED;

/* Frees all nodes. No lock; nobody uses any. */
void tree_destroy(struct tree *tree) UNLOCKED;

/* What the children of a directory are: the kind of the node as the store sees it. */
enum directory_level {
	LEVEL_NAMESPACES, /* the children are namespaces */
	LEVEL_GROUPS,
	LEVEL_CONFIGS,
	LEVEL_PRIVATE, /* in memory only */
	LEVEL_NONE, /* not a directory */
};
enum directory_level node_level(const struct node *node) LOCKED;

static inline uint64_t node_id(const struct node *node)
{
	return node->by_id.hash;
}

/* Its name, or the last that it had. */
const char *node_name(const struct node *node) LOCKED;
bool node_is_directory(const struct node *node) LOCKED;
bool node_is_private(const struct node *node) LOCKED;

/*
 * Has it, or had it last, a place in the store: is it the root, a namespace, a group or a config?
 */
static inline bool node_is_of_store(const struct node *node) LOCKED
{
	return node->place;
}

/* Is the node linked, or the root? */
bool node_is_there(const struct tree *tree, const struct node *node) LOCKED;

/* The memory that its text must be in: that for secrets, or NULL. */
const struct buffer_memory *node_memory(const struct tree *tree, const struct node *node) LOCKED;

/* What is known of a config beyond its listing, made where nothing is yet. NULL without memory. */
struct config *node_config(struct node *node) LOCKED;

/* The draft of the node; NULL: there is none, or it is no config. */
static inline struct draft *node_draft(const struct node *node) LOCKED
{
	return node->kind == NODE_CONFIG && node->config ? node->config->draft : NULL;
}

/* The md5 of what is shown; "" where nothing is known. */
static inline const char *node_md5(const struct node *node) LOCKED
{
	return node->config ? node->config->md5 : "";
}

/*
 * The node the kernel knows by that number. The kernel never asks for one that it has forgotten:
 * abort() if it does.
 */
struct node *tree_node(struct tree *tree, uint64_t id) LOCKED;

/* The node of that number, known to the kernel or not; NULL: there is none any more. */
struct node *tree_find(const struct tree *tree, uint64_t id) LOCKED;

struct node *tree_child(const struct tree *tree, const struct node *parent, const char *name) LOCKED;

/* The directory or config of a place, as far as it is in the tree; NULL. */
struct node *tree_at(const struct tree *tree, struct place *place) LOCKED;

/*
 * All nodes, one after the other; NULL for the first, NULL at the end. Nothing may be added or
 * freed meanwhile.
 */
struct node *tree_next(const struct tree *tree, const struct node *before) LOCKED;

/*
 * Makes a linked node of the mount's owner, of now, in the memory for secrets where that must be.
 * NULL without memory, or when the parent is not there any more. There must be no child of that
 * name.
 */
struct node *tree_add(struct tree *tree, struct node *parent, const char *name, enum node_kind kind) LOCKED;

/* Takes the name away; the node lives on while it is used. Children of a directory go with it. */
void tree_unlink(struct tree *tree, struct node *node) LOCKED;

/*
 * Gives a node (also one that was unlinked, and is held) another name, as the kind that it is.
 * There must be no child of that name. 0, -ENOMEM, or -ENOENT when the parent is not there any
 * more.
 */
int tree_move(struct tree *tree, struct node *node, struct node *parent, const char *name) LOCKED;

/*
 * A private file becomes a config of the place that it has, or is given next, and the reverse. 0 or
 * -ENOMEM.
 */
int tree_make_config(struct tree *tree, struct node *node) LOCKED;
int tree_make_private(struct tree *tree, struct node *node) LOCKED;

/* A private node belongs to that user from now on. */
void tree_set_owner(struct tree *tree, struct node *node, uid_t uid, gid_t gid) LOCKED;

/* A private file holds other bytes than before: how many it held then. */
void tree_count_bytes(struct tree *tree, const struct node *node, size_t size_before) LOCKED;

/* Remembers that somebody else removed this config, for saves that began before. */
void tree_note_vanished(struct tree *tree, const struct node *node) LOCKED;

/* Was the config of that place seen to vanish since then? */
bool tree_has_vanished(const struct tree *tree, const struct place *place, int64_t since_ms) LOCKED;

/*
 * Names in the directory changed: its times move. Not for names that were found out to be there:
 * who reads a directory must not change it.
 */
void node_touch_names(struct node *directory) LOCKED;

/*
 * When its content, and when anything of it, changed last. NULL: nothing is known (a config that
 * was only listed).
 */
struct timespec *node_modified(const struct node *node) LOCKED;
struct timespec *node_changed(const struct node *node) LOCKED;

/* Remembers why a read failed; NULL: it did not. */
void node_set_error(struct node *node, const char *reason) LOCKED;

/* Remembers why a save by that process failed. */
void node_set_failure(struct node *node, const char *reason, pid_t process) LOCKED;

/* The kernel was told of the node once more; it forgot count of these. */
void node_count_lookup(struct node *node) LOCKED;
void tree_forget(struct tree *tree, uint64_t id, uint64_t count) LOCKED;

/*
 * A node that is held: it lives at least as long, whoever gives the lock up meanwhile.
 *
 *	cleanup_held struct held *held = tree_hold(tree, node);   (or held by the request, fs/door.h)
 */
struct held {
	struct tree *tree;
	struct node *node;
};

struct held tree_hold(struct tree *tree, struct node *node) LOCKED;
void tree_drop(struct held *held) LOCKED;
#define cleanup_held __attribute__((cleanup(tree_drop), unused))

/* For what outlives a function, as open files: counts a user of the node, and one less. */
void node_hold(struct node *node) LOCKED;
void node_drop(struct tree *tree, struct node *node) LOCKED;

/* As lock_wait(), for a change of the tree. */
static inline int tree_wait(struct tree *tree, struct call *call) LOCKED
{
	return lock_wait(&tree->lock, call);
}

#endif
