/*
 * What is signed and how, against captured requests of the official clients; client keys of both old kinds; access
 * keys. The requests themselves are in tests/test_kms_emulator.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/acs3.h"
#include "crypto/client_key.h"
#include "crypto/credentials.h"
#include "crypto/kms.h"
#include "crypto/kms_v1.h"
#include "crypto/kms_v3.h"
#include "crypto/ram_role.h"
#include "crypto/secret.h"

#include "test_crypto_vectors.h"

static struct json *vectors;
static struct call call;
static char folder[] = "/tmp/nacosfs-test-XXXXXX";
static char path[64], other_path[64];

static int start(void **state)
{
	(void)state;
	call_start(&call, 60000);
	if (secret_init((size_t)1 << 20, &call) || !mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/one", folder);
	snprintf(other_path, sizeof(other_path), "%s/other", folder);
	vectors = vectors_read();
	return 0;
}

static int stop(void **state)
{
	struct secret_statistics statistics;

	(void)state;
	unlink(path);
	unlink(other_path);
	json_free(vectors);
	secret_statistics(&statistics);
	secret_shutdown();
	return rmdir(folder) || statistics.count;
}

static void write_file(const char *name, const char *text)
{
	int descriptor = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(descriptor >= 0);
	assert_int_equal(write(descriptor, text, strlen(text)), strlen(text));
	close(descriptor);
}

static const struct json *client_key_of_vectors(void)
{
	return json_member(json_member(vectors, "kms"), "clientKey");
}

static int compare_parameters(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The parameters of a query in the order of their names. */
static char *sort_query(const char *query)
{
	char *copy = strdup(query), *sorted = calloc(1, strlen(query) + 2), *parameters[32], *rest = NULL;
	size_t count = 0;

	for (char *part = strtok_r(copy, "&", &rest); part; part = strtok_r(NULL, "&", &rest))
		parameters[count++] = part;
	qsort(parameters, count, sizeof(parameters[0]), compare_parameters);
	for (size_t i = 0; i < count; i++)
		sprintf(sorted + strlen(sorted), "%s%s", i ? "&" : "", parameters[i]);
	free(copy);
	return sorted;
}

/* Splits "a;b;c", the names of signed headers of a captured request, and finds their values. */
static size_t find_headers(const struct json *sample, char *names, struct acs3_header headers[16])
{
	static char user_agent[256];
	const char *line = strstr(json_text(sample, "stringToSignOrCanonicalRequest"), "user-agent:");
	size_t count = 0;
	char *rest = NULL;

	if (line)
		snprintf(user_agent, sizeof(user_agent), "%.*s", (int)strcspn(line, "\n") - 11, line + 11);

	for (char *name = strtok_r(names, ";", &rest); name; name = strtok_r(NULL, ";", &rest)) {
		headers[count].name = name;
		headers[count].value = json_text(json_member(sample, "headers"), name);
		/* The capture lacks it, but the canonical request of the capture doesn't. */
		if (!headers[count].value && strcmp(name, "user-agent") == 0)
			headers[count].value = user_agent;
		assert_non_null(headers[count].value);
		count++;
	}
	return count;
}

static void acs3_signs_as_the_official_clients(void **state)
{
	cleanup_secret_buffer struct secret_buffer id = SECRET_BUFFER_INIT, secret = SECRET_BUFFER_INIT;
	size_t count = 0;

	(void)state;
	secret_buffer_append_text(&id, json_text(json_member(vectors, "kms"), "accessKeyId"));
	secret_buffer_append_text(&secret, json_text(json_member(vectors, "kms"), "accessKeySecret"));
	for (const struct json *sample = json_first(json_member(vectors, "signatures")); sample;
	     sample = json_next(sample)) {
		cleanup_secret_buffer struct secret_buffer canonical = SECRET_BUFFER_INIT;
		cleanup_buffer struct buffer authorization = BUFFER_INIT;
		struct acs3_header headers[16];
		struct acs3_request request = { .method = "POST", .headers = headers };
		char *names, *query;

		if (strcmp(json_text(sample, "protocol"), "acs3") != 0)
			continue;
		names = strdup(strstr(json_text(json_member(sample, "headers"), "authorization"), "SignedHeaders=") + 14);
		names[strcspn(names, ",")] = '\0';
		query = sort_query(json_text(sample, "query"));
		request.query = query;
		request.body_sha256 = json_text(json_member(sample, "headers"), "x-acs-content-sha256");
		request.header_count = find_headers(sample, names, headers);
		assert_int_equal(acs3_append_canonical_request(&request, &canonical), 0);
		assert_string_equal(canonical.data, json_text(sample, "stringToSignOrCanonicalRequest"));
		assert_int_equal(acs3_append_authorization(&request, &id, &secret, &authorization), 0);
		assert_string_equal(authorization.data, json_text(json_member(sample, "headers"), "authorization"));
		free(names);
		free(query);
		count++;
	}
	assert_int_equal(count, 6);
}

