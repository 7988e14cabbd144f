/*
 * nacosfs: the start and the end of the program. The stack of stores is written out here:
 *
 *	file system operations > cipher > (identities) > rights > cache > (bottom of the identities) > nacos (main/account.h)
 *
 * Above cipher is plain text, in memory only; below it is what the server stores.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "crypto/cipher.h"
#include "crypto/credentials.h"
#include "crypto/keyring.h"
#include "crypto/kms_v1.h"
#include "crypto/kms_v3.h"
#include "crypto/ram_role.h"
#include "crypto/secret.h"
#include "crypto/secret_buffer.h"
#include "crypto/secret_memory.h"
#include "fs/follow/touch_child.h"
#include "fs/lifetime.h"
#include "fs/operations.h"
#include "main/account.h"
#include "main/command_line.h"
#include "main/login_directory.h"
#include "main/mountpoint.h"
#include "nacos/http/client.h"
#include "store/cache.h"
#include "store/cipher_store.h"
#include "store/identity_store.h"
#include "store/rbac.h"
#include "store/rights.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"

/* Threads that receive requests never wait, so a few are enough. */
#define RECEIVERS 8
#define SECRET_LIMIT ((size_t)64 << 20)
#define CACHE_CONTENT_LIMIT ((size_t)256 << 20)

/* All that lives from start to end. */
struct program {
	struct command_line command_line;
	struct credential_source *credentials; /* for Nacos; NULL: none */
	struct account account;
	struct store *cache;
	struct rights *rights; /* of the account */
	struct login_directory *login_directory;
	struct identity_store *identities; /* NULL: everything is asked with the login of the mount */
	struct rbac *rbac; /* NULL: not rights=rbac */
	struct key_service *key_service; /* NULL: none */
	struct cipher *cipher;
	struct store *cipher_store;
	const char **namespaces;
	char *unsaved_directory; /* NULL: none */
	struct filesystem filesystem;
	struct fuse_args arguments;
	struct fuse_session *session;
};

/* Of struct nacos_credentials_source. */
static int get_credentials(void *source, struct call *call, struct nacos_credentials *ret_credentials)
{
	cleanup_credentials struct credentials credentials = { .access_key_id = SECRET_BUFFER_INIT };
	int error = credential_source_get(source, call, &credentials);

	if (error)
		return error;
	secret_buffer_hand_over(&ret_credentials->access_key, &credentials.access_key_id);
	secret_buffer_hand_over(&ret_credentials->secret_key, &credentials.access_key_secret);
	secret_buffer_hand_over(&ret_credentials->security_token, &credentials.security_token);
	return 0;
}

/* What users of this machine may do, by the users and roles of Nacos. */
static int read_rbac(struct program *program, struct call *call)
{
	const struct mount_options *options = &program->command_line.options;
	const struct rbac_options rbac_options = { options->usermap_file, options->rolemap_file };
	int error = rbac_new(program->account.client, &rbac_options, call, &program->rbac);

	if (error)
		return error;
	struct rights_users users = rbac_users(program->rbac);
	users.owner = options->uid;
	users.owner_has_all = options->uid == getuid();
	rights_set_users(program->rights, &users);
	return 0;
}

static int open_credentials(const struct mount_options *options, struct call *call,
			    struct credential_source **ret_source)
{
	if (options->access_key_file)
		return credential_file_open(options->access_key_file, call, ret_source);
	return options->ram_role ? ram_role_open(options->ram_role, NULL, call, ret_source) : 0;
}

static int build_identities(struct program *program, const struct rights_options *rights_options, struct call *call)
{
	int error = login_directory_open(&program->command_line, call, &program->login_directory);

	if (error)
		return error;
	const struct identity_store_options identity_options = {
		.own = program->account.bottom,
		.source = login_directory_source(program->login_directory),
		.rights = *rights_options,
	};
	return identity_store_new(&identity_options, &program->identities);
}

