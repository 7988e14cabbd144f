#include "fs/save/kept.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/node/names.h"
#include "fs/save/kept_disk.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"

#define RECORD_DIRECTORY_MODE 0700
#define RECORD_FILE_MODE 0600
#define ABOUT_LIMIT 8192

/* One save that failed. Its files are children of the node. */
struct record {
	struct record *next; /* older */
	struct node *node; /* held */
	struct place *place;
	uid_t uid; /* of the writer */
	char md5[HASH_MD5_HEX_SIZE]; /* of yours */
	size_t size; /* of all files */
	char name[]; /* on the disk; its owner may rename the node */
};

/* What is to be removed from the disk. */
struct removal {
	struct removal *next;
	enum kept_file file; /* KEPT_FILE_COUNT: all of the record */
	char record[];
};

struct kept_list {
	struct node *directory; /* .nacosfs/unsaved, held */
	struct record *newest;
	size_t count, size;
	struct kept_disk *disk; /* NULL: none */
	struct removal *removals;
	unsigned number; /* makes names unique */
};

/* ----------------------------------------------------------------- in memory */

static struct node *add_node(struct tree *tree, struct node *parent, const char *name, enum node_kind kind, uid_t uid,
			     gid_t gid) LOCKED
{
	/* Not private_add(): a user's private files must not keep a text from being kept. */
	struct node *node = tree_add(tree, parent, name, kind);

	if (!node)
		return NULL;
	node->mode = kind == NODE_PRIVATE_DIRECTORY ? RECORD_DIRECTORY_MODE : RECORD_FILE_MODE;
	tree_set_owner(tree, node, uid, gid);
	return node;
}

static int add_file(struct saver *saver, struct record *record, enum kept_file file,
		    const struct kept_bytes *bytes) LOCKED
{
	const struct private_file *owner = record->node->file;
	struct node *node = add_node(saver->tree, record->node, kept_file_names[file], NODE_PRIVATE_FILE, owner->uid,
				     owner->gid);

	if (!node)
		return -ENOMEM;
	node->file->content.memory = owner->content.memory;
	if (bytes->size && buffer_append(&node->file->content, bytes->data, bytes->size))
		return -ENOMEM;
	tree_count_bytes(saver->tree, node, 0);
	record->size += bytes->size;
	return 0;
}

static void free_record(struct saver *saver, struct record *record) LOCKED
{
	if (record->node) {
		if (record->node->parent)
			tree_unlink(saver->tree, record->node);
		node_drop(saver->tree, record->node);
	}
	place_drop(record->place);
	free(record);
}

static void link_record(struct saver *saver, struct record *record) LOCKED
{
	struct kept_list *list = saver->kept;
	struct holdings *holdings = &saver->tree->holdings;

	holding_add(holdings, record->uid, HOLDING_KEPT_TEXTS, 1);
	holding_add(holdings, record->uid, HOLDING_KEPT_BYTES, record->size);
	record->next = list->newest;
	list->newest = record;
	list->count++;
	list->size += record->size;
}

static void queue_removal(struct kept_list *list, const char *record, enum kept_file file) LOCKED
{
	size_t size = strlen(record) + 1;
	struct removal *removal = list->disk ? malloc(sizeof(*removal) + size) : NULL;

	if (!removal)
		/* without memory it stays on the disk, and shows again after the next start */
		return;
	removal->file = file;
	memcpy(removal->record, record, size);
	removal->next = list->removals;
	list->removals = removal;
}

static void drop_record(struct saver *saver, struct record *record) LOCKED
{
	struct kept_list *list = saver->kept;
	struct record **place = &list->newest;

	while (*place != record)
		place = &(*place)->next;
	*place = record->next;
	list->count--;
	list->size -= record->size;
	holding_take(&saver->tree->holdings, record->uid, HOLDING_KEPT_TEXTS, 1);
	holding_take(&saver->tree->holdings, record->uid, HOLDING_KEPT_BYTES, record->size);
	queue_removal(list, record->name, KEPT_FILE_COUNT);
	free_record(saver, record);
}

