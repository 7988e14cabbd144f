/*
 * The bottom of the stack of stores, which asks the server with one login, and the client and the transport below it. The mount has
 * one, and with identity=caller each local user who has a login of his own. What is above it is main/main.c's.
 *
 *	account_open (asks the server) -> account_start (starts threads: not before a fork) -> use bottom -> account_close
 */
#ifndef NACOSFS_MAIN_ACCOUNT_H
#define NACOSFS_MAIN_ACCOUNT_H

#include "main/command_line.h"
#include "nacos/http/client.h"
#include "nacos/transport.h"
#include "store/store.h"
#include "util/call.h"

struct account_options {
	const struct command_line *command_line; /* for the source and the options; must outlive the stack */
	struct nacos_credentials_source credentials; /* an access key, if get is not NULL */
	const char *username; /* NULL: no login */
	const char *password_file, *login_file; /* one of them (nacos/http/client.h) */
	bool is_for_caller; /* one of many: over HTTP only, without a connection and threads of its own; not to be started */
};

struct account {
	struct nacos_client *client;
	struct nacos_transport *transport;
	struct store *bottom;
};

/*
 * Connects, logs in and builds. As nacos_client_connect() and nacos_transport_check(), with a reason. account_close() it also
 * after a failure.
 */
int account_open(const struct account_options *options, struct call *call, struct account *account);

/* After the events of the stack were set, if they are wanted. */
void account_start(struct account *account);

/* Ends its threads: no more events. When no call is under way. */
void account_stop(struct account *account);

/* Stops and frees all of it. All zeros is fine. */
void account_close(struct account *account);

#endif
