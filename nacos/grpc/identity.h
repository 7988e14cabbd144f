/*
 * The login of the HTTP client as the identity of gRPC requests: the hook for
 * nacos_grpc_options.get_headers, with the struct nacos_client as its arg. The client must outlive
 * the struct nacos_grpc.
 */
#ifndef NACOSFS_NACOS_GRPC_IDENTITY_H
#define NACOSFS_NACOS_GRPC_IDENTITY_H

#include "nacos/grpc/grpc.h"

int nacos_grpc_identity_of_client(void *client, const struct nacos_grpc_subject *subject,
				  unsigned long bad_serial, struct call *call,
				  struct buffer *ret_headers, unsigned long *ret_serial);

#endif
