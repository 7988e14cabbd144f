/*
 * The door, from the kernel's side: a FUSE session without a mount, whose device is a socket, and ONE thread that receives
 * requests. Whatever a user asks of a store that never answers, others are served.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/fuse.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "fake_store.h"
#include "fs/door.h"
#include "fs/follow/touch_child.h"
#include "fs/node/show.h"
#include "fs/operations.h"
#include "fs/save/handle.h"

#define UID_A 4711
#define UID_B 4712
#define COLD_COUNT 300
#define SERVED_MS 1000 /* within which whoever needs no server is */
#define RELEASED_MS 20000
#define REPLIES_MAX 8192
#define WARM_ROUNDS 200
#define WARM_ENTRIES 200

/* ---------------------------------------------------------------------------- the kernel */

struct reply {
	bool is_there;
	int error;
	size_t size;
	char *data;
};

struct kernel {
	int socket, device;
	struct fuse_session *session;
	struct bed *bed;
	struct thread receiver, reader;
	atomic_bool has_ended; /* the receiver */

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t answered;
	struct reply replies[REPLIES_MAX];
	uint64_t next;
};

static ssize_t write_device(int device, struct iovec *parts, int count, void *data)
{
	const struct msghdr message = { .msg_iov = parts, .msg_iovlen = (size_t)count };

	(void)data;
	return sendmsg(device, &message, MSG_NOSIGNAL);
}

static ssize_t read_device(int device, void *bytes, size_t size, void *data)
{
	(void)data;
	return recv(device, bytes, size, 0);
}

static void *receive(void *arg)
{
	struct kernel *kernel = arg;

	fuse_session_loop(kernel->session);
	atomic_store(&kernel->has_ended, true);
	return NULL;
}

static void *read_replies(void *arg)
{
	struct kernel *kernel = arg;
	size_t limit = 1 << 21;
	char *bytes = malloc(limit);
	ssize_t size;

	while ((size = recv(kernel->socket, bytes, limit, 0)) >= (ssize_t)sizeof(struct fuse_out_header)) {
		struct fuse_out_header header;

		memcpy(&header, bytes, sizeof(header));
		if (!header.unique || header.unique >= REPLIES_MAX)
			continue; /* a notification */
		pthread_mutex_lock(&kernel->lock);
		struct reply *reply = &kernel->replies[header.unique];
		assert_false(reply->is_there);
		*reply = (struct reply){ true, header.error, (size_t)size - sizeof(header), NULL };
		reply->data = malloc(reply->size + 1);
		memcpy(reply->data, bytes + sizeof(header), reply->size);
		pthread_cond_broadcast(&kernel->answered);
		pthread_mutex_unlock(&kernel->lock);
	}
	free(bytes);
	return NULL;
}

/* Sends a request, and returns its number. A name is sent with its NUL. */
static uint64_t ask(struct kernel *kernel, uid_t uid, uint32_t opcode, uint64_t node, const void *body, size_t size,
		    const void *more, size_t more_size)
{
	struct fuse_in_header header = {
		.len = (uint32_t)(sizeof(header) + size + more_size),
		.opcode = opcode,
		.unique = ++kernel->next,
		.nodeid = node,
		.uid = uid,
		.gid = uid,
		.pid = (uint32_t)getpid(),
	};
	const struct iovec parts[] = { { &header, sizeof(header) }, { (void *)body, size }, { (void *)more, more_size } };
	const struct msghdr message = { .msg_iov = (struct iovec *)parts, .msg_iovlen = 3 };

	assert_true(header.unique < REPLIES_MAX);
	assert_int_equal(sendmsg(kernel->socket, &message, MSG_NOSIGNAL), header.len);
	return header.unique;
}

static const struct reply *await(struct kernel *kernel, uint64_t unique, int64_t timeout_ms)
{
	const struct reply *reply = &kernel->replies[unique];
	struct timespec until = clock_from_ms(clock_monotonic_ms() + timeout_ms);
	int error = 0;

	pthread_mutex_lock(&kernel->lock);
	while (!reply->is_there && !error)
		error = pthread_cond_timedwait(&kernel->answered, &kernel->lock, &until);
	pthread_mutex_unlock(&kernel->lock);
	return reply->is_there ? reply : NULL;
}

static bool is_answered(struct kernel *kernel, uint64_t unique)
{
	pthread_mutex_lock(&kernel->lock);
	bool is_there = kernel->replies[unique].is_there;
	pthread_mutex_unlock(&kernel->lock);
	return is_there;
}

