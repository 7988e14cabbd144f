/*
 * Reading mountinfo through libmount.
 */
#include "util/mounts.h"

#include <errno.h>
#include <libmount.h>
#include <stdio.h>
#include <sys/sysmacros.h>

#include "util/wait.h"

static void unref_table(struct libmnt_table **table)
{
	mnt_unref_table(*table);
}
#define cleanup_table __attribute__((cleanup(unref_table)))

static int read_table(const char *path, struct libmnt_table **ret_table)
{
	wait_check("what /proc says of mounts");
	errno = 0;
	*ret_table = mnt_new_table_from_file(path);
	return *ret_table ? 0 : errno ? -errno : -EIO;
}

static void describe(struct libmnt_fs *mount, struct mounts_entry *ret_entry)
{
	dev_t device = mnt_fs_get_devno(mount);
	const char *type = mnt_fs_get_fstype(mount);

	snprintf(ret_entry->device, sizeof(ret_entry->device), "%u:%u", major(device), minor(device));
	snprintf(ret_entry->type, sizeof(ret_entry->type), "%s", type ? type : "");
}

int mounts_find_at(const char *path, struct mounts_entry *ret_entry)
{
	cleanup_table struct libmnt_table *table = NULL;
	int error = read_table("/proc/self/mountinfo", &table);

	if (error)
		return error;
	/* The last one is the one on top. */
	struct libmnt_fs *mount = mnt_table_find_target(table, path, MNT_ITER_BACKWARD);
	if (!mount)
		return -ENOENT;
	describe(mount, ret_entry);
	return 0;
}

int mounts_find_number(pid_t process, uint64_t number, struct mounts_entry *ret_entry)
{
	cleanup_table struct libmnt_table *table = NULL;
	struct libmnt_fs *mount = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)process);
	int error = read_table(path, &table);
	if (error)
		return error;
	struct libmnt_iter *place = mnt_new_iter(MNT_ITER_FORWARD);
	if (!place)
		return -ENOMEM;
	error = -ENOENT;
	while (error && !mnt_table_next_fs(table, place, &mount))
		if ((uint64_t)mnt_fs_get_id(mount) == number)
			error = 0;
	mnt_free_iter(place);
	if (!error)
		describe(mount, ret_entry);
	return error;
}
