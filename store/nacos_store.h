/*
 * The bottom layer: a store that is a Nacos server. It adds to nacos/ what a store promises: a save compares before it
 * writes, keeps the metadata that a publish would wipe, and reads back what it stored.
 *
 * Holds no state but the client, which it does not own.
 */
#ifndef NACOSFS_STORE_NACOS_STORE_H
#define NACOSFS_STORE_NACOS_STORE_H

#include "nacos/client.h"
#include "store/store.h"

/* 0 or -ENOMEM. client must be connected and outlive the store. */
int nacos_store_new(struct nacos_client *client, struct store **ret_store);

#endif
