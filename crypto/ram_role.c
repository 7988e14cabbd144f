#include "crypto/ram_role.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crypto/kms.h"
#include "util/clock.h"
#include "util/http.h"
#include "util/json.h"
#include "util/log.h"

#define TOKEN_PATH "/latest/api/token"
#define ROLE_PATH "/latest/meta-data/ram/security-credentials/"
#define TOKEN_LIFE "X-aliyun-ecs-metadata-token-ttl-seconds: 21600"
#define TOKEN_HEADER "X-aliyun-ecs-metadata-token: "

#define ANSWER_LIMIT (64 * 1024)
#define REQUEST_MS 1000 /* it is on this machine */
#define TRIES 3
#define RENEW_BEFORE_MS (3 * 60 * 1000)
#define RETRY_MS 10000 /* between two fetches while those at hand are still good */
#define ROLE_SIZE_MAX 64

struct ram_role {
	struct credential_source source;
	char *role; /* "": the machine knows */
	char *url;
	struct http_client *http;

	pthread_mutex_t lock; /* of what follows; not held while the metadata service is asked */
	pthread_cond_t fetched;
	bool fetching;
	unsigned long fetch_count; /* fetches that are over */
	int fetch_error; /* of the last of them */
	char fetch_reason[CALL_REASON_SIZE];
	struct credentials credentials;
	int64_t end_ms; /* of the credentials, time of day; 0: there are none */
	int64_t retry_ms; /* before this moment (monotonic) nobody asks again as long as the old ones are good */
};

/* It becomes part of a URL. */
static bool is_role_name(const char *name)
{
	static const char characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.@";

	return strlen(name) <= ROLE_SIZE_MAX && name[strspn(name, characters)] == '\0';
}

/* YYYY-MM-DDThh:mm:ssZ as milliseconds since 1970; -1 for anything else. */
static int64_t parse_time(const char *text)
{
	struct tm parts = { .tm_isdst = 0 };
	const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts) : NULL;
	time_t seconds = rest && !*rest ? timegm(&parts) : -1;

	return seconds < 0 ? -1 : (int64_t)seconds * 1000;
}

static int64_t now_ms(void)
{
	return clock_to_ms(clock_now());
}

/* One request; an answer that is not 200 is a failure. */
static int ask_once(struct ram_role *role, const char *method, const char *path, const char *header, struct call *call,
		    struct http_answer *ret_answer)
{
	const char *headers[] = { header, NULL };
	cleanup_http_answer struct http_answer answer = { .status = 0 };
	cleanup_buffer struct buffer url = BUFFER_INIT;
	struct http_request request = { .method = method, .headers = headers, .answer_limit = ANSWER_LIMIT };
	int error = buffer_append_format(&url, "%s%s", role->url, path);

	if (error)
		return call_fail(call, error, "out of memory");
	request.url = url.data;
	error = http_request(role->http, &request, call, &answer, NULL);
	if (error)
		return error;
	if (answer.status != 200)
		return call_fail(call, -EIO, "the metadata service of this machine answers HTTP %d", answer.status);
	*ret_answer = answer;
	memset(&answer, 0, sizeof(answer));
	return 0;
}

static int ask(struct ram_role *role, const char *method, const char *path, const char *header, int tries,
	       struct call *call, struct http_answer *ret_answer)
{
	int error;

	do {
		struct call part;

		error = call_check(call);
		if (error)
			return error;
		call_start_part(&part, call, REQUEST_MS);
		error = ask_once(role, method, path, header, &part, ret_answer);
		if (error)
			call_fail(call, error, "%s", part.reason);
	} while (error && error != -EINTR && error != -ENOMEM && --tries > 0);
	return error;
}

/* Makes the header line with the token; empty when there is none to be had, for then version 1 is asked. */
static int get_token(struct ram_role *role, struct call *call, struct secret_buffer *ret_line)
{
	cleanup_http_answer struct http_answer answer = { .status = 0 };
	int error = ask(role, "PUT", TOKEN_PATH, TOKEN_LIFE, 1, call, &answer);

	if (error == -EINTR || error == -ENOMEM)
		return error;
	if (error || !answer.body.size || memchr(answer.body.data, '\0', answer.body.size))
		return 0;
	error = secret_buffer_append_text(ret_line, TOKEN_HEADER);
	if (!error)
		error = secret_buffer_append(ret_line, answer.body.data, answer.body.size);
	return error ? call_fail(call, error, "no room in the memory for secrets") : 0;
}

