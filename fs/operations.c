#include "fs/operations.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "fs/create.h"
#include "fs/directory.h"
#include "fs/file.h"
#include "fs/save/grace.h"
#include "fs/follow/notify.h"
#include "fs/rename.h"
#include "fs/request.h"
#include "fs/follow/touch.h"
#include "fs/touch_answer.h"
#include "fs/xattr.h"
#include "util/log.h"

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#define MAX_WRITE (1 << 20)

/* X(kind of request, parameters, arguments, handler) */
#define REQUESTS(X)                                                                                        \
	X(lookup, (fuse_req_t fuse, fuse_ino_t parent, const char *name), (fuse, parent, name),            \
	  touch_answer_lookup)                                                                                \
	X(getattr, (fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info), (fuse, id, info),        \
	  touch_answer_getattr)                                                                                    \
	X(setattr,                                                                                         \
	  (fuse_req_t fuse, fuse_ino_t id, struct stat *stat, int to_set, struct fuse_file_info *info),    \
	  (fuse, id, stat, to_set, info), touch_answer_setattr)                                                    \
	X(readlink, (fuse_req_t fuse, fuse_ino_t id), (fuse, id), file_readlink)                           \
	X(mknod, (fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode, dev_t device),        \
	  (fuse, parent, name, mode, device), create_mknod)                                                \
	X(mkdir, (fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode),                      \
	  (fuse, parent, name, mode), touch_answer_mkdir)                                                     \
	X(unlink, (fuse_req_t fuse, fuse_ino_t parent, const char *name), (fuse, parent, name),            \
	  touch_answer_unlink)                                                                                   \
	X(rmdir, (fuse_req_t fuse, fuse_ino_t parent, const char *name), (fuse, parent, name),             \
	  touch_answer_rmdir)                                                                                 \
	X(symlink, (fuse_req_t fuse, const char *target, fuse_ino_t parent, const char *name),             \
	  (fuse, target, parent, name), create_symlink)                                                    \
	X(rename,                                                                                          \
	  (fuse_req_t fuse, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,                    \
	   const char *new_name, unsigned flags),                                                          \
	  (fuse, parent, name, new_parent, new_name, flags), rename_rename)                                \
	X(open, (fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info), (fuse, id, info),           \
	  touch_answer_open)                                                                                       \
	X(read,                                                                                            \
	  (fuse_req_t fuse, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info),        \
	  (fuse, id, size, offset, info), file_read)                                                       \
	X(write,                                                                                           \
	  (fuse_req_t fuse, fuse_ino_t id, const char *data, size_t size, off_t offset,                    \
	   struct fuse_file_info *info),                                                                   \
	  (fuse, id, data, size, offset, info), file_write)                                                \
	X(flush, (fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info), (fuse, id, info),          \
	  touch_answer_flush)                                                                                      \
	X(release, (fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info), (fuse, id, info),        \
	  touch_answer_release)                                                                                    \
	X(fsync, (fuse_req_t fuse, fuse_ino_t id, int data_only, struct fuse_file_info *info),             \
	  (fuse, id, data_only, info), file_fsync)                                                         \
	X(fallocate,                                                                                       \
	  (fuse_req_t fuse, fuse_ino_t id, int mode, off_t offset, off_t length,                           \
	   struct fuse_file_info *info),                                                                   \
	  (fuse, id, mode, offset, length, info), file_fallocate)                                          \
	X(opendir, (fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info), (fuse, id, info),        \
	  directory_open)                                                                                  \
	X(readdir,                                                                                         \
	  (fuse_req_t fuse, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info),        \
	  (fuse, id, size, offset, info), directory_read)                                                  \
	X(readdirplus,                                                                                     \
	  (fuse_req_t fuse, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info),        \
	  (fuse, id, size, offset, info), directory_read_plus)                                             \
	X(releasedir, (fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info), (fuse, id, info),     \
	  directory_release)                                                                               \
	X(create,                                                                                          \
	  (fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode,                              \
	   struct fuse_file_info *info),                                                                   \
	  (fuse, parent, name, mode, info), touch_answer_create)                                                 \
	X(link, (fuse_req_t fuse, fuse_ino_t id, fuse_ino_t new_parent, const char *new_name),             \
	  (fuse, id, new_parent, new_name), refuse_link)                                                   \
	X(fsyncdir, (fuse_req_t fuse, fuse_ino_t id, int data_only, struct fuse_file_info *info),          \
	  (fuse, id, data_only, info), accept_fsyncdir)                                                    \
	X(statfs, (fuse_req_t fuse, fuse_ino_t id), (fuse, id), answer_statfs)                             \
	X(setxattr,                                                                                        \
	  (fuse_req_t fuse, fuse_ino_t id, const char *name, const char *value, size_t size, int flags),   \
	  (fuse, id, name, value, size, flags), xattr_set)                                             \
	X(getxattr, (fuse_req_t fuse, fuse_ino_t id, const char *name, size_t size),                       \
	  (fuse, id, name, size), xattr_get)                                                           \
	X(listxattr, (fuse_req_t fuse, fuse_ino_t id, size_t size), (fuse, id, size), xattr_list)