static void drop_oldest(struct saver *saver) LOCKED
{
	struct record *oldest = saver->kept->newest;
	char text[PLACE_TEXT_SIZE];

	while (oldest->next)
		oldest = oldest->next;
	log_error("%s: the text of a failed save is dropped, there are too many newer ones: %s",
		  place_format(oldest->place, text, sizeof(text)), oldest->name);
	drop_record(saver, oldest);
}

static struct record *new_record(struct saver *saver, const char *name, struct place *place,
				 uid_t uid, gid_t gid) LOCKED
{
	size_t name_size = strlen(name) + 1;
	struct record *record = calloc(1, sizeof(*record) + name_size);

	if (!record)
		return NULL;
	memcpy(record->name, name, name_size);
	record->place = place_hold(place);
	record->uid = uid;
	record->node = add_node(saver->tree, saver->kept->directory, name, NODE_PRIVATE_DIRECTORY, uid, gid);
	if (record->node) {
		node_hold(record->node);
		return record;
	}
	free_record(saver, record);
	return NULL;
}

/* "20261121T195959.123-1-app.yaml": the time first, so that ls sorts by it. */
static void make_name(struct kept_list *list, const struct place *place, char *name, size_t size) LOCKED
{
	struct timespec now = clock_now();
	struct tm parts;
	char time_text[32];

	gmtime_r(&now.tv_sec, &parts);
	strftime(time_text, sizeof(time_text), "%Y%m%dT%H%M%S", &parts);
	snprintf(name, size, "%s.%03ld-%u-%.200s", time_text, now.tv_nsec / 1000000, ++list->number,
		 place_data_id(place));
}

static int describe(const struct kept_text *text, struct buffer *ret_why)
{
	return buffer_append_format(ret_why, "%s\nnamespace=%s\ngroup=%s\ndataId=%s\nwriter=%u:%u\n", text->reason,
				    place_namespace_id(text->place), place_group(text->place),
				    place_data_id(text->place), (unsigned)text->uid, (unsigned)text->gid);
}

static int fill_record(struct saver *saver, struct record *record,
		       const struct kept_bytes files[KEPT_FILE_COUNT]) LOCKED
{
	int error = 0;

	for (size_t i = 0; i < KEPT_FILE_COUNT && !error; i++)
		if (files[i].data)
			error = add_file(saver, record, i, &files[i]);
	return error ? error : hash_md5_hex(files[KEPT_YOURS].data, files[KEPT_YOURS].size, record->md5);
}

static struct record *find_text(const struct saver *saver, const struct place *place,
				const void *data, size_t size) LOCKED
{
	char md5[HASH_MD5_HEX_SIZE];

	if (!saver->kept->newest || hash_md5_hex(data, size, md5))
		return NULL;
	struct record *record = saver->kept->newest;
	while (record && (record->place != place || strcmp(record->md5, md5)))
		record = record->next;
	return record;
}

static struct record *record_of(const struct saver *saver, const struct node *node) LOCKED
{
	struct record *record = saver->kept->newest;

	while (record && record->node != node)
		record = record->next;
	return record;
}

/*
 * The lock is given up while it is written. Who removed the record meanwhile, removed nothing there
 * yet.
 */
static void write_to_disk(struct saver *saver, struct node *node, const char *name,
			  const struct kept_bytes files[KEPT_FILE_COUNT]) LOCKED
{
	struct tree *tree = saver->tree;
	cleanup_held struct held held = tree_hold(tree, node);

	lock_give(&tree->lock);
	int error = kept_disk_write(saver->kept->disk, name, files);
	if (error)
		log_error("the text of a failed save can't be kept on disk, only in memory: %s", strerror(-error));
	lock_take(&tree->lock);
	if (!record_of(saver, node))
		queue_removal(saver->kept, name, KEPT_FILE_COUNT);
}

