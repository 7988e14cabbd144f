/*
 * Credentials for a cloud's API, and where they come from: a file, or the metadata service of the machine
 * (crypto/ram_role.h). They change while the program runs, so they are asked for before each request, and wiped
 * after it.
 *
 * A source may be used from many threads at once.
 */
#ifndef NACOSFS_CRYPTO_CREDENTIALS_H
#define NACOSFS_CRYPTO_CREDENTIALS_H

#include "crypto/secret_buffer.h"
#include "util/call.h"

struct credentials {
	struct secret_buffer access_key_id;
	struct secret_buffer access_key_secret;
	struct secret_buffer security_token; /* empty: these are not temporary */
};

void credentials_release(struct credentials *credentials);
#define cleanup_credentials __attribute__((cleanup(credentials_release)))

/* Copies from to an empty to. 0 or -ENOMEM, with to empty. */
int credentials_copy(struct credentials *to, const struct credentials *from);

struct credential_source;

struct credential_source_operations {
	int (*get)(struct credential_source *source, struct call *call, struct credentials *ret_credentials);
	void (*free)(struct credential_source *source);
};

/* An implementation begins with this. */
struct credential_source {
	const struct credential_source_operations *operations;
};

/*
 * The credentials to use now; ret_credentials must be empty, the caller releases them.
 * -ENOKEY when there are none to be had, -EINTR, -ENOMEM.
 */
static inline int credential_source_get(struct credential_source *source, struct call *call,
					struct credentials *ret_credentials)
{
	return source->operations->get(source, call, ret_credentials);
}

/* NULL is fine. */
static inline void credential_source_free(struct credential_source *source)
{
	if (source)
		source->operations->free(source);
}

/*
 * A source that is a file of lines `accessKey=...`, `secretKey=...`, and for temporary credentials
 * `securityToken=...`; other lines mean nothing. Only its owner may be able to read it. It is read again
 * whenever it was changed; if it can't be used then, that is logged, and the credentials known before are given
 * on.
 *
 * -EINVAL when one of the first two is missing, or the errors of file_read_secret().
 */
int credential_file_open(const char *path, struct call *call, struct credential_source **ret_source);

#endif
