#include "fs/xattr.h"

#include <errno.h>
#include <string.h>

#include "fs/follow/refresh.h"
#include "fs/node/access.h"
#include "util/cleanup.h"

#define PREFIX "user.nacos."
#define MD5_NAME PREFIX "md5"
#define TYPE_NAME PREFIX "type"
#define ENCRYPTED_NAME PREFIX "encrypted"
#define ERROR_NAME PREFIX "error"

/* What is in the answer's bytes, as the system calls want it: with size 0 only how long it is. */
static int answer_value(struct request *request)
{
	struct answer *answer = &request->answer;

	if (request->size && answer->bytes.size > request->size)
		return -ERANGE;
	answer->kind = request->size ? ANSWER_BYTES : ANSWER_LENGTH;
	answer->size = answer->bytes.size;
	return 0;
}

int xattr_set(struct request *request)
{
	const struct terms *terms = request_terms(request);
	struct node *node = request->node.node;

	if (terms->per_user && !strcmp(request->name, ACCESS_ACL_NAME))
		return node->place ? access_set_acl(request_tree(request), node, request->value, request->size) :
				     -EOPNOTSUPP;
	/* Not EPERM: cp -p and install would fail; so they fall back to chmod. */
	return terms->no_attributes ? -ENOSYS : -EOPNOTSUPP;
}

/* The value of an attribute; -ENODATA when there is none. */
static int load_value(struct request *request, struct buffer *ret_value) LOCKED
{
	const struct node *node = request->node.node;
	const char *name = request->name;
	cleanup_version struct version *version = NULL;
	const char *value = NULL;

	if (node->kind != NODE_CONFIG || strncmp(name, PREFIX, strlen(PREFIX)))
		return -ENODATA;
	if (!strcmp(name, ERROR_NAME)) {
		value = node->config ? node->config->error_text : NULL;
	} else {
		int error = refresh_config(request_tree(request), &request->call, &request->node, VERSION_ATTRIBUTES,
					   &version);
		if (error)
			return error;
		if (version && !strcmp(name, MD5_NAME))
			value = version->md5;
		else if (version && !strcmp(name, TYPE_NAME) && *version->type)
			value = version->type;
		else if (version && !strcmp(name, ENCRYPTED_NAME))
			value = version->encryption;
	}
	return value ? buffer_append_text(ret_value, value) : -ENODATA;
}

int xattr_get(struct request *request)
{
	const struct terms *terms = request_terms(request);
	struct tree *tree = request_tree(request);
	const struct node *node = request->node.node;
	bool is_default = !strcmp(request->name, ACCESS_DEFAULT_ACL_NAME);
	int error;

	if (terms->per_user && (is_default || !strcmp(request->name, ACCESS_ACL_NAME)))
		error = access_append_acl(tree, node, is_default, &request->answer.bytes);
	else if (terms->no_attributes)
		/* "There are none at all" would switch ACLs off too. */
		error = terms->per_user ? -ENODATA : -ENOSYS;
	else
		error = load_value(request, &request->answer.bytes);
	return error ? error : answer_value(request);
}

static int append_names(const struct tree *tree, const struct node *node, struct buffer *ret_names) LOCKED
{
	const char *const names[] = {
		MD5_NAME,
		TYPE_NAME,
		node_memory(tree, node) ? ENCRYPTED_NAME : NULL,
		node->config && node->config->error_text ? ERROR_NAME : NULL,
	};
	int error = 0;

	if (node->kind != NODE_CONFIG || !node->is_stored)
		return 0;
	for (size_t i = 0; !error && i < sizeof(names) / sizeof(*names); i++)
		if (names[i])
			error = buffer_append(ret_names, names[i], strlen(names[i]) + 1);
	return error;
}

int xattr_list(struct request *request)
{
	if (request_terms(request)->no_attributes)
		return -ENOSYS;
	int error = append_names(request_tree(request), request->node.node, &request->answer.bytes);
	return error ? error : answer_value(request);
}
