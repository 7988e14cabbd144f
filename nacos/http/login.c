#include "nacos/http/login.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "nacos/http/answer.h"
#include "nacos/http/client_private.h"
#include "nacos/http/hosts.h"
#include "util/clock.h"
#include "util/file.h"
#include "util/form.h"
#include "util/json.h"
#include "util/log.h"

#define TOKEN_SIZE_MAX 16384
#define TOKEN_SECONDS_DEFAULT 18000 /* what servers come with */
#define TOKEN_SECONDS_MAX (30 * 24 * 3600)

/* How long a server without a login call is believed to have none. */
#define NO_LOGIN_SECONDS 300

/*
 * How long not to ask again after a refusal, or after a renewal failed while the old token is still
 * good.
 */
#define REFUSED_PAUSE_MS 2000
#define RENEWAL_PAUSE_MS 10000

/*
 * Does it look like a token (a JWT, or what another login plugin makes)? It becomes part of a
 * header, so nothing that could end one may be in it.
 */
static bool is_token(const char *token)
{
	size_t length = strlen(token);

	if (length == 0 || length > TOKEN_SIZE_MAX)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (token[i] <= ' ' || token[i] > '~')
			return false;
	}
	return true;
}

static int take_token(const struct json *document, struct call *call, struct buffer *ret_header,
		      int64_t *ret_seconds)
{
	/* Only other makers' servers wrap this answer. */
	const struct json *data = json_member(document, "data");
	const struct json *holder = json_is_object(data) ? data : document;
	const char *token = json_text(holder, "accessToken");
	int64_t seconds = json_integer(holder, "tokenTtl", TOKEN_SECONDS_DEFAULT);

	if (!token || !is_token(token))
		return nacos_answer_fail_malformed("login", call);
	if (seconds <= 0)
		seconds = TOKEN_SECONDS_DEFAULT;
	if (seconds > TOKEN_SECONDS_MAX)
		seconds = TOKEN_SECONDS_MAX;
	if (buffer_append_format(ret_header, "Authorization: Bearer %s", token))
		return call_fail(call, -ENOMEM, "login: out of memory");
	*ret_seconds = seconds;
	return 0;
}

static int fail_refused(const char *username, const char *how, struct call *call)
{
	return call_fail(call, -EACCES,
			 "user %s: the server refused the login (wrong user or password?): %s",
			 username, how);
}

int nacos_login_read_answer(const struct http_answer *answer, const char *username,
			    struct call *call, struct buffer *ret_header, int64_t *ret_seconds)
{
	cleanup_json struct json *document = NULL;
	char how[16];
	int error;

	switch (answer->status) {
	case 200:
		error = json_parse(answer->body.data, answer->body.size, &document);
		if (error == -ENOMEM)
			return call_fail(call, error, "login: out of memory");
		if (error)
			return nacos_answer_fail_malformed("login", call);
		return take_token(document, call, ret_header, ret_seconds);
	case 404:
	case 405:
	case 410:
	case 501:
		return call_fail(call, -ENOENT, "the server has no login");
	case 400:
	case 401:
	case 403:
	case 500:
		/*
		 * 3.x and, for unknown users, 2.x answer a wrong password with 500, and nothing in
		 * it tells that from a server in trouble. Its words are not told: some gateways
		 * repeat what was sent, and that was the password.
		 */
		snprintf(how, sizeof(how), "HTTP %d", answer->status);
		return fail_refused(username, how, call);
	default:
		return call_fail(call, -EIO, "login: the server answered HTTP %d", answer->status);
	}
}

