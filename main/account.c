#include "main/account.h"

#include <errno.h>
#include <string.h>

#include "store/nacos_store.h"
#include "util/buffer.h"
#include "util/file.h"
#include "util/log.h"

/* libcurl reads it for each connection, and does not mind who else can. */
static int check_tls_key(const char *path, struct call *call)
{
	cleanup_buffer_wipe struct buffer key = BUFFER_INIT;

	return path ? file_read_secret(path, call, &key) : 0;
}

static int connect_client(const struct account_options *account_options, struct call *call, struct account *account)
{
	const struct source *source = &account_options->command_line->source;
	const struct mount_options *options = &account_options->command_line->options;
	const struct nacos_client_options client_options = {
		.hosts = source->hosts,
		.host_count = source->host_count,
		.https = source->https,
		.ca_file = options->tls_ca_file,
		.cert_file = options->tls_cert_file,
		.key_file = options->tls_key_file,
		.username = account_options->username,
		.password_file = account_options->password_file,
		.login_file = account_options->login_file,
		.console_url = options->console_url,
		.credentials = account_options->credentials,
		.region = options->region,
	};
	int error = check_tls_key(options->tls_key_file, call);

	if (!error)
		error = nacos_client_new(&client_options, &account->client);
	return error ? error : nacos_client_connect(account->client, call);
}

static int build_transport(const struct account_options *account_options, struct call *call, struct account *account)
{
	const struct command_line *command_line = account_options->command_line;
	static const enum nacos_transport_mode modes[] = {
		[TRANSPORT_AUTO] = NACOS_TRANSPORT_AUTO,
		[TRANSPORT_GRPC] = NACOS_TRANSPORT_GRPC,
		[TRANSPORT_HTTP] = NACOS_TRANSPORT_HTTP,
	};
	const struct mount_options *options = &command_line->options;
	const struct tls_options tls = {
		.ca_file = options->tls_ca_file,
		.cert_file = options->tls_cert_file,
		.key_file = options->tls_key_file,
	};
	/* What TLS was asked for must not go over plain HTTP because somebody blocks the port of gRPC. */
	bool fails_closed = options->grpc_tls && !command_line->source.https;
	enum nacos_transport_mode mode = fails_closed ? NACOS_TRANSPORT_GRPC : modes[options->transport];
	const struct nacos_transport_options transport_options = {
		.client = account->client,
		.mode = account_options->is_for_caller ? NACOS_TRANSPORT_HTTP : mode,
		.hosts = command_line->source.hosts,
		.host_count = command_line->source.host_count,
		.from_database = account_options->is_for_caller,
		/* https:// asks for no less: the same contents and tokens go over gRPC. */
		.tls = options->grpc_tls || command_line->source.https ? &tls : NULL,
	};
	int error = nacos_transport_new(&transport_options, &account->transport);

	return error ? error : nacos_transport_check(account->transport, call);
}

int account_open(const struct account_options *options, struct call *call, struct account *account)
{
	memset(account, 0, sizeof(*account));
	int error = connect_client(options, call, account);
	if (!error)
		error = build_transport(options, call, account);
	if (!error)
		error = nacos_store_new(account->transport, &account->bottom);
	return error;
}

void account_start(struct account *account)
{
	if (nacos_transport_start(account->transport))
		log_warning("the threads for gRPC, or for watching, can't be started: changes are seen late");
}

void account_stop(struct account *account)
{
	if (account->transport)
		nacos_transport_stop(account->transport);
}

void account_close(struct account *account)
{
	account_stop(account);
	store_free(account->bottom);
	nacos_transport_free(account->transport);
	nacos_client_free(account->client);
	memset(account, 0, sizeof(*account));
}
