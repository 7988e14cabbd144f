/*
 * The bottom layer: a store that is a Nacos server. It adds to nacos/ what a store promises: a save compares before it
 * writes, keeps the metadata that a publish would wipe, and reads back what it stored.
 *
 * Holds no state but the transport, which it does not own, and who is told of events. These begin with
 * nacos_transport_start().
 */
#ifndef NACOSFS_STORE_NACOS_STORE_H
#define NACOSFS_STORE_NACOS_STORE_H

#include "nacos/transport.h"
#include "store/store.h"

/*
 * 0 or -ENOMEM. The client of the transport must be connected. The transport must outlive the store, but be stopped
 * before the store is freed.
 */
int nacos_store_new(struct nacos_transport *transport, struct store **ret_store);

#endif