bool nacos_login_find_line(const struct buffer *text, const char *key, const char **ret_value, size_t *ret_size)
{
	size_t key_size = strlen(key), found = 0;
	const char *line = text->data, *end = text->data + text->size;

	for (const char *next; line < end; line = next) {
		const char *line_end = memchr(line, '\n', (size_t)(end - line));

		next = line_end ? line_end + 1 : end;
		if (!line_end)
			line_end = end;
		if ((size_t)(line_end - line) <= key_size + 1 || memcmp(line, key, key_size) != 0 ||
		    line[key_size] != '=')
			continue;
		*ret_value = line + key_size + 1;
		*ret_size = (size_t)(line_end - *ret_value);
		found++;
	}
	return found == 1;
}

static int read_login_line(const char *path, const char *key, struct call *call, struct buffer *ret_value)
{
	cleanup_buffer_wipe struct buffer text = BUFFER_INIT;
	const char *value;
	size_t size;
	int error = file_read_secret(path, call, &text);

	if (error)
		return error;
	if (!nacos_login_find_line(&text, key, &value, &size))
		return call_fail(call, -EINVAL, "%s: must have one line %s=...", path, key);
	return buffer_append(ret_value, value, size);
}

int nacos_login_read_name(const char *path, struct call *call, char **ret_name)
{
	cleanup_buffer struct buffer name = BUFFER_INIT;
	int error = read_login_line(path, "username", call, &name);

	if (error)
		return error;
	*ret_name = strndup(name.data, name.size);
	return *ret_name ? 0 : -ENOMEM;
}

static int make_form(const struct nacos_client *client, struct call *call, struct buffer *form)
{
	cleanup_buffer_wipe struct buffer password = BUFFER_INIT;
	int error;

	if (!client->password_file && !client->login_file)
		return call_fail(call, -EACCES, "user %s: no password (password_file=)",
				 client->username);
	if (client->login_file)
		error = read_login_line(client->login_file, "password", call, &password);
	else
		error = file_read_secret(client->password_file, call, &password);
	if (error == -ENOMEM)
		return error;
	if (error)
		return call_fail(call, -EACCES, "user %s: no password: %s", client->username,
				 call->reason);
	if (form_append(form, "username", client->username) ||
	    form_append_bytes(form, "password", password.data, password.size))
		return call_fail(call, -ENOMEM, "login: out of memory");
	return 0;
}

static int send_login(struct nacos_client *client, const struct nacos_api *api, struct call *call,
		      struct buffer *ret_header, int64_t *ret_seconds)
{
	cleanup_buffer_wipe struct buffer form = BUFFER_INIT;
	cleanup_http_answer struct http_answer answer = { 0 };
	struct nacos_request request = {
		.api = api,
		.what = "login",
		.form = &form,
		.answer_limit = NACOS_ANSWER_LIMIT_SMALL,
	};
	bool sent;
	int error = make_form(client, call, &form);

	/* Without the old token: a server that finds it in a login looks at that first, and refuses. */
	if (!error)
		error = nacos_hosts_send(client, &request, call, &answer, &sent);
	if (error == -EMSGSIZE)
		error = -EIO;
	if (!error)
		error = nacos_login_read_answer(&answer, client->username, call, ret_header,
						ret_seconds);
	return error;
}

/* Tries the login calls in the order in which this generation is likely to have them. */
static int log_in(struct nacos_client *client, struct call *call, struct buffer *ret_header,
		  int64_t *ret_seconds)
{
	static const struct nacos_api others[] = {
		{ "POST", "/v1/auth/users/login", NULL },
		{ "POST", "/v1/auth/login", NULL },
	};
	struct nacos_features features = nacos_client_features(client);
	int error = send_login(client, &features.generation->login, call, ret_header, ret_seconds);

	for (size_t i = 0; error == -ENOENT && i < sizeof(others) / sizeof(others[0]); i++)
		error = send_login(client, &others[i], call, ret_header, ret_seconds);
	if (error == -ENOENT) {
		/* So there is nothing that a token would be good for. */
		log_debug("the server has no login: requests go without a token");
		*ret_seconds = NO_LOGIN_SECONDS;
		error = 0;
	}
	return error;
}

