/*
 * Asks a key service by hand, with the client of nacosfs:
 *
 *	kms_client v1|v3|keyring [name=value...]      endpoint, region, key_id, ca_file, access_key_file, ram_role, metadata_url,
 *	                                              client_key_file, password_file, keyring, timeout_ms, verify
 *
 * Then each line of standard input is a command, with arguments in hex where they are text, and each line of
 * output its answer: `ok ...`, or `error ERRNO reason`.
 *
 *	generate SIZE                   ok KEY_TEXT BLOB
 *	encrypt TEXT                    ok BLOB
 *	decrypt BLOB                    ok TEXT
 *	seal DATA_ID TEXT               ok CONTENT DATA_KEY (- for none)
 *	open DATA_ID CONTENT DATA_KEY   ok TEXT
 *	requests                        ok COUNT
 *	many THREADS BLOB               ok: decrypted in that many threads at once
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/cipher.h"
#include "crypto/encoding.h"
#include "crypto/keyring.h"
#include "crypto/kms_v1.h"
#include "crypto/kms_v3.h"
#include "crypto/secret.h"

#define THREADS_MAX 64

static int argument_count;
static char **arguments;
static struct key_service *service;
static struct cipher *cipher;
static struct call call;
static long timeout_ms = 10000;

static const char *option(const char *name)
{
	for (int i = 2; i < argument_count; i++) {
		if (strncmp(arguments[i], name, strlen(name)) == 0 && arguments[i][strlen(name)] == '=')
			return arguments[i] + strlen(name) + 1;
	}
	return NULL;
}

static int open_service(const char *kind)
{
	const struct kms_v1_options v1 = {
		.endpoint = option("endpoint"),
		.region = option("region"),
		.key_id = option("key_id"),
		.ca_file = option("ca_file"),
		.access_key_file = option("access_key_file"),
		.ram_role = option("ram_role"),
		.metadata_url = option("metadata_url"),
	};
	const struct kms_v3_options v3 = {
		.endpoint = option("endpoint"),
		.key_id = option("key_id"),
		.client_key_file = option("client_key_file"),
		.password_file = option("password_file"),
		.ca_file = option("ca_file"),
	};

	if (strcmp(kind, "v1") == 0)
		return kms_v1_open(&v1, &call, &service);
	if (strcmp(kind, "v3") == 0)
		return kms_v3_open(&v3, &call, &service);
	return keyring_open(option("keyring"), &call, &service);
}

static void print_hex(const char *data, size_t size)
{
	printf("ok ");
	for (size_t i = 0; i < size; i++)
		printf("%02x", (unsigned char)data[i]);
	printf("\n");
}

static int generate(char **words)
{
	cleanup_secret_buffer struct secret_buffer key = SECRET_BUFFER_INIT;
	cleanup_buffer struct buffer blob = BUFFER_INIT;
	int error = key_service_generate_data_key(service, strtoul(words[1], NULL, 10), &call, &key, &blob);

	if (!error)
		printf("ok %s %s\n", key.data, blob.data);
	return error;
}

static size_t from_hex(char *word)
{
	size_t size = strlen(word);

	if (strcmp(word, "-") == 0)
		return 0;
	if (encoding_from_hex(word, size, word))
		exit(2);
	return size / 2;
}

static int encrypt(char **words)
{
	cleanup_buffer struct buffer blob = BUFFER_INIT;
	int error = key_service_encrypt(service, words[1], from_hex(words[1]), &call, &blob);

	if (!error)
		printf("ok %s\n", blob.data);
	return error;
}

static int decrypt(char **words)
{
	cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
	int error = key_service_decrypt(service, words[1], strlen(words[1]), &call, &text);

	if (!error)
		print_hex(text.data, text.size);
	return error;
}

static int seal(char **words)
{
	cleanup_buffer struct buffer content = BUFFER_INIT, data_key = BUFFER_INIT;
	int error = cipher_seal(cipher, words[1], words[2], from_hex(words[2]), &call, &content, &data_key);

	if (!error)
		printf("ok %s %s\n", content.data, data_key.size ? data_key.data : "-");
	return error;
}

static int open_sealed(char **words)
{
	cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
	const char *data_key = strcmp(words[3], "-") == 0 ? NULL : words[3];
	int error = cipher_open(cipher, words[1], words[2], strlen(words[2]), data_key, &call, &text);

	if (!error)
		print_hex(text.data, text.size);
	return error;
}

static void *decrypt_once(void *blob)
{
	cleanup_secret_buffer struct secret_buffer text = SECRET_BUFFER_INIT;
	struct call own;

	call_start(&own, timeout_ms);
	return key_service_decrypt(service, blob, strlen(blob), &own, &text) ? blob : NULL;
}

static int many(char **words)
{
	pthread_t threads[THREADS_MAX];
	int count = atoi(words[1]), failures = 0;

	for (int i = 0; i < count && i < THREADS_MAX; i++) {
		if (pthread_create(&threads[i], NULL, decrypt_once, words[2]) != 0)
			exit(2);
	}
	for (int i = 0; i < count && i < THREADS_MAX; i++) {
		void *result;

		pthread_join(threads[i], &result);
		failures += result != NULL;
	}
	if (failures)
		return call_fail(&call, -EIO, "%d threads failed", failures);
	printf("ok\n");
	return 0;
}

static int run(char **words, int count)
{
	static const struct {
		const char *name;
		int count;
		int (*run)(char **words);
	} commands[] = {
		{ "generate", 2, generate }, { "encrypt", 2, encrypt }, { "decrypt", 2, decrypt },
		{ "seal", 3, seal }, { "open", 4, open_sealed }, { "many", 3, many },
	};

	if (strcmp(words[0], "requests") == 0) {
		printf("ok %lu\n", atomic_load(&service->request_count));
		return 0;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(words[0], commands[i].name) == 0 && count == commands[i].count)
			return commands[i].run(words);
	}
	exit(2);
}

static int report(int error)
{
	if (error)
		printf("error %s %s\n", strerrorname_np(-error), call.reason);
	fflush(stdout);
	return error;
}

int main(int argc, char **argv)
{
	struct cipher_options options = { .verify = false };
	struct secret_statistics statistics;
	char *line = NULL;
	size_t room = 0;

	argument_count = argc;
	arguments = argv;
	if (argc < 2)
		return 2;
	if (option("timeout_ms"))
		timeout_ms = atol(option("timeout_ms"));
	call_start(&call, timeout_ms);
	if (report(secret_init((size_t)4 << 20, &call)) || report(open_service(argv[1])))
		return 1;
	options.key_service = service;
	options.verify = option("verify") != NULL;
	if (cipher_new(&options, &cipher))
		return 1;
	printf("ready\n");
	fflush(stdout);
	while (getline(&line, &room, stdin) > 0) {
		char *words[8] = { NULL }, *rest = NULL;
		int count = 0;

		for (char *word = strtok_r(line, " \n", &rest); word && count < 8; word = strtok_r(NULL, " \n", &rest))
			words[count++] = word;
		if (!count)
			continue;
		call_start(&call, timeout_ms);
		report(run(words, count));
	}
	free(line);
	cipher_free(cipher);
	key_service_free(service);
	secret_statistics(&statistics);
	secret_shutdown();
	return statistics.count ? 3 : 0; /* something was not freed */
}
