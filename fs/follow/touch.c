#include "fs/follow/touch.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/log.h"
#include "util/thread.h"

#define BUCKETS 1024
#define NONCE_SIZE 16
#define END_WAIT_MS 2000

struct touch {
	struct touch_item *first, **last;
	struct touch_item *buckets[BUCKETS];
	struct touch_item *current; /* out of the queue, with the toucher */
	pthread_cond_t woken;
	struct thread thread;
	bool stopping;
	bool works; /* it said hello and was recognised */
	bool complained;
	pid_t child; /* 0: none */
	int socket; /* to it; -1: none */
	char nonce[2 * NONCE_SIZE + 16]; /* the name that it looks up first; "" when that is over */
	atomic_int caller; /* the thread id that its requests carry; 0: not known */
	struct touch_counts counts;
};

int touch_new(struct filesystem *filesystem)
{
	struct touch *touch = calloc(1, sizeof(*touch));

	if (!touch)
		return -ENOMEM;
	touch->last = &touch->first;
	touch->socket = -1;
	pthread_cond_init(&touch->woken, NULL);
	filesystem->touch = touch;
	return 0;
}

/* -------------------------------------------------------------------- queue */

static struct touch_item **bucket_of(struct touch *touch, const struct node *parent, const char *name)
{
	size_t hash = (size_t)parent->id * 31;

	for (; *name; name++)
		hash = hash * 31 + (unsigned char)*name;
	return &touch->buckets[hash % BUCKETS];
}

static struct touch_item *find_item(struct touch *touch, const struct node *parent, const char *name,
				    bool removal)
{
	struct touch_item *item = *bucket_of(touch, parent, name);

	while (item &&
	       (item->parent != parent || strcmp(item->name, name) ||
		(item->kind == TOUCH_REMOVED || item->kind == TOUCH_REMOVED_DIRECTORY) != removal))
		item = item->next_by_name;
	return item;
}

static void take_out(struct touch *touch, struct touch_item *item)
{
	struct touch_item **place = &touch->first;
	struct touch_item **bucket = bucket_of(touch, item->parent, item->name);

	while (*place != item)
		place = &(*place)->next;
	*place = item->next;
	if (!item->next)
		touch->last = place;
	while (*bucket != item)
		bucket = &(*bucket)->next_by_name;
	*bucket = item->next_by_name;
	touch->counts.queued--;
}

static void free_item(struct filesystem *filesystem, struct touch_item *item)
{
	if (item->node)
		tree_drop(&filesystem->tree, item->node);
	tree_drop(&filesystem->tree, item->parent);
	free(item->name);
	free(item);
}

static void drop_item(struct filesystem *filesystem, struct touch_item *item)
{
	take_out(filesystem->touch, item);
	free_item(filesystem, item);
}

static void append_item(struct filesystem *filesystem, enum touch_kind kind, struct node *parent,
			const char *name, struct node *node)
{
	struct touch *touch = filesystem->touch;
	struct touch_item *item = calloc(1, sizeof(*item));
	char *copy = strdup(name);

	if (!item || !copy) {
		free(item);
		free(copy);
		log_error("%s: out of memory, programs that watch it are not woken", name);
		return;
	}
	*item = (struct touch_item){ .kind = kind, .parent = parent, .name = copy, .node = node };
	node_hold(parent);
	if (node)
		node_hold(node);
	*touch->last = item;
	touch->last = &item->next;
	struct touch_item **bucket = bucket_of(touch, parent, name);
	item->next_by_name = *bucket;
	*bucket = item;
	touch->counts.queued++;
	pthread_cond_signal(&touch->woken);
}

void touch_queue(struct filesystem *filesystem, enum touch_kind kind, struct node *parent, const char *name,
		 struct node *node)
{
	struct touch *touch = filesystem->touch;
	bool removal = kind == TOUCH_REMOVED || kind == TOUCH_REMOVED_DIRECTORY;

	if (!touch->works || touch->stopping)
		return;
	struct touch_item *present = find_item(touch, parent, name, false);
	if (removal && present)
		drop_item(filesystem, present);
	if (removal && find_item(touch, parent, name, true))
		return;
	if (!removal && present) {
		/* That it appeared, or has other content, says all that its attributes changing would. */
		if (kind == TOUCH_CREATED || present->kind == TOUCH_ATTRIBUTES)
			present->kind = kind;
		if (present->kind == TOUCH_FORGET_ABSENT && node)
			present->kind = TOUCH_CREATED;
		if (node && present->node != node) {
			if (present->node)
				tree_drop(&filesystem->tree, present->node);
			present->node = node;
			node_hold(node);
		}
		return;
	}
	append_item(filesystem, kind, parent, name, node);
}

