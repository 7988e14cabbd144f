/*
 * The part of the stack of stores that belongs to one account of the server:
 *
 *	cache > rights > nacos
 *
 * with the client and the transport below it. The mount has one, and with identity=caller each local user who has a
 * login of his own. What is above it (identities, cipher) and below the same roof is fs/main.c's.
 *
 *	stack_open (asks the server) -> stack_start (starts threads: not before a fork) -> use top -> stack_close
 */
#ifndef NACOSFS_FS_STACK_H
#define NACOSFS_FS_STACK_H

#include "fs/command_line.h"
#include "nacos/client.h"
#include "nacos/transport.h"
#include "store/rights.h"
#include "store/store.h"
#include "util/call.h"

struct stack_options {
	const struct command_line *command_line; /* for the source and the options; must outlive the stack */
	struct nacos_credentials_source credentials; /* an access key, if get is not NULL */
	const char *username; /* NULL: no login */
	const char *password_file, *login_file; /* one of them (nacos/client.h) */
	bool rights_off; /* nobody wants to know ahead what the account may do */
	bool is_for_caller; /* one of many: over HTTP only, without a connection and threads of its own; not to be started */
	int64_t fresh_ms; /* how long a version is served without asking where changes are not told */
};

struct stack {
	struct nacos_client *client;
	struct nacos_transport *transport;
	struct store *nacos;
	struct rights *rights;
	struct store *cache;
	struct store *top;
};

/*
 * Connects, logs in and builds. As nacos_client_connect() and nacos_transport_check(), with a reason. stack_close() it also
 * after a failure.
 */
int stack_open(const struct stack_options *options, struct call *call, struct stack *stack);

/* After the events of the top were set, if they are wanted. */
void stack_start(struct stack *stack);

/* Ends its threads: no more events. When no call is under way. */
void stack_stop(struct stack *stack);

/* Stops and frees all of it. All zeros is fine. */
void stack_close(struct stack *stack);

#endif
