#include "fs/node/config.h"

#include <stdlib.h>

#include "util/clock.h"

struct config *config_new(void)
{
	struct config *config = calloc(1, sizeof(*config));

	if (config)
		config->modified = config->changed = clock_now();
	return config;
}

void config_free_draft(struct config *config)
{
	struct draft *draft = config->draft;

	if (!draft)
		return;
	config->draft = NULL;
	buffer_wipe(&draft->content);
	version_drop(draft->base);
	free(draft);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	config_free_draft(config);
	version_drop(config->last_commit);
	free(config->error_text);
	free(config);
}
