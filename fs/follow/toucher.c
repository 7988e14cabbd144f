#include "fs/follow/toucher.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/follow/touch_child.h"
#include "fs/node/wake.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/wait.h"

#define END_WAIT_MS 2000
#define RESTART_FIRST_MS 100
#define RESTART_LAST_MS 60000
#define DEPTH_MAX 8

/* ----------------------------------------------------------- who is who */

pid_t toucher_process(const struct toucher *toucher)
{
	return atomic_load(&toucher->child);
}

bool toucher_may_ask(const struct toucher *toucher, pid_t thread)
{
	int caller = atomic_load(&toucher->caller);

	return caller && caller == thread;
}

bool toucher_is_at(const struct toucher *toucher, const struct node *node)
{
	const struct wake_touch *touch = wake_touch_under_way(toucher->tree);

	if (!touch)
		return false;
	if (node == touch->node || node == tree_child(toucher->tree, touch->parent, touch->name))
		return true;
	for (const struct node *above = touch->parent; above; above = above->parent)
		if (above == node)
			return true;
	return false;
}

bool toucher_is_unknown(const struct toucher *toucher)
{
	return !toucher->caller_known && atomic_load(&toucher->child);
}

bool toucher_meets(struct toucher *toucher, pid_t thread, const char *name)
{
	if (!*toucher->nonce || strcmp(toucher->nonce, name))
		return false;
	*toucher->nonce = '\0';
	toucher->caller_known = thread;
	return true;
}

/* --------------------------------------------------------------- the process */

/*
 * Starts this program again as the toucher: a fork of a program with threads, and with secrets,
 * would be a bad copy.
 */
static int spawn(struct toucher *toucher) UNLOCKED
{
	char *arguments[] = { TOUCHER_NAME, NULL };
	posix_spawn_file_actions_t actions;
	int sockets[2];
	pid_t child = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return -errno;
	int error = posix_spawn_file_actions_init(&actions);
	if (!error) {
		error = posix_spawn_file_actions_adddup2(&actions, sockets[1], STDIN_FILENO);
		if (!error)
			error = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
		if (!error)
			error = posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environ);
		posix_spawn_file_actions_destroy(&actions);
	}
	close(sockets[1]);
	if (error) {
		close(sockets[0]);
		return -error;
	}
	atomic_store(&toucher->child, child);
	atomic_store(&toucher->socket, sockets[0]);
	return 0;
}

/* Its pid may be another's as soon as it is reaped, so nobody is known by it before. */
static void reap(struct toucher *toucher) UNLOCKED
{
	pid_t child = atomic_load(&toucher->child);
	int socket = atomic_exchange(&toucher->socket, -1);
	int left_ms = END_WAIT_MS;

	atomic_store(&toucher->caller, 0);
	if (socket >= 0)
		close(socket);
	if (!child)
		return;
	while (left_ms > 0 && !waitpid(child, NULL, WNOHANG)) {
		usleep(5000);
		left_ms -= 5;
	}
	if (left_ms <= 0) {
		kill(child, SIGKILL);
		waitpid(child, NULL, WNOHANG);
	}
	atomic_store(&toucher->child, 0);
}

/* Gives a command and waits for the answer. Without the lock. */
static int give_command(const struct toucher *toucher, const struct touch_command *command) UNLOCKED
{
	int socket = atomic_load(&toucher->socket);
	int32_t answer;

	wait_check("the toucher");
	if (send(socket, command, sizeof(*command), MSG_NOSIGNAL) != (ssize_t)sizeof(*command) ||
	    recv(socket, &answer, sizeof(answer), 0) != (ssize_t)sizeof(answer))
		return -EPIPE;
	return answer;
}

static int make_nonce(struct toucher *toucher) LOCKED
{
	unsigned char bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -EIO;
	char *end = toucher->nonce + sprintf(toucher->nonce, ".nacosfs-");
	for (size_t i = 0; i < sizeof(bytes); i++)
		end += sprintf(end, "%02x", bytes[i]);
	return 0;
}

/*
 * Starts it, and learns as whom the kernel knows it: in whatever pid namespace the mount lives.
 * With the lock, given up meanwhile.
 */
static int meet(struct toucher *toucher) LOCKED
{
	struct tree *tree = toucher->tree;
	struct touch_command command = { .kind = TOUCH_HELLO };
	int error = strlen(tree->terms->mountpoint) < sizeof(command.directory) ? make_nonce(toucher) : -ENAMETOOLONG;

	if (error)
		return error;
	strcpy(command.directory, tree->terms->mountpoint);
	strcpy(command.name, toucher->nonce);
	toucher->caller_known = 0;
	lock_give(&tree->lock);
	error = spawn(toucher);
	lock_take(&tree->lock);
	if (!error && toucher->stopping)
		error = -EINTR; /* toucher_stop() may not have seen its socket */
	if (!error) {
		lock_give(&tree->lock);
		error = give_command(toucher, &command);
		lock_take(&tree->lock);
	}
	*toucher->nonce = '\0';
	if (!error && !toucher->caller_known)
		error = -ENOTCONN; /* the mount does not recognise us */
	return error;
}

/* ------------------------------------------------------------------- commands */