/* Asks, and wants an answer without an error. */
static const struct reply *get(struct kernel *kernel, uid_t uid, uint32_t opcode, uint64_t node, const void *body,
			       size_t size, const char *name)
{
	const struct reply *reply =
		await(kernel, ask(kernel, uid, opcode, node, body, size, name, name ? strlen(name) + 1 : 0), SERVED_MS);

	if (!reply)
		fail_msg("request %u is not answered", opcode);
	if (reply->error)
		fail_msg("request %u: %s", opcode, strerror(-reply->error));
	return reply;
}

#define GET(kernel, uid, opcode, node, ...) \
	get(kernel, uid, opcode, node, &(__VA_ARGS__), sizeof(__VA_ARGS__), NULL)

static uint64_t look_up(struct kernel *kernel, uid_t uid, uint64_t parent, const char *name)
{
	struct fuse_entry_out entry;

	memcpy(&entry, get(kernel, uid, FUSE_LOOKUP, parent, NULL, 0, name)->data, sizeof(entry));
	return entry.nodeid;
}

static uint64_t open_node(struct kernel *kernel, uid_t uid, uint32_t opcode, uint64_t node, uint32_t flags)
{
	struct fuse_open_out opened;

	memcpy(&opened, GET(kernel, uid, opcode, node, (struct fuse_open_in){ .flags = flags })->data, sizeof(opened));
	return opened.fh;
}

static void assert_reads(struct kernel *kernel, uid_t uid, uint64_t node, uint64_t file, const char *expected)
{
	const struct reply *reply = GET(kernel, uid, FUSE_READ, node, (struct fuse_read_in){ .fh = file, .size = 4096 });

	assert_int_equal(reply->size, strlen(expected));
	assert_memory_equal(reply->data, expected, reply->size);
}

