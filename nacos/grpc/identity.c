#include "nacos/grpc/identity.h"

#include <errno.h>
#include <string.h>

#include "nacos/http/client_private.h"
#include "nacos/http/identity.h"

#define HTTP_TOKEN "Authorization: Bearer "

/* A line "Name: value"; a token goes by another name over gRPC. */
static int add_header(const struct buffer *line, struct buffer *headers)
{
	char name[32];
	const char *value = strstr(line->data, ": ");

	if (strncmp(line->data, HTTP_TOKEN, strlen(HTTP_TOKEN)) == 0)
		return nacos_payload_add_header(headers, "accessToken", line->data + strlen(HTTP_TOKEN));
	if (!value || (size_t)(value - line->data) >= sizeof(name))
		return -EIO;
	memcpy(name, line->data, (size_t)(value - line->data));
	name[value - line->data] = '\0';
	return nacos_payload_add_header(headers, name, value + 2);
}

int nacos_grpc_identity_of_client(void *arg, const struct nacos_grpc_subject *subject, unsigned long bad_serial,
				  struct call *call, struct buffer *ret_headers, unsigned long *ret_serial)
{
	struct nacos_client *client = arg;
	cleanup_nacos_identity struct nacos_identity identity = { .count = 0 };
	cleanup_buffer struct buffer resource = BUFFER_INIT;
	int error;

	/* Another signature with the same key would be refused as well. */
	if (bad_serial && !client->username)
		return call_fail(call, -EACCES, "the server does not take the access key");
	error = nacos_spas_add_grpc_resource(subject->namespace_id, subject->group, &resource);
	if (error)
		return call_fail(call, error, "out of memory");
	error = nacos_identity_get(client, resource.data, bad_serial, call, &identity);
	for (size_t i = 0; !error && i < identity.count; i++) {
		error = add_header(&identity.lines[i], ret_headers);
		if (error)
			call_fail(call, error, "login: out of memory");
	}
	if (!error)
		*ret_serial = identity.serial ? identity.serial : 1;
	return error;
}