/* The path of a directory below the mount; false when it has none any more. */
static bool write_path(const struct tree *tree, const struct node *directory, char *path, size_t size) LOCKED
{
	const struct node *parents[DEPTH_MAX];
	size_t depth = 0, used = 0;

	path[0] = '\0';
	for (; directory && directory != tree->root && depth < DEPTH_MAX; directory = directory->parent)
		parents[depth++] = directory;
	if (directory != tree->root)
		return false;
	while (depth-- > 0 && used < size)
		used += (size_t)snprintf(path + used, size - used, "%s%s", used ? "/" : "", node_name(parents[depth]));
	return used < size;
}

/*
 * Some failures say nothing: the name is gone, or there, or was only to be looked up anew, and its
 * creation refused.
 */
static bool is_failure(const struct wake_touch *touch, int error)
{
	return error && error != -ENOENT && error != -EEXIST && error != -ESTALE &&
	       !(touch->kind == TOUCH_FORGET_ABSENT && error == -ECANCELED);
}

static void report(struct toucher *toucher, const char *name, int error) LOCKED
{
	if (!toucher->complained && !toucher->stopping)
		log_warning("%s: programs that watch it can't be woken: %s (told once)", name, strerror(-error));
	toucher->complained = true;
}

/* Has the name that was to vanish been taken by another file here, of which the kernel knows? */
static bool is_back(const struct tree *tree, const struct wake_touch *touch) LOCKED
{
	return (touch->kind == TOUCH_REMOVED || touch->kind == TOUCH_REMOVED_DIRECTORY) &&
	       tree_child(tree, touch->parent, touch->name) && !wake_has_touch(tree, touch->parent, touch->name);
}

/* 0: it was raised, or need not be any more. -EPIPE: the process is gone. */
static int run_touch(struct toucher *toucher, const struct wake_touch *touch) LOCKED
{
	struct tree *tree = toucher->tree;
	struct touch_command command = { .kind = touch->kind };

	if (!write_path(tree, touch->parent, command.directory, sizeof(command.directory)) ||
	    strlen(touch->name) > NAME_MAX || is_back(tree, touch))
		return 0;
	strcpy(command.name, touch->name);
	atomic_store(&toucher->caller, toucher->caller_known);
	lock_give(&tree->lock);
	int error = give_command(toucher, &command);
	lock_take(&tree->lock);
	atomic_store(&toucher->caller, 0);
	return error;
}

/* Works until the process is gone, or it is time to stop. */
static void work(struct toucher *toucher) LOCKED
{
	struct tree *tree = toucher->tree;
	struct wake_touch *touch;

	while (!toucher->stopping && (touch = wake_take_touch(tree))) {
		int error = run_touch(toucher, touch);
		bool failed = is_failure(touch, error);

		if (failed && error != -EPIPE)
			report(toucher, touch->name, error);
		wake_touched(tree, touch, failed);
		if (error == -EPIPE)
			return;
	}
}

static void *run(void *argument)
{
	struct toucher *toucher = argument;
	struct tree *tree = toucher->tree;
	int64_t delay_ms = RESTART_FIRST_MS;

	lock_take(&tree->lock);
	while (!toucher->stopping && !wake_is_stopping(tree)) {
		int64_t started_ms = clock_monotonic_ms();
		int error = meet(toucher);

		if (error && !toucher->stopping)
			log_warning("programs that watch files are not woken: %s",
				    error == -ENOTCONN ? "the mount does not recognise us" : strerror(-error));
		wake_set_touches(tree, !error);
		if (!error)
			work(toucher);
		wake_set_touches(tree, false);
		if (toucher->stopping || wake_is_stopping(tree))
			break;
		lock_give(&tree->lock);
		reap(toucher);
		lock_take(&tree->lock);
		if (!error)
			log_warning("the toucher is gone, it is started again: programs that watch files missed events");
		/* One that dies at once must not be started again and again. */
		bool was_long = clock_monotonic_ms() - started_ms > RESTART_LAST_MS;
		delay_ms = was_long ? RESTART_FIRST_MS : delay_ms * 2;
		if (delay_ms > RESTART_LAST_MS)
			delay_ms = RESTART_LAST_MS;
		wake_pause_touches(tree, delay_ms);
	}
	lock_give(&tree->lock);
	return NULL;
}

int toucher_start(struct toucher *toucher, struct tree *tree)
{
	toucher->tree = tree;
	atomic_store(&toucher->socket, -1);
	/* A child that nobody has to wait for is no child that is known by its pid. */
	signal(SIGCHLD, SIG_DFL);
	return thread_start(&toucher->thread, run, toucher);
}

void toucher_stop(struct toucher *toucher)
{
	if (!toucher->tree)
		return;
	lock_take(&toucher->tree->lock);
	toucher->stopping = true;
	int socket = atomic_load(&toucher->socket);
	lock_give(&toucher->tree->lock);
	/*
	 * The thread may be waiting for the process, and that for an answer that nobody gives any
	 * more.
	 */
	if (socket >= 0)
		shutdown(socket, SHUT_RDWR);
	thread_join(&toucher->thread);
}

void toucher_end(struct toucher *toucher)
{
	if (toucher->tree)
		reap(toucher);
}
