#include "nacos/http/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/http/client_private.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/http.h"

#define CONSOLE_PORT 8080

#ifndef NACOSFS_VERSION
#define NACOSFS_VERSION "0"
#endif

/* Servers of the 1.4 line let anybody in whose name begins with "Nacos-Server". */
#define USER_AGENT "nacosfs/" NACOSFS_VERSION

/* NULL stays NULL. 0 or -ENOMEM. */
static int copy_text(const char *text, char **ret_copy)
{
	char *copy = NULL;

	if (text) {
		copy = strdup(text);
		if (!copy)
			return -ENOMEM;
	}
	*ret_copy = copy;
	return 0;
}

static int make_base_url(bool https, const char *name, unsigned port, char **ret_url)
{
	cleanup_buffer struct buffer url = BUFFER_INIT;
	bool is_ipv6 = strchr(name, ':') != NULL;
	int error = buffer_append_format(&url, "%s://%s%s%s:%u", https ? "https" : "http",
					 is_ipv6 ? "[" : "", name, is_ipv6 ? "]" : "", port);

	if (error)
		return error;
	return copy_text(url.data, ret_url);
}

static int copy_hosts(const struct nacos_client_options *options, struct nacos_client *client)
{
	client->hosts = calloc(options->host_count, sizeof(*client->hosts));
	if (!client->hosts)
		return -ENOMEM;
	client->host_count = options->host_count;
	for (size_t i = 0; i < options->host_count; i++) {
		const struct nacos_host *host = &options->hosts[i];
		int error = make_base_url(options->https, host->name, host->port,
					  &client->hosts[i].base_url);

		if (!error)
			error = make_base_url(options->https, host->name, CONSOLE_PORT,
					      &client->hosts[i].console_url);
		if (error)
			return error;
	}
	return 0;
}

static int copy_options(const struct nacos_client_options *options, struct nacos_client *client)
{
	int error = copy_hosts(options, client);

	if (!error)
		error = copy_text(options->username, &client->username);
	if (!error)
		error = copy_text(options->password_file, &client->password_file);
	if (!error)
		error = copy_text(options->login_file, &client->login_file);
	if (!error)
		error = copy_text(options->region, &client->region);
	client->credentials = options->credentials;
	if (!error)
		error = copy_text(options->console_url, &client->console_url);
	if (!error && client->console_url) {
		size_t length = strlen(client->console_url);

		while (length > 0 && client->console_url[length - 1] == '/')
			client->console_url[--length] = '\0';
	}
	return error;
}

int nacos_client_new(const struct nacos_client_options *options, struct nacos_client **ret_client)
{
	struct http_client_options http_options = {
		.user_agent = USER_AGENT,
		.ca_file = options->ca_file,
		.cert_file = options->cert_file,
		.key_file = options->key_file,
	};
	struct nacos_client *client = calloc(1, sizeof(*client));
	int error;

	if (!client)
		return -ENOMEM;
	pthread_mutex_init(&client->lock, NULL);
	clock_init_condition(&client->changed);
	error = copy_options(options, client);
	if (!error)
		error = http_client_new(&http_options, &client->http);
	if (error) {
		nacos_client_free(client);
		return error;
	}
	*ret_client = client;
	return 0;
}

void nacos_client_free(struct nacos_client *client)
{
	if (!client)
		return;
	if (client->http)
		http_client_free(client->http);
	for (size_t i = 0; i < client->host_count; i++) {
		free(client->hosts[i].base_url);
		free(client->hosts[i].console_url);
	}
	free(client->hosts);
	free(client->username);
	free(client->password_file);
	free(client->login_file);
	free(client->console_url);
	free(client->region);
	buffer_wipe(&client->token.header);
	pthread_cond_destroy(&client->changed);
	pthread_mutex_destroy(&client->lock);
	free(client);
}

int nacos_client_wait(struct nacos_client *client, struct call *call)
{
	int error = call_wait(call, &client->changed, &client->lock);

	return error ? error : call_check(call);
}

struct nacos_features nacos_client_features(struct nacos_client *client)
{
	struct nacos_features features;

	pthread_mutex_lock(&client->lock);
	features = client->features;
	pthread_mutex_unlock(&client->lock);
	return features;
}

const char *nacos_client_username(const struct nacos_client *client)
{
	return client->username;
}

unsigned long nacos_client_request_count(const struct nacos_client *client)
{
	return http_client_request_count(client->http);
}
