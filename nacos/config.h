/*
 * What is said about configs on every way to a server: what is read, what is published, what is listed. Values
 * only; nacos/http/config.h and nacos/grpc/config.h ask for them.
 *
 * Their names are places (model/place.h); the namespace "public" is called so on every generation.
 */
#ifndef NACOSFS_NACOS_CONFIG_H
#define NACOSFS_NACOS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/place.h"
#include "util/buffer.h"
#include "util/hash.h"

/* "config NAMESPACE/GROUP/DATAID" for reasons, cut where it is long. */
#define NACOS_WHAT_SIZE 160
void nacos_config_describe(const struct place *place, char ret_what[NACOS_WHAT_SIZE]);

#define NACOS_TYPE_SIZE 33

/* A config as the server has it. */
struct nacos_config {
	struct buffer content; /* the stored text, exactly */
	char md5[HASH_MD5_HEX_SIZE]; /* of the stored text, as the server computed it */
	char type[NACOS_TYPE_SIZE]; /* "" when the server did not say */
	int64_t modified_ms; /* since 1970; 0 when the server did not say */
	char *encrypted_data_key; /* NULL: none */
	/* The rest only from nacos_config_get_detail(); NULL: none. */
	char *description, *app_name, *tags, *use, *effect, *schema;
};

void nacos_config_release(struct nacos_config *config);
#define cleanup_nacos_config __attribute__((cleanup(nacos_config_release)))

/* What to publish. A publish replaces all metadata: what is NULL here is gone afterwards (tags and app: kept). */
struct nacos_publish {
	const void *content;
	size_t size;
	const char *type, *description, *app_name, *tags, *use, *effect, *schema, *encrypted_data_key;
	const char *source_user; /* shown in the history */
	/*
	 * MD5 of the text that must be there now; ignored by the server when there is no config at all. Sent only where
	 * features.has_cas; NULL: unconditional.
	 */
	const char *cas_md5;
};

/* An MD5 that no text has: with CAS, a publish that must create the config. */
#define NACOS_MD5_OF_NOTHING "00000000000000000000000000000000"

/* A name in a listing. */
struct nacos_listed {
	char *group;
	char *data_id;
	char md5[HASH_MD5_HEX_SIZE]; /* of the stored text; "" when the server did not say and sent no content */
};

struct nacos_listing {
	struct nacos_listed *items;
	size_t count;
	/*
	 * The server's own count agreed with what was received, twice or without anything changing meanwhile. False:
	 * configs came and went while the pages were read; a name that is missing here may exist.
	 */
	bool settled;
};

void nacos_listing_release(struct nacos_listing *listing);
#define cleanup_nacos_listing __attribute__((cleanup(nacos_listing_release)))

#endif