static int get_role_name(struct ram_role *role, const char *token, struct call *call, char ret_name[ROLE_SIZE_MAX + 1])
{
	cleanup_http_answer struct http_answer answer = { .status = 0 };
	size_t size;
	int error;

	if (*role->role) {
		strcpy(ret_name, role->role);
		return 0;
	}
	error = ask(role, "GET", ROLE_PATH, token, TRIES, call, &answer);
	if (error)
		return error;
	/* One name a line; a machine has one role. */
	size = answer.body.size ? strcspn(answer.body.data, "\r\n") : 0;
	if (size == 0 || size > ROLE_SIZE_MAX)
		return call_fail(call, -EIO, "the metadata service of this machine names no RAM role");
	memcpy(ret_name, answer.body.data, size);
	ret_name[size] = '\0';
	if (!is_role_name(ret_name))
		return call_fail(call, -EIO, "the metadata service of this machine names no RAM role");
	return 0;
}

/* As a header value has it. */
static bool is_one_word(const char *text)
{
	if (!text || !*text)
		return false;
	for (; *text; text++) {
		if (*text <= ' ' || *text > '~')
			return false;
	}
	return true;
}

static int parse_credentials(const struct buffer *body, struct call *call, struct credentials *ret_credentials,
			     int64_t *ret_end_ms)
{
	cleanup_json struct json *answer = NULL;
	const char *code, *id, *secret, *token;
	int64_t end_ms;
	int error = body->size ? json_parse(body->data, body->size, &answer) : -EBADMSG;

	if (error == -ENOMEM)
		return call_fail(call, error, "out of memory");
	code = json_text(answer, "Code");
	if (error || !code || strcmp(code, "Success") != 0)
		return call_fail(call, -EIO, "the metadata service of this machine has no credentials for the role");
	id = json_text(answer, "AccessKeyId");
	secret = json_text(answer, "AccessKeySecret");
	token = json_text(answer, "SecurityToken");
	end_ms = parse_time(json_text(answer, "Expiration"));
	if (!is_one_word(id) || !is_one_word(secret) || !is_one_word(token) || end_ms < 0)
		return call_fail(call, -EIO, "the credentials of the metadata service are not complete");
	if (end_ms <= now_ms())
		return call_fail(call, -EIO, "the credentials of the metadata service have ended already");
	error = secret_buffer_append_text(&ret_credentials->access_key_id, id);
	if (!error)
		error = secret_buffer_append_text(&ret_credentials->access_key_secret, secret);
	if (!error)
		error = secret_buffer_append_text(&ret_credentials->security_token, token);
	if (error)
		return call_fail(call, error, "no room in the memory for secrets");
	*ret_end_ms = end_ms;
	return 0;
}

static int fetch(struct ram_role *role, struct call *call, struct credentials *ret_credentials, int64_t *ret_end_ms)
{
	cleanup_secret_buffer struct secret_buffer token = SECRET_BUFFER_INIT;
	cleanup_http_answer struct http_answer answer = { .status = 0 };
	char name[ROLE_SIZE_MAX + 1], path[sizeof(ROLE_PATH) + ROLE_SIZE_MAX];
	int error = get_token(role, call, &token);

	if (!error)
		error = get_role_name(role, token.data, call, name);
	if (error)
		return error;
	snprintf(path, sizeof(path), "%s%s", ROLE_PATH, name);
	error = ask(role, "GET", path, token.data, TRIES, call, &answer);
	return error ? error : parse_credentials(&answer.body, call, ret_credentials, ret_end_ms);
}

