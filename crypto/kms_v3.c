#include "crypto/kms_v3.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crypto/client_key.h"
#include "crypto/encoding.h"
#include "crypto/format.h"
#include "crypto/kms.h"
#include "crypto/protobuf.h"
#include "util/clock.h"

#define API_VERSION "dkms-gcs-0.2"
#define SIGNATURE_METHOD "RSA_PKCS1_SHA_256"
#define MESSAGE_TYPE "application/x-protobuf"
#define VERSION_HEADER "x-kms-migrationkeyversionid"
#define DATE_SIZE 40
#define LINE_MAX_COUNT 11

/* Numbers of the fields of the messages. */
enum {
	ENCRYPT_REQUEST_KEY_ID = 1,
	ENCRYPT_REQUEST_PLAINTEXT = 2,
	ENCRYPT_RESPONSE_BLOB = 2,
	ENCRYPT_RESPONSE_IV = 3,
	DECRYPT_REQUEST_BLOB = 1,
	DECRYPT_REQUEST_IV = 5,
	DECRYPT_RESPONSE_PLAINTEXT = 2,
	GENERATE_REQUEST_KEY_ID = 1,
	GENERATE_REQUEST_SIZE = 3,
	GENERATE_RESPONSE_PLAINTEXT = 3,
	ERROR_CODE = 2,
	ERROR_MESSAGE = 3,
};

struct kms_v3 {
	struct key_service service;
	struct client_key *client_key;
	struct http_client *http;
	char *host;
	char *key_id; /* NULL: can only decrypt */
};

/* One call of the API, however often it is tried. */
struct action {
	struct kms_v3 *kms;
	const char *api;
	char version[KMS_VERSION_SIZE + 1]; /* "": none is sent */
	struct secret_buffer body;
	struct http_answer answer;
};

static struct kms_v3 *kms_of(struct key_service *service)
{
	return (struct kms_v3 *)service;
}

static void action_release(struct action *action)
{
	secret_buffer_release(&action->body);
	http_answer_release(&action->answer);
}
#define cleanup_action __attribute__((cleanup(action_release)))

int kms_v3_append_string_to_sign(const struct kms_v3_signed *request, struct buffer *ret_text)
{
	size_t old_size = ret_text->size;
	int error = buffer_append_format(ret_text, "POST\n%s\n" MESSAGE_TYPE "\n%s\n", request->body_sha256,
					 request->date);

	/* The headers whose names begin with x-kms-, sorted. */
	if (!error)
		error = buffer_append_format(ret_text,
					     "x-kms-acccesskeyid:%s\nx-kms-apiname:%s\nx-kms-apiversion:" API_VERSION "\n",
					     request->client_key_id, request->api);
	if (!error && request->key_version)
		error = buffer_append_format(ret_text, VERSION_HEADER ":%s\n", request->key_version);
	if (!error)
		error = buffer_append_text(ret_text, "x-kms-signaturemethod:" SIGNATURE_METHOD "\n/");
	if (error)
		(void)buffer_resize(ret_text, old_size);
	return error;
}

