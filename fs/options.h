/*
 * The command line and the mount options.
 *
 * One table (in options.c) says which options there are; parsing, --help and the option part of the
 * manual come from it. Options are given with -o and in the file of -o config=FILE; the command
 * line wins over the file, and of an option given twice on the command line the last one counts, as
 * with mount(8). Secrets are never values of options.
 *
 *	command_line_parse -> use -> command_line_release
 *
 * A command line owns everything in it; all zeros is an empty one, which can be released. Paths are
 * absolute, because the daemon leaves the directory that it was started in.
 */
#ifndef NACOSFS_FS_OPTIONS_H
#define NACOSFS_FS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "fs/source.h"
#include "util/call.h"
#include "util/log.h"

struct options_list {
	char **items;
	size_t count;
};

struct mount_options {
	char *config_file; /* NULL: none; was read already */
	char *username, *password_file; /* both or neither */
	char *tls_ca_file; /* NULL: the system's */
	char *tls_cert_file, *tls_key_file; /* both or neither */
	char *console_url; /* "http://HOST[:PORT]..." without a '/' at its end; NULL: not given */
	struct options_list namespaces; /* ids, each once; empty: not given */
	bool read_only;
	bool no_xattr;
	bool allow_other;
	uid_t uid;
	gid_t gid;
	mode_t umask;
	char *cache_directory; /* NULL: none */
	unsigned timeout_seconds; /* 1 to 3600 */
	unsigned refresh_seconds; /* 1 to 86400 */
	enum log_level log_level;
};

struct command_line {
	struct source source;
	char *source_text; /* as it was given, for /proc/mounts; may hold commas */
	char *mountpoint; /* absolute; free of symbolic links where it exists */
	struct mount_options options;
	char *kernel_options; /* "nosuid,nodev,...", for libfuse; never ro or rw; NULL: none */
	bool foreground;
	bool debug; /* implies foreground */
	bool fake; /* mount -f: everything but the mount itself */
	bool show_help, show_version; /* then nothing else is set */
};

/*
 * Parses the arguments of nacosfs, or of mount.nacosfs as mount(8) calls it (argv[0] tells which),
 * reads the config file, and makes sure that the options fit together. Nothing is sent and nothing
 * is mounted; whether the mount point can be used, mountpoint_prepare() says.
 *
 * -EINVAL for what is wrong with the arguments or the config file, -ENOMEM, or what file_read_whole()
 * says of the config file; the reason is one line for the user. Not thread-safe (getopt, user
 * database).
 */
int command_line_parse(int argc, char **argv, struct call *call,
		       struct command_line *ret_command_line);

void command_line_release(struct command_line *command_line);
#define cleanup_command_line __attribute__((cleanup(command_line_release)))

/* Prints the answer to --help. */
void options_print_help(FILE *stream);

/* Prints the mount options as a piece of man(7) source: one .TP paragraph each. */
void options_print_manual(FILE *stream);

#endif
