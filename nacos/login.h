/*
 * The access token of a client: got with the user's name and password, kept until it is about to
 * expire.
 *
 * Any thread may ask for it. One of them logs in, the others wait for the outcome, each no longer
 * than its own call. A login that the server refused is remembered for a moment, so that a wrong
 * password does not become a storm of logins.
 */
#ifndef NACOSFS_NACOS_LOGIN_H
#define NACOSFS_NACOS_LOGIN_H

#include <stdint.h>

#include "nacos/client.h"
#include "util/buffer.h"
#include "util/call.h"
#include "util/http.h"

/*
 * Appends the header that carries the token to ret_header (wipe it), and tells the serial of the
 * token. Nothing is appended where the server has no login at all. bad_serial names a token that
 * the server did not take: it is not returned again, but replaced; 0: none is known to be bad.
 *
 * -EACCES when the login is refused or the password can't be read; otherwise as
 * nacos_request_send().
 */
int nacos_login_get_header(struct nacos_client *client, unsigned long bad_serial, struct call *call,
			   struct buffer *ret_header, unsigned long *ret_serial);

/*
 * Reads the answer to a login: appends "Authorization: Bearer TOKEN" to ret_header, and tells how
 * many seconds it will be good. -EACCES when it is a refusal, -ENOENT when this server has no such
 * login call, -EIO, -ENOMEM.
 */
int nacos_login_read_answer(const struct http_answer *answer, const char *username,
			    struct call *call, struct buffer *ret_header, int64_t *ret_seconds);

#endif
