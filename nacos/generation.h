/*
 * The generations of Nacos servers and what differs between them on the wire: one table, nothing else in nacos/ asks
 * "which version?".
 *
 * 1.4 and 2.x speak the v1 API; 3.x switches most of v1 off (HTTP 410) and has v3 in its place: other paths, other
 * parameter names, answers wrapped in {"code", "message", "data"}.
 */
#ifndef NACOSFS_NACOS_GENERATION_H
#define NACOSFS_NACOS_GENERATION_H

#include <stdbool.h>
#include <stddef.h>

/* An operation of the HTTP API as one generation spells it. path is below the context (/nacos). */
struct nacos_api {
	const char *method;
	const char *path;
	const char *query; /* parameters that make the path this operation, encoded; NULL: none */
};

struct nacos_generation {
	const char *name; /* "1.4", "2.x", "3.x", or "1.4 or 2.x" for a server that hides its version */
	bool wrapped; /* answers are {"code", "message", "data"} */
	bool lists_contents; /* pages of names carry the contents too, so their size is chosen by bytes */
	bool get_hides_busy; /* get says "there is none" also while the node is writing the config down */

	/* How the public namespace is called on the wire: "" before 3.x, where "public" would be another namespace. */
	const char *public_id;

	/* Names of parameters. */
	const char *namespace_parameter; /* tenant, namespaceId */
	const char *group_parameter; /* group, groupName */
	const char *tags_parameter; /* config_tags, configTags */
	const char *user_parameter; /* src_user, srcUser */
	const char *create_parameter; /* of the id of a namespace to create: customNamespaceId, namespaceId */

	struct nacos_api login;
	struct nacos_api get; /* content as clients get it, from the node's cache */
	struct nacos_api detail; /* content and metadata, from the database */
	struct nacos_api publish;
	struct nacos_api remove;
	struct nacos_api list; /* pages of names of a namespace */
	struct nacos_api group_list; /* of one group; what it finds must be filtered */
	struct nacos_api namespaces; /* on 3.x: for admins; others ask the console */
	struct nacos_api namespace_create;
	struct nacos_api namespace_remove;

	/* Pages of all users, of which role is whose, and of permissions; for admins. */
	struct nacos_api users, roles, permissions;

	/* Namespaces that an ordinary user may list are served by the 3.x console, below its own address. NULL path: none. */
	struct nacos_api console_namespaces;
};

/* What a server of a certain version can do. */
struct nacos_features {
	const struct nacos_generation *generation;
	int major, minor, patch; /* of the version; 0.0.0 when the server did not say */
	bool has_cas; /* casMd5 over HTTP is honoured and keeps the data key (2.3.1) */
	bool get_has_time; /* the get call tells the true modification time (2.3.0); detail does everywhere */
	bool carries_data_key; /* encryptedDataKey survives a publish over HTTP (2.3.0) */
	bool checks_names; /* only A-Z a-z 0-9 - _ : . in names (2.3.0); before, any letter or digit */
};

/* The id of a namespace on the wire; "public" and "" both name the public one. */
const char *nacos_generation_namespace_id(const struct nacos_generation *generation, const char *namespace_id);

/* Reads "2.2.4", "3.1.0-bugfix" and the like. -EBADMSG when it does not begin with a number, a dot and a number. */
int nacos_features_from_version(const char *version, struct nacos_features *ret_features);

/*
 * What is to be assumed of a server that hides its version (a managed one, whose console API answers 404): the v1 API
 * and the least of its features.
 */
void nacos_features_assume_managed(struct nacos_features *ret_features);

/*
 * May a server with these features hold a config of that dataId (or a group of that name)? False for what it would
 * refuse to store, and for "." and "..", which can be stored but not read. Lengths are those of the database columns:
 * 255 UTF-16 units for a dataId, 128 for a group, 128 for a namespace (64 where the server checks names).
 */
bool nacos_data_id_is_possible(const struct nacos_features *features, const char *data_id);
bool nacos_group_is_possible(const struct nacos_features *features, const char *group);
bool nacos_namespace_is_possible(const struct nacos_features *features, const char *namespace_id);

#endif
