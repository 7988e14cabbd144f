#include "fs/operations.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "fs/attributes.h"
#include "fs/create.h"
#include "fs/directory.h"
#include "fs/door.h"
#include "fs/file.h"
#include "fs/follow/events.h"
#include "fs/remove.h"
#include "fs/rename.h"
#include "fs/save/grace.h"
#include "fs/touch_answer.h"
#include "fs/xattr.h"
#include "util/log.h"

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#define MAX_WRITE (1 << 20)

static int refuse(struct request *request) LOCKED
{
	(void)request;
	return -EPERM;
}

/* crudini and others sync a directory after a rename, which was durable before it returned. */
static int accept_sync(struct request *request) LOCKED
{
	(void)request;
	return 0;
}

static int answer_room(struct request *request) LOCKED
{
	request->answer.kind = ANSWER_ROOM;
	return 0;
}

enum {
	LOOKUP, GETATTR, SETATTR, READLINK, MKNOD, MKDIR, UNLINK, RMDIR, SYMLINK, RENAME, OPEN, READ, WRITE, FLUSH, RELEASE,
	FSYNC, FALLOCATE, OPENDIR, READDIR, READDIRPLUS, RELEASEDIR, CREATE, LINK, FSYNCDIR, STATFS, SETXATTR, GETXATTR,
	LISTXATTR, KIND_COUNT,
};

/*
 * The name, the handler, that for the toucher, the way, the time, and what else is to be known of
 * it.
 */
static struct request_kind kinds[KIND_COUNT] = {
	[LOOKUP] = { "lookup", touch_answer_first_lookup, touch_answer_lookup, DOOR_TRY, DOOR_TIME_IN_DIRECTORY, 0, 0 },
	[GETATTR] = { "getattr", attributes_get, touch_answer_getattr, DOOR_TRY, DOOR_TIME, 0, 0 },
	[SETATTR] = { "setattr", attributes_set, touch_answer_setattr, DOOR_TRY, DOOR_TIME, DOOR_SAVES, 0 },
	[READLINK] = { "readlink", file_readlink, NULL, DOOR_MEMORY, DOOR_TIME, 0, 0 },
	[MKNOD] = { "mknod", create_node, NULL, DOOR_WAIT, DOOR_TIME_IN_DIRECTORY, DOOR_ASKS_GROUPS | DOOR_SAVES, 0 },
	[MKDIR] = { "mkdir", directory_make, touch_answer_mkdir, DOOR_WAIT, DOOR_TIME_IN_DIRECTORY, DOOR_ASKS_GROUPS, 0 },
	[UNLINK] = { "unlink", remove_file, touch_answer_remove, DOOR_WAIT, DOOR_TIME_IN_DIRECTORY, DOOR_ASKS_GROUPS | DOOR_SAVES, 0 },
	[RMDIR] = { "rmdir", directory_remove, touch_answer_remove, DOOR_WAIT, DOOR_TIME_IN_DIRECTORY, DOOR_ASKS_GROUPS, 0 },
	[SYMLINK] = { "symlink", create_link, NULL, DOOR_MEMORY, DOOR_TIME_IN_DIRECTORY, 0, 0 },
	[RENAME] = { "rename", rename_node, NULL, DOOR_WAIT, DOOR_TIME_IN_DIRECTORY, DOOR_ASKS_GROUPS | DOOR_SAVES, 0 },
	[OPEN] = { "open", file_open, touch_answer_open, DOOR_TRY, DOOR_TIME, DOOR_ASKS_GROUPS, 0 },
	[READ] = { "read", file_read, NULL, DOOR_TRY, DOOR_TIME, 0, 0 },
	[WRITE] = { "write", file_write, NULL, DOOR_MEMORY, DOOR_TIME, 0, 0 },
	[FLUSH] = { "flush", file_flush, NULL, DOOR_TRY, DOOR_TIME, DOOR_SAVES, 0 },
	[RELEASE] = { "release", file_release, NULL, DOOR_TRY, DOOR_TIME, DOOR_SAVES, 0 },
	[FSYNC] = { "fsync", file_fsync, NULL, DOOR_TRY, DOOR_TIME, DOOR_SAVES, 0 },
	[FALLOCATE] = { "fallocate", file_allocate, NULL, DOOR_TRY, DOOR_TIME, 0, 0 },
	[OPENDIR] = { "opendir", directory_open, NULL, DOOR_TRY, DOOR_TIME_OF_LISTING, 0, 0 },
	[READDIR] = { "readdir", directory_read, NULL, DOOR_MEMORY, DOOR_TIME, 0, 0 },
	[READDIRPLUS] = { "readdirplus", directory_read_plus, NULL, DOOR_MEMORY, DOOR_TIME, 0, 0 },
	[RELEASEDIR] = { "releasedir", directory_release, NULL, DOOR_MEMORY, DOOR_TIME, 0, 0 },
	[CREATE] = { "create", create_open, touch_answer_create, DOOR_WAIT, DOOR_TIME_IN_DIRECTORY, DOOR_ASKS_GROUPS | DOOR_SAVES, 0 },
	[LINK] = { "link", refuse, NULL, DOOR_MEMORY, DOOR_TIME, 0, 0 },
	[FSYNCDIR] = { "fsyncdir", accept_sync, NULL, DOOR_MEMORY, DOOR_TIME, 0, 0 },
	[STATFS] = { "statfs", answer_room, NULL, DOOR_MEMORY, DOOR_TIME, 0, 0 },
	[SETXATTR] = { "setxattr", xattr_set, NULL, DOOR_MEMORY, DOOR_TIME, 0, 0 },
	[GETXATTR] = { "getxattr", xattr_get, NULL, DOOR_TRY, DOOR_TIME, 0, 0 },
	[LISTXATTR] = { "listxattr", xattr_list, NULL, DOOR_MEMORY, DOOR_TIME, 0, 0 },
};

