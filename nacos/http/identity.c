#include "nacos/http/identity.h"

#include <errno.h>
#include <string.h>

#include "nacos/http/client_private.h"
#include "nacos/http/login.h"
#include "util/clock.h"

void nacos_identity_release(struct nacos_identity *identity)
{
	for (size_t i = 0; i < NACOS_IDENTITY_LINES_MAX; i++)
		buffer_wipe(&identity->lines[i]);
	identity->count = 0;
}

static int add_signature(struct nacos_client *client, const char *resource, struct call *call,
			 struct nacos_identity *identity)
{
	cleanup_nacos_credentials struct nacos_credentials credentials = { .access_key = BUFFER_INIT };
	size_t count = 0;
	int error = client->credentials.get(client->credentials.arg, call, &credentials);

	if (error == -EINTR || error == -ETIMEDOUT || error == -ENOMEM)
		return error;
	if (error)
		return call_fail(call, -EHOSTUNREACH, "access key: %s", call->reason);
	error = nacos_spas_sign(&credentials, client->region, resource, clock_to_ms(clock_now()),
				&identity->lines[identity->count], &count);
	if (error)
		return call_fail(call, error, "access key: can't sign");
	identity->count += count;
	return 0;
}

int nacos_identity_get(struct nacos_client *client, const char *resource, unsigned long bad_serial, struct call *call,
		       struct nacos_identity *ret_identity)
{
	struct nacos_identity identity = { .count = 0 };
	int error = 0;

	if (client->username) {
		error = nacos_login_get_header(client, bad_serial, call, &identity.lines[0], &identity.serial);
		identity.count = identity.lines[0].size > 0;
	}
	if (!error && client->credentials.get)
		error = add_signature(client, resource, call, &identity);
	if (error) {
		nacos_identity_release(&identity);
		return error;
	}
	*ret_identity = identity;
	return 0;
}
