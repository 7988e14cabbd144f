/*
 * The signature that managed Nacos (Alibaba Cloud MSE, ACM) wants from those who have an access key instead of a user:
 * the Spas headers. Open-source servers take no notice of them. Pure functions but for asking the source.
 *
 * What is signed is the resource and the time of day, joined with '+'; the resource is "namespace+group", or what there is
 * of it. The key is the secret key, or with a region one that is derived from it for that region and day ("v4"). All of
 * this is as the official Java clients do it, 1.4.1 over HTTP and 2.4.3 over gRPC, which differ in one thing: over HTTP a
 * namespace without a group is no resource. tests/unit/test_nacos_spas.c has what these clients made.
 */
#ifndef NACOSFS_NACOS_SPAS_H
#define NACOSFS_NACOS_SPAS_H

#include <stddef.h>
#include <stdint.h>

#include "util/buffer.h"
#include "util/call.h"

struct nacos_credentials {
	struct buffer access_key;
	struct buffer secret_key;
	struct buffer security_token; /* empty: these are not temporary */
};

/* Wipes. */
void nacos_credentials_release(struct nacos_credentials *credentials);
#define cleanup_nacos_credentials __attribute__((cleanup(nacos_credentials_release)))

/*
 * Where they come from. get() is called for each request, from any thread, and gives those to use now, one line of ASCII
 * without blanks each; the buffers are empty, and may be given other memory first. It may wait as long as the call does.
 * 0; -EINTR, -ETIMEDOUT, -ENOMEM; or another error when there are none to be had at the moment, with a reason.
 */
struct nacos_credentials_source {
	int (*get)(void *arg, struct call *call, struct nacos_credentials *ret_credentials);
	void *arg;
};

/* Appends the resource of a request over HTTP, or over gRPC. NULL and "" stand for none. 0 or -ENOMEM. */
int nacos_spas_add_http_resource(const char *namespace_id, const char *group, struct buffer *resource);
int nacos_spas_add_grpc_resource(const char *namespace_id, const char *group, struct buffer *resource);

#define NACOS_SPAS_LINES_MAX 5

/*
 * Makes the headers, each a line "Name: value" (wipe them); lines must be empty buffers. region: NULL for the signature
 * without one. time_ms: since 1970. 0, -ENOMEM, or -EIO when OpenSSL refuses to sign.
 */
int nacos_spas_sign(const struct nacos_credentials *credentials, const char *region, const char *resource,
		    int64_t time_ms, struct buffer ret_lines[NACOS_SPAS_LINES_MAX], size_t *ret_count);

#endif
