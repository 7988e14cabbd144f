/*
 * The mount options.
 *
 * One table (in options.c) says which options there are; parsing, --help and the option part of the
 * manual come from it. Options are given with -o and in the file of -o config=FILE; the command
 * line wins over the file, and of an option given twice on the command line the last one counts, as
 * with mount(8). Secrets are never values of options.
 *
 *	options_set_defaults -> options_read_file, options_set -> use -> options_release
 *
 * Options own everything in them; all zeros are empty ones, which can be released. Paths are
 * absolute, because the daemon leaves the directory that it was started in.
 */
#ifndef NACOSFS_MAIN_OPTIONS_H
#define NACOSFS_MAIN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "util/call.h"
#include "util/log.h"

struct options_list {
	char **items;
	size_t count;
};

enum key_service_kind {
	KEY_SERVICE_NONE,
	KEY_SERVICE_KEYRING,
	KEY_SERVICE_KMS_V1,
	KEY_SERVICE_KMS_V3,
};

/* As enum nacos_transport_mode. */
enum transport_kind {
	TRANSPORT_AUTO,
	TRANSPORT_GRPC,
	TRANSPORT_HTTP,
};

/* With whose login the server is asked. */
enum identity_kind {
	IDENTITY_MOUNT,
	IDENTITY_CALLER, /* the local user's own; others get nothing */
	IDENTITY_CALLER_OR_MOUNT,
};
enum rights_mode { RIGHTS_SELF, RIGHTS_RBAC, RIGHTS_OFF };

struct mount_options {
	char *config_file; /* NULL: none; was read already */
	char *username, *password_file; /* both or neither */
	char *access_key_file, *ram_role; /* one of them, or neither */
	char *region; /* NULL: not given */
	enum transport_kind transport;
	bool grpc_tls;
	char *tls_ca_file; /* NULL: the system's */
	char *tls_cert_file, *tls_key_file; /* both or neither */
	char *console_url; /* "http://HOST[:PORT]..." without a '/' at its end; NULL: not given */
	struct options_list namespaces; /* ids, each once; empty: not given */
	bool read_only;
	bool kernel_cache;
	bool no_xattr;
	bool allow_other;
	uid_t uid;
	gid_t gid;
	mode_t umask;
	enum rights_mode rights;
	enum identity_kind identity;
	char *identities_directory; /* with IDENTITY_CALLER and IDENTITY_CALLER_OR_MOUNT */
	char *usermap_file, *rolemap_file; /* NULL: by name only */
	enum key_service_kind key_service;
	char *keyring_file;
	char *kms_endpoint, *kms_region, *kms_key_id, *kms_access_key_file, *kms_ram_role;
	char *kms_client_key_file, *kms_password_file, *kms_ca_file;
	char *cache_directory; /* NULL: none */
	unsigned timeout_seconds; /* 1 to 3600 */
	unsigned refresh_seconds; /* 1 to 86400 */
	enum log_level log_level;
};

/* An option as it was written somewhere. */
struct option_setting {
	const char *name;
	const char *value; /* NULL: there was no '=' */
	const char *directory; /* which relative paths start from; NULL: the current one */
};

/* Sets what is so unless somebody says otherwise. 0 or -ENOMEM. */
int options_set_defaults(struct call *call, struct mount_options *options);

/* Sets one option. -EINVAL with a line for the user, or -ENOMEM. */
int options_set(const struct option_setting *setting, struct call *call, struct mount_options *options);

/* Sets what the config file says; errors name FILE:LINE. As options_set(), or what file_read_whole() says. */
int options_read_file(const char *path, struct call *call, struct mount_options *options);

void options_release(struct mount_options *options);

/* Puts an allocated text (NULL: there was no memory) into a field, in place of the old one. 0 or -ENOMEM. */
int options_replace_text(char **field, char *text, struct call *call);

/* The same with path made absolute, from directory (NULL: the current one). */
int options_make_absolute(const char *path, const char *directory, struct call *call, char **field);

int options_list_append(struct options_list *list, const char *text, size_t size, struct call *call);
void options_list_release(struct options_list *list);

bool options_name_is_one_of(const char *name, const char *const *names, size_t count);

/* Prints the answer to --help. */
void options_print_help(FILE *stream);

/* Prints the mount options as a piece of man(7) source: one .TP paragraph each. */
void options_print_manual(FILE *stream);

#endif
