#include "fs/save/unsaved.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/status.h"
#include "fs/node/names.h"
#include "fs/save/scratch.h"
#include "store/store.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/file.h"
#include "util/log.h"

#define RECORD_DIRECTORY_MODE 0700
#define RECORD_FILE_MODE 0600
#define ABOUT_LIMIT 8192

/* One save that failed. Its files are children of the node. */
struct record {
	struct record *next; /* older */
	struct node *node; /* held */
	struct place *place;
	char md5[HASH_MD5_HEX_SIZE]; /* of yours */
	size_t size; /* of all files */
};

struct unsaved_list {
	struct node *directory; /* .nacosfs/unsaved, held */
	struct record *newest;
	size_t count, size;
	int descriptor; /* of the directory on disk; -1: none */
	unsigned number; /* makes names unique */
};

/* --------------------------------------------------------------- on the disk */

static int write_file(int directory, const char *name, const void *data, size_t size)
{
	cleanup_close int descriptor =
		openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, RECORD_FILE_MODE);
	size_t written = 0;

	if (descriptor < 0)
		return -errno;
	while (written < size) {
		ssize_t length = write(descriptor, (const char *)data + written, size - written);
		if (length < 0 && errno != EINTR)
			return -errno;
		written += length > 0 ? (size_t)length : 0;
	}
	return fsync(descriptor) ? -errno : 0;
}

