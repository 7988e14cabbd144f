/*
 * From pages of names to a list of names. The pages come from a function, so that everything but
 * the asking can be tested without a server.
 *
 * Servers page with an offset into rows that have no order: when configs come or go between two
 * pages, some rows are sent twice and others not at all. What they do tell is how many rows there
 * are. So all pages are read as one pass, a pass is believed when the number of rows stood still
 * and that many different names were seen, and otherwise there is another pass.
 */
#ifndef NACOSFS_NACOS_HTTP_LISTING_H
#define NACOSFS_NACOS_HTTP_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nacos/config.h"
#include "util/buffer.h"
#include "util/call.h"
#include "util/http.h"

#define NACOS_LISTING_PASSES_MAX 3

/* More than any server has; a server that goes on making up names is stopped here. */
#define NACOS_LISTING_NAMES_MAX 1000000

struct nacos_listing_question {
	const char *what; /* for reasons */
	const char *namespace_id; /* on the wire: what else turns up is dropped */
	const char *group; /* NULL: all */
	const char *namespace_member; /* of an item: tenant, namespaceId */
	const char *group_member; /* group, groupName */
	bool wrapped;
	bool has_contents; /* the size of pages is chosen by bytes */

	/*
	 * Gets page page_number (from 1) of page_size names. -EMSGSIZE when the answer is too
	 * large, which is tried again with smaller pages.
	 */
	int (*get_page)(void *arg, size_t page_number, size_t page_size, struct call *call,
			struct http_answer *ret_answer);
	void *arg;
};

/* Reads all pages. Errors are those of nacos_config_list(). */
int nacos_listing_read(const struct nacos_listing_question *question, struct call *call,
		       struct nacos_listing *ret_listing);

/* How many names there are, by the server's own count. One request for a page of one name. */
int nacos_listing_read_count(const struct nacos_listing_question *question, struct call *call,
			     int64_t *ret_count);

#endif
