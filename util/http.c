/*
 * Each request borrows a libcurl easy handle with a multi handle of its own from a pool. The multi handle owns the open
 * connections, and lets the calling thread wait in slices and look at its call in between, which curl_easy_perform()
 * does not. Most recently used first, so that few connections stay warm and the others can grow old.
 */
#include "util/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/cleanup.h"
#include "util/mutex.h"
#include "util/wait.h"

#if LIBCURL_VERSION_NUM < 0x075000
#error "libcurl 7.80 or later is needed: CURLOPT_PREREQFUNCTION tells whether a request was sent"
#endif

#define IDLE_HANDLES_MAX 16
#define CONNECTIONS_PER_HANDLE 4L /* one for each server of a small cluster, and one to replace a dead one */
#define HEADER_COUNT_MAX 100
#define HEADER_BYTES_MAX (64 * 1024)
#define HOST_SIZE 128

struct handle {
	struct handle *next;
	CURLM *multi;
	CURL *easy;
};

struct http_client {
	char *user_agent;
	char *ca_file;
	char *cert_file;
	char *key_file;
	atomic_ulong request_count;
	struct mutex lock;
	struct handle *idle GUARDED_BY(&lock);
	size_t idle_count GUARDED_BY(&lock);
};

/* What libcurl's callbacks know of the request under way. */
struct transfer {
	const struct http_request *request;
	struct http_answer answer;
	size_t header_bytes; /* of all responses, informational ones included, so that an endless row of them ends */
	bool in_head; /* between a status line and the empty line */
	bool head_seen;
	bool sent;
	int error; /* why a callback broke the transfer off, 0 when none did */
	char error_text[CURL_ERROR_SIZE];
};

static void handle_free(struct handle *handle)
{
	if (!handle)
		return;
	if (handle->easy)
		curl_easy_cleanup(handle->easy);
	/* This closes the connections. */
	if (handle->multi)
		curl_multi_cleanup(handle->multi);
	free(handle);
}

static struct handle *handle_new(void)
{
	struct handle *handle = calloc(1, sizeof(*handle));

	if (!handle)
		return NULL;
	handle->multi = curl_multi_init();
	handle->easy = curl_easy_init();
	if (!handle->multi || !handle->easy ||
	    curl_multi_setopt(handle->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_PER_HANDLE) != CURLM_OK) {
		handle_free(handle);
		return NULL;
	}
	return handle;
}

static struct handle *client_take_handle(struct http_client *client)
{
	struct handle *handle;

	mutex_lock(&client->lock);
	handle = client->idle;
	if (handle) {
		client->idle = handle->next;
		client->idle_count--;
	}
	mutex_unlock(&client->lock);
	return handle ? handle : handle_new();
}

static void client_give_back_handle(struct http_client *client, struct handle *handle)
{
	/* It must not remember pointers into a request that is over. Connections survive this. */
	curl_easy_reset(handle->easy);

	mutex_lock(&client->lock);
	if (client->idle_count < IDLE_HANDLES_MAX) {
		handle->next = client->idle;
		client->idle = handle;
		client->idle_count++;
		handle = NULL;
	}
	mutex_unlock(&client->lock);
	/* Outside of the lock: closing a TLS connection writes to it. */
	handle_free(handle);
}

static int copy_text(const char *text, char **ret_copy)
{
	if (!text)
		return 0;
	*ret_copy = strdup(text);
	return *ret_copy ? 0 : -ENOMEM;
}

/*
 * OpenSSL writes without MSG_NOSIGNAL, and CURLOPT_NOSIGNAL, which threads need, keeps libcurl from blocking SIGPIPE
 * around it: a server that hangs up would kill the program.
 */