/* RSA signatures of PKCS#1 v1.5 are the same each time: ours must be theirs. */
static void v3_signs_as_the_official_clients(void **state)
{
	cleanup_secret_buffer struct secret_buffer password = SECRET_BUFFER_INIT;
	const char *json = json_text(client_key_of_vectors(), "json");
	struct client_key *key;
	size_t count = 0;

	(void)state;
	secret_buffer_append_text(&password, json_text(client_key_of_vectors(), "password"));
	assert_int_equal(client_key_parse(json, strlen(json), &password, &call, &key), 0);
	for (const struct json *sample = json_first(json_member(vectors, "signatures")); sample;
	     sample = json_next(sample)) {
		const struct json *headers = json_member(sample, "headers");
		cleanup_buffer struct buffer to_sign = BUFFER_INIT, body = BUFFER_INIT, authorization = BUFFER_INIT;
		char body_sha256[KMS_SHA256_HEX_SIZE];
		struct kms_v3_signed request = { json_text(sample, "api"), body_sha256, json_text(headers, "date"),
						 client_key_id(key),
						 json_text(headers, "x-kms-migrationkeyversionid") };

		if (strcmp(json_text(sample, "protocol"), "dkms") != 0)
			continue;
		vectors_bytes(sample, "requestBodyHex", &body);
		assert_true(kms_sha256_hex(body.data, body.size, true, body_sha256));
		assert_string_equal(body_sha256, json_text(headers, "content-sha256"));
		assert_int_equal(kms_v3_append_string_to_sign(&request, &to_sign), 0);
		assert_string_equal(to_sign.data, json_text(sample, "stringToSignOrCanonicalRequest"));
		assert_int_equal(buffer_append_text(&authorization, "Bearer "), 0);
		assert_int_equal(client_key_sign(key, to_sign.data, to_sign.size, &authorization), 0);
		assert_string_equal(authorization.data, json_text(headers, "authorization"));
		count++;
	}
	assert_int_equal(count, 6);
	client_key_free(key);
}

/* Is the signature one of the key whose public half is in the vectors? */
static bool verifies(const char *base64, const char *text)
{
	const char *pem = json_text(client_key_of_vectors(), "publicKeyPem");
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	unsigned char signature[1024];
	size_t size;
	bool good = encoding_from_base64(base64, strlen(base64), signature, &size) == 0 &&
		    EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
		    EVP_DigestVerify(context, signature, size, (const unsigned char *)text, strlen(text)) == 1;

	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	BIO_free(bio);
	return good;
}

static void client_keys_of_both_kinds(void **state)
{
	static const char *const kinds[] = { "json", "jsonRc2" };

	(void)state;
	write_file(other_path, json_text(client_key_of_vectors(), "password"));
	for (size_t i = 0; i < 2; i++) {
		cleanup_buffer struct buffer signature = BUFFER_INIT;
		struct client_key *key;

		write_file(path, json_text(client_key_of_vectors(), kinds[i]));
		assert_int_equal(client_key_read(path, other_path, &call, &key), 0);
		assert_string_equal(client_key_id(key), "KAAP.75428d9f-6bf3-4be3-a5f4-89d9be0ae320");
		assert_int_equal(client_key_sign(key, "text", 4, &signature), 0);
		assert_true(verifies(signature.data, "text"));
		client_key_free(key);
	}
}

/* Makes PKCS#12 with the openssl program; what needs the legacy provider included. */
static void make_package(const char *options)
{
	cleanup_buffer struct buffer command = BUFFER_INIT, package = BUFFER_INIT, json = BUFFER_INIT;
	char *base64;

	assert_int_equal(buffer_append_format(
		&command, "cd %s && openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -subj /CN=x -days 9 2>/dev/null && "
		"openssl pkcs12 -export -inkey k -in c -out p -passout pass:pw %s 2>/dev/null", folder, options), 0);
	assert_int_equal(system(command.data), 0);
	buffer_clear(&command);
	assert_int_equal(buffer_append_format(&command, "%s/p", folder), 0);
	assert_int_equal(file_read_whole(command.data, 100000, &call, &package), 0);
	base64 = calloc(1, ENCODING_BASE64_SIZE(package.size) + 1);
	encoding_to_base64(package.data, package.size, base64);
	assert_int_equal(buffer_append_format(&json, "{\"KeyId\": \"KAAP.x\", \"PrivateKeyData\": \"%s\"}", base64), 0);
	write_file(path, json.data);
	free(base64);
	buffer_clear(&command);
	assert_int_equal(buffer_append_format(&command, "cd %s && rm -f k c p", folder), 0);
	assert_int_equal(system(command.data), 0);
}

