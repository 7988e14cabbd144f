#include "main/command_line.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/buffer.h"
#include "util/cleanup.h"

#define refuse(call, ...) call_fail((call), -EINVAL, __VA_ARGS__)
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* Flags that libfuse 3.14 takes and hands to the kernel. */
static const char *const kernel_flags[] = {
	"suid", "nosuid", "dev", "nodev", "exec", "noexec",
	"sync", "async", "dirsync", "atime", "noatime",
};

/*
 * What mount(8), systemd and fstab need for themselves and pass on all the same, and the flags for
 * access times, which mean nothing here and which libfuse does not know. Values are ignored too:
 * mount(8) says user=NAME, and comment= always has one.
 */
static const char *const ignored_names[] = {
	"auto", "noauto", "comment", "defaults", "group", "nogroup", "helper", "_netdev", "nofail",
	"owner", "noowner", "uhelper", "user", "nouser", "users", "nousers",
	"diratime", "nodiratime", "lazytime", "nolazytime", "relatime", "norelatime", "strictatime",
	"nostrictatime",
};

static int fail_no_memory(struct call *call)
{
	return call_fail(call, -ENOMEM, "out of memory");
}

/* The words of a command line, before anybody asks what they mean. */
struct arguments {
	const char *source, *mountpoint; /* NULL: not given */
	const char *new_keyring; /* NULL: no such switch */
	struct options_list settings; /* of all -o, without their escapes */
	bool foreground, debug, fake, show_help, show_version;
};

static void arguments_release(struct arguments *arguments)
{
	options_list_release(&arguments->settings);
}
#define cleanup_arguments __attribute__((cleanup(arguments_release)))

/*
 * Commas separate; "\," is a comma and "\\" a backslash of a value. Other backslashes are what they
 * are.
 */
static int split_settings(const char *text, struct call *call, struct options_list *settings)
{
	cleanup_buffer struct buffer setting = BUFFER_INIT;
	int error = 0;

	for (;; text++) {
		if (*text && *text != ',') {
			if (text[0] == '\\' && (text[1] == ',' || text[1] == '\\'))
				text++;
			if (buffer_append_byte(&setting, *text))
				return fail_no_memory(call);
			continue;
		}
		if (setting.size > 0)
			error = options_list_append(settings, setting.data, setting.size, call);
		if (error || !*text)
			return error;
		buffer_clear(&setting);
	}
}

static int add_positional(const char *text, struct call *call, struct arguments *arguments)
{
	if (!arguments->source)
		arguments->source = text;
	else if (!arguments->mountpoint)
		arguments->mountpoint = text;
	else
		/* Without what follows a '=': a blank in "-o a=b, password=c" leads here too. */
		return refuse(call, "unexpected argument \"%.*s\" after SOURCE and MOUNTPOINT",
			      (int)strcspn(text, "="), text);
	return 0;
}

static bool is_mount_helper(const char *program)
{
	const char *slash = program ? strrchr(program, '/') : NULL;
	const char *base = slash ? slash + 1 : program;

	return base && (!strcmp(base, "mount.nacosfs") || !strcmp(base, "mount.fuse.nacosfs"));
}

/* One switch as getopt_long() returned it. */
static int apply_switch(int letter, bool is_helper, char **argv, struct call *call,
			struct arguments *arguments)
{
	switch (letter) {
	case 1:
		return add_positional(optarg, call, arguments);
	case 'o':
		return split_settings(optarg, call, &arguments->settings);
	case 'f':
		if (is_helper)
			arguments->fake = true;
		else
			arguments->foreground = true;
		return 0;
	case 'd':
		arguments->debug = true;
		arguments->foreground = true;
		return 0;
	case 'h':
		arguments->show_help = true;
		return 0;
	case 'V':
		arguments->show_version = true;
		return 0;
	case 'k':
		arguments->new_keyring = optarg;
		return 0;
	case 't': /* our own type; mount(8) says it when it has a dot */
	case 'v': /* verbose, no mtab, sloppy: nothing of this changes what is done */
	case 'n':
	case 's':
		return 0;
	case ':':
		return refuse(call, "-%c needs a value", optopt);
	default:
		if (optopt > 1)
			return refuse(call, "unknown switch -%c (see nacosfs --help)", optopt);
		return refuse(call, "unknown switch %s (see nacosfs --help)", argv[optind - 1]);
	}
}

