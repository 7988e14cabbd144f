/*
 * The key service of a cloud at its shared gateway: "KMS 1.0", HTTPS requests with the ACS3 signature
 * (crypto/acs3.h).
 *
 * Requests are `POST /?...` with headers for action, version and signature. As the official clients do,
 * parameters are in the query; with one exception: the plaintext of Encrypt goes into a form body, which is
 * signed too, so that no secret is ever in a URL, which gateways and proxies log. (The gateway takes the
 * parameters of such an API from either place; the emulator in tests/kms does too. Envelopes don't depend on
 * it: GenerateDataKey and Decrypt have no plaintext to send.)
 *
 * Answers are JSON. Temporary failures are tried again (crypto/kms.h). What the gateway says beside an error
 * code is neither logged nor shown.
 */
#ifndef NACOSFS_CRYPTO_KMS_V1_H
#define NACOSFS_CRYPTO_KMS_V1_H

#include "crypto/key_service.h"
#include "util/call.h"

/* Strings are copied. */
struct kms_v1_options {
	const char *endpoint; /* HOST[:PORT]; NULL: kms.REGION.aliyuncs.com */
	const char *region; /* may be NULL where endpoint is given */
	/*
	 * Which key encrypts. NULL: alias/acs/mse, as the official clients have it, where there is no endpoint;
	 * with one, configs can only be read.
	 */
	const char *key_id;
	const char *ca_file; /* PEM; NULL: the system's */
	const char *access_key_file; /* one of these two: */
	const char *ram_role; /* "": the machine knows its name */
	const char *metadata_url; /* for tests; NULL: RAM_ROLE_METADATA_URL */
};

/*
 * Checks the options and reads the access key; asks nobody yet. Call it while the process has one thread.
 * -EINVAL for options that can't be, the errors of credential_file_open(), -ENOMEM, -EIO.
 */
int kms_v1_open(const struct kms_v1_options *options, struct call *call, struct key_service **ret_service);

#endif
