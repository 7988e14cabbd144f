/*
 * How configs travel: over the one gRPC connection where the server has it, over HTTP otherwise. And who tells of changes:
 * gRPC, or, where there was none for NACOS_TRANSPORT_PATIENCE_MS, HTTP long polls, until there is.
 *
 * With NACOS_TRANSPORT_AUTO a request goes over gRPC while there is a connection. When there is none (a 1.4 server, a
 * blocked port, a connection that broke), or it fails before the server can have acted on it, it goes over HTTP; the log
 * says so once each time the way changes. What HTTP can't carry (the data key of a server before 2.3, a text of over
 * 2 MiB) waits for the connection, and fails as nacos_grpc_wait_ready() says when there is none.
 *
 * Reading on servers before 2.3 is always done over HTTP: only there they tell the time of the last change. So is all that
 * gRPC does not have: metadata, names, namespaces.
 *
 *	nacos_client_connect -> nacos_transport_new -> nacos_transport_set_events -> calls
 *	-> nacos_transport_start (starts threads: not before a fork) -> calls -> nacos_transport_stop -> nacos_transport_free
 *
 * Until the start, everything goes over HTTP and nothing is watched. Calls may come from any thread. The client is not
 * owned, and must outlive the transport.
 *
 * What is watched is one set (nacos/watch.h), whoever tells of it. One thread chooses who does.
 */
#ifndef NACOSFS_NACOS_TRANSPORT_H
#define NACOSFS_NACOS_TRANSPORT_H

#include <stdbool.h>

#include "nacos/config.h"
#include "nacos/grpc/grpc.h"
#include "nacos/watch.h"

enum nacos_transport_mode { NACOS_TRANSPORT_AUTO, NACOS_TRANSPORT_GRPC, NACOS_TRANSPORT_HTTP };

#define NACOS_TRANSPORT_PATIENCE_MS 10000

#define NACOS_HTTP_CONTENT_LIMIT ((size_t)2 << 20)
#define NACOS_GRPC_CONTENT_LIMIT ((size_t)10 << 20)

struct nacos_transport;

struct nacos_transport_options {
	struct nacos_client *client; /* connected */
	enum nacos_transport_mode mode;
	const struct nacos_host *hosts; /* as of the client; copied */
	size_t host_count;
	/*
	 * Reads ask the database, over HTTP: the memory of the node that answers lags behind what others have just saved, who may
	 * be users of the same mount.
	 */
	bool from_database;
	const struct tls_options *tls; /* for gRPC; NULL: plain text; copied */
};

/* 0, -ENOMEM or -EIO. */
int nacos_transport_new(const struct nacos_transport_options *options, struct nacos_transport **ret_transport);

/* Who is told of what is watched, and of names; before the start. Not copied. */
void nacos_transport_set_events(struct nacos_transport *transport, const struct nacos_watch_events *events,
				void *arg);

/*
 * With NACOS_TRANSPORT_GRPC: is there gRPC? Makes a connection and ends it, with threads that are gone when it returns, so
 * that it may come before a fork. 0 in other modes. Errors as nacos_grpc_wait_ready().
 */
int nacos_transport_check(struct nacos_transport *transport, struct call *call);

/* 0, or -EAGAIN, -ENOMEM, -EIO: then everything goes on over HTTP. */
int nacos_transport_start(struct nacos_transport *transport);

/* Ends the threads and the connection: no more events. When no call is under way. */
void nacos_transport_stop(struct nacos_transport *transport);
void nacos_transport_free(struct nacos_transport *transport);

struct nacos_client *nacos_transport_client(const struct nacos_transport *transport);

/* More bytes of text than these can't be published, as things are now; whether fewer can, their encoding decides. */
size_t nacos_transport_content_limit(struct nacos_transport *transport);

/* Could a publish carry the encrypted data key of a config? */
bool nacos_transport_carries_data_key(const struct nacos_transport *transport);

/* As their namesakes in nacos/http/config.h. */
int nacos_transport_get(struct nacos_transport *transport, const struct place *place, struct call *call,
			struct nacos_config *ret_config);
int nacos_transport_publish(struct nacos_transport *transport, const struct place *place,
			    const struct nacos_publish *publish, struct call *call, bool *ret_uncertain);
int nacos_transport_remove(struct nacos_transport *transport, const struct place *place, struct call *call);
int nacos_transport_check_write(struct nacos_transport *transport, const struct place *place,
				struct call *call);

/*
 * Puts a config on the watch, or tells another MD5 of it (nacos/watch.h). Without memory, or anybody who is told, nothing is
 * watched.
 */
void nacos_transport_watch(struct nacos_transport *transport, struct place *place, const char *md5);
void nacos_transport_unwatch(struct nacos_transport *transport, const struct place *place);
void nacos_transport_watch_names(struct nacos_transport *transport, const char *namespace_id);

/* Would a change be told, if not at once then as soon as the server knows what is watched? */
bool nacos_transport_is_watched(struct nacos_transport *transport, const struct place *place);

struct nacos_transport_status {
	const char *name; /* "grpc", "http": how requests go now */
	struct nacos_grpc_status grpc; /* all zeros where there is none */
	struct nacos_watch_counts counts;
	bool live; /* changes are told */
};

void nacos_transport_get_status(struct nacos_transport *transport, struct nacos_transport_status *ret_status);

#endif
