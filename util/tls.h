/*
 * TLS under one HTTP/2 client connection: what gRPC needs of libssl, and nothing else.
 *
 * The peer is always verified, against the CAs given (or the system's) and against the host it was
 * dialled by, name or address. TLS 1.2 is the least, and the peer must choose HTTP/2 ("h2") by
 * ALPN. The files are read for each new connection, so that rotated ones are used without a
 * restart. The key is never asked for a password.
 *
 *	tls_new (around a connected, non-blocking socket) -> tls_handshake until it is not -EAGAIN
 *	-> tls_read, tls_write -> tls_free -> close(socket)
 *
 * The socket stays the caller's. Nothing waits: -EAGAIN means that the socket must first be ready
 * for what tls_read_events() or tls_write_events() say. Belongs to one thread, which must block or
 * ignore SIGPIPE: libssl writes without MSG_NOSIGNAL.
 */
#ifndef NACOSFS_UTIL_TLS_H
#define NACOSFS_UTIL_TLS_H

#include <stddef.h>
#include <sys/types.h>

#include "util/call.h"

struct tls;

struct tls_options {
	const char *ca_file; /* PEM; NULL: the system's */
	const char *cert_file; /* PEM chain of the client certificate; NULL: none */
	const char *key_file; /* PEM, a secret (file_read_secret()); NULL: in cert_file */
};

/*
 * Reads the files and prepares the handshake with host (a name, or an address without brackets).
 * -ECONNABORTED when one can't be read, or what is in it can't be used (no certificate, expired,
 * the key of another one), -ENOMEM. The reason of the call names the file.
 */
int tls_new(const struct tls_options *options, const char *host, int descriptor, struct call *call,
	    struct tls **ret_tls);

/* Says goodbye to the peer if that is possible at once, and frees. */
void tls_free(struct tls *tls);

/*
 * Goes on with the handshake. 0, -EAGAIN, or -ECONNABORTED with a reason: certificate refused by
 * one of the two sides, no TLS or no HTTP/2 spoken there.
 *
 * With TLS 1.3 a server that does not like the client's certificate says so only after the
 * handshake: then the first tls_read() fails with -ECONNABORTED.
 */
int tls_handshake(struct tls *tls, struct call *call);

/* How many bytes, 0 at the end of the stream, -EAGAIN, -ECONNABORTED or -EIO. */
ssize_t tls_read(struct tls *tls, void *data, size_t size, struct call *call);

/* How many bytes; -EAGAIN: call again with at least the same bytes. -ECONNABORTED, -EIO. */
ssize_t tls_write(struct tls *tls, const void *data, size_t size, struct call *call);

/*
 * POLLIN or POLLOUT: what the last -EAGAIN of reading (or the handshake), or of writing, waits for.
 */
short tls_read_events(const struct tls *tls);
short tls_write_events(const struct tls *tls);

#endif