void kept_keep(struct saver *saver, const struct kept_text *text)
{
	struct kept_list *list = saver->kept;
	const struct version *base = text->base, *theirs = text->theirs;
	char name[256], place_text[PLACE_TEXT_SIZE];
	cleanup_buffer struct buffer why = BUFFER_INIT;
	struct record *same = find_text(saver, text->place, text->yours, text->size);

	if (same)
		drop_record(saver, same); /* the reason may be another one now */
	place_format(text->place, place_text, sizeof(place_text));
	make_name(list, text->place, name, sizeof(name));
	int error = describe(text, &why);
	const struct kept_bytes files[KEPT_FILE_COUNT] = {
		[KEPT_WHY] = { why.data, why.size },
		[KEPT_THEIRS] = { theirs ? (theirs->content.data ? theirs->content.data : "") : NULL,
				  theirs ? theirs->content.size : 0 },
		[KEPT_BASE] = { base ? (base->content.data ? base->content.data : "") : NULL,
				base ? base->content.size : 0 },
		[KEPT_YOURS] = { text->yours ? text->yours : "", text->size },
	};
	struct record *record = error ? NULL : new_record(saver, name, text->place, text->uid, text->gid);
	if (record)
		record->node->file->content.memory = text->memory;
	if (!record || fill_record(saver, record, files)) {
		log_error("%s: out of memory, the text that could not be saved is lost", place_text);
		if (record)
			free_record(saver, record);
		return;
	}
	link_record(saver, record);
	log_warning("%s: what could not be saved is in %s/unsaved/%s", place_text, NAMES_CONTROL, name);
	while (list->count > 1 && (list->count > KEPT_COUNT_LIMIT || list->size > KEPT_SIZE_LIMIT))
		drop_oldest(saver);
	if (list->disk && !text->memory && !name_is_cipher(place_data_id(text->place)))
		write_to_disk(saver, record->node, name, files);
	kept_sync(saver);
}

void kept_forget(struct saver *saver, struct place *place, const void *data, size_t size)
{
	struct record *record = find_text(saver, place, data, size);

	if (record)
		drop_record(saver, record);
}

void kept_node_removed(struct saver *saver, const struct node *node)
{
	struct kept_list *list = saver->kept;
	struct record *record = record_of(saver, node);

	if (record)
		drop_record(saver, record);
	else if ((record = record_of(saver, node->parent)))
		for (size_t i = 0; i < KEPT_FILE_COUNT; i++)
			if (!strcmp(node_name(node), kept_file_names[i]))
				queue_removal(list, record->name, i);
}

void kept_sync(struct saver *saver)
{
	struct kept_list *list = saver->kept;
	struct removal *removals = list->removals;

	if (!removals)
		return;
	list->removals = NULL;
	lock_give(&saver->tree->lock);
	while (removals) {
		struct removal *first = removals;

		removals = first->next;
		kept_disk_remove(list->disk, first->record, first->file);
		free(first);
	}
	lock_take(&saver->tree->lock);
}

size_t kept_count(const struct saver *saver)
{
	return saver->kept->count;
}

/* ----------------------------------------------------------------- the start */

/* The value of "name=" in a text of lines; cuts the text there. NULL when there is none. */
static char *take_line(char *text, const char *name)
{
	char *line = strstr(text, name);
	char *end = line ? strchr(line, '\n') : NULL;

	if (!end || (line > text && line[-1] != '\n' && line[-1] != '\0'))
		return NULL;
	*end = '\0';
	return line + strlen(name);
}

/* Reads what belongs to a record from its "why", which is cut up. NULL when it does not say. */
static struct place *parse_why(char *text, unsigned *ret_uid, unsigned *ret_gid)
{
	char *writer = strstr(text, "\nwriter=");

