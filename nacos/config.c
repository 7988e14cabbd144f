#include "nacos/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void nacos_config_describe(const struct place *place, char ret_what[NACOS_WHAT_SIZE])
{
	snprintf(ret_what, NACOS_WHAT_SIZE, "config %.36s/%.40s/%.70s", place_namespace_id(place),
		 place_group(place), place_data_id(place));
}

void nacos_config_release(struct nacos_config *config)
{
	buffer_release(&config->content);
	free(config->encrypted_data_key);
	free(config->description);
	free(config->app_name);
	free(config->tags);
	free(config->use);
	free(config->effect);
	free(config->schema);
	memset(config, 0, sizeof(*config));
}

void nacos_listing_release(struct nacos_listing *listing)
{
	for (size_t i = 0; i < listing->count; i++) {
		free(listing->items[i].group);
		free(listing->items[i].data_id);
	}
	free(listing->items);
	memset(listing, 0, sizeof(*listing));
}
