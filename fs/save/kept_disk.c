#include "fs/save/kept_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/log.h"
#include "util/wait.h"

#define DIRECTORY_MODE 0700
#define FILE_MODE 0600
#define READ_STEP 65536

const char *const kept_file_names[KEPT_FILE_COUNT] = { "why", "theirs", "base", "yours" };

struct kept_disk {
	int descriptor; /* of the directory */
	pthread_mutex_t lock; /* one at a time writes and removes */
};

/* Makes what is missing of a path. */
static int make_path(const char *path)
{
	for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
		cleanup_free char *part = slash ? strndup(path, (size_t)(slash - path)) : strdup(path);

		if (!part)
			return -ENOMEM;
		if (mkdir(part, DIRECTORY_MODE) && errno != EEXIST)
			return -errno;
		if (!slash)
			return 0;
	}
}

struct kept_disk *kept_disk_open(const char *path)
{
	struct stat stat;
	int error = make_path(path);

	if (error) {
		log_warning("%s: can't be made, failed saves are kept in memory only: %s", path, strerror(-error));
		return NULL;
	}
	int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct kept_disk *disk = NULL;
	if (descriptor >= 0 && !fstat(descriptor, &stat) && stat.st_uid == geteuid() && !(stat.st_mode & 0077))
		disk = calloc(1, sizeof(*disk));
	else
		log_warning("%s: not a directory of this user's alone, failed saves are kept in memory only", path);
	if (!disk) {
		if (descriptor >= 0)
			close(descriptor);
		return NULL;
	}
	disk->descriptor = descriptor;
	pthread_mutex_init(&disk->lock, NULL);
	return disk;
}

void kept_disk_close(struct kept_disk *disk)
{
	if (!disk)
		return;
	close(disk->descriptor);
	pthread_mutex_destroy(&disk->lock);
	free(disk);
}

static int open_record(const struct kept_disk *disk, const char *record)
{
	int descriptor = openat(disk->descriptor, record, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return descriptor < 0 ? -errno : descriptor;
}

static int write_file(int directory, const char *name, const struct kept_bytes *bytes)
{
	cleanup_close int descriptor =
		openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
	size_t written = 0;

	if (descriptor < 0)
		return -errno;
	while (written < bytes->size) {
		ssize_t length = write(descriptor, (const char *)bytes->data + written, bytes->size - written);

		if (length < 0 && errno != EINTR)
			return -errno;
		written += length > 0 ? (size_t)length : 0;
	}
	return fsync(descriptor) ? -errno : 0;
}

static int write_record(const struct kept_disk *disk, const char *record, const struct kept_bytes files[KEPT_FILE_COUNT])
{
	if (mkdirat(disk->descriptor, record, DIRECTORY_MODE))
		return -errno;
	cleanup_close int directory = open_record(disk, record);
	int error = directory < 0 ? directory : 0;
	for (size_t i = 0; i < KEPT_FILE_COUNT && !error; i++)
		if (files[i].data)
			error = write_file(directory, kept_file_names[i], &files[i]);
	if (!error && (fsync(directory) || fsync(disk->descriptor)))
		error = -errno;
	return error;
}

static void remove_record(const struct kept_disk *disk, const char *record, enum kept_file file)
{
	cleanup_close int directory = open_record(disk, record);

	if (directory < 0)
		return;
	for (size_t i = 0; i < KEPT_FILE_COUNT; i++)
		if (file == KEPT_FILE_COUNT || file == i)
			unlinkat(directory, kept_file_names[i], 0);
	if (file == KEPT_FILE_COUNT)
		unlinkat(disk->descriptor, record, AT_REMOVEDIR);
}

int kept_disk_write(struct kept_disk *disk, const char *record, const struct kept_bytes files[KEPT_FILE_COUNT])
{
	wait_check("the disk, for a kept text");
	pthread_mutex_lock(&disk->lock);
	int error = write_record(disk, record, files);
	if (error)
		remove_record(disk, record, KEPT_FILE_COUNT);
	pthread_mutex_unlock(&disk->lock);
	return error;
}

void kept_disk_remove(struct kept_disk *disk, const char *record, enum kept_file file)
{
	wait_check("the disk, for a kept text");
	pthread_mutex_lock(&disk->lock);
	remove_record(disk, record, file);
	pthread_mutex_unlock(&disk->lock);
}

int kept_disk_read(struct kept_disk *disk, const char *record, enum kept_file file, size_t limit,
		   struct buffer *ret_content)
{
	cleanup_close int directory = open_record(disk, record);
	cleanup_close int descriptor =
		directory < 0 ? -1 : openat(directory, kept_file_names[file], O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_buffer struct buffer content = BUFFER_INIT;
	ssize_t length = 1;

	wait_check("the disk, for a kept text");
	if (descriptor < 0)
		return directory < 0 ? directory : -errno;
	while (length > 0) {
		if (buffer_reserve(&content, READ_STEP))
			return -ENOMEM;
		length = read(descriptor, content.data + content.size, READ_STEP);
		if (length < 0 && errno != EINTR)
			return -errno;
		content.size += length > 0 ? (size_t)length : 0;
		if (content.size > limit)
			return -EFBIG;
	}
	content.data[content.size] = '\0';
	buffer_move(ret_content, &content);
	return 0;
}

static int is_record(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

size_t kept_disk_list(struct kept_disk *disk, char ***ret_records)
{
	struct dirent **entries = NULL;
	int count = scandirat(disk->descriptor, ".", &entries, is_record, alphasort);
	char **records = count > 0 ? calloc((size_t)count, sizeof(*records)) : NULL;
	size_t used = 0;

	for (int i = 0; i < count; i++) {
		if (records && (records[used] = strdup(entries[i]->d_name)))
			used++;
		free(entries[i]);
	}
	free(entries);
	*ret_records = records;
	return used;
}
