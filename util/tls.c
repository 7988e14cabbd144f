#include "util/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/buffer.h"
#include "util/cleanup.h"
#include "util/file.h"

/* What a list of protocols looks like in ALPN: each behind its length. */
#define ALPN_H2 "\x02h2"

struct tls {
	SSL_CTX *context;
	SSL *ssl;
	char *host;
	bool has_certificate;
	bool broken; /* libssl must not be asked to say goodbye any more */
	short read_events, write_events;
};

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	/* One attempt: who closes a connection doesn't wait for the peer's answer. */
	if (tls->ssl && !tls->broken && SSL_is_init_finished(tls->ssl))
		SSL_shutdown(tls->ssl);
	ERR_clear_error();
	SSL_free(tls->ssl);
	SSL_CTX_free(tls->context);
	free(tls->host);
	free(tls);
}

/* What libssl has last to say about a failure. */
static const char *last_words(void)
{
	const char *words = ERR_reason_error_string(ERR_peek_last_error());

	return words ? words : "unknown error";
}

static int fail_file(const char *path, struct call *call)
{
	unsigned long first = ERR_peek_error();
	/* A file that can't be opened is the first of a row of errors, and the only telling one. */
	const char *words =
		ERR_SYSTEM_ERROR(first) ? strerror(ERR_GET_REASON(first)) : last_words();
	int error = call_fail(call, -ECONNABORTED, "TLS: %s: %s", path, words);

	ERR_clear_error();
	return error;
}

static int load_authorities(struct tls *tls, const struct tls_options *options, struct call *call)
{
	if (!options->ca_file) {
		if (SSL_CTX_set_default_verify_paths(tls->context) != 1)
			return fail_file("the system's certificates", call);
		return 0;
	}
	if (SSL_CTX_load_verify_file(tls->context, options->ca_file) != 1)
		return fail_file(options->ca_file, call);
	return 0;
}

/* The one that comes with libssl asks at the terminal. */
static int refuse_password(char *password, int size, int for_writing, void *arg)
{
	(void)password;
	(void)size;
	(void)for_writing;
	(void)arg;
	return -1;
}

static int load_key(struct tls *tls, const char *path, struct call *call)
{
	cleanup_buffer_wipe struct buffer text = BUFFER_INIT;
	EVP_PKEY *key = NULL;
	int error = file_read_secret(path, call, &text);
	BIO *source;
	bool good;

	if (error)
		return error == -ENOMEM ? error
					: call_fail(call, -ECONNABORTED, "TLS: %s", call->reason);
	source = BIO_new_mem_buf(text.data, (int)text.size);
	if (!source)
		return call_fail(call, -ENOMEM, "TLS: out of memory");
	key = PEM_read_bio_PrivateKey(source, NULL, refuse_password, NULL);
	BIO_free(source);
	if (!key)
		return fail_file(path, call);
	good = SSL_CTX_use_PrivateKey(tls->context, key) == 1;
	EVP_PKEY_free(key);
	return good ? 0 : fail_file(path, call);
}

/* A server's alert would not say more than "bad certificate". */
static int check_times(struct tls *tls, const char *path, struct call *call)
{
	const X509 *certificate = SSL_CTX_get0_certificate(tls->context);

	if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
		return call_fail(call, -ECONNABORTED, "TLS: %s: the certificate has expired", path);
	if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
		return call_fail(call, -ECONNABORTED, "TLS: %s: the certificate is not valid yet",
				 path);
	return 0;
}

static int load_certificate(struct tls *tls, const struct tls_options *options, struct call *call)
{
	const char *key_file = options->key_file ? options->key_file : options->cert_file;
	int error;

	if (!options->cert_file)
		return 0;
	if (SSL_CTX_use_certificate_chain_file(tls->context, options->cert_file) != 1)
		return fail_file(options->cert_file, call);
	error = check_times(tls, options->cert_file, call);
	if (!error)
		error = load_key(tls, key_file, call);
	if (error)
		return error;
	tls->has_certificate = true;
	return 0;
}

/* Whom the certificate must be for; a name also goes into the handshake (SNI). */
static int expect_host(struct tls *tls)
{
	unsigned char address[sizeof(struct in6_addr)];
	bool is_address = inet_pton(AF_INET, tls->host, address) == 1 ||
			  inet_pton(AF_INET6, tls->host, address) == 1;
	X509_VERIFY_PARAM *parameters = SSL_get0_param(tls->ssl);

	if (is_address)
		return X509_VERIFY_PARAM_set1_ip_asc(parameters, tls->host) == 1 ? 0 : -ENOMEM;
	X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (X509_VERIFY_PARAM_set1_host(parameters, tls->host, 0) != 1 ||
	    SSL_set_tlsext_host_name(tls->ssl, tls->host) != 1)
		return -ENOMEM;
	return 0;
}

static int set_rules(struct tls *tls)
{
	SSL_CTX *context = tls->context;

	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	/* HTTP/2 forbids renegotiation; and its frames tell by themselves where the end is. */
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					     SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_RELEASE_BUFFERS);
	if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
		return -ENOMEM;
	/* The only function of libssl for which 0 is success. */
	if (SSL_CTX_set_alpn_protos(context, (const unsigned char *)ALPN_H2, strlen(ALPN_H2)) != 0)
		return -ENOMEM;
	return 0;
}