/* Not strftime(), whose names of days and months are those of a locale. */
static bool make_date(char ret_date[DATE_SIZE])
{
	static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t now = clock_now().tv_sec;
	struct tm parts;

	if (!gmtime_r(&now, &parts))
		return false;
	snprintf(ret_date, DATE_SIZE, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[parts.tm_wday], parts.tm_mday,
		 months[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
	return true;
}

/* The header lines of a request, one buffer each. */
struct lines {
	struct buffer buffers[LINE_MAX_COUNT];
	size_t count;
	int error;
};

static void lines_release(struct lines *lines)
{
	for (size_t i = 0; i < lines->count; i++)
		buffer_wipe(&lines->buffers[i]);
}

static void add_line(struct lines *lines, const char *name, const char *value)
{
	if (!lines->error)
		lines->error = buffer_append_format(&lines->buffers[lines->count++], "%s: %s", name, value);
}

static int sign(const struct action *action, struct call *call, struct lines *lines)
{
	cleanup_buffer struct buffer to_sign = BUFFER_INIT, authorization = BUFFER_INIT;
	char body_sha256[KMS_SHA256_HEX_SIZE], date[DATE_SIZE];
	struct kms_v3_signed request = {
		.api = action->api,
		.body_sha256 = body_sha256,
		.date = date,
		.client_key_id = client_key_id(action->kms->client_key),
		.key_version = action->version[0] ? action->version : NULL,
	};
	int error;

	if (!kms_sha256_hex(action->body.data, action->body.size, true, body_sha256) || !make_date(date))
		return call_fail(call, -ENOKEY, "a request to the key service can't be signed");
	error = buffer_append_text(&authorization, "Bearer ");
	if (!error)
		error = kms_v3_append_string_to_sign(&request, &to_sign);
	if (!error)
		error = client_key_sign(action->kms->client_key, to_sign.data, to_sign.size, &authorization);
	if (error)
		return call_fail(call, error == -ENOMEM ? error : -ENOKEY,
				 "a request to the key service can't be signed");
	add_line(lines, "Host", action->kms->host);
	add_line(lines, "Date", date);
	add_line(lines, "Accept", MESSAGE_TYPE);
	add_line(lines, "content-sha256", body_sha256);
	add_line(lines, "x-kms-apiversion", API_VERSION);
	add_line(lines, "x-kms-apiname", action->api);
	add_line(lines, "x-kms-signaturemethod", SIGNATURE_METHOD);
	add_line(lines, "x-kms-acccesskeyid", request.client_key_id);
	if (request.key_version)
		add_line(lines, VERSION_HEADER, request.key_version);
	add_line(lines, "Authorization", authorization.data);
	return lines->error ? call_fail(call, lines->error, "out of memory") : 0;
}

static int send_signed(struct action *action, struct call *call, struct http_answer *ret_answer)
{
	__attribute__((cleanup(lines_release))) struct lines lines = { .count = 0 };
	cleanup_buffer struct buffer url = BUFFER_INIT;
	const char *pointers[LINE_MAX_COUNT + 1] = { NULL };
	struct http_request request = {
		.method = "POST",
		.headers = pointers,
		.body = action->body.data,
		.body_size = action->body.size,
		.content_type = MESSAGE_TYPE,
		.answer_limit = KMS_ANSWER_LIMIT,
	};
	int error = sign(action, call, &lines);

	if (error)
		return error;
	for (size_t i = 0; i < lines.count; i++)
		pointers[i] = lines.buffers[i].data;
	if (buffer_append_format(&url, "https://%s/", action->kms->host))
		return call_fail(call, -ENOMEM, "out of memory");
	request.url = url.data;
	atomic_fetch_add(&action->kms->service.request_count, 1);
	return http_request(action->kms->http, &request, call, ret_answer, NULL);
}

static bool field_is(const struct protobuf_field *field, const char *text)
{
	return field->size == strlen(text) && memcmp(field->data, text, field->size) == 0;
}

/* InvalidParam is what the service says of a blob, but also of a wrong clock or signature. */
static bool is_about_the_blob(const struct action *action, const char *code, const struct protobuf_field *message)
{
	return strcmp(action->api, "Decrypt") == 0 && strcmp(code, "InvalidParam") == 0 &&
	       !field_is(message, "The Param Date is invalid.") &&
	       !field_is(message, "The Param Authorization is invalid.");
}

static int fail_by_answer(const struct action *action, const struct http_answer *answer, struct call *call,
			  bool *ret_temporary)
{
	struct protobuf_field code_field = { .size = 0 }, message = { .size = 0 };
	char code[KMS_CODE_SIZE];

	if (answer->body.size) {
		(void)protobuf_find_bytes(answer->body.data, answer->body.size, ERROR_CODE, &code_field);
		(void)protobuf_find_bytes(answer->body.data, answer->body.size, ERROR_MESSAGE, &message);
	}
	kms_copy_code(code_field.data, code_field.size, code);
	*ret_temporary = kms_code_is_temporary(code);
	if (is_about_the_blob(action, code, &message))
		return call_fail(call, -EBADMSG, "the key service can't decrypt this: it is damaged, or not of its making");
	return call_fail(call, -ENOKEY, "the key service refuses %s (HTTP %d, %s)", action->api, answer->status, code);
}

static int attempt(void *arg, struct call *call, bool *ret_temporary)
{
	struct action *action = arg;
	cleanup_http_answer struct http_answer answer = { .status = 0 };
	int error = send_signed(action, call, &answer);

	if (error)
		return error;
	if (answer.status != 200)
		return fail_by_answer(action, &answer, call, ret_temporary);
	action->answer = answer;
	memset(&answer, 0, sizeof(answer));
	return 0;
}

static int fail_for_secrets(struct call *call)
{
	return call_fail(call, -ENOMEM, "no room in the memory for secrets");
}

/* A field of the answer that must be there and have something in it. */
static int take_field(const struct action *action, uint32_t number, struct call *call, struct protobuf_field *ret_field)
{
	const struct buffer *body = &action->answer.body;
	int error = body->size ? protobuf_find_bytes(body->data, body->size, number, ret_field) : -ENOENT;

	if (!error && ret_field->size > 0)
		return 0;
	return call_fail(call, -ENOKEY, "the answer of the key service to %s is not what it must be", action->api);
}

/* Names of key versions go into headers. */
static bool is_version(const char *text, size_t size)
{
	static const char characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

	if (size != KMS_VERSION_SIZE)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (!text[i] || !strchr(characters, text[i]))
			return false;
	}
	return true;
}

static int take_version(const struct action *action, struct call *call, char ret_version[KMS_VERSION_SIZE + 1])
{
	const char *version = http_answer_header(&action->answer, VERSION_HEADER);

	if (!version || !is_version(version, strlen(version)))
		return call_fail(call, -ENOKEY, "the answer of the key service to %s names no key version", action->api);
	memcpy(ret_version, version, KMS_VERSION_SIZE + 1);
	return 0;
}

static int check_key_id(const struct kms_v3 *kms, struct call *call)
{
	return kms->key_id ? 0 : call_fail(call, -ENOKEY, "no key is chosen for encryption (option kms_key_id)");
}

/* Asks for Encrypt, and appends the blob. version: NULL: the one of the answer. */
static int encrypt(struct kms_v3 *kms, const char *text, size_t size, const char *version, struct call *call,
		   struct buffer *ret_blob)
{
	cleanup_action struct action action = { .kms = kms, .api = "Encrypt" };
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	struct protobuf_field blob, iv;
	char own_version[KMS_VERSION_SIZE + 1];
	int error;

	if (protobuf_append_text(&action.body, ENCRYPT_REQUEST_KEY_ID, kms->key_id) ||
	    protobuf_append_bytes(&action.body, ENCRYPT_REQUEST_PLAINTEXT, text, size))
		return fail_for_secrets(call);
	error = kms_try(attempt, &action, call);
	if (!error)
		error = take_version(&action, call, own_version);
	if (!error)
		error = take_field(&action, ENCRYPT_RESPONSE_BLOB, call, &blob);
	if (!error)
		error = take_field(&action, ENCRYPT_RESPONSE_IV, call, &iv);
	if (error)
		return error;
	if (iv.size != KMS_IV_SIZE || blob.size < KMS_TAG_SIZE)
		return call_fail(call, -ENOKEY, "the answer of the key service to Encrypt is not what it must be");
	if (buffer_append(&bytes, version ? version : own_version, KMS_VERSION_SIZE) ||
	    buffer_append(&bytes, iv.data, iv.size) || buffer_append(&bytes, blob.data, blob.size) ||
	    buffer_reserve(ret_blob, ENCODING_BASE64_SIZE(bytes.size)))
		return call_fail(call, -ENOMEM, "out of memory");
	encoding_to_base64(bytes.data, bytes.size, ret_blob->data + ret_blob->size);
	ret_blob->size += ENCODING_BASE64_SIZE(bytes.size);
	ret_blob->data[ret_blob->size] = '\0';
	return 0;
}

static int v3_generate_data_key(struct key_service *service, size_t key_size, struct call *call,
				struct secret_buffer *ret_key_text, struct buffer *ret_blob)
{
	cleanup_action struct action action = { .kms = kms_of(service), .api = "GenerateDataKey" };
	cleanup_secret_buffer struct secret_buffer key_text = SECRET_BUFFER_INIT;
	char version[KMS_VERSION_SIZE + 1];
	struct protobuf_field key;
	int error = check_key_id(action.kms, call);

	if (error)
		return error;
	if (protobuf_append_text(&action.body, GENERATE_REQUEST_KEY_ID, action.kms->key_id) ||
	    protobuf_append_number(&action.body, GENERATE_REQUEST_SIZE, key_size))
		return fail_for_secrets(call);
	error = kms_try(attempt, &action, call);
	if (!error)
		error = take_version(&action, call, version);
	if (!error)
		error = take_field(&action, GENERATE_RESPONSE_PLAINTEXT, call, &key);
	if (error)
		return error;
	if (key.size != key_size)
		return call_fail(call, -ENOKEY, "the answer of the key service has no data key of %zu bytes", key_size);
	if (secret_buffer_resize(&key_text, ENCODING_BASE64_SIZE(key.size)) ||
	    secret_buffer_reserve(ret_key_text, key_text.size))
		return fail_for_secrets(call);
	encoding_to_base64(key.data, key.size, key_text.data);
	error = encrypt(action.kms, key_text.data, key_text.size, version, call, ret_blob);
	if (!error)
		(void)secret_buffer_append(ret_key_text, key_text.data, key_text.size); /* there is room */
	return error;
}

static int v3_encrypt(struct key_service *service, const char *text, size_t size, struct call *call,
		      struct buffer *ret_blob)
{
	struct kms_v3 *kms = kms_of(service);
	int error = check_key_id(kms, call);

	if (error)
		return error;
	if (size > FORMAT_DIRECT_LIMIT)
		return call_fail(call, -EFBIG, "key services encrypt %d bytes at most", FORMAT_DIRECT_LIMIT);
	return encrypt(kms, text, size, NULL, call, ret_blob);
}

static int v3_decrypt(struct key_service *service, const char *blob, size_t size, struct call *call,
		      struct secret_buffer *ret_text)
{
	const size_t rest_at = KMS_VERSION_SIZE + KMS_IV_SIZE;
	cleanup_action struct action action = { .kms = kms_of(service), .api = "Decrypt" };
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	struct protobuf_field text;
	int error;

	error = kms_decode_blob(blob, size, call, &bytes);
	if (error)
		return error;
	if (!is_version(bytes.data, KMS_VERSION_SIZE))
		return call_fail(call, -EBADMSG, "the blob is damaged, or not from a key service");
	memcpy(action.version, bytes.data, KMS_VERSION_SIZE);
	if (protobuf_append_bytes(&action.body, DECRYPT_REQUEST_BLOB, bytes.data + rest_at, bytes.size - rest_at) ||
	    protobuf_append_bytes(&action.body, DECRYPT_REQUEST_IV, bytes.data + KMS_VERSION_SIZE, KMS_IV_SIZE))
		return fail_for_secrets(call);
	error = kms_try(attempt, &action, call);
	if (!error)
		error = take_field(&action, DECRYPT_RESPONSE_PLAINTEXT, call, &text);
	if (error)
		return error;
	return secret_buffer_append(ret_text, text.data, text.size) ? fail_for_secrets(call) : 0;
}

static void v3_free(struct key_service *service)
{
	struct kms_v3 *kms = kms_of(service);

	client_key_free(kms->client_key);
	http_client_free(kms->http);
	free(kms->host);
	free(kms->key_id);
	free(kms);
}

static const struct key_service_operations v3_operations = {
	.generate_data_key = v3_generate_data_key,
	.encrypt = v3_encrypt,
	.decrypt = v3_decrypt,
	.free = v3_free,
};

static int check_options(const struct kms_v3_options *options, struct call *call)
{
	if (!options->endpoint || !*options->endpoint)
		return call_fail(call, -EINVAL, "kms_v3 needs the option kms_endpoint");
	if (!options->client_key_file || !options->password_file)
		return call_fail(call, -EINVAL, "kms_v3 needs the options kms_client_key_file and kms_password_file");
	return 0;
}

static int set_up(struct kms_v3 *kms, const struct kms_v3_options *options, struct call *call)
{
	const struct http_client_options http_options = { .user_agent = KMS_USER_AGENT, .ca_file = options->ca_file };
	int error = check_options(options, call);

	if (!error)
		error = kms_check_ca_file(options->ca_file, call);
	if (!error)
		error = kms_parse_endpoint(options->endpoint, call, &kms->host);
	if (!error)
		error = client_key_read(options->client_key_file, options->password_file, call, &kms->client_key);
	if (error)
		return error;
	if (options->key_id && *options->key_id) {
		kms->key_id = strdup(options->key_id);
		if (!kms->key_id)
			return call_fail(call, -ENOMEM, "out of memory");
	}
	error = http_client_new(&http_options, &kms->http);
	return error ? call_fail(call, error, "libcurl can't be set up") : 0;
}

int kms_v3_open(const struct kms_v3_options *options, struct call *call, struct key_service **ret_service)
{
	struct kms_v3 *kms = calloc(1, sizeof(*kms));
	int error;

	if (!kms)
		return call_fail(call, -ENOMEM, "out of memory");
	kms->service.operations = &v3_operations;
	error = set_up(kms, options, call);
	if (error) {
		v3_free(&kms->service);
		return error;
	}
	*ret_service = &kms->service;
	return 0;
}
