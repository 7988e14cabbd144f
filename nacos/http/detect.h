/*
 * Reading what a server is from its answers to the first requests. Pure functions;
 * nacos_client_connect() asks.
 */
#ifndef NACOSFS_NACOS_HTTP_DETECT_H
#define NACOSFS_NACOS_HTTP_DETECT_H

#include <stdbool.h>

#include "nacos/generation.h"
#include "util/http.h"

/*
 * Finds the version in an answer to one of the calls that tell it: the state of a 3.x server
 * (wrapped), of a 1.4 or 2.x server (flat), or a cluster member's description of itself. -ENOENT
 * when it is not there, -ENOMEM.
 */
int nacos_detect_read_version(const struct http_answer *answer,
			      struct nacos_features *ret_features);

/*
 * Is this how a Nacos server answers when it is asked for a config that nobody has, without a
 * token? Either that there is none, or that it does not say.
 */
bool nacos_detect_is_nacos(const struct http_answer *answer);

#endif
