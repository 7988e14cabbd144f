#include "nacos/spas.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "util/hash.h"

#define V4_PREFIX "aliyun_v4"
#define V4_PRODUCT "mse-nacos"
#define V4_END "aliyun_v4_request"

void nacos_credentials_release(struct nacos_credentials *credentials)
{
	buffer_wipe(&credentials->access_key);
	buffer_wipe(&credentials->secret_key);
	buffer_wipe(&credentials->security_token);
}

int nacos_spas_add_http_resource(const char *namespace_id, const char *group, struct buffer *resource)
{
	return nacos_spas_add_grpc_resource(group && group[0] ? namespace_id : NULL, group, resource);
}

int nacos_spas_add_grpc_resource(const char *namespace_id, const char *group, struct buffer *resource)
{
	bool has_namespace = namespace_id && namespace_id[0], has_group = group && group[0];

	return buffer_append_format(resource, "%s%s%s", has_namespace ? namespace_id : "",
				    has_namespace && has_group ? "+" : "", has_group ? group : "");
}

/*
 * A key for one day (UTC), region and product: each step is the MAC of a word under the key before. The text of the last
 * one is the key.
 */
static int derive_key(const struct buffer *secret_key, const char *region, int64_t time_ms, struct buffer *ret_key)
{
	cleanup_buffer_wipe struct buffer first = BUFFER_INIT_IN(secret_key->memory);
	unsigned char mac[HASH_SHA256_SIZE];
	char day[16], text[HASH_BASE64_SIZE(HASH_SHA256_SIZE)];
	const char *const words[] = { day, region, V4_PRODUCT, V4_END };
	time_t seconds = (time_t)(time_ms / 1000);
	struct tm parts;
	int error = buffer_append_text(&first, V4_PREFIX);

	if (!error)
		error = buffer_append(&first, secret_key->data, secret_key->size);
	gmtime_r(&seconds, &parts);
	strftime(day, sizeof(day), "%Y%m%d", &parts);
	for (size_t i = 0; !error && i < sizeof(words) / sizeof(words[0]); i++)
		error = hash_hmac_sha256(i == 0 ? (const void *)first.data : mac, i == 0 ? first.size : sizeof(mac),
					 words[i], strlen(words[i]), mac);
	if (!error) {
		hash_to_base64(mac, sizeof(mac), text);
		error = buffer_append_text(ret_key, text);
	}
	explicit_bzero(mac, sizeof(mac));
	explicit_bzero(text, sizeof(text));
	return error;
}

static int sign(const struct buffer *key, const char *resource, const char *time, struct buffer *line)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	unsigned char mac[HASH_SHA1_SIZE];
	char base64[HASH_BASE64_SIZE(HASH_SHA1_SIZE)];
	int error = buffer_append_format(&text, "%s%s%s", resource, resource[0] ? "+" : "", time);

	if (!error)
		error = hash_hmac_sha1(key->data, key->size, text.data, text.size, mac);
	if (error)
		return error;
	hash_to_base64(mac, sizeof(mac), base64);
	return buffer_append_format(line, "Spas-Signature: %s", base64);
}

static int add_line(const char *name, const struct buffer *value, struct buffer *line)
{
	int error = buffer_append_text(line, name);

	return error ? error : buffer_append(line, value->data, value->size);
}

int nacos_spas_sign(const struct nacos_credentials *credentials, const char *region, const char *resource,
		    int64_t time_ms, struct buffer ret_lines[NACOS_SPAS_LINES_MAX], size_t *ret_count)
{
	cleanup_buffer_wipe struct buffer derived = BUFFER_INIT_IN(credentials->secret_key.memory);
	const struct buffer *key = &credentials->secret_key;
	size_t count = 0;
	char time[24];
	int error = 0;

	snprintf(time, sizeof(time), "%lld", (long long)time_ms);
	if (region) {
		error = derive_key(key, region, time_ms, &derived);
		key = &derived;
	}
	if (!error)
		error = add_line("Spas-AccessKey: ", &credentials->access_key, &ret_lines[count++]);
	if (!error)
		error = buffer_append_format(&ret_lines[count++], "Timestamp: %s", time);
	if (!error)
		error = sign(key, resource, time, &ret_lines[count++]);
	if (!error && credentials->security_token.size > 0)
		error = add_line("Spas-SecurityToken: ", &credentials->security_token, &ret_lines[count++]);
	if (!error && region)
		error = buffer_append_text(&ret_lines[count++], "signatureVersion: v4");
	if (error) {
		for (size_t i = 0; i < count; i++)
			buffer_wipe(&ret_lines[i]);
		return error;
	}
	*ret_count = count;
	return 0;
}
