/*
 * Reads one config again and again, as the file system does it:
 *
 *	query HOST PORT USER PASSWORD_FILE NAMESPACE GROUP DATA_ID grpc|http THREADS CALLS
 *
 * Each thread has one request under way. Prints requests per second, the 50th and 99th percentile of their time in
 * microseconds, and the processor time of one in microseconds.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "nacos/grpc/config.h"
#include "nacos/grpc/identity.h"
#include "nacos/http/config.h"

#define WARM_UP_CALLS 200

static struct nacos_client *client;
static struct nacos_grpc *grpc; /* NULL: over HTTP */
static struct place *place;
static int calls_per_thread;

static double now_us(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void fail(const struct call *call)
{
	fprintf(stderr, "query: %s\n", call->reason);
	exit(1);
}

static void query(void)
{
	cleanup_nacos_config struct nacos_config config = { 0 };
	struct call call;

	call_start(&call, 20000);
	if (grpc ? nacos_grpc_config_get(grpc, place, &call, &config) : nacos_config_get(client, place, &call, &config))
		fail(&call);
}

static void *run(void *arg)
{
	double *times = arg;

	for (int i = 0; i < calls_per_thread; i++) {
		double begun = now_us(CLOCK_MONOTONIC);

		query();
		times[i] = now_us(CLOCK_MONOTONIC) - begun;
	}
	return NULL;
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

static void measure(int threads)
{
	int count = threads * calls_per_thread;
	double *times = calloc((size_t)count, sizeof(*times));
	pthread_t *ids = calloc((size_t)threads, sizeof(*ids));
	double processor = now_us(CLOCK_PROCESS_CPUTIME_ID), begun = now_us(CLOCK_MONOTONIC);

	for (int i = 0; i < threads; i++)
		if (pthread_create(&ids[i], NULL, run, times + i * calls_per_thread))
			exit(1);
	for (int i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	begun = now_us(CLOCK_MONOTONIC) - begun;
	processor = now_us(CLOCK_PROCESS_CPUTIME_ID) - processor;
	qsort(times, (size_t)count, sizeof(*times), compare);
	printf("%.0f %.0f %.0f %.0f\n", count / begun * 1e6, times[count / 2], times[count * 99 / 100],
	       processor / count);
	free(times);
	free(ids);
}

static void connect_grpc(const struct nacos_host *host)
{
	const struct nacos_grpc_options options = {
		.hosts = host,
		.host_count = 1,
		.features = nacos_client_features(client),
		.get_headers = nacos_grpc_identity_of_client,
		.get_headers_arg = client,
	};
	struct call call;

	call_start(&call, 20000);
	if (nacos_grpc_new(&options, &grpc) || nacos_grpc_start(grpc) || nacos_grpc_wait_ready(grpc, &call))
		fail(&call);
}

int main(int argc, char **argv)
{
	if (argc != 11)
		return 2;
	struct nacos_host host = { .name = argv[1], .port = (unsigned)atoi(argv[2]) };
	const struct nacos_client_options options = {
		.hosts = &host,
		.host_count = 1,
		.username = argv[3],
		.password_file = argv[4],
	};
	struct call call;

	call_start(&call, 20000);
	if (nacos_client_new(&options, &client) || nacos_client_connect(client, &call))
		fail(&call);
	if (!strcmp(argv[8], "grpc"))
		connect_grpc(&host);
	place = place_new(argv[5], argv[6], argv[7]);
	calls_per_thread = atoi(argv[10]) / atoi(argv[9]);
	for (int i = 0; i < WARM_UP_CALLS; i++)
		query();
	measure(atoi(argv[9]));
	nacos_grpc_free(grpc);
	place_drop(place);
	nacos_client_free(client);
	return 0;
}