static void remove_from_disk(const struct unsaved_list *list, const char *record, const char *file)
{
	static const char *const files[] = { "yours", "base", "theirs", "why" };

	if (list->descriptor < 0)
		return;
	cleanup_close int directory =
		openat(list->descriptor, record, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (directory < 0)
		return;
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (!file || !strcmp(file, files[i]))
			unlinkat(directory, files[i], 0);
	if (!file)
		unlinkat(list->descriptor, record, AT_REMOVEDIR);
}

/* Writes all files of a record; one that is not whole is taken away again. */
static void write_to_disk(const struct unsaved_list *list, const struct record *record)
{
	const char *name = record->node->name;
	int error = 0;

	if (list->descriptor < 0 || record->node->content.memory || name_is_cipher(place_data_id(record->place)))
		return;
	if (mkdirat(list->descriptor, name, RECORD_DIRECTORY_MODE))
		error = -errno;
	cleanup_close int directory =
		error ? -1 : openat(list->descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (!error && directory < 0)
		error = -errno;
	for (struct node *file = record->node->first_child; file && !error; file = file->next_sibling)
		error = write_file(directory, file->name, file->content.data, file->content.size);
	if (!error && (fsync(directory) || fsync(list->descriptor)))
		error = -errno;
	if (!error)
		return;
	log_error("the text of a failed save can't be kept on disk, only in memory: %s", strerror(-error));
	remove_from_disk(list, name, NULL);
}

/* ----------------------------------------------------------------- in memory */

static struct node *add_node(struct filesystem *filesystem, struct node *parent, const char *name,
			     enum node_kind kind, uid_t uid, gid_t gid)
{
	/* Not scratch_add(): a user's scratch files must not keep a text from being kept. */
	struct node *node = tree_add(&filesystem->tree, parent, name, kind);

	if (!node)
		return NULL;
	node->mode = kind == NODE_SCRATCH_DIRECTORY ? RECORD_DIRECTORY_MODE : RECORD_FILE_MODE;
	node->uid = uid;
	node->gid = gid;
	node->modified = node->changed = clock_now();
	node->created_ms = clock_monotonic_ms();
	return node;
}

static int add_file(struct filesystem *filesystem, struct record *record, const char *name,
		    const void *data, size_t size)
{
	struct node *directory = record->node;
	struct node *node = add_node(filesystem, directory, name, NODE_SCRATCH_FILE, directory->uid,
				     directory->gid);

	if (node)
		node->content.memory = directory->content.memory;
	if (!node || (size && buffer_append(&node->content, data, size)))
		return -ENOMEM;
	filesystem->tree.scratch_size += size;
	record->size += size;
	return 0;
}

static void free_record(struct filesystem *filesystem, struct record *record)
{
	if (record->node) {
		if (record->node->parent)
			tree_unlink(&filesystem->tree, record->node);
		tree_drop(&filesystem->tree, record->node);
	}
	place_drop(record->place);
	free(record);
}

static void link_record(struct unsaved_list *list, struct record *record)
{
	record->next = list->newest;
	list->newest = record;
	list->count++;
	list->size += record->size;
}

static void drop_record(struct filesystem *filesystem, struct record *record)
{
	struct unsaved_list *list = filesystem->unsaved;
	struct record **place = &list->newest;

	while (*place != record)
		place = &(*place)->next;
	*place = record->next;
	list->count--;
	list->size -= record->size;
	remove_from_disk(list, record->node->name, NULL);
	free_record(filesystem, record);
}

static void drop_oldest(struct filesystem *filesystem)
{
	struct record *oldest = filesystem->unsaved->newest;
	char text[PLACE_TEXT_SIZE];

	while (oldest->next)
		oldest = oldest->next;
	log_error("%s: the text of a failed save is dropped, there are too many newer ones: %s",
		  place_format(oldest->place, text, sizeof(text)), oldest->node->name);
	drop_record(filesystem, oldest);
}

static struct record *new_record(struct filesystem *filesystem, const char *name, struct place *place,
				 uid_t uid, gid_t gid)
{
	struct record *record = calloc(1, sizeof(*record));

	if (!record)
		return NULL;
	record->place = place_hold(place);
	record->node = add_node(filesystem, filesystem->unsaved->directory, name, NODE_SCRATCH_DIRECTORY, uid,
				gid);
	if (record->node)
		node_hold(record->node);
	if (record->node)
		return record;
	free_record(filesystem, record);
	return NULL;
}

/* "20261121T195959.123-1-app.yaml": the time first, so that ls sorts by it. */
static void make_name(struct unsaved_list *list, struct place *place, char *name, size_t size)
{
	struct timespec now = clock_now();
	struct tm parts;
	char time_text[32];

	gmtime_r(&now.tv_sec, &parts);
	strftime(time_text, sizeof(time_text), "%Y%m%dT%H%M%S", &parts);
	snprintf(name, size, "%s.%03ld-%u-%.200s", time_text, now.tv_nsec / 1000000, ++list->number,
		 place_data_id(place));
}

static int fill_record(struct filesystem *filesystem, struct record *record, const struct unsaved *unsaved)
{
	const struct version *base = unsaved->base, *theirs = unsaved->theirs;
	cleanup_buffer struct buffer why = BUFFER_INIT;
	int error = buffer_append_format(&why, "%s\nnamespace=%s\ngroup=%s\ndataId=%s\nwriter=%u:%u\n",
					 unsaved->reason, place_namespace_id(unsaved->place), place_group(unsaved->place),
					 place_data_id(unsaved->place), (unsigned)unsaved->uid,
					 (unsigned)unsaved->gid);

	if (!error)
		error = add_file(filesystem, record, "why", why.data, why.size);
	if (!error && theirs)
		error = add_file(filesystem, record, "theirs", theirs->content.data, theirs->content.size);
	if (!error && base)
		error = add_file(filesystem, record, "base", base->content.data, base->content.size);
	if (!error)
		error = add_file(filesystem, record, "yours", unsaved->yours, unsaved->size);
	return error ? error : hash_md5_hex(unsaved->yours, unsaved->size, record->md5);
}

static struct record *find_text(const struct filesystem *filesystem, struct place *place, const void *data,
				size_t size)
{
	char md5[HASH_MD5_HEX_SIZE];

	if (!filesystem->unsaved->newest || hash_md5_hex(data, size, md5))
		return NULL;
	struct record *record = filesystem->unsaved->newest;
	while (record && (strcmp(record->md5, md5) || record->place != place))
		record = record->next;
	return record;
}

void unsaved_keep(struct filesystem *filesystem, const struct unsaved *unsaved)
{
	struct unsaved_list *list = filesystem->unsaved;
	char name[256], text[PLACE_TEXT_SIZE];
	struct record *same = find_text(filesystem, unsaved->place, unsaved->yours, unsaved->size);

	if (same)
		drop_record(filesystem, same); /* the reason may be another one now */
	place_format(unsaved->place, text, sizeof(text));
	make_name(list, unsaved->place, name, sizeof(name));
	struct record *record = new_record(filesystem, name, unsaved->place, unsaved->uid, unsaved->gid);
	if (record)
		record->node->content.memory = unsaved->memory;
	if (!record || fill_record(filesystem, record, unsaved)) {
		log_error("%s: out of memory, the text that could not be saved is lost", text);
		if (record)
			free_record(filesystem, record);
		return;
	}
	link_record(list, record);
	write_to_disk(list, record);
	log_warning("%s: what could not be saved is in %s/unsaved/%s", text, CONTROL_NAME, name);
	while (list->count > 1 && (list->count > UNSAVED_COUNT_LIMIT || list->size > UNSAVED_SIZE_LIMIT))
		drop_oldest(filesystem);
}

void unsaved_forget(struct filesystem *filesystem, struct place *place, const void *data, size_t size)
{
	struct record *record = find_text(filesystem, place, data, size);

	if (record)
		drop_record(filesystem, record);
}

void unsaved_node_removed(struct filesystem *filesystem, const struct node *node)
{
	struct unsaved_list *list = filesystem->unsaved;

	if (node->parent && node->parent->parent == list->directory) {
		remove_from_disk(list, node->parent->name, node->name);
		return;
	}
	if (node->parent != list->directory)
		return;
	for (struct record *record = list->newest; record; record = record->next) {
		if (record->node == node) {
			drop_record(filesystem, record);
			return;
		}
	}
}

size_t unsaved_count(const struct filesystem *filesystem)
{
	return filesystem->unsaved->count;
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

/* Reads what belongs to a record from its "why", which is cut up; its place is counted, NULL: that is no such text. */
static struct place *parse_why(char *text, unsigned *ret_uid, unsigned *ret_gid)
{
	char *writer = strstr(text, "\nwriter=");

	if (!writer || sscanf(writer, "\nwriter=%u:%u", ret_uid, ret_gid) != 2)
		return NULL;
	/* From the last line up: each call cuts the text behind what it found. */
	const char *data_id = take_line(text, "dataId=");
	const char *group = take_line(text, "group=");
	const char *namespace_id = take_line(text, "namespace=");
	return data_id && group && namespace_id ? place_new(namespace_id, group, data_id) : NULL;
}

static int read_record_file(const char *directory, const char *record, const char *file,
			    struct buffer *ret_content)
{
	char path[PATH_MAX];
	struct call call;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s/%s", directory, record, file) >= sizeof(path))
		return -ENAMETOOLONG;
	call_start(&call, INT64_MAX);
	return file_read_whole(path, UNSAVED_SIZE_LIMIT, &call, ret_content);
}

static int load_record(struct filesystem *filesystem, const char *directory, const char *name)
{
	static const char *const files[] = { "why", "theirs", "base", "yours" };
	cleanup_buffer struct buffer why = BUFFER_INIT;
	cleanup_place struct place *place = NULL;
	unsigned uid, gid;
	int error = read_record_file(directory, name, "why", &why);

	if (error || memchr(why.data, '\0', why.size) || why.size > ABOUT_LIMIT ||
	    !(place = parse_why(why.data, &uid, &gid)))
		return error ? error : -EBADMSG;
	struct record *record = new_record(filesystem, name, place, uid, gid);
	if (!record)
		return -ENOMEM;
	for (size_t i = 0; !error && i < sizeof(files) / sizeof(*files); i++) {
		cleanup_buffer struct buffer content = BUFFER_INIT;
		int missing = read_record_file(directory, name, files[i], &content);
		if (!missing)
			error = add_file(filesystem, record, files[i], content.data, content.size);
		if (!error && !missing && !strcmp(files[i], "yours"))
			error = hash_md5_hex(content.data, content.size, record->md5);
	}
	if (error)
		free_record(filesystem, record);
	else
		link_record(filesystem->unsaved, record);
	return error;
}

/* Opens the directory on disk; only ours, and closed to others. */
static int open_directory(const char *path)
{
	struct stat stat;

	for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
		cleanup_free char *part = slash ? strndup(path, (size_t)(slash - path)) : strdup(path);
		if (!part || (mkdir(part, 0700) && errno != EEXIST)) {
			log_warning("%s: can't be made, failed saves are kept in memory only: %s", path,
				    strerror(part ? errno : ENOMEM));
			return -1;
		}
		if (!slash)
			break;
	}
	int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (descriptor >= 0 && !fstat(descriptor, &stat) && stat.st_uid == geteuid() &&
	    !(stat.st_mode & 0077))
		return descriptor;
	log_warning("%s: not a directory of this user's alone, failed saves are kept in memory only", path);
	if (descriptor >= 0)
		close(descriptor);
	return -1;
}

static void load_records(struct filesystem *filesystem, const char *path)
{
	struct dirent **entries = NULL;
	int count = scandir(path, &entries, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		if (entries[i]->d_name[0] != '.' && load_record(filesystem, path, entries[i]->d_name))
			log_warning("%s/%s: not the text of a failed save, left alone", path,
				    entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	if (filesystem->unsaved->count)
		log_warning("%zu saves failed earlier; their text is in %s/unsaved",
			    filesystem->unsaved->count, CONTROL_NAME);
}

int unsaved_init(struct filesystem *filesystem, const char *directory)
{
	struct unsaved_list *list = calloc(1, sizeof(*list));
	struct node *control = tree_child(&filesystem->tree, filesystem->tree.root, CONTROL_NAME);

	if (!list)
		return -ENOMEM;
	list->descriptor = -1;
	filesystem->unsaved = list;
	list->directory = add_node(filesystem, control, "unsaved", NODE_SCRATCH_DIRECTORY, filesystem->uid,
				   filesystem->gid);
	if (!list->directory)
		return -ENOMEM;
	list->directory->mode = 0755;
	node_hold(list->directory);
	if (!directory)
		return 0;
	list->descriptor = open_directory(directory);
	if (list->descriptor >= 0)
		load_records(filesystem, directory);
	return 0;
}

void unsaved_free(struct filesystem *filesystem)
{
	struct unsaved_list *list = filesystem->unsaved;

	if (!list)
		return;
	while (list->newest) {
		struct record *record = list->newest;
		list->newest = record->next;
		free_record(filesystem, record);
	}
	if (list->descriptor >= 0)
		close(list->descriptor);
	free(list);
	filesystem->unsaved = NULL;
}
