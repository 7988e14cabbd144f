#include "crypto/file_mark.h"

#include <sys/stat.h>

struct file_mark file_mark_of(const char *path)
{
	struct file_mark mark = { .inode = 0 };
	struct stat status;

	if (stat(path, &status) == 0) {
		mark.device = status.st_dev;
		mark.inode = status.st_ino;
		mark.size = status.st_size;
		mark.modified = status.st_mtim;
		mark.changed = status.st_ctim;
	}
	return mark;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool file_mark_equal(const struct file_mark *a, const struct file_mark *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       same_time(&a->modified, &b->modified) && same_time(&a->changed, &b->changed);
}