static int prepare(struct tls *tls, const struct tls_options *options, int descriptor,
		   struct call *call)
{
	int error;

	tls->context = SSL_CTX_new(TLS_client_method());
	if (!tls->context || !tls->host || set_rules(tls))
		return call_fail(call, -ENOMEM, "TLS: can't be set up");
	error = load_authorities(tls, options, call);
	if (!error)
		error = load_certificate(tls, options, call);
	if (error)
		return error;
	tls->ssl = SSL_new(tls->context);
	if (!tls->ssl || SSL_set_fd(tls->ssl, descriptor) != 1 || expect_host(tls))
		return call_fail(call, -ENOMEM, "TLS: can't be set up");
	SSL_set_connect_state(tls->ssl);
	return 0;
}

int tls_new(const struct tls_options *options, const char *host, int descriptor, struct call *call,
	    struct tls **ret_tls)
{
	struct tls *tls = calloc(1, sizeof(*tls));
	int error;

	if (!tls)
		return call_fail(call, -ENOMEM, "TLS: out of memory");
	tls->host = strdup(host);
	tls->read_events = POLLIN;
	tls->write_events = POLLOUT;
	ERR_clear_error();
	error = prepare(tls, options, descriptor, call);
	ERR_clear_error();
	if (error) {
		tls_free(tls);
		return error;
	}
	*ret_tls = tls;
	return 0;
}

/* Is it an alert of the peer about the certificate that we have, or have not, shown? */
static bool is_about_our_certificate(int reason)
{
	switch (reason) {
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_NO_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
		return true;
	}
	return false;
}

/* After SSL_ERROR_SSL: puts the failure into words. */
static int fail_protocol(struct tls *tls, bool in_handshake, struct call *call)
{
	long verdict = SSL_get_verify_result(tls->ssl);
	unsigned long code = ERR_peek_error();
	int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
	const char *own = tls->has_certificate ? "our certificate" : "us without a certificate";

	if (in_handshake && verdict != X509_V_OK)
		return call_fail(call, -ECONNABORTED, "TLS with %s: its certificate is no good: %s",
				 tls->host, X509_verify_cert_error_string(verdict));
	if (is_about_our_certificate(reason))
		return call_fail(call, -ECONNABORTED, "TLS with %s: it does not take %s (%s)",
				 tls->host, own, last_words());
	if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
	    reason == SSL_R_PACKET_LENGTH_TOO_LONG)
		return call_fail(call, -ECONNABORTED, "TLS with %s: that port does not speak TLS",
				 tls->host);
	/* Some servers have the same alert for whatever is wrong with a certificate. */
	return call_fail(call, -ECONNABORTED, "TLS with %s: %s%s", tls->host, last_words(),
			 tls->has_certificate && reason > SSL_AD_REASON_OFFSET
				 ? " (perhaps it does not take our certificate)"
				 : "");
}

/*
 * What an SSL_*() call that returned result means: -EAGAIN (and in *events what for), 0 at the end
 * of the stream, or a failure.
 */
static int judge(struct tls *tls, int result, int system_error, bool in_handshake, short *events,
		 struct call *call)
{
	int error;

	switch (SSL_get_error(tls->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		*events = POLLIN;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		*events = POLLOUT;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SSL:
		tls->broken = true;
		error = fail_protocol(tls, in_handshake, call);
		break;
	default:
		tls->broken = true;
		error = call_fail(call, -EIO, "TLS with %s: %s", tls->host,
				  system_error ? strerror(system_error) : "connection closed");
	}
	ERR_clear_error();
	return error;
}

int tls_handshake(struct tls *tls, struct call *call)
{
	const unsigned char *protocol = NULL;
	unsigned size = 0;
	int result;

	ERR_clear_error();
	errno = 0;
	result = SSL_do_handshake(tls->ssl);
	if (result != 1) {
		int error = judge(tls, result, errno, true, &tls->read_events, call);

		if (error && error != -EIO)
			return error;
		return call_fail(call, -ECONNABORTED, "TLS with %s: it hung up in the handshake",
				 tls->host);
	}
	tls->read_events = POLLIN;
	SSL_get0_alpn_selected(tls->ssl, &protocol, &size);
	if (size != 2 || memcmp(protocol, "h2", 2) != 0)
		return call_fail(call, -ECONNABORTED, "TLS with %s: it does not offer HTTP/2",
				 tls->host);
	return 0;
}

ssize_t tls_read(struct tls *tls, void *data, size_t size, struct call *call)
{
	int result;

	ERR_clear_error();
	errno = 0;
	tls->read_events = POLLIN;
	result = SSL_read(tls->ssl, data, size > INT_MAX ? INT_MAX : (int)size);
	if (result > 0)
		return result;
	return judge(tls, result, errno, false, &tls->read_events, call);
}

ssize_t tls_write(struct tls *tls, const void *data, size_t size, struct call *call)
{
	int result;

	ERR_clear_error();
	errno = 0;
	tls->write_events = POLLOUT;
	result = SSL_write(tls->ssl, data, size > INT_MAX ? INT_MAX : (int)size);
	if (result > 0)
		return result;
	result = judge(tls, result, errno, false, &tls->write_events, call);
	return result ? result : call_fail(call, -EIO, "TLS with %s: connection closed", tls->host);
}

short tls_read_events(const struct tls *tls)
{
	return tls->read_events;
}

short tls_write_events(const struct tls *tls)
{
	return tls->write_events;
}
