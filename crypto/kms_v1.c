#include "crypto/kms_v1.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crypto/acs3.h"
#include "crypto/credentials.h"
#include "crypto/encoding.h"
#include "crypto/format.h"
#include "crypto/kms.h"
#include "crypto/ram_role.h"
#include "util/clock.h"
#include "util/form.h"
#include "util/json.h"

#define VERSION "2016-01-20"
#define DEFAULT_KEY "alias/acs/mse"
#define FORM_TYPE "application/x-www-form-urlencoded"
#define NONCE_BYTES 16
#define DATE_SIZE sizeof("2026-11-21T18:13:47Z")
#define HEADERS_MAX 12

struct kms_v1 {
	struct key_service service;
	struct credential_source *credentials;
	struct http_client *http;
	char *host;
	char *key_id; /* NULL: can only decrypt */
};

/* One call of an action, however often it is tried. */
struct action {
	struct kms_v1 *kms;
	const char *name;
	struct buffer query; /* canonical */
	struct secret_buffer body; /* empty: none */
	struct http_answer answer;
	struct json *document; /* of the answer; secret, wiped when freed */
};

/* What is signed and sent with one try. */
struct signed_headers {
	char date[DATE_SIZE];
	char nonce[2 * NONCE_BYTES + 1];
	char body_sha256[KMS_SHA256_HEX_SIZE];
	struct acs3_header headers[HEADERS_MAX];
	size_t count;
};

static struct kms_v1 *kms_of(struct key_service *service)
{
	return (struct kms_v1 *)service;
}

static void action_release(struct action *action)
{
	buffer_release(&action->query);
	secret_buffer_release(&action->body);
	http_answer_release(&action->answer);
	json_free(action->document);
}
#define cleanup_action __attribute__((cleanup(action_release)))

static void add_header(struct signed_headers *headers, const char *name, const char *value)
{
	headers->headers[headers->count++] = (struct acs3_header){ name, value };
}

/* All headers that are signed, in the order of their names. */
static int make_headers(const struct action *action, const struct credentials *credentials, struct call *call,
			struct signed_headers *ret_headers)
{
	unsigned char random[NONCE_BYTES];
	time_t now = clock_now().tv_sec;
	struct tm parts;

	if (!gmtime_r(&now, &parts) ||
	    strftime(ret_headers->date, DATE_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts) != DATE_SIZE - 1)
		return call_fail(call, -ENOKEY, "the clock of this machine is wrong");
	if (RAND_bytes(random, sizeof(random)) != 1 ||
	    !kms_sha256_hex(action->body.size ? action->body.data : "", action->body.size, false,
			    ret_headers->body_sha256))
		return call_fail(call, -ENOKEY, "OpenSSL can't sign a request");
	encoding_to_hex(random, sizeof(random), ret_headers->nonce);
	ret_headers->nonce[2 * NONCE_BYTES] = '\0';

	ret_headers->count = 0;
	if (action->body.size)
		add_header(ret_headers, "content-type", FORM_TYPE);
	add_header(ret_headers, "host", action->kms->host);
	if (credentials->security_token.size)
		add_header(ret_headers, "x-acs-accesskey-id", credentials->access_key_id.data);
	add_header(ret_headers, "x-acs-action", action->name);
	add_header(ret_headers, "x-acs-content-sha256", ret_headers->body_sha256);
	add_header(ret_headers, "x-acs-date", ret_headers->date);
	if (credentials->security_token.size)
		add_header(ret_headers, "x-acs-security-token", credentials->security_token.data);
	add_header(ret_headers, "x-acs-signature-nonce", ret_headers->nonce);
	add_header(ret_headers, "x-acs-version", VERSION);
	return 0;
}

/*
 * Header lines for util/http, in secret memory because of the token: each ends in NUL, lines points to their
 * starts.
 */
static int make_lines(const struct signed_headers *headers, const char *authorization, struct secret_buffer *text,
		      const char *lines[HEADERS_MAX + 3])
{
	size_t starts[HEADERS_MAX], count = 0;
	int error = 0;

	for (size_t i = 0; !error && i < headers->count; i++) {
		const struct acs3_header *header = &headers->headers[i];

		/* The client sends the type of the body by itself. */
		if (strcmp(header->name, "content-type") == 0)
			continue;
		starts[count++] = text->size;
		error = secret_buffer_append_text(text, header->name);
		if (!error)
			error = secret_buffer_append_text(text, ": ");
		if (!error)
			error = secret_buffer_append_text(text, header->value);
		if (!error)
			error = secret_buffer_append_byte(text, '\0');
	}
	if (error)
		return error;
	for (size_t i = 0; i < count; i++)
		lines[i] = text->data + starts[i];
	lines[count++] = "accept: application/json";
	lines[count++] = authorization;
	lines[count] = NULL;
	return 0;
}