static int set_up(void **state)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	struct fuse_args arguments = FUSE_ARGS_INIT(0, NULL);
	const struct fuse_custom_io io = { .writev = write_device, .read = read_device };
	const struct fuse_init_in init = { .major = 7, .minor = 31, .max_readahead = 1 << 17, .flags = FUSE_DO_READDIRPLUS };
	int sockets[2], size = 4 << 20;

	*state = kernel;
	pthread_mutex_init(&kernel->lock, NULL);
	clock_init_condition(&kernel->answered);
	kernel->bed = bed_new(&(struct bed_options){ .cached = true });
	atomic_store(&kernel->bed->fake.watches, true);
	fuse_opt_add_arg(&arguments, "door");
	kernel->session = fuse_session_new(&arguments, &operations_table, sizeof(operations_table), &kernel->bed->filesystem);
	fuse_opt_free_args(&arguments);
	if (!kernel->session || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return -1;
	for (size_t i = 0; i < 2; i++) {
		setsockopt(sockets[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
		setsockopt(sockets[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	}
	kernel->socket = sockets[0];
	kernel->device = sockets[1];
	if (fuse_session_custom_io(kernel->session, &io, kernel->device))
		return -1;
	kernel->bed->filesystem.follower.session = kernel->session;
	thread_start(&kernel->receiver, receive, kernel);
	thread_start(&kernel->reader, read_replies, kernel);
	get(kernel, 0, FUSE_INIT, 0, &init, 16, NULL);
	return 0;
}

static int tear_down(void **state)
{
	struct kernel *kernel = *state;

	shutdown(kernel->socket, SHUT_RDWR);
	thread_join(&kernel->receiver);
	thread_join(&kernel->reader);
	bed_free(kernel->bed);
	fuse_session_destroy(kernel->session); /* closes the device */
	close(kernel->socket);
	for (size_t i = 0; i < REPLIES_MAX; i++)
		free(kernel->replies[i].data);
	pthread_cond_destroy(&kernel->answered);
	pthread_mutex_destroy(&kernel->lock);
	free(kernel);
	return 0;
}

/* --------------------------------------------------------------------- one hangs, others do not */

/* A config that was only listed, in a group that is not asked about again; and an open file of it that has changes. */
struct cold {
	char name[32];
	uint64_t node;
	uint64_t file;
};

static void add_cold(struct kernel *kernel, struct node *group, size_t number, struct cold *ret_cold)
{
	struct bed *bed = kernel->bed;
	const struct writer writer = { 0, UID_A, UID_A };
	struct cold cold = { .node = 0 };

	snprintf(cold.name, sizeof(cold.name), "cold-%zu", number);
	struct node *node = tree_add(bed->tree, group, cold.name, NODE_CONFIG);
	node->is_stored = true;
	node_count_lookup(node);
	fake_set(&bed->fake, node->place, "cold");
	cleanup_version struct version *version = fake_peek(&bed->fake, node->place);
	struct handle *handle = handle_new(bed->saver, node, O_RDWR, version, &writer);
	cold.node = node_id(node);
	cold.file = (uintptr_t)handle;
	*ret_cold = cold;
}

#define ASK(opcode, node, ...) ask(kernel, UID_A, opcode, node, &(__VA_ARGS__), sizeof(__VA_ARGS__), NULL, 0)
#define ASK_NAME(opcode, node, name, ...) \
	ask(kernel, UID_A, opcode, node, &(__VA_ARGS__), sizeof(__VA_ARGS__), name, strlen(name) + 1)

/* The numberth kind of request about it; *ret_waits: it can't be answered from memory. */
static uint64_t ask_cold(struct kernel *kernel, size_t number, uint64_t group, const struct cold *cold, bool *ret_waits)
{
	const struct { struct fuse_write_in in; char text[4]; } written = {
		{ .fh = cold->file, .size = 4, .flags = O_RDWR }, "more" };
	char name[48], both[96];

	snprintf(name, sizeof(name), "%s.new", cold->name);
	size_t both_size = (size_t)snprintf(both, sizeof(both), "%s%c%s", cold->name, 0, name) + 1;
	*ret_waits = true;
	switch (number % 27) {
	case 0:
		return ask(kernel, UID_A, FUSE_LOOKUP, group, NULL, 0, name, strlen(name) + 1);
	case 1:
		return ASK(FUSE_GETATTR, cold->node, (struct fuse_getattr_in){ 0 });
	case 2:
		return ASK(FUSE_OPEN, cold->node, (struct fuse_open_in){ .flags = O_RDONLY });
	case 3:
		return ASK(FUSE_OPEN, cold->node, (struct fuse_open_in){ .flags = O_RDWR });
	case 4:
		return ASK(FUSE_SETATTR, cold->node, (struct fuse_setattr_in){ .valid = FATTR_SIZE, .size = 3 });
	case 5:
		return ask(kernel, UID_A, FUSE_UNLINK, group, NULL, 0, cold->name, strlen(cold->name) + 1);
	case 6:
		return ask(kernel, UID_A, FUSE_RENAME, group, &(struct fuse_rename_in){ group }, sizeof(struct fuse_rename_in),
			   both, both_size);
	case 7:
		return ASK_NAME(FUSE_CREATE, group, name, (struct fuse_create_in){ .flags = O_RDWR, .mode = 0600 });
	case 8:
		return ASK_NAME(FUSE_MKNOD, group, name, (struct fuse_mknod_in){ .mode = S_IFREG | 0600 });
	case 9:
		ASK(FUSE_WRITE, cold->node, written);
		return ASK(FUSE_FLUSH, cold->node, (struct fuse_flush_in){ .fh = cold->file });
	case 10:
		ASK(FUSE_WRITE, cold->node, written);
		return ASK(FUSE_FSYNC, cold->node, (struct fuse_fsync_in){ .fh = cold->file });
	case 11:
		ASK(FUSE_WRITE, cold->node, written);
		return ASK(FUSE_RELEASE, cold->node, (struct fuse_release_in){ .fh = cold->file });
	case 12:
		return ASK(FUSE_OPENDIR, group, (struct fuse_open_in){ 0 });
	case 13:
		return ASK_NAME(FUSE_GETXATTR, cold->node, "user.nacos.md5", (struct fuse_getxattr_in){ .size = 64 });
	case 14:
		return ask(kernel, UID_A, FUSE_LOOKUP, group, NULL, 0, cold->name, strlen(cold->name) + 1);
	}
	*ret_waits = false;
	switch (number % 27) {
	case 15:
		return ASK(FUSE_WRITE, cold->node, written);
	case 16:
		return ASK_NAME(FUSE_MKDIR, group, ".private", (struct fuse_mkdir_in){ .mode = 0700 });
	case 17:
		return ask(kernel, UID_A, FUSE_RMDIR, group, NULL, 0, cold->name, strlen(cold->name) + 1);
	case 18:
		return ask(kernel, UID_A, FUSE_READLINK, cold->node, NULL, 0, NULL, 0);
	case 19:
		return ask(kernel, UID_A, FUSE_SYMLINK, group, ".link\0target", 13, NULL, 0);
	case 20:
		return ASK_NAME(FUSE_LINK, group, name, (struct fuse_link_in){ cold->node });
	case 21:
		return ASK(FUSE_FALLOCATE, cold->node, (struct fuse_fallocate_in){ .fh = cold->file, .length = 100 });
	case 22:
		return ASK(FUSE_READ, cold->node, (struct fuse_read_in){ .fh = cold->file, .size = 100 });
	case 23:
		return ASK(FUSE_LISTXATTR, cold->node, (struct fuse_getxattr_in){ .size = 64 });
	case 24:
		return ask(kernel, UID_A, FUSE_STATFS, cold->node, NULL, 0, NULL, 0);
	case 25:
		return ASK(FUSE_FSYNCDIR, group, (struct fuse_fsync_in){ 0 });
	default:
		return ASK(FUSE_RELEASE, cold->node, (struct fuse_release_in){ .fh = cold->file });
	}
}

/* What somebody else does with a config that is in memory. */
static void assert_served(struct kernel *kernel, uint64_t group, uint64_t warm, uint64_t file)
{
	assert_reads(kernel, UID_B, warm, file, "warm");
	GET(kernel, UID_B, FUSE_GETATTR, warm, (struct fuse_getattr_in){ 0 });
	uint64_t another = open_node(kernel, UID_B, FUSE_OPEN, warm, O_RDONLY);
	assert_reads(kernel, UID_B, warm, another, "warm");
	GET(kernel, UID_B, FUSE_RELEASE, warm, (struct fuse_release_in){ .fh = another });
	assert_int_equal(look_up(kernel, UID_B, group, "warm.yaml"), warm);
}

struct waiting {
	struct kernel *kernel;
	uint64_t *asked;
	size_t count;
};

static bool all_are_answered(void *arg)
{
	struct waiting *waiting = arg;

	for (size_t i = 0; i < waiting->count; i++)
		if (!is_answered(waiting->kernel, waiting->asked[i]))
			return false;
	return true;
}

static bool many_hang(void *arg)
{
	struct kernel *kernel = arg;
	size_t waiting, running;

	pool_count(kernel->bed->filesystem.pool, &waiting, &running);
	return atomic_load(&kernel->bed->fake.hanging_count) >= 40 && waiting > 20;
}

/* A group with configs that are not answered any more. */
static uint64_t add_cold_group(struct kernel *kernel, struct cold *colds)
{
	struct bed *bed = kernel->bed;

	lock_take(&bed->tree->lock);
	struct node *group = tree_add(bed->tree, bed->group->parent, "COLD", NODE_GROUP);
	node_count_lookup(group);
	for (size_t i = 0; i < COLD_COUNT; i++)
		add_cold(kernel, group, i, &colds[i]);
	uint64_t id = node_id(group);
	fake_hang(&bed->fake, group->place);
	lock_give(&bed->tree->lock);
	return id;
}

static void test_what_hangs_holds_up_nobody_else(void **state)
{
	struct kernel *kernel = *state;
	struct bed *bed = kernel->bed;
	static struct cold colds[COLD_COUNT];
	uint64_t asked[COLD_COUNT], hanging[COLD_COUNT];
	size_t hanging_count = 0;

	bed_set(bed, "warm.yaml", "warm");
	bed_set(bed, "tepid.yaml", "tepid");
	uint64_t group = node_id(bed->group);
	uint64_t warm = look_up(kernel, UID_B, group, "warm.yaml");
	uint64_t file = open_node(kernel, UID_B, FUSE_OPEN, warm, O_RDONLY);
	assert_served(kernel, group, warm, file);
	uint64_t cold_group = add_cold_group(kernel, colds);
	for (size_t i = 0; i < COLD_COUNT; i++) {
		bool waits;

		asked[i] = ask_cold(kernel, i, cold_group, &colds[i], &waits);
		if (waits)
			hanging[hanging_count++] = asked[i];
	}
	assert_true(bed_wait(many_hang, kernel));
	for (int i = 0; i < 20; i++)
		assert_served(kernel, group, warm, file);
	/* And what he has to wait for he gets, too: there are threads for him. */
	look_up(kernel, UID_B, group, "tepid.yaml");
	size_t answered = 0;
	for (size_t i = 0; i < hanging_count; i++)
		answered += is_answered(kernel, hanging[i]);
	assert_int_equal(answered, 0);
	fake_hang(&bed->fake, NULL);
	struct waiting waiting = { kernel, asked, COLD_COUNT };
	assert_true(bed_wait(all_are_answered, &waiting));
}

static void test_a_session_ends_while_all_hang(void **state)
{
	struct kernel *kernel = *state;
	static struct cold colds[COLD_COUNT];
	bool waits;

	uint64_t group = add_cold_group(kernel, colds);
	for (size_t i = 0; i < COLD_COUNT; i++)
		ask_cold(kernel, i % 3, group, &colds[i], &waits); /* what saves goes on to its end */
	assert_true(bed_wait(many_hang, kernel));
	int64_t started_ms = clock_monotonic_ms();
	shutdown(kernel->socket, SHUT_RDWR);
	thread_join(&kernel->receiver);
	assert_true(atomic_load(&kernel->has_ended));
	lifetime_stop(&kernel->bed->filesystem);
	assert_true(clock_monotonic_ms() - started_ms < 3000);
	kernel->receiver.is_started = false;
}

/* ------------------------------------------------------------------------------------- how much */

static unsigned long lock_rounds(struct bed *bed)
{
	lock_take(&bed->tree->lock);
	unsigned long rounds = bed->tree->lock.rounds - 1;
	lock_give(&bed->tree->lock);
	return rounds;
}

static void test_a_warm_open_takes_the_lock_three_times(void **state)
{
	struct kernel *kernel = *state;
	struct bed *bed = kernel->bed;

	bed_set(bed, "warm.yaml", "warm");
	uint64_t warm = look_up(kernel, UID_B, node_id(bed->group), "warm.yaml");
	uint64_t first = open_node(kernel, UID_B, FUSE_OPEN, warm, O_RDONLY);
	GET(kernel, UID_B, FUSE_RELEASE, warm, (struct fuse_release_in){ .fh = first });
	unsigned long before = lock_rounds(bed);
	int gets = bed->fake.gets;
	for (int i = 0; i < WARM_ROUNDS; i++) {
		uint64_t file = open_node(kernel, UID_B, FUSE_OPEN, warm, O_RDONLY);
		assert_reads(kernel, UID_B, warm, file, "warm");
		GET(kernel, UID_B, FUSE_RELEASE, warm, (struct fuse_release_in){ .fh = file });
	}
	unsigned long rounds = lock_rounds(bed) - before;
	print_message("warm open+read+release: %.2f rounds of the tree's lock\n", (double)rounds / WARM_ROUNDS);
	assert_int_equal(bed->fake.gets, gets);
	/* Once each; the rest is what works in the background. */
	assert_in_range(rounds, 3 * WARM_ROUNDS, 3 * WARM_ROUNDS + WARM_ROUNDS / 4);
}

/* How many entries of the answer came with their attributes; all names in *ret_names. */
static size_t count_entries(const struct reply *reply, size_t *ret_names, uint64_t *ret_offset)
{
	size_t given = 0;

	for (size_t at = 0; at + sizeof(struct fuse_direntplus) <= reply->size;) {
		struct fuse_direntplus entry;

		memcpy(&entry, reply->data + at, sizeof(entry));
		given += entry.entry_out.nodeid != 0;
		*ret_names += 1;
		*ret_offset = entry.dirent.off;
		at += FUSE_DIRENTPLUS_SIZE(&entry);
	}
	return given;
}

static void test_readdirplus_takes_the_lock_once_for_all(void **state)
{
	struct kernel *kernel = *state;
	struct bed *bed = kernel->bed;
	uint64_t group = node_id(bed->group), offset = 0;
	size_t names = 0, given = 0, requests = 0;

	for (int i = 0; i < WARM_ENTRIES; i++) {
		char name[32];
		snprintf(name, sizeof(name), "%d.yaml", i);
		bed_set(bed, name, name);
		look_up(kernel, UID_B, group, name);
	}
	uint64_t directory = open_node(kernel, UID_B, FUSE_OPENDIR, group, 0);
	unsigned long before = lock_rounds(bed);
	for (;;) {
		size_t names_before = names;
		given += count_entries(GET(kernel, UID_B, FUSE_READDIRPLUS, group,
					   (struct fuse_read_in){ .fh = directory, .size = 1 << 16, .offset = offset }),
				       &names, &offset);
		requests++;
		if (names == names_before)
			break;
	}
	unsigned long rounds = lock_rounds(bed) - before;
	print_message("warm readdirplus: %zu entries in %zu requests, %.3f rounds of the tree's lock each\n", given, requests,
		      (double)rounds / (double)given);
	assert_int_equal(names, WARM_ENTRIES + 2);
	assert_int_equal(given, WARM_ENTRIES);
	assert_in_range(rounds, requests, requests + 20);
	GET(kernel, UID_B, FUSE_RELEASEDIR, group, (struct fuse_release_in){ .fh = directory });
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_hangs_holds_up_nobody_else, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_session_ends_while_all_hang, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_warm_open_takes_the_lock_three_times, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_readdirplus_takes_the_lock_once_for_all, set_up, tear_down),
	};

	/* There is nothing to be touched. */
	if (argc && !strcmp(argv[0], TOUCHER_NAME))
		return 0;
	operations_block_count_signal();
	bed_mute_log();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