static void refuse_link(fuse_req_t fuse, fuse_ino_t id, fuse_ino_t new_parent, const char *new_name)
{
	(void)id;
	(void)new_parent;
	(void)new_name;
	fuse_reply_err(fuse, EPERM);
}

/* crudini and others do it after a rename, which was durable before it returned. */
static void accept_fsyncdir(fuse_req_t fuse, fuse_ino_t id, int data_only, struct fuse_file_info *info)
{
	(void)id;
	(void)data_only;
	(void)info;
	fuse_reply_err(fuse, 0);
}

static void answer_statfs(fuse_req_t fuse, fuse_ino_t id)
{
	/* A server does not tell its room; programs that look for some before they write must find it. */
	const struct statvfs answer = {
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_blocks = 1 << 20,
		.f_bfree = 1 << 19,
		.f_bavail = 1 << 19,
		.f_files = 1 << 20,
		.f_ffree = 1 << 19,
		.f_favail = 1 << 19,
		.f_namemax = 255,
	};

	(void)id;
	fuse_reply_statfs(fuse, &answer);
}

#define DEFINE_COUNTED(kind, parameters, arguments, handler) \
	static atomic_ulong kind##_count;                    \
	static void counted_##kind parameters                \
	{                                                    \
		atomic_fetch_add(&kind##_count, 1);          \
		handler arguments;                           \
	}
REQUESTS(DEFINE_COUNTED)

static void log_counts(void)
{
	char line[1024];
	size_t used = 0;

#define PRINT_COUNT(kind, parameters, arguments, handler)                                          \
	if (used < sizeof(line) && atomic_load(&kind##_count))                                     \
		used += (size_t)snprintf(line + used, sizeof(line) - used, " " #kind "=%lu",       \
					 atomic_load(&kind##_count));
	line[0] = '\0';
	REQUESTS(PRINT_COUNT)
	log_info("requests of the kernel:%s", line);
}

static void fill_count_signal(sigset_t *signals)
{
	sigemptyset(signals);
	sigaddset(signals, SIGUSR1);
}

void operations_block_count_signal(void)
{
	sigset_t signals;

	fill_count_signal(&signals);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
}

static void *wait_for_count_signals(void *argument)
{
	sigset_t signals;
	int signal_number;

	(void)argument;
	fill_count_signal(&signals);
	while (!sigwait(&signals, &signal_number))
		log_counts();
	return NULL;
}

static void operations_init(void *userdata, struct fuse_conn_info *connection)
{
	struct filesystem *filesystem = userdata;
	pthread_t counter;

	/* Names come with their attributes where they are known; the kernel's guess when to ask for both is no use here. */
	if (connection->capable & FUSE_CAP_READDIRPLUS)
		connection->want |= FUSE_CAP_READDIRPLUS;
	connection->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
	connection->max_write = MAX_WRITE;
	if (filesystem->per_user && (connection->capable & FUSE_CAP_POSIX_ACL)) {
		connection->want |= FUSE_CAP_POSIX_ACL;
	} else if (filesystem->per_user) {
		/* Without them the group bits would be a group's, which are the mask of all. */
		log_error("this kernel has no ACLs on FUSE: the filesystem is closed to all but its owner");
		filesystem->umask |= 0077;
		filesystem->per_user = false;
	}
	/* Threads must be started here: what was started before the program went to the background is gone. */
	if (grace_start(filesystem))
		log_error("can't start a thread: removals and deferred saves wait for the unmount");
	int error = touch_start(filesystem);
	if (error)
		log_error("can't start the toucher, programs that watch files are not woken: %s", strerror(-error));
	error = notify_start(filesystem);
	if (error)
		log_error("can't start a thread, changes are not told: %s", strerror(-error));
	rights_set_changed(filesystem->rights, notify_rights, filesystem);
	if (rights_start(filesystem->rights))
		log_error("can't start a thread: rights are only asked for when they are needed");
	if (filesystem->identities && identity_store_start(filesystem->identities))
		log_error("can't start a thread: logins are those of now until the unmount");
	if (!pthread_create(&counter, NULL, wait_for_count_signals, NULL))
		pthread_detach(counter);
#ifdef HAVE_SYSTEMD
	sd_notify(0, "READY=1");
#endif
}

#define NAME_COUNTED(kind, parameters, arguments, handler) .kind = counted_##kind,
const struct fuse_lowlevel_ops operations_table = {
	.init = operations_init,
	.forget = directory_forget,
	.forget_multi = directory_forget_many,
	REQUESTS(NAME_COUNTED)
};