/* Signs and sends. ret_answer is empty. */
static int send_signed(struct action *action, const struct credentials *credentials, struct call *call,
		       struct http_answer *ret_answer)
{
	cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
	cleanup_buffer struct buffer authorization = BUFFER_INIT, url = BUFFER_INIT;
	struct signed_headers headers;
	const char *lines[HEADERS_MAX + 3];
	int error = make_headers(action, credentials, call, &headers);
	struct acs3_request to_sign = { "POST", action->query.data, headers.body_sha256, headers.headers, headers.count };
	struct http_request request = {
		.method = "POST",
		.headers = lines,
		.body = action->body.data,
		.body_size = action->body.size,
		.content_type = action->body.size ? FORM_TYPE : NULL,
		.answer_limit = KMS_ANSWER_LIMIT,
	};

	if (error)
		return error;
	error = buffer_append_text(&authorization, "Authorization: ");
	if (!error)
		error = acs3_append_authorization(&to_sign, &credentials->access_key_id,
						  &credentials->access_key_secret, &authorization);
	if (!error)
		error = make_lines(&headers, authorization.data, &text, lines);
	if (!error)
		error = buffer_append_format(&url, "https://%s/?%s", action->kms->host, action->query.data);
	if (error)
		return call_fail(call, error == -ENOMEM ? error : -ENOKEY, "a request to the key service can't be made");
	request.url = url.data;
	atomic_fetch_add(&action->kms->service.request_count, 1);
	return http_request(action->kms->http, &request, call, ret_answer, NULL);
}

/* Is that what the service says of a blob that it can't have made? */
static bool is_about_the_blob(const struct action *action, int status, const char *code)
{
	return strcmp(action->name, "Decrypt") == 0 && status == 400 &&
	       (strncmp(code, "InvalidParam", strlen("InvalidParam")) == 0 ||
		strncmp(code, "InvalidCiphertext", strlen("InvalidCiphertext")) == 0);
}

static int fail_by_answer(const struct action *action, int status, const struct json *document, struct call *call,
			  bool *ret_temporary)
{
	const char *text = json_text(document, "Code");
	char code[KMS_CODE_SIZE];

	kms_copy_code(text, text ? strlen(text) : 0, code);
	*ret_temporary = kms_code_is_temporary(code);
	if (is_about_the_blob(action, status, code))
		return call_fail(call, -EBADMSG, "the key service can't decrypt this: it is damaged, or not of its making");
	return call_fail(call, -ENOKEY, "the key service refuses %s (HTTP %d, %s)", action->name, status, code);
}

static int attempt(void *arg, struct call *call, bool *ret_temporary)
{
	struct action *action = arg;
	cleanup_credentials struct credentials credentials = { .access_key_id = SECRET_BUFFER_INIT };
	cleanup_http_answer struct http_answer answer = { .status = 0 };
	cleanup_json struct json *document = NULL;
	int error = credential_source_get(action->kms->credentials, call, &credentials);

	if (!error)
		error = send_signed(action, &credentials, call, &answer);
	if (error)
		return error;
	error = answer.body.size ? json_parse(answer.body.data, answer.body.size, &document) : -EBADMSG;
	if (error == -ENOMEM)
		return call_fail(call, error, "out of memory for the answer of the key service");
	if (answer.status != 200)
		return fail_by_answer(action, answer.status, document, call, ret_temporary);
	if (error || !json_is_object(document))
		return call_fail(call, -ENOKEY, "the answer of the key service is not JSON");
	action->document = document;
	document = NULL;
	return 0;
}

/* Parameters are given in the order of their names. */
static int add_parameter(struct action *action, const char *name, const char *value, size_t size)
{
	return form_append_bytes(&action->query, name, value, size);
}

static int fail_out_of_memory(struct call *call)
{
	return call_fail(call, -ENOMEM, "out of memory");
}

static int check_key_id(const struct kms_v1 *kms, struct call *call)
{
	return kms->key_id ? 0 : call_fail(call, -ENOKEY, "no key is chosen for encryption (option kms_key_id)");
}

/* The blob of an answer. */
static int take_blob(const struct action *action, struct call *call, struct buffer *ret_blob)
{
	const char *blob = json_text(action->document, "CiphertextBlob");

	if (!blob)
		return call_fail(call, -ENOKEY, "the answer of the key service has no blob");
	return kms_append_blob(blob, strlen(blob), call, ret_blob);
}

static int v1_generate_data_key(struct key_service *service, size_t key_size, struct call *call,
				struct secret_buffer *ret_key_text, struct buffer *ret_blob)
{
	cleanup_action struct action action = { .kms = kms_of(service), .name = "GenerateDataKey" };
	const char *spec = key_size == 16 ? "AES_128" : "AES_256", *key_text;
	int error = check_key_id(action.kms, call);

	if (error)
		return error;
	if (add_parameter(&action, "KeyId", action.kms->key_id, strlen(action.kms->key_id)) ||
	    add_parameter(&action, "KeySpec", spec, strlen(spec)))
		return fail_out_of_memory(call);
	error = kms_try(attempt, &action, call);
	if (error)
		return error;
	key_text = json_text(action.document, "Plaintext");
	if (!key_text || !kms_is_key_text(key_text, strlen(key_text), key_size))
		return call_fail(call, -ENOKEY, "the answer of the key service has no data key of %zu bytes", key_size);
	if (secret_buffer_reserve(ret_key_text, strlen(key_text)))
		return call_fail(call, -ENOMEM, "no room in the memory for secrets");
	error = take_blob(&action, call, ret_blob);
	if (!error)
		(void)secret_buffer_append_text(ret_key_text, key_text); /* there is room */
	return error;
}

