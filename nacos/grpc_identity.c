#include "nacos/grpc_identity.h"

#include <errno.h>
#include <string.h>

#include "nacos/login.h"

#define HTTP_PREFIX "Authorization: Bearer "

int nacos_grpc_identity_of_client(void *client, const struct nacos_grpc_subject *subject,
				  unsigned long bad_serial, struct call *call,
				  struct buffer *ret_headers, unsigned long *ret_serial)
{
	cleanup_buffer_wipe struct buffer header = BUFFER_INIT;
	int error = nacos_login_get_header(client, bad_serial, call, &header, ret_serial);

	(void)subject; /* a token is good for everything that its user may do */
	if (error || header.size == 0)
		return error;
	if (strncmp(header.data, HTTP_PREFIX, strlen(HTTP_PREFIX)) != 0)
		return call_fail(call, -EIO, "login: no token in the header");
	if (nacos_payload_add_header(ret_headers, "accessToken", header.data + strlen(HTTP_PREFIX)))
		return call_fail(call, -ENOMEM, "login: out of memory");
	return 0;
}
