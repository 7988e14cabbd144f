/*
 * The command line of nacosfs, and of mount.nacosfs as mount(8) calls it.
 *
 *	command_line_parse -> use -> command_line_release
 *
 * A command line owns everything in it; all zeros is an empty one, which can be released. Paths are absolute, because the
 * daemon leaves the directory that it was started in.
 */
#ifndef NACOSFS_MAIN_COMMAND_LINE_H
#define NACOSFS_MAIN_COMMAND_LINE_H

#include <stdbool.h>

#include "main/options.h"
#include "main/source.h"
#include "util/call.h"

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
	char *new_keyring; /* the file of --new-keyring: then nothing else is set; NULL: none */
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

#endif
