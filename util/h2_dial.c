#include "util/h2_dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/mutex.h"
#include "util/wait.h"

/* The least that an address gets of the time, even where there are many of them. */
#define ADDRESS_TIMEOUT_MIN_MS 300

/* What a dial shares with the thread that looks its host up; the last of the two frees it. */
struct lookup {
	struct mutex lock;
	bool alone GUARDED_BY(&lock); /* the other one is gone */
	bool done GUARDED_BY(&lock);
	/* The thread's until it is done, the dial's after that. */
	int error; /* of getaddrinfo() */
	struct addrinfo *addresses;

	int descriptor; /* an eventfd, for poll() */
	char *host;
	char port[8];
};

struct h2_dial {
	struct lookup *lookup;
	char *host;
	unsigned port;
	const struct addrinfo *address; /* the one being tried; NULL: still looking up */
	int descriptor; /* of its socket; -1: none */
	int64_t address_deadline_ms;
	int last_error; /* errno of the last address that failed */
};

static void lookup_free(struct lookup *lookup)
{
	if (lookup->addresses)
		freeaddrinfo(lookup->addresses);
	if (lookup->descriptor >= 0)
		close(lookup->descriptor);
	mutex_destroy(&lookup->lock);
	free(lookup->host);
	free(lookup);
}

/* Called by each of the two when it needs the lookup no more. */
static void lookup_leave(struct lookup *lookup)
{
	bool last;

	mutex_lock(&lookup->lock);
	last = lookup->alone;
	lookup->alone = true;
	mutex_unlock(&lookup->lock);
	if (last)
		lookup_free(lookup);
}

static int ask_resolver(const struct lookup *lookup, int flags, struct addrinfo **ret_addresses)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | flags,
	};

	if (!(flags & AI_NUMERICHOST))
		wait_check("the addresses of a name");
	return getaddrinfo(lookup->host, lookup->port, &hints, ret_addresses);
}

static void *lookup_run(void *arg)
{
	struct lookup *lookup = arg;
	struct addrinfo *addresses = NULL;
	int error = ask_resolver(lookup, AI_ADDRCONFIG, &addresses);

	mutex_lock(&lookup->lock);
	lookup->error = error;
	lookup->addresses = error ? NULL : addresses;
	lookup->done = true;
	mutex_unlock(&lookup->lock);
	eventfd_write(lookup->descriptor, 1);
	lookup_leave(lookup);
	return NULL;
}

static int lookup_start_thread(struct lookup *lookup)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int error;

	if (pthread_attr_init(&attributes))
		return -ENOMEM;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	error = pthread_create(&thread, &attributes, lookup_run, lookup);
	pthread_attr_destroy(&attributes);
	return -error;
}

/* There is no thread: the dial is alone with what was found. */
static void lookup_end_alone(struct lookup *lookup)
{
	mutex_lock(&lookup->lock);
	lookup->alone = lookup->done = true;
	mutex_unlock(&lookup->lock);
}

/* Addresses are looked up at once, names by a thread. */
static int lookup_new(const char *host, unsigned port, struct lookup **ret_lookup)
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	int error = 0;

	if (!lookup)
		return -ENOMEM;
	mutex_init(&lookup->lock);
	lookup->descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	lookup->host = strdup(host);
	snprintf(lookup->port, sizeof(lookup->port), "%u", port);
	if (!lookup->host)
		error = -ENOMEM;
	else if (lookup->descriptor < 0)
		error = -errno;
	else if (ask_resolver(lookup, AI_NUMERICHOST, &lookup->addresses) == 0)
		lookup_end_alone(lookup);
	else
		error = lookup_start_thread(lookup);
	if (error) {
		lookup_free(lookup);
		return error;
	}
	*ret_lookup = lookup;
	return 0;
}

int h2_dial_new(const char *host, unsigned port, struct call *call, struct h2_dial **ret_dial)
{
	struct h2_dial *dial = calloc(1, sizeof(*dial));
	int error = dial ? 0 : -ENOMEM;

	if (!error) {
		dial->descriptor = -1;
		dial->port = port;
		dial->host = strdup(host);
		error = dial->host ? lookup_new(host, port, &dial->lookup) : -ENOMEM;
	}
	if (error) {
		h2_dial_free(dial);
		return call_fail(call, error, "%s: %s", host, strerror(-error));
	}
	*ret_dial = dial;
	return 0;
}