/* What is between the account and the cipher. */
static int build_stack(struct program *program, struct call *call)
{
	const struct mount_options *options = &program->command_line.options;
	const struct cache_options cache_options = {
		.content_limit = CACHE_CONTENT_LIMIT,
		.fresh_ms = CACHE_FRESH_MS,
		.refresh_ms = (int64_t)options->refresh_seconds * 1000,
	};
	struct rights_options rights_options = {
		.read_only = options->read_only,
		.fresh_ms = cache_options.refresh_ms,
	};
	int error = options->identity == IDENTITY_MOUNT ? 0 : build_identities(program, &rights_options, call);
	struct store *bottom = program->identities ? identity_store_bottom(program->identities) : program->account.bottom;

	rights_options.off = options->rights == RIGHTS_OFF;
	if (!error)
		error = cache_new(bottom, &cache_options, &program->cache);
	if (!error)
		error = rights_new(program->cache, &rights_options, &program->rights);
	if (!error && options->rights == RIGHTS_RBAC)
		error = read_rbac(program, call);
	if (error || !program->identities)
		return error;
	identity_store_set_stack(program->identities, program->cache, program->rights);
	identity_store_sync(program->identities, call);
	return 0;
}

static int open_account(struct program *program, struct call *call)
{
	const struct mount_options *options = &program->command_line.options;
	int error = open_credentials(options, call, &program->credentials);
	const struct account_options account_options = {
		.command_line = &program->command_line,
		.credentials = { program->credentials ? get_credentials : NULL, program->credentials },
		.username = options->username,
		.password_file = options->password_file,
	};

	if (!error)
		error = account_open(&account_options, call, &program->account);
	if (!error)
		error = build_stack(program, call);
	if (error)
		return error;
	struct store *lower = program->identities ? identity_store_layer(program->identities) : rights_store(program->rights);
	return cipher_store_new(lower, program->cipher, &program->cipher_store);
}

static int open_kms_v1(const struct mount_options *options, struct call *call,
		       struct key_service **ret_service)
{
	bool is_own = options->kms_access_key_file || options->kms_ram_role;
	const struct kms_v1_options kms_options = {
		.endpoint = options->kms_endpoint,
		.region = options->kms_region,
		.key_id = options->kms_key_id,
		.ca_file = options->kms_ca_file,
		.access_key_file = is_own ? options->kms_access_key_file : options->access_key_file,
		.ram_role = is_own ? options->kms_ram_role : options->ram_role,
	};

	return kms_v1_open(&kms_options, call, ret_service);
}

static int open_kms_v3(const struct mount_options *options, struct call *call,
		       struct key_service **ret_service)
{
	const struct kms_v3_options kms_options = {
		.endpoint = options->kms_endpoint,
		.key_id = options->kms_key_id,
		.client_key_file = options->kms_client_key_file,
		.password_file = options->kms_password_file,
		.ca_file = options->kms_ca_file,
	};

	return kms_v3_open(&kms_options, call, ret_service);
}

static int build_cipher(struct program *program, struct call *call)
{
	const struct mount_options *options = &program->command_line.options;
	int error = 0;

	switch (options->key_service) {
	case KEY_SERVICE_NONE:
		break;
	case KEY_SERVICE_KEYRING:
		error = keyring_open(options->keyring_file, call, &program->key_service);
		break;
	case KEY_SERVICE_KMS_V1:
		error = open_kms_v1(options, call, &program->key_service);
		break;
	case KEY_SERVICE_KMS_V3:
		error = open_kms_v3(options, call, &program->key_service);
		break;
	}
	const struct cipher_options cipher_options = { .key_service = program->key_service, .verify = true };
	return error ? error : cipher_new(&cipher_options, &program->cipher);
}

