/*
 * Who asks: the headers that prove it, of a client with a login, an access key, or both. For nacos/http/request.h and
 * nacos/grpc/identity.h only. Safe from any thread.
 */
#ifndef NACOSFS_NACOS_HTTP_IDENTITY_H
#define NACOSFS_NACOS_HTTP_IDENTITY_H

#include <stddef.h>

#include "nacos/http/client.h"
#include "nacos/spas.h"
#include "util/buffer.h"
#include "util/call.h"

#define NACOS_IDENTITY_LINES_MAX (1 + NACOS_SPAS_LINES_MAX)

struct nacos_identity {
	struct buffer lines[NACOS_IDENTITY_LINES_MAX]; /* "Name: value" */
	size_t count; /* 0: nobody in particular */
	unsigned long serial; /* of the token; 0: there is none */
};

/* Wipes. */
void nacos_identity_release(struct nacos_identity *identity);
#define cleanup_nacos_identity __attribute__((cleanup(nacos_identity_release)))

/*
 * The identity for a request about that resource (nacos/spas.h). bad_serial: as nacos_login_get_header() has it.
 *
 * -EACCES        the login is refused, or the password can't be read
 * -EHOSTUNREACH  no credentials are to be had at the moment
 * otherwise as nacos_login_get_header()
 */
int nacos_identity_get(struct nacos_client *client, const char *resource, unsigned long bad_serial, struct call *call,
		       struct nacos_identity *ret_identity);

#endif