static void client_keys_of_other_kinds(void **state)
{
	static const char *const options[] = {
		"", /* AES, PBKDF2 */
		"-legacy",
		"-legacy -keypbe PBE-SHA1-RC2-40 -certpbe PBE-SHA1-RC2-40", /* the key too */
		"-keypbe NONE -certpbe NONE",
	};

	(void)state;
	write_file(other_path, "pw\n");
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		cleanup_buffer struct buffer signature = BUFFER_INIT;
		struct client_key *key;

		make_package(options[i]);
		if (client_key_read(path, other_path, &call, &key))
			fail_msg("%s: %s", options[i], call.reason);
		assert_int_equal(client_key_sign(key, "text", 4, &signature), 0);
		assert_int_equal(signature.size, 344);
		client_key_free(key);
	}
}

static void bad_client_keys(void **state)
{
	static const char *const bad[] = {
		"", "{}", "[]", "{\"KeyId\": \"x\"}", "{\"KeyId\": 1, \"PrivateKeyData\": \"AAAA\"}",
		"{\"KeyId\": \"x\", \"PrivateKeyData\": \"AAAA\"}", "{\"KeyId\": \"x\", \"PrivateKeyData\": \"\"}",
		"{\"KeyId\": \"a\\r\\nb\", \"PrivateKeyData\": \"AAAA\"}", "{\"KeyId\": \"x\", \"PrivateKeyData\": \"*\"}",
		"{\"KeyId\": \"x\", \"PrivateKeyData\": \"MIIJvgIBAzCCCYQ=\"}",
	};
	cleanup_secret_buffer struct secret_buffer password = SECRET_BUFFER_INIT;
	const char *json = json_text(client_key_of_vectors(), "json"), *data;
	char *tampered = strdup(json);
	struct client_key *key = NULL;

	(void)state;
	secret_buffer_append_text(&password, json_text(client_key_of_vectors(), "password"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (client_key_parse(bad[i], strlen(bad[i]), &password, &call, &key) != -EINVAL)
			fail_msg("bad client key %zu", i);
	}
	/* Tampered within the encrypted key, where only the MAC can tell. */
	data = strstr(json, "PrivateKeyData") + 18;
	tampered[data - json + 2000] ^= 1;
	assert_int_equal(client_key_parse(tampered, strlen(tampered), &password, &call, &key), -EINVAL);
	free(tampered);
	secret_buffer_append_text(&password, "x");
	assert_int_equal(client_key_parse(json, strlen(json), &password, &call, &key), -EINVAL);
	assert_non_null(strstr(call.reason, "the password is wrong"));
	secret_buffer_clear(&password);
	assert_int_equal(client_key_parse(json, strlen(json), &password, &call, &key), -EINVAL);
}

static void check_credentials(struct credential_source *source, const char *id, const char *secret, const char *token)
{
	cleanup_credentials struct credentials got = { .access_key_id = SECRET_BUFFER_INIT };

	assert_int_equal(credential_source_get(source, &call, &got), 0);
	assert_string_equal(got.access_key_id.data, id);
	assert_string_equal(got.access_key_secret.data, secret);
	assert_string_equal(got.security_token.data, token);
}

static void access_key_files(void **state)
{
	struct credential_source *source;

	(void)state;
	write_file(path, "# for tests\n\naccessKey=LTAI1\r\n secretKey = s=1 \ntenantId=x\n");
	assert_int_equal(credential_file_open(path, &call, &source), 0);
	check_credentials(source, "LTAI1", "s=1", "");
	/* Replaced by an admin, or by what rotates tokens. */
	write_file(other_path, "accessKey=STS.2\nsecretKey=s2\nsecurityToken=t2\n");
	assert_int_equal(rename(other_path, path), 0);
	check_credentials(source, "STS.2", "s2", "t2");
	write_file(path, "accessKey=STS.3\n");
	check_credentials(source, "STS.2", "s2", "t2");
	unlink(path);
	check_credentials(source, "STS.2", "s2", "t2");
	write_file(path, "accessKey=STS.4\nsecretKey=s4\n");
	check_credentials(source, "STS.4", "s4", "");
	credential_source_free(source);

	write_file(path, "accessKey=a b\nsecretKey=s\n");
	assert_int_equal(credential_file_open(path, &call, &source), -EINVAL);
	write_file(path, "secretKey=hush\n");
	assert_int_equal(credential_file_open(path, &call, &source), -EINVAL);
	assert_null(strstr(call.reason, "hush"));
	write_file(path, "accessKey=\nsecretKey=hush\n");
	assert_int_equal(credential_file_open(path, &call, &source), -EINVAL);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(credential_file_open(path, &call, &source), -EACCES);
	unlink(path);
	assert_int_equal(credential_file_open(path, &call, &source), -ENOENT);
}

static void endpoints(void **state)
{
	static const char *const good[][2] = {
		{ "kms.cn-hangzhou.aliyuncs.com", "kms.cn-hangzhou.aliyuncs.com" },
		{ "https://127.0.0.1:19001/", "127.0.0.1:19001" },
		{ "HTTPS://x", "x" },
		{ "x:443", "x:443" },
	};
	static const char *const bad[] = { "", "http://x", "x:", "x:123456", "x/y", "x?y", "a b", "u:p@x", "https://", ":1" };
	char *host;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(kms_parse_endpoint(good[i][0], &call, &host), 0);
		assert_string_equal(host, good[i][1]);
		free(host);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (kms_parse_endpoint(bad[i], &call, &host) != -EINVAL)
			fail_msg("%s", bad[i]);
	}
}