/* ------------------------------------------------------- what the kernel asks, as requests */

#define ENTER(kind_, ...) door_enter(&(struct request){ .kind = &kinds[kind_], .fuse = fuse, __VA_ARGS__ })

static void enter_open(int kind, fuse_req_t fuse, fuse_ino_t id, const struct fuse_file_info *info)
{
	ENTER(kind, .id = id, .info = *info, .has_info = true);
}

static void enter_name(int kind, fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode)
{
	ENTER(kind, .id = parent, .name = name, .mode = mode);
}

static void enter_read(int kind, fuse_req_t fuse, fuse_ino_t id, size_t size, off_t offset, const struct fuse_file_info *info)
{
	ENTER(kind, .id = id, .size = size, .offset = offset, .info = *info, .has_info = true);
}

static void on_lookup(fuse_req_t fuse, fuse_ino_t parent, const char *name)
{
	enter_name(LOOKUP, fuse, parent, name, 0);
}

/* fstat never passes the handle. */
static void on_getattr(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info)
{
	(void)info;
	ENTER(GETATTR, .id = id);
}

static void on_setattr(fuse_req_t fuse, fuse_ino_t id, struct stat *attributes, int to_set, struct fuse_file_info *info)
{
	struct request request = { .kind = &kinds[SETATTR], .fuse = fuse, .id = id, .attributes = *attributes,
				   .to_set = to_set, .has_info = info };

	if (info)
		request.info = *info;
	door_enter(&request);
}

static void on_readlink(fuse_req_t fuse, fuse_ino_t id)
{
	ENTER(READLINK, .id = id);
}

static void on_mknod(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
	(void)device;
	enter_name(MKNOD, fuse, parent, name, mode);
}

static void on_mkdir(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode)
{
	enter_name(MKDIR, fuse, parent, name, mode);
}

static void on_unlink(fuse_req_t fuse, fuse_ino_t parent, const char *name)
{
	enter_name(UNLINK, fuse, parent, name, 0);
}

static void on_rmdir(fuse_req_t fuse, fuse_ino_t parent, const char *name)
{
	enter_name(RMDIR, fuse, parent, name, 0);
}

static void on_symlink(fuse_req_t fuse, const char *target, fuse_ino_t parent, const char *name)
{
	ENTER(SYMLINK, .id = parent, .name = name, .new_name = target);
}

static void on_rename(fuse_req_t fuse, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
		      unsigned flags)
{
	ENTER(RENAME, .id = parent, .name = name, .new_parent_id = new_parent, .new_name = new_name, .flags = flags);
}

static void on_open(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info)
{
	enter_open(OPEN, fuse, id, info);
}

static void on_read(fuse_req_t fuse, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info)
{
	enter_read(READ, fuse, id, size, offset, info);
}

static void on_write(fuse_req_t fuse, fuse_ino_t id, const char *data, size_t size, off_t offset,
		     struct fuse_file_info *info)
{
	ENTER(WRITE, .id = id, .value = data, .size = size, .offset = offset, .info = *info, .has_info = true);
}

static void on_flush(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info)
{
	enter_open(FLUSH, fuse, id, info);
}

static void on_release(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info)
{
	enter_open(RELEASE, fuse, id, info);
}

static void on_fsync(fuse_req_t fuse, fuse_ino_t id, int data_only, struct fuse_file_info *info)
{
	(void)data_only;
	enter_open(FSYNC, fuse, id, info);
}

static void on_fallocate(fuse_req_t fuse, fuse_ino_t id, int mode, off_t offset, off_t length,
			 struct fuse_file_info *info)
{
	ENTER(FALLOCATE, .id = id, .mode = (mode_t)mode, .offset = offset, .size = (size_t)length, .info = *info,
	      .has_info = true);
}

static void on_opendir(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info)
{
	enter_open(OPENDIR, fuse, id, info);
}

static void on_readdir(fuse_req_t fuse, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info)
{
	enter_read(READDIR, fuse, id, size, offset, info);
}

static void on_readdirplus(fuse_req_t fuse, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *info)
{
	enter_read(READDIRPLUS, fuse, id, size, offset, info);
}

static void on_releasedir(fuse_req_t fuse, fuse_ino_t id, struct fuse_file_info *info)
{
	enter_open(RELEASEDIR, fuse, id, info);
}

