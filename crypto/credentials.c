#include "crypto/credentials.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/file_mark.h"
#include "util/log.h"

struct credential_file {
	struct credential_source source;
	char *path;
	pthread_mutex_t lock; /* of what follows */
	struct credentials credentials;
	struct file_mark mark; /* of the file when it was last read, well or not */
};

void credentials_release(struct credentials *credentials)
{
	secret_buffer_release(&credentials->access_key_id);
	secret_buffer_release(&credentials->access_key_secret);
	secret_buffer_release(&credentials->security_token);
}

int credentials_copy(struct credentials *to, const struct credentials *from)
{
	int error = secret_buffer_append(&to->access_key_id, from->access_key_id.data, from->access_key_id.size);

	if (!error)
		error = secret_buffer_append(&to->access_key_secret, from->access_key_secret.data,
					     from->access_key_secret.size);
	if (!error)
		error = secret_buffer_append(&to->security_token, from->security_token.data, from->security_token.size);
	if (error)
		credentials_release(to);
	return error;
}

static bool is_blank(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r';
}

/* Takes the value of a line `name = value` whose name is this one. */
static int take_value(const char *line, size_t size, const char *name, struct secret_buffer *value)
{
	const char *end = line + size, *at = line;

	while (at < end && is_blank(*at))
		at++;
	if ((size_t)(end - at) < strlen(name) || memcmp(at, name, strlen(name)) != 0)
		return 0;
	at += strlen(name);
	while (at < end && is_blank(*at))
		at++;
	if (at == end || *at != '=')
		return 0;
	at++;
	while (at < end && is_blank(*at))
		at++;
	while (end > at && is_blank(end[-1]))
		end--;
	secret_buffer_clear(value);
	return secret_buffer_append(value, at, (size_t)(end - at));
}

/* They become header lines. */
static bool is_one_word(const struct secret_buffer *value)
{
	for (size_t i = 0; i < value->size; i++) {
		if (value->data[i] <= ' ' || value->data[i] > '~')
			return false;
	}
	return true;
}

static int parse(const char *path, const struct secret_buffer *text, struct call *call,
		 struct credentials *ret_credentials)
{
	cleanup_credentials struct credentials found = { .access_key_id = SECRET_BUFFER_INIT };
	const char *at = text->data, *end = text->data + text->size;
	int error = 0;

	while (!error && at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		size_t size = (size_t)((stop ? stop : end) - at);

		error = take_value(at, size, "accessKey", &found.access_key_id);
		if (!error)
			error = take_value(at, size, "secretKey", &found.access_key_secret);
		if (!error)
			error = take_value(at, size, "securityToken", &found.security_token);
		at = stop ? stop + 1 : end;
	}
	if (error)
		return call_fail(call, error, "%s: no room in the memory for secrets", path);
	if (!found.access_key_id.size || !found.access_key_secret.size)
		return call_fail(call, -EINVAL, "%s: there is no line %s in it", path,
				 found.access_key_id.size ? "secretKey=..." : "accessKey=...");
	if (!is_one_word(&found.access_key_id) || !is_one_word(&found.security_token))
		return call_fail(call, -EINVAL, "%s: a value has blanks or characters that are not ASCII", path);
	credentials_release(ret_credentials);
	*ret_credentials = found;
	memset(&found, 0, sizeof(found));
	return 0;
}

static int read_file(const char *path, struct call *call, struct credentials *ret_credentials)
{
	cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
	int error = secret_buffer_read_file(path, call, &text);

	return error ? error : parse(path, &text, call, ret_credentials);
}

static int file_get(struct credential_source *source, struct call *call, struct credentials *ret_credentials)
{
	struct credential_file *file = (struct credential_file *)source;
	/* Looked at before it is read: a change in between is then found the next time. */
	struct file_mark mark = file_mark_of(file->path);
	int error;

	/*
	 * Held while the file is read: it is local and small, and nobody should go on with the old one
	 * meanwhile.
	 */
	pthread_mutex_lock(&file->lock);
	if (!file_mark_equal(&mark, &file->mark)) {
		struct call reading;

		call_start(&reading, INT64_MAX);
		file->mark = mark;
		if (read_file(file->path, &reading, &file->credentials))
			log_error("credentials: %s; those that were read before are used on", reading.reason);
		else
			log_info("credentials: %s was read again", file->path);
	}
	error = credentials_copy(ret_credentials, &file->credentials);
	pthread_mutex_unlock(&file->lock);
	return error ? call_fail(call, error, "no room in the memory for secrets") : 0;
}

static void file_free(struct credential_source *source)
{
	struct credential_file *file = (struct credential_file *)source;

	credentials_release(&file->credentials);
	pthread_mutex_destroy(&file->lock);
	free(file->path);
	free(file);
}

static const struct credential_source_operations file_operations = { .get = file_get, .free = file_free };

int credential_file_open(const char *path, struct call *call, struct credential_source **ret_source)
{
	struct credential_file *file = calloc(1, sizeof(*file));
	int error;

	if (!file)
		return call_fail(call, -ENOMEM, "out of memory");
	file->source.operations = &file_operations;
	pthread_mutex_init(&file->lock, NULL);
	file->mark = file_mark_of(path);
	file->path = strdup(path);
	error = file->path ? read_file(path, call, &file->credentials) : call_fail(call, -ENOMEM, "out of memory");
	if (error) {
		file_free(&file->source);
		return error;
	}
	*ret_source = &file->source;
	return 0;
}