static void ignore_broken_pipes(void)
{
	struct sigaction action;

	if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

/*
 * libcurl keeps copies of what it sends and receives in buffers of its own, tokens and data keys among them, and frees them
 * as they are. So it is given functions that overwrite what they free.
 */
static void wiping_free(void *memory)
{
	if (memory)
		explicit_bzero(memory, malloc_usable_size(memory));
	free(memory);
}

static void *wiping_realloc(void *memory, size_t size)
{
	size_t old_size = memory ? malloc_usable_size(memory) : 0;
	void *moved = malloc(size ? size : 1);

	if (!moved)
		return NULL;
	if (memory)
		memcpy(moved, memory, old_size < size ? old_size : size);
	wiping_free(memory);
	return moved;
}

int http_client_new(const struct http_client_options *options, struct http_client **ret_client)
{
	struct http_client *client;
	CURLcode code = curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiping_free, wiping_realloc, strdup,
					     calloc);

	if (code)
		return code == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EIO;
	client = calloc(1, sizeof(*client));
	if (!client) {
		curl_global_cleanup();
		return -ENOMEM;
	}
	mutex_init(&client->lock);
	if (copy_text(options->user_agent, &client->user_agent) || copy_text(options->ca_file, &client->ca_file) ||
	    copy_text(options->cert_file, &client->cert_file) || copy_text(options->key_file, &client->key_file)) {
		http_client_free(client);
		return -ENOMEM;
	}
	ignore_broken_pipes();
	*ret_client = client;
	return 0;
}

/* Nobody else has the client any more. */
void http_client_free(struct http_client *client) NO_LOCK_ANALYSIS
{
	if (!client)
		return;
	while (client->idle) {
		struct handle *handle = client->idle;

		client->idle = handle->next;
		handle_free(handle);
	}
	mutex_destroy(&client->lock);
	free(client->user_agent);
	free(client->ca_file);
	free(client->cert_file);
	free(client->key_file);
	free(client);
	curl_global_cleanup(); /* counts how often curl_global_init() was called */
}

unsigned long http_client_request_count(const struct http_client *client)
{
	return atomic_load(&client->request_count);
}

/* Not tolower() and isspace(): what a header means must not depend on a locale. */
static char lower_case(char byte)
{
	return byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
}

