#include "nacos/http/hosts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nacos/http/answer.h"
#include "nacos/http/client_private.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"

#define CONTEXT "/nacos"
#define FORM_TYPE "application/x-www-form-urlencoded;charset=UTF-8"

/* With a choice of hosts, one that can't be connected to must not use up the time of the others. */
#define CONNECT_TIMEOUT_MS 3000

/* How long a host that failed is only asked when no other answers. */
#define HOST_DOWN_MS 5000

/* What one send to one host needs beside the request. */
struct attempt {
	const struct nacos_request *request;
	size_t host;
	bool has_alternative; /* there are hosts that were not tried yet */
};

/*
 * The next of the hosts that were not tried yet, of which there is at least one: the one that last
 * answered, then those after it in a ring; those that failed a moment ago come last.
 */
static size_t pick_host(struct nacos_client *client, bool *tried)
{
	int64_t now_ms = clock_monotonic_ms();
	size_t chosen = client->host_count;
	bool chosen_is_up = false;

	pthread_mutex_lock(&client->lock);
	for (size_t i = 0; i < client->host_count && !chosen_is_up; i++) {
		size_t host = (client->current_host + i) % client->host_count;
		bool is_up = client->hosts[host].down_until_ms <= now_ms;

		if (!tried[host] && (is_up || chosen == client->host_count)) {
			chosen = host;
			chosen_is_up = is_up;
		}
	}
	pthread_mutex_unlock(&client->lock);
	tried[chosen] = true;
	return chosen;
}

static void remember_host(struct nacos_client *client, size_t host, bool good)
{
	pthread_mutex_lock(&client->lock);
	if (good)
		client->current_host = host;
	client->hosts[host].down_until_ms = good ? 0 : clock_monotonic_ms() + HOST_DOWN_MS;
	pthread_mutex_unlock(&client->lock);
}

size_t nacos_hosts_current(struct nacos_client *client)
{
	size_t host;

	pthread_mutex_lock(&client->lock);
	host = client->current_host;
	pthread_mutex_unlock(&client->lock);
	return host;
}

/* Where the request goes, up to the port. */
static const char *host_url(const struct nacos_client *client, const struct attempt *attempt)
{
	const struct nacos_client_host *host = &client->hosts[attempt->host];

	if (!attempt->request->to_console)
		return host->base_url;
	return client->console_url ? client->console_url : host->console_url;
}

static int make_url(const struct nacos_client *client, const struct attempt *attempt,
		    struct buffer *url)
{
	const struct nacos_request *request = attempt->request;
	const char *fixed = request->api->query;
	bool has_query = request->query && request->query[0];

	return buffer_append_format(url, "%s%s%s%s%s%s%s", host_url(client, attempt),
				    request->to_console ? "" : CONTEXT, request->api->path,
				    fixed || has_query ? "?" : "",
				    fixed ? fixed : "", fixed && has_query ? "&" : "",
				    has_query ? request->query : "");
}

static void log_attempt(const struct nacos_client *client, const struct attempt *attempt, int error,
			const struct http_answer *answer, int64_t start_ms)
{
	const struct nacos_request *request = attempt->request;
	long long took_ms = clock_monotonic_ms() - start_ms;
	char outcome[32];

	if (error)
		snprintf(outcome, sizeof(outcome), "errno %d", -error);
	else
		snprintf(outcome, sizeof(outcome), "%d", answer->status);
	log_debug("%s %s%s%s: %s in %lld ms", request->api->method, host_url(client, attempt),
		  request->to_console ? "" : CONTEXT, request->api->path, outcome, took_ms);
}

/*
 * How long this host may keep the call busy. While there are others, a host that takes the request
 * and then hangs must leave them some of the time, unless the request can't be repeated there
 * anyway.
 */
static int64_t attempt_timeout_ms(const struct attempt *attempt, const struct call *call)
{
	int64_t left_ms = call_left_ms(call);

	if (!attempt->has_alternative || attempt->request->never_repeat)
		return left_ms;
	return left_ms - left_ms / 3;
}

static int connect_timeout_ms(const struct attempt *attempt, const struct call *call)
{
	int64_t half_ms = call_left_ms(call) / 2;

	if (!attempt->has_alternative)
		return 0;
	if (half_ms > CONNECT_TIMEOUT_MS)
		return CONNECT_TIMEOUT_MS;
	return half_ms > 0 ? (int)half_ms : 1;
}

static int send_to_host(struct nacos_client *client, const struct attempt *attempt,
			struct call *call, struct http_answer *ret_answer, bool *ret_sent)
{
	const struct nacos_request *request = attempt->request;
	cleanup_buffer struct buffer url = BUFFER_INIT;
	int64_t start_ms = clock_monotonic_ms();
	struct http_request http = {
		.method = request->api->method,
		.headers = request->headers,
		.answer_limit = request->answer_limit,
		.connect_timeout_ms = connect_timeout_ms(attempt, call),
		.never_repeat = request->never_repeat,
	};
	struct call part;
	int error = make_url(client, attempt, &url);

	*ret_sent = false;
	if (error)
		return call_fail(call, error, "%s: out of memory", request->what);
	http.url = url.data;
	if (request->form) {
		http.body = request->form->data;
		http.body_size = request->form->size;
		http.content_type = FORM_TYPE;
	}

	call_start_part(&part, call, attempt_timeout_ms(attempt, call));
	error = http_request(client->http, &http, &part, ret_answer, ret_sent);
	if (error)
		call_fail(call, error, "%s", part.reason);
	log_attempt(client, attempt, error, ret_answer, start_ms);
	return error;
}

/* Is it the host that is in trouble, and not the request? */
static bool says_not_now(const struct http_answer *answer)
{
	return answer->status >= 502 && answer->status <= 504;
}

/* May, after this failure, another host be asked? */
static bool may_go_on(const struct nacos_request *request, const struct call *call, int error,
		      bool sent)
{
	if (error == -ENOMEM || error == -EINTR || error == -EMSGSIZE || call_left_ms(call) == 0)
		return false;
	return !sent || !request->never_repeat;
}

int nacos_hosts_send(struct nacos_client *client, const struct nacos_request *request, struct call *call,
		     struct http_answer *ret_answer, bool *ret_sent)
{
	cleanup_free bool *tried = calloc(client->host_count, sizeof(*tried));
	struct attempt attempt = { .request = request };
	int error = -EHOSTUNREACH;

	*ret_sent = false;
	if (!tried)
		return call_fail(call, -ENOMEM, "%s: out of memory", request->what);
	for (size_t left = client->host_count; left > 0; left--) {
		struct http_answer answer;

		attempt.host = pick_host(client, tried);
		/* A console that was set by the user is one for all hosts. */
		attempt.has_alternative = left > 1 &&
					  !(request->to_console && client->console_url);
		error = send_to_host(client, &attempt, call, &answer, ret_sent);
		if (!request->to_console && error != -EINTR && error != -ENOMEM)
			remember_host(client, attempt.host, !error && !says_not_now(&answer));
		if (!error) {
			if (!attempt.has_alternative || request->never_repeat ||
			    !says_not_now(&answer)) {
				*ret_answer = answer;
				return 0;
			}
			error = nacos_answer_fail(&answer, request->what, call);
			http_answer_release(&answer);
		}
		if (!attempt.has_alternative || !may_go_on(request, call, error, *ret_sent))
			break;
	}
	return error;
}
