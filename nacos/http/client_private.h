/*
 * The inside of a struct nacos_client, for the modules that make up the client: client.c (life),
 * hosts.c, login.c (token), detect.c, identity.c, request.c, config_list.c (its turn) and grpc/identity.c. Nobody else includes
 * this.
 *
 * What is above the lock never changes after nacos_client_new(); what is below it is read and
 * written under it. The lock is never held while a request, a file or a log line waits. changed is
 * signalled whenever something below the lock that a thread may wait for has changed; waiting is
 * done with nacos_client_wait() only.
 */
#ifndef NACOSFS_NACOS_HTTP_CLIENT_PRIVATE_H
#define NACOSFS_NACOS_HTTP_CLIENT_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nacos/http/client.h"
#include "util/buffer.h"
#include "util/call.h"
#include "util/http.h"

struct nacos_client_host {
	char *base_url; /* "http://name:port", no slash at the end */
	char *console_url; /* the same with the console's usual port */
	int64_t down_until_ms; /* under the lock: not worth trying before; 0: up */
};

/* The outcome of the last login; under the lock. */
struct nacos_token {
	struct buffer header; /* "Authorization: Bearer ..."; empty: the server has no login */
	unsigned long serial; /* 0: there was no login yet */
	int64_t renew_at_ms;
	int64_t expires_at_ms;

	bool login_busy; /* a thread is logging in */
	unsigned long login_count; /* logins that came to an end */
	int login_error; /* of the last of them */
	char login_reason[CALL_REASON_SIZE];
	int64_t refused_until_ms; /* after a refusal, not worth asking again before */
};

struct nacos_client {
	struct http_client *http;
	struct nacos_client_host *hosts;
	size_t host_count;
	char *username; /* NULL: no login */
	char *password_file;
	char *login_file; /* NULL: the password is all of password_file */
	struct nacos_credentials_source credentials; /* get NULL: none */
	char *region;
	char *console_url; /* NULL: console_url of the current host */

	pthread_mutex_t lock;
	pthread_cond_t changed; /* on the monotonic clock */
	size_t current_host; /* the one that last answered */
	struct nacos_features features; /* generation NULL: not connected yet */
	struct nacos_token token;
	bool listing; /* a thread lists names */
};

/*
 * With the lock held: waits until changed is signalled or a slice of the call is over, whichever
 * comes first. Returns with the lock held what call_check() says.
 */
int nacos_client_wait(struct nacos_client *client, struct call *call);

#endif