static void options_that_cannot_be(void **state)
{
	static const struct kms_v1_options v1[] = {
		{ .region = NULL, .access_key_file = path },
		{ .region = "cn hangzhou", .access_key_file = path },
		{ .region = "cn-hangzhou" },
		{ .region = "cn-hangzhou", .access_key_file = path, .ram_role = "" },
		{ .region = "cn-hangzhou", .ram_role = "a/b" },
		{ .endpoint = "http://x", .ram_role = "a" },
	};
	static const struct kms_v3_options v3[] = {
		{ .client_key_file = path, .password_file = path },
		{ .endpoint = "x" },
		{ .endpoint = "x", .client_key_file = path },
		{ .endpoint = "x/y", .client_key_file = path, .password_file = path },
	};
	struct key_service *service;

	(void)state;
	write_file(path, "accessKey=a\nsecretKey=b\n");
	for (size_t i = 0; i < sizeof(v1) / sizeof(v1[0]); i++)
		assert_int_equal(kms_v1_open(&v1[i], &call, &service), -EINVAL);
	for (size_t i = 0; i < sizeof(v3) / sizeof(v3[0]); i++)
		assert_int_equal(kms_v3_open(&v3[i], &call, &service), -EINVAL);
}

static void codes_and_texts(void **state)
{
	cleanup_secret_buffer struct secret_buffer encoded = SECRET_BUFFER_INIT;
	cleanup_buffer struct buffer blob = BUFFER_INIT;
	char code[KMS_CODE_SIZE];

	(void)state;
	kms_copy_code("Rejected.Throttling", 19, code);
	assert_string_equal(code, "Rejected.Throttling");
	assert_true(kms_code_is_temporary(code));
	kms_copy_code("a\nb", 3, code);
	assert_string_equal(code, "unknown");
	kms_copy_code(NULL, 0, code);
	assert_string_equal(code, "unknown");
	assert_false(kms_code_is_temporary(code));
	assert_int_equal(kms_append_percent_encoded(&encoded, "aZ9-_.~ /+=&\n\xff\0", 15), 0);
	assert_string_equal(encoded.data, "aZ9-_.~%20%2F%2B%3D%26%0A%FF%00");
	assert_int_equal(kms_append_blob("QUJD", 4, &call, &blob), 0);
	assert_int_equal(kms_append_blob("QUJ", 3, &call, &blob), -ENOKEY);
	assert_int_equal(kms_append_blob("", 0, &call, &blob), -ENOKEY);
	assert_int_equal(kms_append_blob("<b>=", 4, &call, &blob), -ENOKEY);
	assert_string_equal(blob.data, "QUJD");
	assert_true(kms_is_key_text("AAECAwQFBgcICQoLDA0ODw==", 24, 16));
	assert_false(kms_is_key_text("AAECAwQFBgcICQoLDA0ODw==", 24, 32));
	assert_false(kms_is_key_text("", 0, 16));
	assert_false(kms_is_key_text("AAECAwQFBgcICQoLDA0ODw", 22, 16));
}

