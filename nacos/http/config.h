/*
 * Configs over HTTP: get, publish, remove, list, and the question whether one may write.
 *
 * Every call below may fail with
 *
 * -EACCES        the server says that this account may not
 * -EHOSTUNREACH, -ETIMEDOUT, -EINTR, -ECONNABORTED   as http_request() says
 * -EIO           the server is in trouble (5xx), or its answer is not what the protocol says (torn, wrong types, too
 *                large, a redirect, content that does not match its MD5)
 * -ENOMEM
 *
 * and the reason of the call says which config and why, without content. Wire facts are from the servers' sources at
 * tags 1.4.8, 2.2.4, 2.5.1, 3.0.3 and from live 2.2.4 and 3.1.0 servers; doc/DESIGN.md has the ones that bite.
 */
#ifndef NACOSFS_NACOS_HTTP_CONFIG_H
#define NACOSFS_NACOS_HTTP_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "nacos/config.h"
#include "nacos/http/client.h"
#include "util/call.h"

/*
 * The config as clients get it, from the memory of the node that answers: cheap, but up to a second or so behind the
 * database after a publish. Where this does not tell the true modification time (features.get_has_time), the detail
 * call is used instead; so it is where this client would get a beta or tag version that others don't, and on 3.x to make
 * sure that a config that the node does not give is really not there. -ENOENT when there is none. An answer "busy (409)"
 * is asked again after a short pause, until the call ends.
 */
int nacos_config_get(struct nacos_client *client, const struct place *place, struct call *call,
		     struct nacos_config *ret_config);

/*
 * After a get found nothing. The cache of a 3.x node has no config to give for a moment after each publish, and says so in
 * the words that it has for those that do not exist. The database knows better, for who may ask it (without a login, only
 * the cache may be read): the config after all, or -ENOENT.
 */
int nacos_config_confirm_absence(struct nacos_client *client, const struct place *place, struct call *call,
				 struct nacos_config *ret_config);

/* The config with its metadata, from the database: what a publish just stored is there. -ENOENT when there is none. */
int nacos_config_get_detail(struct nacos_client *client, const struct place *place, struct call *call,
			    struct nacos_config *ret_config);

/*
 * Publishes, at most once. Beside the errors above:
 *
 * -EBUSY   the text is not the one of cas_md5 any more (some versions answer this with success: read back)
 * -EINVAL  the server refuses the name, or a content that is blank
 * -EFBIG   more than the server takes: over 2 MiB of percent-encoded form
 * -EDQUOT  over the server's quota
 *
 * ret_uncertain is set even on failure: the server may have stored the text all the same (the answer was lost, or was
 * a 5xx).
 */
int nacos_config_publish(struct nacos_client *client, const struct place *place,
			 const struct nacos_publish *publish, struct call *call, bool *ret_uncertain);

/* Removes the config; success also when there is none. */
int nacos_config_remove(struct nacos_client *client, const struct place *place, struct call *call);

/*
 * May this account write (and so remove) the config, which need not exist? 0 or -EACCES. Publishes an empty content,
 * which servers refuse after they have checked the right: nothing is ever written. With a data_id (and a group) of "*",
 * which is no name, the question is for all of the group (of the namespace).
 */
int nacos_config_check_write(struct nacos_client *client, const struct place *place, struct call *call);

/*
 * The names in a namespace (group NULL) or in one of its groups, each once, in no order. Pages are never larger than
 * the 50,000 rows at which servers cut silently, and chosen by bytes where the pages carry contents. Names come as the
 * server sent them, NUL-free: the caller must expect '/' and the like. Not for a call of seconds: 100,000 names take a
 * server 8 to 20 s. -EACCES where this account may not list there.
 */
int nacos_config_list(struct nacos_client *client, const char *namespace_id, const char *group, struct call *call,
		      struct nacos_listing *ret_listing);

/* How many configs the namespace (group NULL) or one of its groups has: one request for a page of one row. */
int nacos_config_count(struct nacos_client *client, const char *namespace_id, const char *group, struct call *call,
		       int64_t *ret_count);

#endif
