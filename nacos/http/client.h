/*
 * A client of one Nacos cluster: its hosts, which generation they are, and the login.
 *
 * Any host may be down: a request goes to the host that last answered, and moves on to the next when no connection can
 * be made; when it broke later, or was answered with a 5xx that says "not me, not now" (502, 503, 504), only if
 * repeating it can't do harm (all but publishing).
 *
 * The access token goes in the Authorization header only. It is renewed before it expires, and once more when the server
 * says that it is not good (token expired, token invalid, user not found; not: authorization failed). Passwords and
 * tokens are wiped when they are replaced and when the client is freed.
 *
 *	nacos_client_new -> nacos_client_connect -> calls of nacos/http/config.h and nacos/http/namespace.h, from any thread
 *	-> nacos_client_free (when no call is under way)
 *
 * Instead of a login, or beside it, each request can be signed with an access key (nacos/spas.h).
 *
 * One lock guards the token, the current host and the features; it is never held while a request waits. One thread logs
 * in at a time, the others wait for its outcome (each with its own deadline).
 */
#ifndef NACOSFS_NACOS_HTTP_CLIENT_H
#define NACOSFS_NACOS_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "nacos/generation.h"
#include "nacos/spas.h"
#include "util/buffer.h"
#include "util/call.h"

struct nacos_client;

struct nacos_host {
	char *name; /* a name or an address, IPv6 without brackets */
	unsigned port;
};

struct nacos_client_options {
	const struct nacos_host *hosts;
	size_t host_count; /* 1 or more */
	bool https;
	const char *ca_file, *cert_file, *key_file; /* for https; NULL: the system's CAs, no client certificate */
	const char *username; /* NULL: no login */
	const char *password_file; /* read (file_read_secret) at each login, so that a changed one is seen */
	struct nacos_credentials_source credentials; /* of an access key, which signs each request; get NULL: none */
	const char *region; /* for signatures of version 4; NULL: the older ones */
	/*
	 * In place of password_file: a file with a line password=PASSWORD, as nacos/http/login.h has it, with the same
	 * precautions.
	 */
	const char *login_file;
	const char *console_url; /* of a 3.x console, "http://host:8080"; NULL: port 8080 of the current host */
};

/* Makes a client; options are copied, nothing is sent. 0, -ENOMEM or -EIO. */
int nacos_client_new(const struct nacos_client_options *options, struct nacos_client **ret_client);
void nacos_client_free(struct nacos_client *client);

/*
 * Finds a host that answers, its generation, and logs in. The reason says in one line what to do about a failure:
 *
 * -EHOSTUNREACH, -ETIMEDOUT  none of the hosts answers (or all say that they are not ready)
 * -ECONNABORTED  TLS: certificate or handshake refused
 * -EPROTO        something answers that is not Nacos
 * -EACCES        user or password refused (or needed, and none given), or the password can't be read
 * -EIO           the server is known, but in trouble with the login
 * -EINTR, -ENOMEM
 */
int nacos_client_connect(struct nacos_client *client, struct call *call);

/* A copy of what the server can do; valid after nacos_client_connect(). */
struct nacos_features nacos_client_features(struct nacos_client *client);

/* Who logs in; NULL: nobody. */
const char *nacos_client_username(const struct nacos_client *client);

/* How many HTTP requests were sent, logins included. */
unsigned long nacos_client_request_count(const struct nacos_client *client);

#endif