static int read_arguments(int argc, char **argv, struct call *call, struct arguments *arguments)
{
	static const struct option long_switches[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ "new-keyring", required_argument, NULL, 'k' },
		{ 0 },
	};
	bool is_helper = is_mount_helper(argv[0]);
	/*
	 * '-': SOURCE and MOUNTPOINT may stand anywhere, whatever POSIXLY_CORRECT says; ':': getopt
	 * prints nothing itself.
	 */
	const char *switches = is_helper ? "-:o:t:fhnsvV" : "-:o:dfhV";
	int letter = 0;
	int error = 0;

	optind = 0; /* glibc: forget what an earlier call has parsed */
	while (!error && (letter = getopt_long(argc, argv, switches, long_switches, NULL)) != -1)
		error = apply_switch(letter, is_helper, argv, call, arguments);
	for (; !error && optind < argc; optind++) /* behind "--" */
		error = add_positional(argv[optind], call, arguments);
	return error;
}

static int add_kernel_flag(const char *flag, struct call *call, char **flags)
{
	char *longer = NULL;

	if (asprintf(&longer, "%s%s%s", *flags ? *flags : "", *flags ? "," : "", flag) < 0)
		return fail_no_memory(call);
	return options_replace_text(flags, longer, call);
}

/* Cuts name=value in place. */
static struct option_setting split_setting(char *text)
{
	struct option_setting setting = { .name = text };
	char *equals = strchr(text, '=');

	if (equals) {
		*equals = '\0';
		setting.value = equals + 1;
	}
	return setting;
}

static int apply_setting(const struct option_setting *setting, bool file_read_only, struct call *call,
			 struct command_line *line)
{
	const char *name = setting->name;

	/*
	 * mount(8) puts "rw" before everything else, wanted or not. So it takes back a "ro" before
	 * it, but not the one in the config file.
	 */
	if (!strcmp(name, "rw") && !setting->value) {
		line->options.read_only = file_read_only;
		return 0;
	}
	if (!strcmp(name, "remount"))
		return refuse(call,
			      "remount: a mount can't be changed, unmount it and mount it again");
	if (!strncasecmp(name, "x-", 2) ||
	    options_name_is_one_of(name, ignored_names, ARRAY_SIZE(ignored_names)))
		return 0;
	if (!setting->value && options_name_is_one_of(name, kernel_flags, ARRAY_SIZE(kernel_flags)))
		return add_kernel_flag(name, call, &line->kernel_options);
	return options_set(setting, call, &line->options);
}

/* Defaults, then the file, then the command line: the later one wins. */
static int apply_settings(struct options_list *texts, struct call *call, struct command_line *line)
{
	static const char config[] = "config=";
	bool file_read_only = false;
	int error = options_set_defaults(call, &line->options);

	for (size_t i = 0; !error && i < texts->count; i++) {
		if (!strncmp(texts->items[i], config, strlen(config))) {
			struct option_setting setting = { .name = "config",
						   .value = texts->items[i] + strlen(config) };

			error = options_set(&setting, call, &line->options);
		}
	}
	if (!error && line->options.config_file)
		error = options_read_file(line->options.config_file, call, &line->options);
	file_read_only = line->options.read_only;
	for (size_t i = 0; !error && i < texts->count; i++) {
		struct option_setting setting = split_setting(texts->items[i]);

		error = apply_setting(&setting, file_read_only, call, line);
	}
	return error;
}

