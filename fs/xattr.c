#include "fs/xattr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/node/acl.h"
#include "fs/node/attributes.h"
#include "util/cleanup.h"

#define MD5_NAME "user.nacos.md5"
#define TYPE_NAME "user.nacos.type"
#define ENCRYPTED_NAME "user.nacos.encrypted"
#define ERROR_NAME "user.nacos.error"

/* As the system calls want it: with size 0 only how long it is. */
static void reply_value(struct request *request, const void *value, size_t length, size_t size)
{
	if (!size)
		fuse_reply_xattr(request->fuse, length);
	else if (length > size)
		request_reply_error(request, -ERANGE);
	else
		fuse_reply_buf(request->fuse, value, length);
}

void xattr_set(fuse_req_t fuse, fuse_ino_t id, const char *name, const char *value, size_t size, int flags)
{
	struct request request;
	/* Not EPERM: cp -p and install would fail; so they fall back to chmod. */
	int error = -EOPNOTSUPP;

	(void)flags;
	request_start(&request, fuse);
	if (request.filesystem->per_user && !strcmp(name, ACL_ACCESS_NAME)) {
		request_lock(&request);
		struct node *node = tree_node(request_tree(&request), id);
		if (!node_is_scratch(node))
			error = acl_set(request.filesystem, node, value, size);
		request_unlock(&request);
	} else if (request.filesystem->no_attributes) {
		error = -ENOSYS;
	}
	request_reply_error(&request, error);
}

/* The value of an attribute as a copy; -ENODATA when there is none. With the lock, given up meanwhile. */
static int load_value(struct request *request, struct node *node, const char *name, char **ret_value)
{
	cleanup_version struct version *version = NULL;
	const char *value = NULL;

	if (node->kind != NODE_CONFIG || strncmp(name, "user.nacos.", strlen("user.nacos.")))
		return -ENODATA;
	if (!strcmp(name, ERROR_NAME)) {
		value = node->error_text;
	} else {
		int error = attributes_load(request, node, VERSION_ATTRIBUTES, &version);
		if (error)
			return error;
		if (version && !strcmp(name, MD5_NAME))
			value = version->md5;
		else if (version && !strcmp(name, TYPE_NAME) && *version->type)
			value = version->type;
		else if (version && !strcmp(name, ENCRYPTED_NAME))
			value = version->encryption;
	}
	if (!value)
		return -ENODATA;
	*ret_value = strdup(value);
	return *ret_value ? 0 : -ENOMEM;
}

static void get_acl(struct request *request, fuse_ino_t id, bool is_default, size_t size)
{
	cleanup_buffer struct buffer value = BUFFER_INIT;

	request_lock(request);
	int error = acl_append(request->filesystem, tree_node(request_tree(request), id), is_default, &value);
	request_unlock(request);
	if (error)
		request_reply_error(request, error);
	else
		reply_value(request, value.data, value.size, size);
}

void xattr_get(fuse_req_t fuse, fuse_ino_t id, const char *name, size_t size)
{
	struct request request;
	cleanup_free char *value = NULL;

	request_start(&request, fuse);
	if (request.filesystem->per_user && (!strcmp(name, ACL_ACCESS_NAME) || !strcmp(name, ACL_DEFAULT_NAME))) {
		get_acl(&request, id, !strcmp(name, ACL_DEFAULT_NAME), size);
		return;
	}
	if (request.filesystem->no_attributes) {
		/* "There are none at all" would switch ACLs off too. */
		request_reply_error(&request, request.filesystem->per_user ? -ENODATA : -ENOSYS);
		return;
	}
	request_lock(&request);
	int error = load_value(&request, tree_node(request_tree(&request), id), name, &value);
	request_unlock(&request);
	if (error)
		request_reply_error(&request, error);
	else
		reply_value(&request, value, strlen(value), size);
}

static int append_names(const struct node *node, struct buffer *ret_names)
{
	const char *const names[] = {
		MD5_NAME,
		TYPE_NAME,
		node->content.memory ? ENCRYPTED_NAME : NULL,
		node->error_text ? ERROR_NAME : NULL,
	};
	int error = 0;

	if (node->kind != NODE_CONFIG || !node->stored)
		return 0;
	for (size_t i = 0; !error && i < sizeof(names) / sizeof(*names); i++)
		if (names[i])
			error = buffer_append(ret_names, names[i], strlen(names[i]) + 1);
	return error;
}

void xattr_list(fuse_req_t fuse, fuse_ino_t id, size_t size)
{
	struct request request;
	cleanup_buffer struct buffer names = BUFFER_INIT;

	request_start(&request, fuse);
	if (request.filesystem->no_attributes) {
		request_reply_error(&request, -ENOSYS);
		return;
	}
	request_lock(&request);
	int error = append_names(tree_node(request_tree(&request), id), &names);
	request_unlock(&request);
	if (error)
		request_reply_error(&request, error);
	else
		reply_value(&request, names.data, names.size, size);
}