/* With the lock, which is let go meanwhile. Others see the outcome in the role. */
static int fetch_for_all(struct ram_role *role, struct call *call)
{
	cleanup_credentials struct credentials found = { .access_key_id = SECRET_BUFFER_INIT };
	int64_t end_ms = 0;
	int error;

	role->fetching = true;
	pthread_mutex_unlock(&role->lock);
	error = fetch(role, call, &found, &end_ms);
	if (error && error != -EINTR && error != -ENOMEM)
		error = call_fail(call, -ENOKEY, "no credentials: %s", call->reason);

	pthread_mutex_lock(&role->lock);
	role->fetching = false;
	role->fetch_count++;
	role->fetch_error = error;
	memcpy(role->fetch_reason, call->reason, sizeof(role->fetch_reason));
	role->retry_ms = clock_monotonic_ms() + RETRY_MS; /* also when what came is short-lived */
	if (!error) {
		credentials_release(&role->credentials);
		role->credentials = found;
		memset(&found, 0, sizeof(found));
		role->end_ms = end_ms;
	}
	pthread_cond_broadcast(&role->fetched);
	return error;
}

/* Waits, with the lock, for the fetch under way. Its failure is ours too, unless it was only its caller's. */
static int wait_for_fetch(struct ram_role *role, struct call *call)
{
	unsigned long count = role->fetch_count;
	int error = call_wait(call, &role->fetched, &role->lock);

	if (error)
		return error == -EINTR ? error : call_fail(call, -ENOKEY, "no credentials in time");
	if (role->fetch_count != count && role->fetch_error == -ENOKEY)
		return call_fail(call, -ENOKEY, "%s", role->fetch_reason);
	return 0;
}

/* With the lock. On success the role has credentials that are good now. */
static int renew(struct ram_role *role, struct call *call)
{
	for (;;) {
		int64_t left_ms = role->end_ms - now_ms();
		bool good = left_ms > 0;
		int error;

		if (left_ms > RENEW_BEFORE_MS ||
		    (good && (role->fetching || clock_monotonic_ms() < role->retry_ms)))
			return 0;
		if (role->fetching) {
			error = wait_for_fetch(role, call);
			if (error)
				return error;
			continue;
		}
		error = fetch_for_all(role, call);
		if (!error)
			return 0;
		if (error == -EINTR || role->end_ms <= now_ms())
			return error;
		log_warning("credentials: %s; those at hand are used on", call->reason);
	}
}

static int role_get(struct credential_source *source, struct call *call, struct credentials *ret_credentials)
{
	struct ram_role *role = (struct ram_role *)source;
	int error;

	pthread_mutex_lock(&role->lock);
	error = renew(role, call);
	if (!error && credentials_copy(ret_credentials, &role->credentials))
		error = call_fail(call, -ENOMEM, "no room in the memory for secrets");
	pthread_mutex_unlock(&role->lock);
	return error;
}

static void role_free(struct credential_source *source)
{
	struct ram_role *role = (struct ram_role *)source;

	credentials_release(&role->credentials);
	http_client_free(role->http);
	pthread_cond_destroy(&role->fetched);
	pthread_mutex_destroy(&role->lock);
	free(role->role);
	free(role->url);
	free(role);
}

static const struct credential_source_operations role_operations = { .get = role_get, .free = role_free };

int ram_role_open(const char *name, const char *metadata_url, struct call *call, struct credential_source **ret_source)
{
	const struct http_client_options options = { .user_agent = KMS_USER_AGENT };
	struct ram_role *role;

	if (!is_role_name(name))
		return call_fail(call, -EINVAL, "no RAM role can have that name");
	role = calloc(1, sizeof(*role));
	if (!role)
		return call_fail(call, -ENOMEM, "out of memory");
	role->source.operations = &role_operations;
	pthread_mutex_init(&role->lock, NULL);
	clock_init_condition(&role->fetched);
	role->role = strdup(name);
	role->url = strdup(metadata_url ? metadata_url : RAM_ROLE_METADATA_URL);
	if (!role->role || !role->url || http_client_new(&options, &role->http)) {
		role_free(&role->source);
		return call_fail(call, -ENOMEM, "out of memory");
	}
	*ret_source = &role->source;
	return 0;
}