void h2_dial_free(struct h2_dial *dial)
{
	if (!dial)
		return;
	if (dial->descriptor >= 0)
		close(dial->descriptor);
	if (dial->lookup)
		lookup_leave(dial->lookup);
	free(dial->host);
	free(dial);
}

/* Is there an answer? -EAGAIN while there is none. */
static int read_lookup(struct h2_dial *dial, struct call *call)
{
	struct lookup *lookup = dial->lookup;
	bool done;

	mutex_lock(&lookup->lock);
	done = lookup->done;
	mutex_unlock(&lookup->lock);
	if (!done)
		return -EAGAIN;
	/* From now on nobody else touches it. */
	if (lookup->error)
		return call_fail(call, -EHOSTUNREACH, "%s: %s", dial->host,
				 gai_strerror(lookup->error));
	dial->address = lookup->addresses;
	return 0;
}

static int64_t share_of_time_ms(const struct h2_dial *dial, const struct call *call)
{
	int64_t share_ms = call_left_ms(call), count = 0;

	for (const struct addrinfo *address = dial->address; address; address = address->ai_next)
		count++;
	share_ms /= count;
	return share_ms > ADDRESS_TIMEOUT_MIN_MS ? share_ms : ADDRESS_TIMEOUT_MIN_MS;
}

/* Begins to connect to the current address. False when it failed at once. */
static bool begin_address(struct h2_dial *dial, const struct call *call)
{
	const struct addrinfo *address = dial->address;
	int one = 1;

	dial->address_deadline_ms = clock_monotonic_ms() + share_of_time_ms(dial, call);
	dial->descriptor =
		socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (dial->descriptor < 0) {
		dial->last_error = errno;
		return false;
	}
	/* Requests are small and wait for their answers. */
	setsockopt(dial->descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(dial->descriptor, address->ai_addr, address->ai_addrlen) == 0 ||
	    errno == EINPROGRESS)
		return true;
	dial->last_error = errno;
	return false;
}

/* What became of the current address: 0, -EAGAIN, or that it failed. */
static int check_address(struct h2_dial *dial)
{
	struct pollfd poll_one = { .fd = dial->descriptor, .events = POLLOUT };
	int error = 0;
	socklen_t size = sizeof(error);

	if (poll(&poll_one, 1, 0) == 1) {
		if (getsockopt(dial->descriptor, SOL_SOCKET, SO_ERROR, &error, &size))
			error = errno;
		dial->last_error = error;
		return error ? -EHOSTUNREACH : 0;
	}
	if (clock_monotonic_ms() < dial->address_deadline_ms)
		return -EAGAIN;
	dial->last_error = ETIMEDOUT;
	return -EHOSTUNREACH;
}

static int fail_all(const struct h2_dial *dial, struct call *call)
{
	int error = dial->last_error == ETIMEDOUT ? -ETIMEDOUT : -EHOSTUNREACH;

	return call_fail(call, error, "%s:%u: %s", dial->host, dial->port,
			 strerror(dial->last_error));
}

int h2_dial_process(struct h2_dial *dial, struct call *call, int *ret_descriptor)
{
	int error;

	if (!dial->address) {
		error = read_lookup(dial, call);
		if (error == -EAGAIN && call_check(call))
			return call_fail(call, -ETIMEDOUT, "%s: the name was not looked up in time",
					 dial->host);
		if (error)
			return error;
	}
	for (; dial->address; dial->address = dial->address->ai_next) {
		bool begun = dial->descriptor >= 0 || begin_address(dial, call);

		error = begun ? check_address(dial) : -EHOSTUNREACH;
		if (error == -EAGAIN)
			return error;
		if (!error) {
			*ret_descriptor = dial->descriptor;
			dial->descriptor = -1;
			return 0;
		}
		if (dial->descriptor >= 0)
			close(dial->descriptor);
		dial->descriptor = -1;
	}
	return fail_all(dial, call);
}

void h2_dial_prepare_poll(const struct h2_dial *dial, struct pollfd *ret_poll,
			  int64_t *ret_deadline_ms)
{
	*ret_poll = (struct pollfd){ .fd = dial->lookup->descriptor, .events = POLLIN };
	*ret_deadline_ms = INT64_MAX;
	if (dial->descriptor >= 0) {
		*ret_poll = (struct pollfd){ .fd = dial->descriptor, .events = POLLOUT };
		*ret_deadline_ms = dial->address_deadline_ms;
	}
}
