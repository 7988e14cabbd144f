#include "model/version.h"

#include <stdio.h>
#include <stdlib.h>

static atomic_uint_least64_t last_serial;

struct version *version_new(struct buffer *content, const char *md5, const char *type, int64_t modified_ms)
{
	struct version *version = calloc(1, sizeof(*version));

	if (!version)
		return NULL;
	atomic_init(&version->references, 1);
	buffer_move(&version->content, content);
	version->size = version->content.size;
	snprintf(version->md5, sizeof(version->md5), "%s", md5);
	snprintf(version->type, sizeof(version->type), "%s", type);
	version->modified_ms = modified_ms;
	version->serial = atomic_fetch_add(&last_serial, 1) + 1;
	return version;
}

struct version *version_new_like(const struct version *like, struct buffer *content, size_t size)
{
	struct version *version = version_new(content, like->md5, like->type, like->modified_ms);

	if (!version)
		return NULL;
	version->size = size;
	version->serial = like->serial;
	version->unconfirmed = like->unconfirmed;
	return version;
}

void version_share_content(struct version *version, struct version *like)
{
	if (like->shared)
		like = like->shared;
	if (version->shared || version == like)
		return;
	buffer_wipe(&version->content);
	version->content = like->content;
	version->shared = version_hold(like);
}

struct version *version_hold(struct version *version)
{
	if (version)
		atomic_fetch_add_explicit(&version->references, 1, memory_order_relaxed);
	return version;
}

void version_drop(struct version *version)
{
	if (!version || atomic_fetch_sub_explicit(&version->references, 1, memory_order_acq_rel) != 1)
		return;
	if (version->shared)
		version_drop(version->shared);
	else
		buffer_wipe(&version->content);
	free(version->data_key);
	free(version);
}
