/*
 * The HTTP watch of nacosfs by hand:
 *
 *	poll_client HOST PORT USER PASSWORD_FILE
 *	poll_client HOST PORT @access-key ACCESS_KEY_FILE
 *
 * Each line of standard input is a command: `watch NAMESPACE GROUP DATA_ID MD5` (- for none), `unwatch NAMESPACE GROUP
 * DATA_ID`, `names NAMESPACE`, `ask NAMESPACE GROUP DATA_ID`, `counts`. Each line of output is an event (`changed
 * NAMESPACE GROUP DATA_ID`, `refused ...`, `names NAMESPACE ERRNO`, `live 0|1`) or what was asked for (`watched 0|1`,
 * `counts WATCHED WAITING REFUSED`). It ends with its input, and says how long that took: `freed MILLISECONDS`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/credentials.h"
#include "crypto/secret.h"
#include "crypto/secret_buffer.h"
#include "nacos/poll/poll.h"
#include "util/clock.h"
#include "util/log.h"

static void on_changed(void *arg, struct place *place)
{
	(void)arg;
	printf("changed %s %s %s\n", place_namespace_id(place), place_group(place), place_data_id(place));
}

static void on_refused(void *arg, struct place *place)
{
	(void)arg;
	printf("refused %s %s %s\n", place_namespace_id(place), place_group(place), place_data_id(place));
}

static void on_names_watched(void *arg, const char *namespace_id, int error)
{
	(void)arg;
	printf("names %s %d\n", namespace_id, -error);
}

static void on_live(void *arg, bool live)
{
	(void)arg;
	printf("live %d\n", live);
}

static int get_credentials(void *source, struct call *call, struct nacos_credentials *ret_credentials)
{
	cleanup_credentials struct credentials credentials = { .access_key_id = SECRET_BUFFER_INIT };
	int error = credential_source_get(source, call, &credentials);

	if (error)
		return error;
	secret_buffer_hand_over(&ret_credentials->access_key, &credentials.access_key_id);
	secret_buffer_hand_over(&ret_credentials->secret_key, &credentials.access_key_secret);
	secret_buffer_hand_over(&ret_credentials->security_token, &credentials.security_token);
	return 0;
}

static void obey(struct nacos_watch *watch, const char *command, struct place *place, const char *md5)
{
	struct nacos_watch_counts counts;

	if (strcmp(command, "watch") == 0 && nacos_watch_add(watch, place, strcmp(md5, "-") ? md5 : ""))
		exit(3);
	if (strcmp(command, "unwatch") == 0)
		nacos_watch_remove(watch, place);
	if (strcmp(command, "names") == 0 && nacos_watch_add_names(watch, place_namespace_id(place)))
		exit(3);
	if (strcmp(command, "ask") == 0)
		printf("watched %d\n", nacos_watch_tells(watch, place));
	if (strcmp(command, "counts") == 0) {
		nacos_watch_count(watch, &counts);
		printf("counts %zu %zu %zu\n", counts.watched, counts.waiting, counts.refused);
	}
}

int main(int argc, char **argv)
{
	static const struct nacos_watch_events events = { on_changed, on_refused, NULL, on_names_watched, on_live };
	struct nacos_client_options options = { .host_count = 1 };
	struct credential_source *credentials = NULL;
	struct nacos_watch *watch;
	struct nacos_poll *poll;
	struct nacos_client *client;
	struct nacos_host host;
	struct call call;
	char line[1024];
	int64_t begun_ms;

	if (argc != 5)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_set_level(LOG_LEVEL_DEBUG);
	host = (struct nacos_host){ argv[1], (unsigned)atoi(argv[2]) };
	options.hosts = &host;
	call_start(&call, 20000);
	if (strcmp(argv[3], "@access-key") == 0) {
		if (secret_init((size_t)1 << 20, &call) || credential_file_open(argv[4], &call, &credentials))
			return 3;
		options.credentials = (struct nacos_credentials_source){ get_credentials, credentials };
	} else {
		options.username = argv[3];
		options.password_file = argv[4];
	}
	if (nacos_client_new(&options, &client) || nacos_client_connect(client, &call)) {
		fprintf(stderr, "%s\n", call.reason);
		return 1;
	}
	if (nacos_watch_new(&watch))
		return 3;
	nacos_watch_set_events(watch, &events, NULL);
	if (nacos_poll_new(client, watch, &poll) || nacos_watch_start(watch) || nacos_poll_start(poll))
		return 3;
	while (fgets(line, sizeof(line), stdin)) {
		char command[16] = "", namespace_id[256] = "", group[256] = "", data_id[300] = "", md5[64] = "";
		if (sscanf(line, "%15s %255s %255s %299s %63s", command, namespace_id, group, data_id, md5) > 0) {
			cleanup_place struct place *place = place_new(namespace_id, group, data_id);

			obey(watch, command, place, md5);
		}
	}
	begun_ms = clock_monotonic_ms();
	nacos_watch_stop(watch);
	nacos_poll_free(poll);
	nacos_watch_free(watch);
	printf("freed %lld\n", (long long)(clock_monotonic_ms() - begun_ms));
	nacos_client_free(client);
	credential_source_free(credentials);
	secret_shutdown();
	return 0;
}
