/*
 * The config operations of nacos/config.h over gRPC, with the same contract: the same errors and
 * the same meaning. What is different:
 *
 * - Contents may be larger: 10 MiB as JSON, escapes included, against 2 MiB of form. The time that
 *   a server takes grows with the size, up to 20 s for 10 MiB; so must the caller's deadline.
 * - The data key and compare-and-set exist on all servers that have gRPC.
 * - Nothing here tells metadata: to keep it over a publish, read it with nacos_config_get_detail().
 * - Where there is no connection, errors are those of nacos_grpc_wait_ready().
 */
#ifndef NACOSFS_NACOS_GRPC_CONFIG_H
#define NACOSFS_NACOS_GRPC_CONFIG_H

#include <stdbool.h>

#include "nacos/config.h"
#include "nacos/grpc/grpc.h"
#include "util/call.h"

/*
 * As nacos_config_get(): from the memory of the node that answers, which lags behind. The time is
 * told by servers since 2.3 only. -EOPNOTSUPP when the node gives this client a version that is
 * being tried out on some (beta, tag), which is not what a publish would replace: use
 * nacos_config_get_detail().
 */
int nacos_grpc_config_get(struct nacos_grpc *grpc, const struct place *place, struct call *call,
			  struct nacos_config *ret_config);

/*
 * As nacos_config_publish(). cas_md5 is sent, except together with a data key to servers before
 * 2.3.1, which would lose the key. 2.x on embedded storage answers a lost race with success: read
 * back. A cas_md5 of NACOS_MD5_OF_NOTHING creates; 3.x refuses it when somebody else was first.
 */
int nacos_grpc_config_publish(struct nacos_grpc *grpc, const struct place *place,
			      const struct nacos_publish *publish, struct call *call,
			      bool *ret_uncertain);

int nacos_grpc_config_remove(struct nacos_grpc *grpc, const struct place *place,
			     struct call *call);

int nacos_grpc_config_check_write(struct nacos_grpc *grpc, const struct place *place,
				  struct call *call);

#endif
