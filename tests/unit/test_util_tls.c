/*
 * TLS and mutual TLS of a client's connection, against a libssl server in a thread, with
 * certificates made for the test.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "tests/unit/h2_peer.h"
#include "util/clock.h"
#include "util/h2.h"

#define TIMEOUT_MS 3000
#define DAY (24 * 3600L)

struct identity {
	EVP_PKEY *key;
	X509 *certificate;
};

struct server {
	int listener;
	unsigned port;
	pthread_t thread;
	struct identity *identity;
	bool wants_certificate;
	bool has_no_h2;
	bool is_plain; /* speaks something else altogether */
	char client[64]; /* whom the client's certificate is for */
};

static char directory[] = "/tmp/test_util_tls.XXXXXX";
static struct identity authority, other_authority;

/* ---- certificates ---- */

static void add_extension(X509 *certificate, X509 *issuer, int kind, const char *value)
{
	X509_EXTENSION *extension;
	X509V3_CTX context;

	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
	assert_non_null(extension);
	assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

/* names: subjectAltName, NULL for an authority. Valid from a day ago for that long from now. */
static struct identity make_identity(const char *name, const char *names, struct identity *issuer,
				     long seconds)
{
	static long serial;
	struct identity identity = { EVP_EC_gen("P-256"), X509_new() };
	X509_NAME *subject = X509_get_subject_name(identity.certificate);
	struct identity *signer = issuer ? issuer : &identity;

	X509_set_version(identity.certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(identity.certificate), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(identity.certificate), -DAY);
	X509_gmtime_adj(X509_getm_notAfter(identity.certificate), seconds);
	X509_set_pubkey(identity.certificate, identity.key);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1,
				   0);
	X509_set_issuer_name(identity.certificate, X509_get_subject_name(signer->certificate));
	add_extension(identity.certificate, signer->certificate, NID_basic_constraints,
		      names ? "CA:FALSE" : "critical,CA:TRUE");
	if (names)
		add_extension(identity.certificate, signer->certificate, NID_subject_alt_name,
			      names);
	assert_true(X509_sign(identity.certificate, signer->key, EVP_sha256()) > 0);
	return identity;
}

static void free_identity(struct identity *identity)
{
	EVP_PKEY_free(identity->key);
	X509_free(identity->certificate);
}

static const char *path_of(const char *name)
{
	static char paths[8][64];
	static unsigned next;
	char *path = paths[next++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

static FILE *create(const char *name, mode_t mode)
{
	const char *path = path_of(name);
	int descriptor;

	unlink(path);
	descriptor = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
	assert_true(descriptor >= 0);
	assert_int_equal(fchmod(descriptor, mode), 0);
	return fdopen(descriptor, "w");
}

static void save(const struct identity *identity, const char *certificate_name,
		 const char *key_name, mode_t key_mode)
{
	FILE *file = create(certificate_name, 0644);

	PEM_write_X509(file, identity->certificate);
	fclose(file);
	if (!key_name)
		return;
	file = create(key_name, key_mode);
	PEM_write_PrivateKey(file, identity->key, NULL, NULL, 0, NULL, NULL);
	fclose(file);
}

/* ---- the server ---- */

static int choose_h2(SSL *ssl, const unsigned char **out, unsigned char *out_size,
		     const unsigned char *in, unsigned in_size, void *arg)
{
	const struct server *server = arg;

	(void)ssl;
	if (server->has_no_h2 || SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_size,
						       (const unsigned char *)"\2h2", 3, in,
						       in_size) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	return SSL_TLSEXT_ERR_OK;
}

static void serve_tls(struct server *server, int descriptor)
{
	static const char settings[] = "\0\0\0\4\0\0\0\0\0";
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	SSL *ssl;
	char data[4096];

	SSL_CTX_use_certificate(context, server->identity->certificate);
	SSL_CTX_use_PrivateKey(context, server->identity->key);
	SSL_CTX_set_alpn_select_cb(context, choose_h2, server);
	X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.certificate);
	if (server->wants_certificate)
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
				   NULL);
	ssl = SSL_new(context);
	SSL_set_fd(ssl, descriptor);
	if (SSL_accept(ssl) == 1) {
		X509 *client = SSL_get0_peer_certificate(ssl);

		if (client)
			X509_NAME_get_text_by_NID(X509_get_subject_name(client), NID_commonName,
						  server->client, sizeof(server->client));
		SSL_write(ssl, settings, sizeof(settings) - 1);
		while (SSL_read(ssl, data, sizeof(data)) > 0)
			;
	}
	SSL_free(ssl);
	SSL_CTX_free(context);
}

