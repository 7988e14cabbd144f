#include "model/listing.h"

#include <stdlib.h>

struct listing *listing_new(void)
{
	struct listing *listing = calloc(1, sizeof(*listing));

	if (listing)
		atomic_init(&listing->references, 1);
	return listing;
}

struct listing *listing_hold(struct listing *listing)
{
	if (listing)
		atomic_fetch_add_explicit(&listing->references, 1, memory_order_relaxed);
	return listing;
}

void listing_drop(struct listing *listing)
{
	if (!listing || atomic_fetch_sub_explicit(&listing->references, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < listing->count; i++) {
		free(listing->items[i].group);
		free(listing->items[i].data_id);
	}
	free(listing->items);
	free(listing);
}