static void on_create(fuse_req_t fuse, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *info)
{
	ENTER(CREATE, .id = parent, .name = name, .mode = mode, .info = *info, .has_info = true);
}

static void on_link(fuse_req_t fuse, fuse_ino_t id, fuse_ino_t new_parent, const char *new_name)
{
	ENTER(LINK, .id = id, .new_parent_id = new_parent, .new_name = new_name);
}

static void on_fsyncdir(fuse_req_t fuse, fuse_ino_t id, int data_only, struct fuse_file_info *info)
{
	(void)data_only;
	enter_open(FSYNCDIR, fuse, id, info);
}

static void on_statfs(fuse_req_t fuse, fuse_ino_t id)
{
	(void)id; /* 0 where nothing in particular is asked for */
	ENTER(STATFS, .id = FUSE_ROOT_ID);
}

static void on_setxattr(fuse_req_t fuse, fuse_ino_t id, const char *name, const char *value, size_t size, int flags)
{
	(void)flags;
	ENTER(SETXATTR, .id = id, .name = name, .value = value, .size = size);
}

static void on_getxattr(fuse_req_t fuse, fuse_ino_t id, const char *name, size_t size)
{
	ENTER(GETXATTR, .id = id, .name = name, .size = size);
}

static void on_listxattr(fuse_req_t fuse, fuse_ino_t id, size_t size)
{
	ENTER(LISTXATTR, .id = id, .size = size);
}

static void on_forget(fuse_req_t fuse, fuse_ino_t id, uint64_t count)
{
	door_forget(fuse_req_userdata(fuse), id, count);
	fuse_reply_none(fuse);
}

static void on_forget_many(fuse_req_t fuse, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		door_forget(fuse_req_userdata(fuse), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(fuse);
}

/* --------------------------------------------------------------------------- counting */

static void log_counts(void)
{
	char line[1024];
	size_t used = 0;

	line[0] = '\0';
	for (size_t i = 0; i < KIND_COUNT && used < sizeof(line); i++) {
		unsigned long count = atomic_load(&kinds[i].count);

		if (count)
			used += (size_t)snprintf(line + used, sizeof(line) - used, " %s=%lu", kinds[i].name, count);
	}
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

/* ------------------------------------------------------------------------------- INIT */

static void negotiate(struct filesystem *filesystem, struct fuse_conn_info *connection)
{
	struct terms *terms = &filesystem->terms;

	/*
	 * Names come with their attributes where they are known; the kernel's guess when to ask for
	 * both is no use here.
	 */
	if (connection->capable & FUSE_CAP_READDIRPLUS)
		connection->want |= FUSE_CAP_READDIRPLUS;
	connection->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
	connection->max_write = MAX_WRITE;
	if (terms->per_user && (connection->capable & FUSE_CAP_POSIX_ACL)) {
		connection->want |= FUSE_CAP_POSIX_ACL;
	} else if (terms->per_user) {
		/* Without them the group bits would be a group's, which are the mask of all. */
		log_error("this kernel has no ACLs on FUSE: the filesystem is closed to all but its owner");
		terms->umask |= 0077;
		terms->per_user = false;
	}
}

static void on_init(void *userdata, struct fuse_conn_info *connection)
{
	struct filesystem *filesystem = userdata;
	const struct terms *terms = &filesystem->terms;
	pthread_t counter;

	negotiate(filesystem, connection);
	/*
	 * Threads must be started here: what was started before the program went to the background
	 * is gone.
	 */
	if (grace_start(&filesystem->saver))
		log_error("can't start a thread: removals and deferred saves wait for the unmount");
	follower_start(&filesystem->follower);
	rights_set_changed(terms->rights, events_rights_changed, &filesystem->tree);
	if (rights_start(terms->rights))
		log_error("can't start a thread: rights are only asked for when they are needed");
	if (terms->identities && identity_store_start(terms->identities))
		log_error("can't start a thread: logins are those of now until the unmount");
	if (!pthread_create(&counter, NULL, wait_for_count_signals, NULL))
		pthread_detach(counter);
#ifdef HAVE_SYSTEMD
	sd_notify(0, "READY=1");
#endif
}

const struct fuse_lowlevel_ops operations_table = {
	.init = on_init,
	.forget = on_forget,
	.forget_multi = on_forget_many,
	.lookup = on_lookup,
	.getattr = on_getattr,
	.setattr = on_setattr,
	.readlink = on_readlink,
	.mknod = on_mknod,
	.mkdir = on_mkdir,
	.unlink = on_unlink,
	.rmdir = on_rmdir,
	.symlink = on_symlink,
	.rename = on_rename,
	.open = on_open,
	.read = on_read,
	.write = on_write,
	.flush = on_flush,
	.release = on_release,
	.fsync = on_fsync,
	.fallocate = on_fallocate,
	.opendir = on_opendir,
	.readdir = on_readdir,
	.readdirplus = on_readdirplus,
	.releasedir = on_releasedir,
	.create = on_create,
	.link = on_link,
	.fsyncdir = on_fsyncdir,
	.statfs = on_statfs,
	.setxattr = on_setxattr,
	.getxattr = on_getxattr,
	.listxattr = on_listxattr,
};