/* One client, then it is over. */
static void *run_server(void *arg)
{
	struct server *server = arg;
	int descriptor = accept(server->listener, NULL, NULL);

	if (descriptor < 0)
		return NULL;
	if (server->is_plain)
		(void)!write(descriptor, "220 mail.example.com ESMTP\r\n", 28);
	else
		serve_tls(server, descriptor);
	close(descriptor);
	return NULL;
}

static void start_server(struct server *server)
{
	server->listener = peer_listen(&server->port);
	assert_true(server->listener >= 0);
	assert_int_equal(pthread_create(&server->thread, NULL, run_server, server), 0);
}

static void stop_server(struct server *server)
{
	shutdown(server->listener, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->listener);
}

/* ---- the client ---- */

/*
 * Connects, and waits until the server's settings have come and a moment more. Returns what
 * h2_process() last said, and its reason.
 */
static int try(struct server *server, const char *host, const struct tls_options *tls,
	       char reason[CALL_REASON_SIZE])
{
	struct h2_options options = {
		.host = host,
		.tls = tls,
		.user_agent = "test",
		.connect_timeout_ms = TIMEOUT_MS,
	};
	struct call call;
	struct h2 *h2;
	int error;

	call_start(&call, TIMEOUT_MS);
	start_server(server);
	options.port = server->port;
	error = h2_new(&options, &call, &h2);
	assert_int_equal(error, 0);
	while (!error && call_check(&call) == 0) {
		struct pollfd poll_one;
		int64_t deadline_ms;

		h2_prepare_poll(h2, &poll_one, &deadline_ms);
		if (poll(&poll_one, 1, 200) == 0 && h2_last_heard_ms(h2) > 0)
			break;
		error = h2_process(h2, &call);
	}
	memcpy(reason, call.reason, CALL_REASON_SIZE);
	h2_free(h2);
	stop_server(server);
	return error;
}

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_non_null(mkdtemp(directory));
	authority = make_identity("authority", NULL, NULL, DAY);
	other_authority = make_identity("other authority", NULL, NULL, DAY);
	save(&authority, "ca.pem", NULL, 0);
	save(&other_authority, "other.pem", NULL, 0);
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	free_identity(&authority);
	free_identity(&other_authority);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

/* ---- tests ---- */

#define NAMES "DNS:localhost,IP:127.0.0.1"

static void test_the_server_is_verified(void **state)
{
	struct identity good = make_identity("server", NAMES, &authority, DAY);
	struct identity elsewhere = make_identity("server", "DNS:example.com", &authority, DAY);
	struct identity expired = make_identity("server", NAMES, &authority, -60);
	const struct tls_options tls = { .ca_file = path_of("ca.pem") };
	const struct tls_options other = { .ca_file = path_of("other.pem") };
	const struct tls_options system_ca = { .ca_file = NULL };
	char reason[CALL_REASON_SIZE];

	(void)state;
	assert_int_equal(try(&(struct server){ .identity = &good }, "localhost", &tls, reason), 0);
	assert_int_equal(try(&(struct server){ .identity = &good }, "127.0.0.1", &tls, reason), 0);

	assert_int_equal(try(&(struct server){ .identity = &elsewhere }, "localhost", &tls, reason),
			 -ECONNABORTED);
	assert_non_null(strstr(reason, "ostname mismatch"));
	assert_int_equal(try(&(struct server){ .identity = &elsewhere }, "127.0.0.1", &tls, reason),
			 -ECONNABORTED);
	assert_non_null(strstr(reason, "IP address mismatch"));
	assert_int_equal(try(&(struct server){ .identity = &expired }, "localhost", &tls, reason),
			 -ECONNABORTED);
	assert_non_null(strstr(reason, "expired"));
	assert_int_equal(try(&(struct server){ .identity = &good }, "localhost", &other, reason),
			 -ECONNABORTED);
	assert_int_equal(
		try(&(struct server){ .identity = &good }, "localhost", &system_ca, reason),
		-ECONNABORTED);
	free_identity(&good);
	free_identity(&elsewhere);
	free_identity(&expired);
}

static void test_http2_must_be_chosen(void **state)
{
	struct identity good = make_identity("server", NAMES, &authority, DAY);
	const struct tls_options tls = { .ca_file = path_of("ca.pem") };
	char reason[CALL_REASON_SIZE];

	(void)state;
	assert_int_equal(try(&(struct server){ .identity = &good, .has_no_h2 = true }, "localhost",
			     &tls, reason),
			 -ECONNABORTED);
	assert_non_null(strstr(reason, "HTTP/2"));
	assert_int_equal(try(&(struct server){ .is_plain = true }, "localhost", &tls, reason),
			 -ECONNABORTED);
	assert_non_null(strstr(reason, "does not speak TLS"));
	/* And the other way round. */
	assert_true(try(&(struct server){ .identity = &good }, "localhost", NULL, reason) < 0);
	free_identity(&good);
}