/* Settings that would have no effect are refused where somebody may rely on them. */
static int check_options(const struct command_line *line, struct call *call)
{
	const struct mount_options *options = &line->options;
	bool has_tls = line->source.https || options->grpc_tls ||
		       (options->console_url && !strncmp(options->console_url, "https:", 6));

	if (options->username && !options->password_file)
		return refuse(call, "option \"username\" needs password_file=FILE");
	if (options->password_file && !options->username)
		return refuse(call, "option \"password_file\" needs username=NAME");
	if (options->access_key_file && options->ram_role)
		return refuse(call, "access_key_file and ram_role can't both be given");
	if (options->region && !options->access_key_file && !options->ram_role)
		return refuse(call, "option \"region\" needs access_key_file=FILE or ram_role=NAME");
	if (options->tls_cert_file && !options->tls_key_file)
		return refuse(call, "option \"tls_cert\" needs tls_key=FILE");
	if (options->tls_key_file && !options->tls_cert_file)
		return refuse(call, "option \"tls_key\" needs tls_cert=FILE");
	if ((options->identity != IDENTITY_MOUNT) != (options->identities_directory != NULL))
		return refuse(call, "identity=caller and identities=DIR need each other");
	if (options->identity != IDENTITY_MOUNT && !options->allow_other)
		return refuse(call, "identity=caller needs allow_other: without it nobody else may enter");
	if (options->identity != IDENTITY_MOUNT && options->rights != RIGHTS_SELF)
		return refuse(call, "identity=caller shows what each user's own account may do: rights=self only");
	if (options->identity != IDENTITY_MOUNT && options->kernel_cache)
		return refuse(call, "identity=caller and kernel_cache exclude each other: the page cache is everybody's");
	if (options->identity != IDENTITY_MOUNT &&
	    (options->transport == TRANSPORT_GRPC || (options->grpc_tls && !line->source.https)))
		return refuse(call, "with identity=caller users' requests go over HTTP: not with transport=grpc, nor with "
				    "tls unless SOURCE begins with https://");
	if ((options->key_service == KEY_SERVICE_KEYRING) != (options->keyring_file != NULL))
		return refuse(call, "kms=keyring and keyring=FILE need each other");
	if (options->key_service != KEY_SERVICE_KMS_V1 &&
	    (options->kms_region || options->kms_access_key_file || options->kms_ram_role))
		return refuse(call, "kms_region, kms_access_key_file and kms_ram_role need kms=kms_v1");
	if (options->key_service != KEY_SERVICE_KMS_V3 &&
	    (options->kms_client_key_file || options->kms_password_file))
		return refuse(call, "kms_client_key_file and kms_password_file need kms=kms_v3");
	if (options->key_service < KEY_SERVICE_KMS_V1 &&
	    (options->kms_endpoint || options->kms_key_id || options->kms_ca_file))
		return refuse(call, "kms_endpoint, kms_key_id and kms_ca need kms=kms_v1 or kms_v3");
	if ((options->tls_ca_file || options->tls_cert_file) && !has_tls)
		return refuse(call, "the tls_ options need tls, or a SOURCE that begins with https://");
	if (options->grpc_tls && options->transport == TRANSPORT_HTTP)
		return refuse(call, "option \"tls\" is for gRPC, which transport=http does without; "
				    "for HTTP, write https:// in SOURCE");
	return 0;
}

/*
 * An absolute path, even of what realpath() can't follow: what is wrong with the mount point is for
 * mountpoint_prepare() to say, and to mend where it was left by a crash.
 */
static int resolve_mountpoint(const char *text, struct call *call, char **field)
{
	cleanup_free char *path = strdup(text);
	char *resolved = NULL;
	size_t size = strlen(text);

	if (!path)
		return fail_no_memory(call);
	/* With a '/' at its end, the path of a crashed mount can't be resolved (ENOTCONN). */
	while (size > 1 && path[size - 1] == '/')
		path[--size] = '\0';
	resolved = realpath(path, NULL);
	if (resolved || errno == ENOMEM)
		return options_replace_text(field, resolved, call);
	return options_make_absolute(path, NULL, call, field);
}

/* What a command line says that asks for a mount. */
static int interpret_arguments(struct arguments *arguments, struct call *call,
			       struct command_line *line)
{
	int error = 0;

	if (!arguments->source || !*arguments->source)
		return refuse(call, "SOURCE is missing: write nacosfs SOURCE MOUNTPOINT");
	if (!arguments->mountpoint || !*arguments->mountpoint)
		return refuse(call, "MOUNTPOINT is missing: write nacosfs SOURCE MOUNTPOINT");
	line->foreground = arguments->foreground;
	line->debug = arguments->debug;
	line->fake = arguments->fake;
	error = source_parse(arguments->source, call, &line->source);
	if (!error)
		error = options_replace_text(&line->source_text, strdup(arguments->source), call);
	if (!error)
		error = apply_settings(&arguments->settings, call, line);
	if (!error)
		error = check_options(line, call);
	if (!error)
		error = resolve_mountpoint(arguments->mountpoint, call, &line->mountpoint);
	return error;
}

int command_line_parse(int argc, char **argv, struct call *call,
		       struct command_line *ret_command_line)
{
	cleanup_arguments struct arguments arguments = { 0 };
	cleanup_command_line struct command_line line = { 0 };
	int error = read_arguments(argc, argv, call, &arguments);

	if (error)
		return error;
	line.show_help = arguments.show_help;
	line.show_version = arguments.show_version;
	if (arguments.new_keyring)
		return options_replace_text(&ret_command_line->new_keyring,
					    strdup(arguments.new_keyring), call);
	if (!line.show_help && !line.show_version)
		error = interpret_arguments(&arguments, call, &line);
	if (error)
		return error;
	*ret_command_line = line;
	memset(&line, 0, sizeof(line));
	return 0;
}

void command_line_release(struct command_line *command_line)
{
	source_release(&command_line->source);
	free(command_line->new_keyring);
	free(command_line->source_text);
	free(command_line->mountpoint);
	options_release(&command_line->options);
	free(command_line->kernel_options);
	memset(command_line, 0, sizeof(*command_line));
}