void touch_count(const struct filesystem *filesystem, struct touch_counts *ret_counts)
{
	*ret_counts = filesystem->touch->counts;
}

pid_t touch_process(const struct filesystem *filesystem)
{
	return filesystem->touch->child;
}

bool touch_works(const struct filesystem *filesystem)
{
	return filesystem->touch->works;
}

/* ----------------------------------------------------------- who is who */

bool touch_asks(const struct request *request)
{
	int caller = atomic_load(&request->filesystem->touch->caller);

	return caller && caller == request->thread;
}

bool touch_meets(struct filesystem *filesystem, const struct request *request, const char *name)
{
	struct touch *touch = filesystem->touch;

	if (!*touch->nonce || strcmp(touch->nonce, name))
		return false;
	*touch->nonce = '\0';
	atomic_store(&touch->caller, request->thread);
	return true;
}

const struct touch_item *touch_current(const struct filesystem *filesystem, const struct node *parent,
				       const char *name)
{
	const struct touch_item *item = filesystem->touch->current;

	return item && item->parent == parent && !strcmp(item->name, name) ? item : NULL;
}

/* --------------------------------------------------------------- the thread */

/* Gives a command and waits for the answer. Without the lock. */
static int give_command(const struct touch *touch, const struct touch_command *command)
{
	int32_t answer;

	if (send(touch->socket, command, sizeof(*command), MSG_NOSIGNAL) != (ssize_t)sizeof(*command) ||
	    recv(touch->socket, &answer, sizeof(answer), 0) != (ssize_t)sizeof(answer))
		return -EPIPE;
	return answer;
}

static int make_nonce(struct touch *touch)
{
	unsigned char bytes[NONCE_SIZE];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -EIO;
	char *end = touch->nonce + sprintf(touch->nonce, ".nacosfs-");
	for (size_t i = 0; i < sizeof(bytes); i++)
		end += sprintf(end, "%02x", bytes[i]);
	return 0;
}

/* Learns as whom the kernel knows the toucher: in whatever pid namespace the mount lives. With the lock, given up meanwhile. */
static void meet_toucher(struct filesystem *filesystem)
{
	struct touch *touch = filesystem->touch;
	struct touch_command command = { .kind = TOUCH_HELLO };
	int error = make_nonce(touch);

	if (!error && strlen(filesystem->mountpoint) >= sizeof(command.directory))
		error = -ENAMETOOLONG;
	if (!error) {
		strcpy(command.directory, filesystem->mountpoint);
		strcpy(command.name, touch->nonce);
		pthread_mutex_unlock(&filesystem->tree.lock);
		error = give_command(touch, &command);
		pthread_mutex_lock(&filesystem->tree.lock);
	}
	touch->works = !error && atomic_load(&touch->caller);
	if (!touch->works && !touch->stopping)
		log_warning("programs that watch files are not woken: %s",
			    error ? strerror(-error) : "the mount does not recognise us");
}

/* The path of a directory below the mount; false when it has none any more. */
static bool write_path(const struct tree *tree, const struct node *directory, char *path, size_t size)
{
	const struct node *parents[8];
	size_t depth = 0, used = 0;

	path[0] = '\0';
	for (; directory && directory != tree->root && depth < 8; directory = directory->parent)
		parents[depth++] = directory;
	if (directory != tree->root)
		return false;
	while (depth-- > 0 && used < size)
		used += (size_t)snprintf(path + used, size - used, "%s%s", used ? "/" : "",
					 parents[depth]->name);
	return used < size;
}

/* Some failures say nothing: the name is gone, or there, or was only to be looked up anew, and its creation refused. */
static bool is_failure(const struct touch_item *item, int error)
{
	return error && error != -ENOENT && error != -EEXIST && error != -ESTALE &&
	       !(item->kind == TOUCH_FORGET_ABSENT && error == -ECANCELED);
}

static void note_result(struct filesystem *filesystem, const struct touch_item *item, int error)
{
	struct touch *touch = filesystem->touch;

	if (!is_failure(item, error)) {
		touch->counts.done++;
		return;
	}
	touch->counts.failed++;
	if (!touch->complained && !touch->stopping)
		log_warning("%s: programs that watch it can't be woken: %s (told once)", item->name,
			    strerror(-error));
	touch->complained = true;
}