/* What no key service can have made is not sent to one: it may be a secret in clear. */
static void blobs_that_cannot_be(void **state)
{
	static const char token[] = "c2VjcmV0LXRva2VuLTEyMzQ1Njc4OTA=";
	cleanup_buffer struct buffer text = BUFFER_INIT, bytes = BUFFER_INIT;

	(void)state;
	assert_int_equal(kms_decode_blob(token, strlen(token), &call, &bytes), -EBADMSG);
	assert_int_equal(kms_decode_blob("", 0, &call, &bytes), -EBADMSG);
	for (size_t size = 0; size < 88; size++)
		assert_int_equal(buffer_append_byte(&text, size < 86 ? 'A' : '='), 0);
	assert_int_equal(kms_decode_blob(text.data, text.size, &call, &bytes), 0);
	assert_int_equal(bytes.size, 64);
	text.data[0] = '-';
	assert_int_equal(kms_decode_blob(text.data, text.size, &call, &bytes), -EBADMSG);
	buffer_clear(&text);
	while (text.size <= 64 * 1024)
		assert_int_equal(buffer_append_text(&text, "AAAA"), 0);
	assert_int_equal(kms_decode_blob(text.data, text.size, &call, &bytes), -EBADMSG);
	assert_non_null(strstr(call.reason, "too large"));
}

static void ca_files(void **state)
{
	(void)state;
	assert_int_equal(kms_check_ca_file(NULL, &call), 0);
	assert_int_equal(kms_check_ca_file("/nonexistent", &call), -EINVAL);
	write_file(path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	assert_int_equal(kms_check_ca_file(path, &call), -EINVAL);
	assert_non_null(strstr(call.reason, path));
}

/* How an attempt is to end, and how often it was made. */
struct script {
	int errors[8];
	bool temporary;
	int count;
};

static int play(void *arg, struct call *part, bool *ret_temporary)
{
	struct script *script = arg;
	int error = script->errors[script->count++];

	*ret_temporary = error && script->temporary;
	return error ? call_fail(part, error, "try %d", script->count) : 0;
}

static int run_script(struct script script, int timeout_ms, int *ret_count)
{
	struct call short_call;
	int error;

	call_start(&short_call, timeout_ms);
	error = kms_try(play, &script, &short_call);
	*ret_count = script.count;
	return error;
}

static void what_is_tried_again(void **state)
{
	const struct script twice = { .errors = { -ENOKEY, 0 }, .temporary = true };
	const struct script always = { .errors = { -ENOKEY, -ENOKEY, -ENOKEY, -ENOKEY }, .temporary = true };
	const struct script refused = { .errors = { -ENOKEY, 0 } };
	const struct script late = { .errors = { -ETIMEDOUT, 0 } };
	const struct script unreachable = { .errors = { -EHOSTUNREACH, 0 } };
	const struct script interrupted = { .errors = { -EINTR, 0 } };
	const struct script damaged = { .errors = { -EBADMSG, 0 } };
	int count;

	(void)state;
	assert_int_equal(run_script(twice, 10000, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(run_script(late, 10000, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(run_script(always, 10000, &count), -ENOKEY);
	assert_int_equal(count, KMS_TRIES);
	assert_int_equal(run_script(always, 100, &count), -ENOKEY); /* no time for a second */
	assert_int_equal(count, 1);
	assert_int_equal(run_script(refused, 10000, &count), -ENOKEY);
	assert_int_equal(count, 1);
	assert_int_equal(run_script(unreachable, 10000, &count), -ENOKEY);
	assert_int_equal(count, 1);
	assert_int_equal(run_script(interrupted, 10000, &count), -EINTR);
	assert_int_equal(count, 1);
	assert_int_equal(run_script(damaged, 10000, &count), -EBADMSG);
	assert_int_equal(count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(acs3_signs_as_the_official_clients),
		cmocka_unit_test(v3_signs_as_the_official_clients),
		cmocka_unit_test(client_keys_of_both_kinds),
		cmocka_unit_test(client_keys_of_other_kinds),
		cmocka_unit_test(bad_client_keys),
		cmocka_unit_test(access_key_files),
		cmocka_unit_test(endpoints),
		cmocka_unit_test(options_that_cannot_be),
		cmocka_unit_test(codes_and_texts),
		cmocka_unit_test(blobs_that_cannot_be),
		cmocka_unit_test(ca_files),
		cmocka_unit_test(what_is_tried_again),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
