/*
 * The keyring: a key service for those who have none. Keys in a file that only root can read take the place of
 * a key in the cloud; the formats of configs are the same.
 *
 * The file is text, one key a line, with comments:
 *
 *	# anything
 *	key 0b7c5c2e-9d8f-4e1c-8a55-6a0f3f6f1d27 q5m0...(base64 of 32 bytes)
 *
 * The last key encrypts, all of them decrypt. So to rotate, the key of a new keyring is appended (`cat new >>
 * keyring`); configs take the new key as they are saved, and an old key can go when no blob begins with its
 * name any more. The file is looked at before each save, and when a blob names a key that is not known: a
 * rotation needs no restart. A file that can't be read or parsed then is reported, and the keys known before
 * are used on.
 *
 * A blob is base64 of
 *
 *	36 bytes  name of the key (a UUID, as text)
 *	12 bytes  IV, random
 *	n bytes   AES-256-GCM ciphertext of the text
 *	16 bytes  tag
 *
 * as those of the cloud's key service are, so it fits wherever they fit. Authenticated beside the text is what
 * the blob is and the name of the key: "nacosfs keyring 1" and those 36 bytes. It is not bound to one config:
 * renaming must work where nobody can decrypt. With random IVs one key is good for 2^32 blobs.
 *
 * Thread-safe; a lock guards the keys, and is not held while the file is read.
 */
#ifndef NACOSFS_CRYPTO_KEYRING_H
#define NACOSFS_CRYPTO_KEYRING_H

#include "crypto/key_service.h"
#include "util/call.h"

/*
 * Reads the keyring. The file is refused unless only its owner (root, or who runs this) can read it; a systemd
 * credential is such a file. -EINVAL when it is no keyring, or the errors of file_read_secret().
 */
int keyring_open(const char *path, struct call *call, struct key_service **ret_service);

/*
 * Makes a new file with one new key, for its owner only, and on the disk when this returns. -EEXIST when there is
 * anything of that name; nothing is left behind on failure.
 */
int keyring_create(const char *path, struct call *call);

#endif