/* Has the name that was to vanish been taken by another file here, of which the kernel knows? */
static bool is_back(const struct filesystem *filesystem, const struct touch_item *item)
{
	return (item->kind == TOUCH_REMOVED || item->kind == TOUCH_REMOVED_DIRECTORY) &&
	       tree_child(&filesystem->tree, item->parent, item->name) &&
	       !find_item(filesystem->touch, item->parent, item->name, false);
}

static void run_item(struct filesystem *filesystem, struct touch_item *item)
{
	struct touch *touch = filesystem->touch;
	struct tree *tree = &filesystem->tree;
	struct touch_command command = { .kind = item->kind };

	if (!write_path(tree, item->parent, command.directory, sizeof(command.directory)) ||
	    strlen(item->name) > NAME_MAX || is_back(filesystem, item))
		return;
	strcpy(command.name, item->name);
	touch->current = item;
	pthread_mutex_unlock(&tree->lock);
	int error = give_command(touch, &command);
	pthread_mutex_lock(&tree->lock);
	touch->current = NULL;
	note_result(filesystem, item, error);
	if (error == -EPIPE)
		touch->works = false;
}

static void *run_touch(void *argument)
{
	struct filesystem *filesystem = argument;
	struct touch *touch = filesystem->touch;

	pthread_mutex_lock(&filesystem->tree.lock);
	meet_toucher(filesystem);
	while (!touch->stopping && touch->works) {
		struct touch_item *item = touch->first;
		if (!item) {
			pthread_cond_wait(&touch->woken, &filesystem->tree.lock);
			continue;
		}
		take_out(touch, item);
		run_item(filesystem, item);
		free_item(filesystem, item);
	}
	while (touch->first)
		drop_item(filesystem, touch->first);
	pthread_mutex_unlock(&filesystem->tree.lock);
	return NULL;
}

/* Starts this program again as the toucher: a fork of a program with threads, and with secrets, would be a bad copy. */
static int spawn_toucher(struct touch *touch)
{
	char *arguments[] = { TOUCHER_NAME, NULL };
	posix_spawn_file_actions_t actions;
	int sockets[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return -errno;
	int error = posix_spawn_file_actions_init(&actions);
	if (!error) {
		error = posix_spawn_file_actions_adddup2(&actions, sockets[1], STDIN_FILENO);
		if (!error)
			error = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
		if (!error)
			error = posix_spawn(&touch->child, "/proc/self/exe", &actions, NULL, arguments,
					    environ);
		posix_spawn_file_actions_destroy(&actions);
	}
	close(sockets[1]);
	if (error) {
		touch->child = 0;
		close(sockets[0]);
		return -error;
	}
	touch->socket = sockets[0];
	return 0;
}

int touch_start(struct filesystem *filesystem)
{
	struct touch *touch = filesystem->touch;
	int error = spawn_toucher(touch);

	return error ? error : thread_start(&touch->thread, run_touch, filesystem);
}

void touch_stop(struct filesystem *filesystem)
{
	struct touch *touch = filesystem->touch;

	pthread_mutex_lock(&filesystem->tree.lock);
	touch->stopping = true;
	pthread_cond_signal(&touch->woken);
	pthread_mutex_unlock(&filesystem->tree.lock);
	/* It may be waiting for the toucher, and that for an answer that nobody gives any more. */
	if (touch->socket >= 0)
		shutdown(touch->socket, SHUT_RDWR);
	thread_join(&touch->thread);
}

static void reap_toucher(struct touch *touch)
{
	int left_ms = END_WAIT_MS;

	/* The mount is gone, so it can't be held up for long. */
	while (left_ms > 0 && !waitpid(touch->child, NULL, WNOHANG)) {
		usleep(5000);
		left_ms -= 5;
	}
	if (left_ms <= 0)
		kill(touch->child, SIGKILL);
}

void touch_free(struct filesystem *filesystem)
{
	struct touch *touch = filesystem->touch;

	if (!touch)
		return;
	if (touch->socket >= 0)
		close(touch->socket);
	if (touch->child)
		reap_toucher(touch);
	pthread_cond_destroy(&touch->woken);
	free(touch);
	filesystem->touch = NULL;
}