/* Each SOURCE has a place of its own in the cache directory, named by it with '_' for what is no letter or digit. */
static int name_unsaved_directory(struct program *program)
{
	const struct command_line *command_line = &program->command_line;

	if (!command_line->options.cache_directory)
		return 0;
	cleanup_free char *source = strdup(command_line->source_text);
	if (!source)
		return -ENOMEM;
	for (char *letter = source; *letter; letter++)
		if (!isalnum((unsigned char)*letter) && !strchr("-.", *letter))
			*letter = '_';
	if (asprintf(&program->unsaved_directory, "%s/%s/unsaved", command_line->options.cache_directory,
		     source) < 0) {
		program->unsaved_directory = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int build_filesystem(struct program *program)
{
	const struct command_line *command_line = &program->command_line;
	const struct mount_options *options = &command_line->options;
	const struct source *source = &command_line->source;

	program->namespaces = calloc(options->namespaces.count + 1, sizeof(*program->namespaces));
	if (!program->namespaces)
		return -ENOMEM;
	for (size_t i = 0; i < options->namespaces.count; i++)
		program->namespaces[i] = options->namespaces.items[i];
	program->filesystem.terms = (struct terms){
		.store = program->cipher_store,
		.rights = program->rights,
		.identities = program->identities,
		.secret_memory = &secret_memory,
		.server_text = command_line->source_text,
		.mountpoint = command_line->mountpoint,
		.namespace_id = source->namespace_id,
		.group = source->group,
		.namespaces = program->namespaces,
		.read_only = options->read_only,
		.no_attributes = options->no_xattr,
		.kernel_cache = options->kernel_cache,
		.per_user = program->rbac || program->identities,
		.others_use_own = options->identity == IDENTITY_CALLER_OR_MOUNT,
		.mounter = getuid(),
		.uid = options->uid,
		.gid = options->gid,
		.umask = options->umask,
		.timeout_ms = (int64_t)options->timeout_seconds * 1000,
		.refresh_ms = (int64_t)options->refresh_seconds * 1000,
	};
	int error = name_unsaved_directory(program);
	return error ? error : lifetime_init(&program->filesystem, program->unsaved_directory);
}

/*
 * Is what the mount will show there? The root's names must be listed, or refused with a clear no; a large namespace is only asked
 * whether there is anything, because the mount must not wait for its listing.
 */
static int check_usable(struct program *program, struct call *call)
{
	const struct source *source = &program->command_line.source;
	cleanup_namespace_names struct namespace_names names = { 0 };
	int error;

	if (!source->namespace_id) {
		error = store_list_namespaces(rights_store(program->rights), call, &names);
		if ((error == -EOPNOTSUPP || error == -EACCES) && program->namespaces[0])
			return 0;
		return error;
	}
	cleanup_place struct place *place = place_new(source->namespace_id, source->group, NULL);
	error = place ? store_check_any(rights_store(program->rights), place, call) : -ENOMEM;
	return error == -ENOENT || error == -EACCES ? 0 : error;
}

/* Appends "-oTEXT" with the commas of value escaped, as libfuse splits at them. */
static int add_fuse_option(struct fuse_args *arguments, const char *name, const char *value)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	int error = buffer_append_format(&text, "-o%s", name);

	for (; !error && value && *value; value++) {
		if (*value == ',' || *value == '\\')
			error = buffer_append_byte(&text, '\\');
		if (!error)
			error = buffer_append_byte(&text, *value);
	}
	if (error || fuse_opt_add_arg(arguments, text.data))
		return -ENOMEM;
	return 0;
}

static int build_fuse_arguments(struct program *program)
{
	const struct command_line *command_line = &program->command_line;
	struct fuse_args *arguments = &program->arguments;

	if (fuse_opt_add_arg(arguments, "nacosfs") ||
	    add_fuse_option(arguments, "fsname=", command_line->source_text) ||
	    add_fuse_option(arguments, "subtype=" MOUNTPOINT_SUBTYPE, NULL) ||
	    add_fuse_option(arguments, "default_permissions", NULL))
		return -ENOMEM;
	if (command_line->options.allow_other && add_fuse_option(arguments, "allow_other", NULL))
		return -ENOMEM;
	if (command_line->kernel_options && add_fuse_option(arguments, command_line->kernel_options, NULL))
		return -ENOMEM;
	if (command_line->debug && fuse_opt_add_arg(arguments, "-d"))
		return -ENOMEM;
	return 0;
}

static int mount_session(struct program *program, struct call *call)
{
	const char *mountpoint = program->command_line.mountpoint;
	int error = build_fuse_arguments(program);

	if (error)
		return error;
	program->session = fuse_session_new(&program->arguments, &operations_table,
					    sizeof(operations_table), &program->filesystem);
	if (!program->session)
		return call_fail(call, -EIO, "libfuse refuses these mount options");
	program->filesystem.follower.session = program->session;
	if (fuse_session_mount(program->session, mountpoint))
		return call_fail(call, -EIO, "can't mount on %s (is /dev/fuse there, and may you use it?)",
				 mountpoint);
	process_find_device(mountpoint, program->filesystem.terms.device);
	return 0;
}

/* Everything that can fail, in the order in which it is worth telling. Nothing is mounted unless all of it went well. */
static int start(struct program *program, struct call *call)
{
	struct call network;
	int error = mountpoint_prepare(program->command_line.mountpoint, call);

	if (error)
		return error;
	call_start(&network, (int64_t)program->command_line.options.timeout_seconds * 1000);
	error = build_cipher(program, &network);
	if (!error)
		error = open_account(program, &network);
	if (!error)
		error = build_filesystem(program);
	if (!error)
		error = check_usable(program, &network);
	if (error)
		return call_fail(call, error, "%s", network.reason);
	return program->command_line.fake ? 0 : mount_session(program, call);
}

static int serve(struct program *program)
{
	struct fuse_session *session = program->session;
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int error = -EIO;

	if (!config)
		return -ENOMEM;
	fuse_loop_cfg_set_max_threads(config, RECEIVERS);
	fuse_loop_cfg_set_idle_threads(config, RECEIVERS);
	fuse_loop_cfg_set_clone_fd(config, 0);
	if (fuse_set_signal_handlers(session))
		goto out;
	operations_block_count_signal();
	if (!program->command_line.foreground)
		log_to_syslog();
	if (fuse_daemonize(program->command_line.foreground))
		goto out;
	error = log_start();
	if (error) {
		log_error("can't start the thread that writes the log: %s", strerror(-error));
		goto out;
	}
	struct nacos_features features = nacos_client_features(program->account.client);
	log_info("%s (Nacos %s) is mounted on %s", program->command_line.source_text,
		 features.generation->name, program->command_line.mountpoint);
	if (program->command_line.options.grpc_tls && !program->command_line.source.https)
		log_warning("only gRPC is protected by TLS: the login, metadata and names go over plain HTTP "
			    "(https:// in SOURCE would protect them)");
	account_start(&program->account);
	error = fuse_session_loop_mt(session, config);
	fuse_remove_signal_handlers(session);
	log_info("unmounting %s", program->command_line.mountpoint);
	lifetime_stop(&program->filesystem);
	account_stop(&program->account);
	error = error < 0 ? error : 0; /* a signal that ends the loop is no failure */
out:
	fuse_loop_cfg_destroy(config);
	return error;
}

static void release(struct program *program)
{
	if (program->session) {
		fuse_session_unmount(program->session);
		fuse_session_destroy(program->session);
	}
	fuse_opt_free_args(&program->arguments);
	lifetime_release(&program->filesystem);
	store_free(program->cipher_store);
	if (program->identities)
		store_free(identity_store_layer(program->identities));
	rights_free(program->rights);
	store_free(program->cache);
	login_directory_close(program->login_directory);
	account_close(&program->account);
	credential_source_free(program->credentials);
	rbac_free(program->rbac);
	cipher_free(program->cipher);
	key_service_free(program->key_service);
	free(program->namespaces);
	free(program->unsaved_directory);
	command_line_release(&program->command_line);
}

/* Where so much can't be locked, less must do; what does not fit is refused when it is opened. */
static int init_secrets(struct call *call)
{
	struct rlimit limit;
	int error = secret_init(SECRET_LIMIT, call);

	if (error == -EPERM && !getrlimit(RLIMIT_MEMLOCK, &limit) && limit.rlim_max < SECRET_LIMIT)
		error = secret_init(limit.rlim_max / 2, call);
	return error;
}

int main(int argc, char **argv)
{
	struct program program = { .arguments = FUSE_ARGS_INIT(0, NULL) };
	struct call call;

	if (argc > 0 && !strcmp(argv[0], TOUCHER_NAME))
		return touch_child_run(STDIN_FILENO);
	call_start(&call, INT64_MAX);
	int error = init_secrets(&call);
	if (!error)
		error = command_line_parse(argc, argv, &call, &program.command_line);
	if (!error && program.command_line.show_help) {
		options_print_help(stdout);
		goto out;
	}
	if (!error && program.command_line.show_version) {
		printf("nacosfs %s\n", NACOSFS_VERSION);
		goto out;
	}
	if (!error && program.command_line.new_keyring) {
		error = keyring_create(program.command_line.new_keyring, &call);
		if (error)
			fprintf(stderr, "nacosfs: %s\n", call.reason);
		goto out;
	}
	log_set_level(error ? LOG_LEVEL_INFO : program.command_line.options.log_level);
	if (!error)
		error = start(&program, &call);
	if (error)
		fprintf(stderr, "nacosfs: %s\n", *call.reason ? call.reason : strerror(-error));
	else if (program.session)
		error = serve(&program);
out:
	release(&program);
	log_stop();
	secret_shutdown();
	return error ? 1 : 0;
}