/* With the lock held: keeps what came of a login. */
static void store_outcome(struct nacos_token *token, int error, const struct call *call,
			  struct buffer *header, int64_t seconds)
{
	int64_t now_ms = clock_monotonic_ms();

	token->login_busy = false;
	token->login_count++;
	token->login_error = error;
	if (!error) {
		buffer_wipe(&token->header);
		buffer_move(&token->header, header);
		token->serial++;
		token->renew_at_ms = now_ms + seconds * 900; /* nine tenths of its time */
		token->expires_at_ms = now_ms + seconds * 1000;
		token->refused_until_ms = 0;
		return;
	}
	memcpy(token->login_reason, call->reason, sizeof(token->login_reason));
	token->refused_until_ms = error == -EACCES ? now_ms + REFUSED_PAUSE_MS : 0;
	/*
	 * As long as the old one is good, it is used; but not every request should try to renew it.
	 */
	token->renew_at_ms = now_ms + RENEWAL_PAUSE_MS;
}

/* With the lock held: logs in without it, and keeps the outcome. */
static int log_in_unlocked(struct nacos_client *client, struct call *call)
{
	cleanup_buffer_wipe struct buffer header = BUFFER_INIT;
	struct nacos_token *token = &client->token;
	int64_t seconds = 0;
	int error;

	token->login_busy = true;
	pthread_mutex_unlock(&client->lock);
	error = log_in(client, call, &header, &seconds);
	pthread_mutex_lock(&client->lock);
	store_outcome(token, error, call, &header, seconds);
	pthread_cond_broadcast(&client->changed);
	return error;
}

/*
 * With the lock held: waits for the login of another thread. 0 when it is worth looking at the
 * token again, or the error that the login ended with. When that one's caller only ran out of time,
 * somebody else should try.
 */
static int wait_for_login(struct nacos_client *client, struct call *call)
{
	struct nacos_token *token = &client->token;
	unsigned long count = token->login_count;

	while (token->login_busy && token->login_count == count) {
		int error = nacos_client_wait(client, call);

		if (error)
			return error;
	}
	if (token->login_count == count + 1 && token->login_error && token->login_error != -EINTR &&
	    token->login_error != -ETIMEDOUT)
		return call_fail(call, token->login_error, "%s", token->login_reason);
	return 0;
}

/*
 * With the lock held: is the token there, good as far as we know, and not the one that was refused?
 */
static bool is_usable(const struct nacos_token *token, unsigned long bad_serial)
{
	return token->serial != 0 && token->serial != bad_serial &&
	       clock_monotonic_ms() < token->expires_at_ms;
}

/* With the lock held: makes the token one that is usable. */
static int make_usable(struct nacos_client *client, unsigned long bad_serial, struct call *call)
{
	struct nacos_token *token = &client->token;

	for (;;) {
		bool usable = is_usable(token, bad_serial);
		int error;

		if (usable && (clock_monotonic_ms() < token->renew_at_ms || token->login_busy))
			return 0;
		if (!usable && token->refused_until_ms > clock_monotonic_ms())
			return call_fail(call, token->login_error, "%s", token->login_reason);
		if (token->login_busy) {
			error = wait_for_login(client, call);
			if (error)
				return error;
			continue;
		}
		error = log_in_unlocked(client, call);
		if (!error || is_usable(token, bad_serial))
			return 0;
		return error;
	}
}

int nacos_login_get_header(struct nacos_client *client, unsigned long bad_serial, struct call *call,
			   struct buffer *ret_header, unsigned long *ret_serial)
{
	int error;

	pthread_mutex_lock(&client->lock);
	error = make_usable(client, bad_serial, call);
	if (!error) {
		error = buffer_append(ret_header, client->token.header.data,
				      client->token.header.size);
		if (error)
			call_fail(call, error, "login: out of memory");
		*ret_serial = client->token.serial;
	}
	pthread_mutex_unlock(&client->lock);
	return error;
}
