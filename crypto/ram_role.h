/*
 * Temporary credentials that a machine in the cloud gets from its metadata service, because a RAM role is bound
 * to it.
 *
 * They are fetched when they are first needed, and anew three minutes before they end; however many threads
 * need them, one asks. While new ones can't be had, the old ones are given until they end.
 *
 * The metadata service is asked as version 2 wants it, with a token that is fetched first, and without one
 * where that fails (version 1). It speaks plain HTTP at an address of the machine itself, and no proxy is used.
 */
#ifndef NACOSFS_CRYPTO_RAM_ROLE_H
#define NACOSFS_CRYPTO_RAM_ROLE_H

#include "crypto/credentials.h"

#define RAM_ROLE_METADATA_URL "http://100.100.100.200"

/*
 * role: its name; "" asks the machine for it. metadata_url: NULL, or for tests another address, without a slash
 * at the end. 0,
 * -EINVAL for a name that no role has, or -ENOMEM; asks nobody yet.
 */
int ram_role_open(const char *role, const char *metadata_url, struct call *call, struct credential_source **ret_source);

#endif
