/*
 * The layer that makes plain text of ciphertext: configs whose dataId begins with "cipher-" are decrypted on get and
 * encrypted on put. All others pass through.
 *
 * Plain text is in memory for secrets only, in versions that callers drop when the file is closed; this layer keeps none.
 * What it remembers are sizes, so that a stat need not decrypt. A config that can't be decrypted (VERSION_ATTRIBUTES only) has size 0:
 * it can be seen, and saved over. For the size alone a key service is asked again after ten seconds at the earliest; an open
 * always asks.
 *
 * One lock guards the sizes; it is never held while a key service or the layer below is asked.
 */
#ifndef NACOSFS_STORE_CIPHER_STORE_H
#define NACOSFS_STORE_CIPHER_STORE_H

#include "crypto/cipher.h"
#include "store/store.h"

/* 0 or -ENOMEM. lower and cipher are not owned and must outlive the store. */
int cipher_store_new(struct store *lower, struct cipher *cipher, struct store **ret_store);

#endif