	if (!writer || sscanf(writer, "\nwriter=%u:%u", ret_uid, ret_gid) != 2)
		return NULL;
	/* From the last line up: each call cuts the text behind what it found. */
	const char *data_id = take_line(text, "dataId="), *group = take_line(text, "group=");
	const char *namespace_id = take_line(text, "namespace=");
	return data_id && group && namespace_id ? place_new(namespace_id, group, data_id) : NULL;
}

static int load_file(struct saver *saver, struct record *record, const char *name,
		     enum kept_file file) UNLOCKED
{
	cleanup_buffer struct buffer content = BUFFER_INIT;

	if (kept_disk_read(saver->kept->disk, name, file, KEPT_SIZE_LIMIT, &content))
		return 0;
	const struct kept_bytes bytes = { content.data, content.size };
	lock_take(&saver->tree->lock);
	int error = add_file(saver, record, file, &bytes);
	lock_give(&saver->tree->lock);
	return !error && file == KEPT_YOURS ? hash_md5_hex(content.data, content.size, record->md5) : error;
}

/* Requests do not come yet, so nobody else knows the record before it is whole. */
static int load_record(struct saver *saver, const char *name) UNLOCKED
{
	struct lock *lock = &saver->tree->lock;
	cleanup_buffer struct buffer why = BUFFER_INIT;
	unsigned uid, gid;
	int error = kept_disk_read(saver->kept->disk, name, KEPT_WHY, ABOUT_LIMIT, &why);

	if (error || memchr(why.data, '\0', why.size))
		return error ? error : -EBADMSG;
	cleanup_place struct place *place = parse_why(why.data, &uid, &gid);
	if (!place)
		return -EBADMSG;
	lock_take(lock);
	struct record *record = new_record(saver, name, place, uid, gid);
	lock_give(lock);
	if (!record)
		return -ENOMEM;
	for (size_t i = 0; !error && i < KEPT_FILE_COUNT; i++)
		error = load_file(saver, record, name, i);
	lock_take(lock);
	if (error)
		free_record(saver, record);
	else
		link_record(saver, record);
	lock_give(lock);
	return error;
}

static void load_records(struct saver *saver, const char *path) UNLOCKED
{
	char **records = NULL;
	size_t count = kept_disk_list(saver->kept->disk, &records);

	for (size_t i = 0; i < count; i++) {
		if (load_record(saver, records[i]))
			log_warning("%s/%s: not the text of a failed save, left alone", path, records[i]);
		free(records[i]);
	}
	free(records);
	if (saver->kept->count)
		log_warning("%zu saves failed earlier; their text is in %s/unsaved", saver->kept->count, NAMES_CONTROL);
}

int kept_init(struct saver *saver, struct node *control, const char *directory)
{
	struct kept_list *list = calloc(1, sizeof(*list));
	const struct terms *terms = saver->tree->terms;

	if (!list)
		return -ENOMEM;
	saver->kept = list;
	lock_take(&saver->tree->lock);
	struct node *unsaved =
		add_node(saver->tree, control, "unsaved", NODE_PRIVATE_DIRECTORY, terms->uid, terms->gid);
	if (unsaved) {
		unsaved->mode = 0755;
		node_hold(unsaved);
	}
	lock_give(&saver->tree->lock);
	if (!unsaved)
		return -ENOMEM;
	list->directory = unsaved;
	list->disk = directory ? kept_disk_open(directory) : NULL;
	if (list->disk)
		load_records(saver, directory);
	return 0;
}

void kept_free(struct saver *saver)
{
	struct kept_list *list = saver->kept;

	if (!list)
		return;
	lock_take(&saver->tree->lock);
	while (list->newest) {
		struct record *record = list->newest;

		list->newest = record->next;
		free_record(saver, record);
	}
	lock_give(&saver->tree->lock);
	kept_disk_close(list->disk);
	free(list);
	saver->kept = NULL;
}
