/*
 * Namespaces over HTTP. Errors are those of nacos/http/config.h.
 *
 * 1.4 and 2.x list them to anybody; 3.x lists them to an admin on its main port, and to any user who is logged in on its console
 * port. Managed servers and gateways may not have the call at all.
 */
#ifndef NACOSFS_NACOS_HTTP_NAMESPACE_H
#define NACOSFS_NACOS_HTTP_NAMESPACE_H

#include "nacos/http/client.h"
#include "nacos/http/namespace_list.h"
#include "util/call.h"

/* The ids of all namespaces. -EOPNOTSUPP where the server has no such call (the reason says what to set instead). */
int nacos_namespace_list(struct nacos_client *client, struct call *call, struct nacos_namespace_list *ret_list);

/*
 * Creates a namespace of that id, with the id as its name. -EEXIST, -EINVAL (id refused), -EACCES (not an admin),
 * -EOPNOTSUPP as above.
 */
int nacos_namespace_create(struct nacos_client *client, const char *id, struct call *call);

/*
 * May this account create namespaces? 0, -EACCES, -EOPNOTSUPP. Asks for one with an id and a name that no server takes, which
 * it says only after it has checked the right.
 */
int nacos_namespace_check_create(struct nacos_client *client, struct call *call);

/*
 * Removes a namespace from the list. Its configs, if it has any, are NOT removed by servers and stay readable by id:
 * the caller makes sure that there are none.
 */
int nacos_namespace_remove(struct nacos_client *client, const char *id, struct call *call);

#endif