static bool is_header_blank(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static void wipe_and_free_text(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

static void answer_drop_headers(struct http_answer *answer)
{
	for (size_t i = 0; i < answer->header_count; i++) {
		wipe_and_free_text(answer->headers[i].name);
		wipe_and_free_text(answer->headers[i].value);
	}
	answer->header_count = 0;
}

/* Takes one line, which ends in a line break and not in a NUL. Lines that are no header are passed over. */
static int answer_add_header(struct http_answer *answer, const char *line, size_t size)
{
	const char *colon = memchr(line, ':', size), *end = line + size, *value;
	struct http_header *header;

	if (!colon || colon == line || is_header_blank(line[0]))
		return 0;
	if (answer->header_count == HEADER_COUNT_MAX)
		return -EIO;
	if (!answer->headers) {
		answer->headers = calloc(HEADER_COUNT_MAX, sizeof(*answer->headers));
		if (!answer->headers)
			return -ENOMEM;
	}
	for (value = colon + 1; value < end && is_header_blank(*value); value++)
		;
	while (end > value && is_header_blank(end[-1]))
		end--;

	header = &answer->headers[answer->header_count];
	header->name = strndup(line, (size_t)(colon - line));
	header->value = strndup(value, (size_t)(end - value));
	if (!header->name || !header->value) {
		wipe_and_free_text(header->name);
		wipe_and_free_text(header->value);
		return -ENOMEM;
	}
	for (char *byte = header->name; *byte; byte++)
		*byte = lower_case(*byte);
	answer->header_count++;
	return 0;
}

/* libcurl gives each line of each response head, the status line and the empty line at its end included. */
static size_t on_header(char *line, size_t one, size_t size, void *arg)
{
	struct transfer *transfer = arg;

	(void)one;
	if (size > HEADER_BYTES_MAX - transfer->header_bytes) {
		transfer->error = -EIO;
		return 0;
	}
	transfer->header_bytes += size;
	if (!transfer->in_head) {
		/* Other lines are the trailer of a chunked body, which nobody asked for. */
		if (size >= strlen("HTTP/") && memcmp(line, "HTTP/", strlen("HTTP/")) == 0) {
			/* What came before was only "100 Continue" or the like. */
			answer_drop_headers(&transfer->answer);
			transfer->in_head = true;
		}
		return size;
	}
	if (line[0] == '\r' || line[0] == '\n') {
		transfer->in_head = false;
		transfer->head_seen = true;
	} else {
		transfer->error = answer_add_header(&transfer->answer, line, size);
	}
	return transfer->error ? 0 : size;
}

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
	struct transfer *transfer = arg;

	(void)one;
	if (size > transfer->request->answer_limit - transfer->answer.body.size)
		transfer->error = -EMSGSIZE;
	else
		transfer->error = buffer_append(&transfer->answer.body, data, size);
	return transfer->error ? 0 : size;
}

/*
 * libcurl calls this when the connection stands, TLS included, right before it writes the first byte. There is no
 * sharper line: CURLINFO_REQUEST_SIZE only grows when a write is reported as done, and a TLS write of several records
 * that still waits for the last of them counts as nothing, while the first may be there already (7.88, lib/http.c,
 * Curl_buffer_send()).
 */
static int on_before_request(void *arg, char *remote_address, char *local_address, int remote_port, int local_port)
{
	struct transfer *transfer = arg;

	(void)remote_address;
	(void)local_address;
	(void)remote_port;
	(void)local_port;
	transfer->sent = true;
	return CURL_PREREQFUNC_OK;
}

#define SET_OPTION(option, value)                                     \
	do {                                                          \
		if (code == CURLE_OK)                                 \
			code = curl_easy_setopt(easy, option, value); \
	} while (0)

/* What is the same for every request. */
static CURLcode set_client_options(CURL *easy, const struct http_client *client)
{
	CURLcode code = CURLE_OK;

	/* No signals: in a program with threads they hit anyone. */
	SET_OPTION(CURLOPT_NOSIGNAL, 1L);
	SET_OPTION(CURLOPT_USERAGENT, client->user_agent);
#if LIBCURL_VERSION_NUM >= 0x075500
	SET_OPTION(CURLOPT_PROTOCOLS_STR, "http,https");
#else
	SET_OPTION(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	SET_OPTION(CURLOPT_FOLLOWLOCATION, 0L);
	/* Not NULL, which means http_proxy from the environment: the token must not pass a proxy by accident. */
	SET_OPTION(CURLOPT_PROXY, "");
	SET_OPTION(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET_OPTION(CURLOPT_HTTP09_ALLOWED, 0L);
	SET_OPTION(CURLOPT_TCP_NODELAY, 1L);
	/* So that a connection through a firewall that forgot it is found dead before it is used. */
	SET_OPTION(CURLOPT_TCP_KEEPALIVE, 1L);
	SET_OPTION(CURLOPT_SSL_VERIFYPEER, 1L);
	SET_OPTION(CURLOPT_SSL_VERIFYHOST, 2L);
	SET_OPTION(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (client->ca_file) {
		SET_OPTION(CURLOPT_CAINFO, client->ca_file);
		/* Otherwise the system's directory of certificates would be trusted as well. */
		SET_OPTION(CURLOPT_CAPATH, NULL);
#if LIBCURL_VERSION_NUM >= 0x075700
		/* Otherwise the authorities of a day ago would be trusted. */
		SET_OPTION(CURLOPT_CA_CACHE_TIMEOUT, 0L);
#endif
	}
	/* A resumed session is that of the certificates of then. */
	SET_OPTION(CURLOPT_SSL_SESSIONID_CACHE, 0L);
	if (client->cert_file)
		SET_OPTION(CURLOPT_SSLCERT, client->cert_file);
	if (client->key_file)
		SET_OPTION(CURLOPT_SSLKEY, client->key_file);
	/* Otherwise libssl asks at the terminal for the password of a key that has one. */
	SET_OPTION(CURLOPT_KEYPASSWD, "");
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Without it, a transfer that is broken off waits for its resolver thread, which can take half a minute. */
	SET_OPTION(CURLOPT_QUICK_EXIT, 1L);
#endif
	return code;
}

static CURLcode set_method_and_body(CURL *easy, const struct http_request *request)
{
	bool is_get = strcmp(request->method, "GET") == 0;
	bool is_post = strcmp(request->method, "POST") == 0;
	bool has_body = request->body || is_post || strcmp(request->method, "PUT") == 0;
	CURLcode code = CURLE_OK;

	if (has_body) {
		/* For PUT too: CURLOPT_UPLOAD wants a read callback. POSTFIELDS must not be NULL, which means one. */
		SET_OPTION(CURLOPT_POST, 1L);
		SET_OPTION(CURLOPT_POSTFIELDS, request->body ? request->body : "");
		SET_OPTION(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(request->body ? request->body_size : 0));
	} else {
		SET_OPTION(CURLOPT_HTTPGET, 1L);
	}
	if (has_body ? !is_post : !is_get)
		SET_OPTION(CURLOPT_CUSTOMREQUEST, request->method);
	return code;
}

static CURLcode set_request_options(CURL *easy, struct transfer *transfer, struct curl_slist *headers,
				    const struct call *call)
{
	const struct http_request *request = transfer->request;
	/* Not 0, which means 300 s. One second more than is left: then call_check() is what ends it. */
	int64_t connect_timeout_ms = call_left_ms(call) < INT_MAX / 2 ? call_left_ms(call) + 1000 : INT_MAX / 2;
	CURLcode code = set_method_and_body(easy, request);

	if (request->connect_timeout_ms > 0)
		connect_timeout_ms = request->connect_timeout_ms;
	SET_OPTION(CURLOPT_URL, request->url);
	SET_OPTION(CURLOPT_HTTPHEADER, headers);
	SET_OPTION(CURLOPT_CONNECTTIMEOUT_MS, (long)connect_timeout_ms);
	/*
	 * When a connection it reuses turns out to be closed before a byte of answer came, libcurl sends the request
	 * again by itself, even a POST. It can't know whether the server acted on the first one. On a connection of its
	 * own, it never does.
	 */
	SET_OPTION(CURLOPT_FRESH_CONNECT, request->never_repeat ? 1L : 0L);
	SET_OPTION(CURLOPT_ERRORBUFFER, transfer->error_text);
	SET_OPTION(CURLOPT_PREREQFUNCTION, on_before_request);
	SET_OPTION(CURLOPT_PREREQDATA, transfer);
	SET_OPTION(CURLOPT_HEADERFUNCTION, on_header);
	SET_OPTION(CURLOPT_HEADERDATA, transfer);
	SET_OPTION(CURLOPT_WRITEFUNCTION, on_body);
	SET_OPTION(CURLOPT_WRITEDATA, transfer);
	return code;
}

/* libcurl's list owns copies of lines that may hold a token. (What it keeps of them in its send buffer is its own.) */
static void wipe_headers(struct curl_slist **headers)
{
	for (struct curl_slist *header = *headers; header; header = header->next)
		explicit_bzero(header->data, strlen(header->data));
	curl_slist_free_all(*headers);
}

static int append_header(struct curl_slist **headers, const char *line)
{
	struct curl_slist *longer;

	/* What comes from elsewhere, a token, must not become a header of its own, or a second request. */
	if (strpbrk(line, "\r\n"))
		return -EIO;
	longer = curl_slist_append(*headers, line);
	if (!longer)
		return -ENOMEM;
	*headers = longer;
	return 0;
}

static int make_headers(const struct http_request *request, struct curl_slist **headers)
{
	cleanup_buffer struct buffer content_type = BUFFER_INIT;
	/* "Name:" removes what libcurl adds: for a large body "Expect: 100-continue", for which it would wait. */
	int error = append_header(headers, "Expect:");

	/* Without a type it would claim that the body is a form. */
	if (!error)
		error = buffer_append_text(&content_type, "Content-Type:");
	if (!error && request->content_type)
		error = buffer_append_format(&content_type, " %s", request->content_type);
	if (!error)
		error = append_header(headers, content_type.data);
	for (const char *const *line = request->headers; !error && line && *line; line++)
		error = append_header(headers, *line);
	return error;
}

/* host:port, for reasons. Never the path or the query. */
static void describe_host(const char *url, char ret_host[HOST_SIZE])
{
	CURLU *parts = curl_url();
	char *host = NULL, *port = NULL;

	if (parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	    curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
		snprintf(ret_host, HOST_SIZE, "%s:%s", host, port);
	else
		snprintf(ret_host, HOST_SIZE, "the server");
	curl_free(port);
	curl_free(host);
	curl_url_cleanup(parts);
}

static bool is_tls_failure(CURLcode code, const char *error_text)
{
	switch (code) {
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CRL_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_SSL_CLIENTCERT:
		return true;
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
		/* TLS 1.3 servers refuse a client's certificate after the client has finished its handshake. */
		return strstr(error_text, " alert ") != NULL;
	default:
		return false;
	}
}

/* The reason for a failure that a callback caused. */
static int fail_by_callback(const struct transfer *transfer, struct call *call, const char *host)
{
	switch (transfer->error) {
	case -EMSGSIZE:
		return call_fail(call, -EMSGSIZE, "the answer of %s is larger than %zu bytes", host,
				 transfer->request->answer_limit);
	case -ENOMEM:
		return call_fail(call, -ENOMEM, "out of memory for the answer of %s", host);
	default:
		return call_fail(call, transfer->error, "the answer of %s has more than %d headers, or %d KiB of them",
				 host, HEADER_COUNT_MAX, HEADER_BYTES_MAX / 1024);
	}
}

static int fail_to_connect(CURL *easy, const struct transfer *transfer, struct call *call, CURLcode code,
			   const char *host)
{
	char text[128];
	long system_error = 0;

	if (code == CURLE_COULDNT_RESOLVE_HOST)
		return call_fail(call, -EHOSTUNREACH, "no connection to %s: the name can't be resolved", host);
	/* We set no limit for the whole transfer, so this can only be the one for the connection. */
	if (code == CURLE_OPERATION_TIMEDOUT)
		return call_fail(call, -EHOSTUNREACH, "no connection to %s: no answer within %d ms", host,
				 transfer->request->connect_timeout_ms);
	if (curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &system_error) == CURLE_OK && system_error > 0)
		return call_fail(call, -EHOSTUNREACH, "no connection to %s: %s", host,
				 strerror_r((int)system_error, text, sizeof(text)));
	return call_fail(call, -EHOSTUNREACH, "no connection to %s: %s", host, transfer->error_text);
}

/* Turns what libcurl says into an errno and a reason. */
static int fail_by_code(CURL *easy, const struct transfer *transfer, struct call *call, CURLcode code)
{
	const char *text = transfer->error_text[0] ? transfer->error_text : curl_easy_strerror(code);
	char host[HOST_SIZE];

	describe_host(transfer->request->url, host);
	if (transfer->error)
		return fail_by_callback(transfer, call, host);
	if (is_tls_failure(code, text))
		return call_fail(call, -ECONNABORTED, "no TLS with %s: %s", host, text);
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT:
		return fail_to_connect(easy, transfer, call, code, host);
	case CURLE_OUT_OF_MEMORY:
		/* libcurl before 8.6 says this also of a header line beyond its own limit of 100 KiB. */
		if (transfer->sent && !transfer->head_seen)
			return call_fail(call, -EIO, "the answer of %s has a header that is too large", host);
		return call_fail(call, -ENOMEM, "out of memory for a request to %s", host);
	case CURLE_GOT_NOTHING:
		return call_fail(call, -EIO, "%s closed the connection without an answer", host);
	case CURLE_PARTIAL_FILE:
		return call_fail(call, -EIO, "the answer of %s is torn: %s", host, text);
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_WEIRD_SERVER_REPLY:
		return call_fail(call, -EIO, "the answer of %s is not HTTP: %s", host, text);
	default:
		return call_fail(call, -EIO, "request to %s failed: %s", host, text);
	}
}

static int fail_by_multi(CURLMcode code, const struct transfer *transfer, struct call *call)
{
	char host[HOST_SIZE];

	describe_host(transfer->request->url, host);
	return call_fail(call, code == CURLM_OUT_OF_MEMORY ? -ENOMEM : -EIO, "request to %s failed: %s", host,
			 curl_multi_strerror(code));
}

/* As call_check(), with the host in the reason. */
static int check_call(const struct transfer *transfer, struct call *call)
{
	char host[HOST_SIZE];
	int error = call_check(call);

	if (!error)
		return 0;
	describe_host(transfer->request->url, host);
	return call_fail(call, error, "%s: %s", host, call->reason);
}

/* Runs a transfer that is set up until it ends or the call does. */
static int run_transfer(struct handle *handle, struct transfer *transfer, struct call *call)
{
	CURLMcode multi_code = CURLM_OK;
	CURLMsg *message;
	int running = 1, waiting;

	for (;;) {
		int error;

		multi_code = curl_multi_perform(handle->multi, &running);
		if (multi_code != CURLM_OK)
			return fail_by_multi(multi_code, transfer, call);
		if (!running)
			break;
		error = check_call(transfer, call);
		if (error)
			return error;
		multi_code = curl_multi_poll(handle->multi, NULL, 0, call_slice_ms(call), NULL);
		if (multi_code != CURLM_OK)
			return fail_by_multi(multi_code, transfer, call);
	}
	message = curl_multi_info_read(handle->multi, &waiting);
	if (!message || message->msg != CURLMSG_DONE)
		return fail_by_multi(CURLM_INTERNAL_ERROR, transfer, call);
	if (message->data.result != CURLE_OK)
		return fail_by_code(handle->easy, transfer, call, message->data.result);
	return 0;
}

static int take_status(struct handle *handle, struct transfer *transfer, struct call *call)
{
	char host[HOST_SIZE];
	long status = 0;

	/* A connection closed in the middle of the headers is no failure for libcurl, but an answer without a body. */
	if (transfer->in_head || !transfer->head_seen) {
		describe_host(transfer->request->url, host);
		return call_fail(call, -EIO, "the answer of %s is torn: it ends within the headers", host);
	}
	if (curl_easy_getinfo(handle->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status >= 200 &&
	    status <= 999) {
		transfer->answer.status = (int)status;
		return 0;
	}
	describe_host(transfer->request->url, host);
	return call_fail(call, -EIO, "the answer of %s has no status", host);
}

static int perform(struct http_client *client, struct handle *handle, struct transfer *transfer, struct call *call)
{
	__attribute__((cleanup(wipe_headers))) struct curl_slist *headers = NULL;
	CURLMcode multi_code;
	CURLcode code;
	int error;

	error = make_headers(transfer->request, &headers);
	if (error == -ENOMEM)
		return call_fail(call, error, "out of memory for a request");
	if (error)
		return call_fail(call, error, "a header of the request holds a line break");
	code = set_client_options(handle->easy, client);
	if (!code)
		code = set_request_options(handle->easy, transfer, headers, call);
	if (code)
		return fail_by_code(handle->easy, transfer, call, code);

	multi_code = curl_multi_add_handle(handle->multi, handle->easy);
	if (multi_code != CURLM_OK)
		return fail_by_multi(multi_code, transfer, call);
	error = run_transfer(handle, transfer, call);
	if (!error)
		error = take_status(handle, transfer, call);
	/* Also closes the connection of a transfer that is not over. Must come before the headers are wiped. */
	curl_multi_remove_handle(handle->multi, handle->easy);
	return error;
}

int http_request(struct http_client *client, const struct http_request *request, struct call *call,
		 struct http_answer *ret_answer, bool *ret_sent)
{
	struct transfer transfer = { .request = request };
	struct handle *handle;
	int error;

	wait_check("the answer to an HTTP request");
	if (ret_sent)
		*ret_sent = false;
	error = check_call(&transfer, call);
	if (error)
		return error;
	handle = client_take_handle(client);
	if (!handle)
		return call_fail(call, -ENOMEM, "out of memory for a request");

	atomic_fetch_add(&client->request_count, 1);
	error = perform(client, handle, &transfer, call);
	if (ret_sent)
		*ret_sent = transfer.sent;
	if (error) {
		/* Its other connections probably lead to the same server, and are as bad. */
		handle_free(handle);
		http_answer_release(&transfer.answer);
		return error;
	}
	client_give_back_handle(client, handle);
	*ret_answer = transfer.answer;
	return 0;
}

const char *http_answer_header(const struct http_answer *answer, const char *name)
{
	for (size_t i = 0; i < answer->header_count; i++) {
		if (strcasecmp(answer->headers[i].name, name) == 0)
			return answer->headers[i].value;
	}
	return NULL;
}

void http_answer_release(struct http_answer *answer)
{
	buffer_wipe(&answer->body);
	answer_drop_headers(answer);
	free(answer->headers);
	memset(answer, 0, sizeof(*answer));
}