static int v1_encrypt(struct key_service *service, const char *text, size_t size, struct call *call,
		      struct buffer *ret_blob)
{
	cleanup_action struct action action = { .kms = kms_of(service), .name = "Encrypt" };
	int error = check_key_id(action.kms, call);

	if (error)
		return error;
	if (size > FORMAT_DIRECT_LIMIT)
		return call_fail(call, -EFBIG, "key services encrypt %d bytes at most", FORMAT_DIRECT_LIMIT);
	if (add_parameter(&action, "KeyId", action.kms->key_id, strlen(action.kms->key_id)) ||
	    secret_buffer_append_text(&action.body, "Plaintext=") ||
	    kms_append_percent_encoded(&action.body, text, size))
		return fail_out_of_memory(call);
	error = kms_try(attempt, &action, call);
	return error ? error : take_blob(&action, call, ret_blob);
}

static int v1_decrypt(struct key_service *service, const char *blob, size_t size, struct call *call,
		      struct secret_buffer *ret_text)
{
	cleanup_action struct action action = { .kms = kms_of(service), .name = "Decrypt" };
	cleanup_buffer_wipe struct buffer bytes = BUFFER_INIT, text = BUFFER_INIT;
	int error = kms_decode_blob(blob, size, call, &bytes);

	if (error)
		return error;
	if (add_parameter(&action, "CiphertextBlob", blob, size))
		return fail_out_of_memory(call);
	error = kms_try(attempt, &action, call);
	if (error)
		return error;
	error = json_bytes(action.document, "Plaintext", &text);
	if (error == -ENOENT)
		return call_fail(call, -ENOKEY, "the answer of the key service has no text");
	if (error || secret_buffer_append(ret_text, text.data, text.size))
		return call_fail(call, -ENOMEM, "no room in the memory for secrets");
	return 0;
}

static void v1_free(struct key_service *service)
{
	struct kms_v1 *kms = kms_of(service);

	credential_source_free(kms->credentials);
	http_client_free(kms->http);
	free(kms->host);
	free(kms->key_id);
	free(kms);
}

static const struct key_service_operations v1_operations = {
	.generate_data_key = v1_generate_data_key,
	.encrypt = v1_encrypt,
	.decrypt = v1_decrypt,
	.free = v1_free,
};

static bool is_given(const char *option)
{
	return option && *option;
}

static int set_host(struct kms_v1 *kms, const struct kms_v1_options *options, struct call *call)
{
	cleanup_buffer struct buffer name = BUFFER_INIT;

	if (is_given(options->endpoint))
		return kms_parse_endpoint(options->endpoint, call, &kms->host);
	if (!is_given(options->region))
		return call_fail(call, -EINVAL, "kms_v1 needs the option kms_region, or kms_endpoint");
	if (buffer_append_format(&name, "kms.%s.aliyuncs.com", options->region))
		return fail_out_of_memory(call);
	return kms_parse_endpoint(name.data, call, &kms->host);
}

static int set_key_id(struct kms_v1 *kms, const struct kms_v1_options *options, struct call *call)
{
	const char *key_id = options->key_id;

	if (!is_given(key_id))
		key_id = is_given(options->endpoint) ? NULL : DEFAULT_KEY;
	kms->key_id = key_id ? strdup(key_id) : NULL;
	return key_id && !kms->key_id ? fail_out_of_memory(call) : 0;
}

static int set_credentials(struct kms_v1 *kms, const struct kms_v1_options *options, struct call *call)
{
	if (!options->access_key_file == !options->ram_role)
		return call_fail(call, -EINVAL, "kms_v1 needs one of access_key_file and ram_role, or of kms_access_key_file and kms_ram_role");
	if (options->access_key_file)
		return credential_file_open(options->access_key_file, call, &kms->credentials);
	return ram_role_open(options->ram_role, options->metadata_url, call, &kms->credentials);
}

int kms_v1_open(const struct kms_v1_options *options, struct call *call, struct key_service **ret_service)
{
	const struct http_client_options http_options = { .user_agent = KMS_USER_AGENT, .ca_file = options->ca_file };
	struct kms_v1 *kms = calloc(1, sizeof(*kms));
	int error;

	if (!kms)
		return fail_out_of_memory(call);
	kms->service.operations = &v1_operations;
	error = kms_check_ca_file(options->ca_file, call);
	if (!error)
		error = set_host(kms, options, call);
	if (!error)
		error = set_key_id(kms, options, call);
	if (!error)
		error = set_credentials(kms, options, call);
	if (!error) {
		error = http_client_new(&http_options, &kms->http);
		if (error)
			call_fail(call, error, "libcurl can't be set up");
	}
	if (error) {
		v1_free(&kms->service);
		return error;
	}
	*ret_service = &kms->service;
	return 0;
}