static void test_the_client_shows_its_certificate(void **state)
{
	struct identity good = make_identity("server", NAMES, &authority, DAY);
	struct identity client = make_identity("client", "DNS:client", &authority, DAY);
	struct identity foreign = make_identity("foreign", "DNS:f", &other_authority, DAY);
	struct tls_options tls = { .ca_file = path_of("ca.pem") };
	struct server server = { .identity = &good, .wants_certificate = true };
	char reason[CALL_REASON_SIZE];

	(void)state;
	assert_int_equal(try(&server, "localhost", &tls, reason), -ECONNABORTED);
	assert_non_null(strstr(reason, "does not take us without a certificate"));

	tls.cert_file = path_of("client.pem");
	tls.key_file = path_of("client.key");
	save(&foreign, "client.pem", "client.key", 0600);
	assert_int_equal(try(&server, "localhost", &tls, reason), -ECONNABORTED);
	assert_non_null(strstr(reason, "does not take our certificate"));

	/* The files have been replaced: the next connection uses them. */
	save(&client, "client.pem", "client.key", 0600);
	assert_int_equal(try(&server, "localhost", &tls, reason), 0);
	assert_string_equal(server.client, "client");
	free_identity(&good);
	free_identity(&client);
	free_identity(&foreign);
}

/* Fails before a byte is sent. */
static void expect_local_failure(const struct tls_options *tls, const char *words)
{
	struct tls *result = NULL;
	struct call call;

	call_start(&call, 0);
	assert_int_equal(tls_new(tls, "localhost", 0, &call, &result), -ECONNABORTED);
	if (!strstr(call.reason, words))
		fail_msg("\"%s\" does not have \"%s\"", call.reason, words);
	assert_null(result);
}

static void test_files_that_can_not_be_used(void **state)
{
	struct identity client = make_identity("client", "DNS:client", &authority, DAY);
	struct identity expired = make_identity("client", "DNS:client", &authority, -60);
	struct tls_options tls = {
		.ca_file = path_of("ca.pem"),
		.cert_file = path_of("c.pem"),
		.key_file = path_of("c.key"),
	};
	FILE *file;

	(void)state;
	expect_local_failure(&tls, "No such file");
	save(&expired, "c.pem", "c.key", 0600);
	expect_local_failure(&tls, "has expired");
	save(&client, "c.pem", "c.key", 0644);
	expect_local_failure(&tls, "c.key");
	save(&client, "c.pem", NULL, 0);
	file = create("c.key", 0600);
	PEM_write_PrivateKey(file, expired.key, NULL, NULL, 0, NULL, NULL);
	fclose(file);
	expect_local_failure(&tls, "c.key"); /* the key of another certificate */
	file = create("c.key", 0600);
	PEM_write_PKCS8PrivateKey(file, client.key, EVP_aes_256_cbc(), "secret", 6, NULL, NULL);
	fclose(file);
	expect_local_failure(&tls, "c.key"); /* a password, which nobody is asked for */
	file = create("c.key", 0600);
	fprintf(file, "no key\n");
	fclose(file);
	expect_local_failure(&tls, "c.key");
	tls.ca_file = path_of("absent.pem");
	expect_local_failure(&tls, "absent.pem");
	free_identity(&client);
	free_identity(&expired);
}

static void test_a_silent_server_is_given_up(void **state)
{
	const struct tls_options tls = { .ca_file = path_of("ca.pem") };
	struct h2_options options = {
		.host = "127.0.0.1",
		.tls = &tls,
		.user_agent = "test",
		.connect_timeout_ms = 200,
	};
	int listener = peer_listen(&options.port), error = 0;
	int64_t begun_ms = clock_monotonic_ms();
	struct call call;
	struct h2 *h2;

	(void)state;
	call_start(&call, TIMEOUT_MS);
	assert_int_equal(h2_new(&options, &call, &h2), 0);
	while (!error && call_check(&call) == 0) {
		struct pollfd poll_one;
		int64_t deadline_ms;

		h2_prepare_poll(h2, &poll_one, &deadline_ms);
		assert_true(deadline_ms < begun_ms + 1000);
		poll(&poll_one, 1, 10);
		error = h2_process(h2, &call);
	}
	assert_int_equal(error, -ETIMEDOUT);
	assert_in_range(clock_monotonic_ms() - begun_ms, 190, 1000);
	h2_free(h2);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_server_is_verified),
		cmocka_unit_test(test_http2_must_be_chosen),
		cmocka_unit_test(test_the_client_shows_its_certificate),
		cmocka_unit_test(test_files_that_can_not_be_used),
		cmocka_unit_test(test_a_silent_server_is_given_up),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
