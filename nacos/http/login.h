/*
 * The access token of a client: got with the user's name and password, kept until it is about to
 * expire.
 *
 * Any thread may ask for it. One of them logs in, the others wait for the outcome, each no longer
 * than its own call. A login that the server refused is remembered for a moment, so that a wrong
 * password does not become a storm of logins.
 */
#ifndef NACOSFS_NACOS_HTTP_LOGIN_H
#define NACOSFS_NACOS_HTTP_LOGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nacos/http/client.h"
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
 * Reads the name of the user from a login file: the lines username=NAME and password=PASSWORD. As file_read_secret(), or -EINVAL when it is not what such a
 * file must be. ret_name is to be freed.
 */
int nacos_login_read_name(const char *path, struct call *call, char **ret_name);

/*
 * Finds the line "KEY=VALUE" in the text of such a file; the value begins at ret_value and has ret_size bytes, at least
 * one. False when there is none, or more than one.
 */
bool nacos_login_find_line(const struct buffer *text, const char *key, const char **ret_value, size_t *ret_size);

/*
 * Reads the answer to a login: appends "Authorization: Bearer TOKEN" to ret_header, and tells how
 * many seconds it will be good. -EACCES when it is a refusal, -ENOENT when this server has no such
 * login call, -EIO, -ENOMEM.
 */
int nacos_login_read_answer(const struct http_answer *answer, const char *username,
			    struct call *call, struct buffer *ret_header, int64_t *ret_seconds);

#endif
