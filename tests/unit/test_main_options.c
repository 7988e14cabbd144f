#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "main/command_line.h"
#include "util/cleanup.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define SOURCE "nacos://h/n"
#define HTTPS_SOURCE "https://h/n"

static struct call call;

/* The directory that the tests run in, without symbolic links. */
static char directory[PATH_MAX];

static int enter_directory(void **state)
{
	char template[] = "/tmp/nacosfs-options-XXXXXX";

	(void)state;
	if (!mkdtemp(template) || !realpath(template, directory) || chdir(directory) ||
	    mkdir("mnt", 0755) || mkdir("etc", 0755))
		return -1;
	return 0;
}

static int leave_directory(void **state)
{
	(void)state;
	unlink("etc/nacosfs.conf");
	unlink("link");
	if (rmdir("mnt") || rmdir("etc") || chdir("/"))
		return -1;
	return rmdir(directory);
}

/* Arguments up to a NULL. */
static int parse(struct command_line *line, ...)
{
	char *argv[16] = { NULL };
	va_list arguments;
	int argc = 0;
	int error = 0;

	va_start(arguments, line);
	while (argc < 15 && (argv[argc] = va_arg(arguments, char *)))
		argc++;
	va_end(arguments);
	call_start(&call, 1000);
	error = command_line_parse(argc, argv, &call, line);
	if (error)
		assert_true(call.reason[0]);
	return error;
}

/* With -o list. */
static int parse_list(struct command_line *line, const char *list)
{
	return parse(line, "nacosfs", SOURCE, "mnt", "-o", list, NULL);
}

static void write_config(const char *text, size_t size)
{
	FILE *file = fopen("etc/nacosfs.conf", "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

/* With a config file of that text, and -o list after it. */
static int parse_config(struct command_line *line, const char *text, const char *list)
{
	char config[1024];

	write_config(text, strlen(text));
	snprintf(config, sizeof(config), "config=etc/nacosfs.conf,%s", list);
	return parse_list(line, config);
}

static void assert_below_directory(const char *path, const char *name)
{
	char expected[PATH_MAX + 64];

	snprintf(expected, sizeof(expected), "%s/%s", directory, name);
	assert_non_null(path);
	assert_string_equal(path, expected);
}

static void assert_refused(int error, const char *hint)
{
	assert_int_equal(error, -EINVAL);
	if (!strstr(call.reason, hint))
		fail_msg("\"%s\" is not in: %s", hint, call.reason);
}

static void test_defaults(void **state)
{
	cleanup_command_line struct command_line line = { 0 };

	(void)state;
	assert_int_equal(parse(&line, "nacosfs", SOURCE, "mnt", NULL), 0);
	assert_string_equal(line.source.hosts[0].name, "h");
	assert_string_equal(line.source_text, SOURCE);
	assert_below_directory(line.mountpoint, "mnt");
	assert_null(line.kernel_options);
	assert_false(line.foreground || line.debug || line.fake);
	assert_false(line.show_help || line.show_version);
	assert_null(line.options.config_file);
	assert_null(line.options.username);
	assert_null(line.options.password_file);
	assert_null(line.options.tls_ca_file);
	assert_null(line.options.tls_cert_file);
	assert_null(line.options.tls_key_file);
	assert_null(line.options.console_url);
	assert_int_equal(line.options.namespaces.count, 0);
	assert_false(line.options.read_only);
	assert_false(line.options.no_xattr);
	assert_int_equal(line.options.allow_other, geteuid() == 0);
	assert_int_equal(line.options.uid, getuid());
	assert_int_equal(line.options.gid, getgid());
	assert_int_equal(line.options.umask, 0027);
	assert_int_equal(line.options.timeout_seconds, 10);
	assert_int_equal(line.options.refresh_seconds, 30);
	assert_int_equal(line.options.log_level, LOG_LEVEL_INFO);
}

static void test_every_kind(void **state)
{
	cleanup_command_line struct command_line line = { 0 };

	(void)state;
	assert_int_equal(parse(&line, "nacosfs", HTTPS_SOURCE, "mnt", "-o",
			       "username=nacos,password_file=pw,tls_ca=/ca.pem,ro,noxattr", "-o",
			       "tls_cert=c.pem,tls_key=./k.pem,console=http://c:8080//", "-o",
			       "namespaces=public:dev,allow_other,uid=0,gid=12,umask=077", "-o",
			       "timeout=3600,refresh=1,log=debug", NULL),
			 0);
	assert_string_equal(line.options.username, "nacos");
	assert_below_directory(line.options.password_file, "pw");
	assert_string_equal(line.options.tls_ca_file, "/ca.pem");
	assert_below_directory(line.options.tls_cert_file, "c.pem");
	assert_below_directory(line.options.tls_key_file, "./k.pem");
	assert_string_equal(line.options.console_url, "http://c:8080");
	assert_int_equal(line.options.namespaces.count, 2);
	assert_string_equal(line.options.namespaces.items[0], "public");
	assert_string_equal(line.options.namespaces.items[1], "dev");
	assert_true(line.options.read_only);
	assert_true(line.options.no_xattr);
	assert_true(line.options.allow_other);
	assert_int_equal(line.options.uid, 0);
	assert_int_equal(line.options.gid, 12);
	assert_int_equal(line.options.umask, 077);
	assert_int_equal(line.options.timeout_seconds, 3600);
	assert_int_equal(line.options.refresh_seconds, 1);
	assert_int_equal(line.options.log_level, LOG_LEVEL_DEBUG);
	assert_null(line.kernel_options);
}

static void test_choices_and_names(void **state)
{
	static const struct {
		const char *list;
		enum log_level level;
	} levels[] = {
		{ "log=error", LOG_LEVEL_ERROR },
		{ "log=warning", LOG_LEVEL_WARNING },
		{ "log=info", LOG_LEVEL_INFO },
		{ "log=debug", LOG_LEVEL_DEBUG },
	};
	cleanup_command_line struct command_line names = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		cleanup_command_line struct command_line line = { 0 };

		assert_int_equal(parse_list(&line, levels[i].list), 0);
		assert_int_equal(line.options.log_level, levels[i].level);
	}
	assert_int_equal(parse_list(&names, "uid=root,gid=root"), 0);
	assert_int_equal(names.options.uid, 0);
	assert_int_equal(names.options.gid, 0);
}

static void test_bad_values(void **state)
{
	static const struct {
		const char *list;
		const char *hint; /* must be in the reason */
	} cases[] = {
		{ "foo", "unknown option \"foo\" (nacosfs --help lists them)" },
		{ "foo=bar", "unknown option \"foo\"" },
		{ "=bar", "unknown option \"\"" },
		{ "RO", "unknown option" },
		{ "nosuid=1", "unknown option" },
		{ "ro=1", "takes no value" },
		{ "rw=1", "unknown option" },
		{ "allow_other=", "takes no value" },
		{ "username", "username=NAME" },
		{ "username=", "username=NAME" },
		{ "config", "config=FILE" },
		{ "config=", "config=FILE" },
		{ "username=a\tb", "control character" },
		{ "username=a", "needs password_file" },
		{ "password_file=a", "needs username" },
		{ "access_key_file=a,ram_role=b", "can't both" },
		{ "region=cn-hangzhou", "needs access_key_file" },
		{ "tls_ca=a", "https://" },
		{ "tls,transport=http", "https://" },
		{ "tls_cert=a", "needs tls_key" },
		{ "tls_key=a", "needs tls_cert" },
		{ "console=c:8080", "http://HOST:PORT" },
		{ "console=http://", "http://HOST:PORT" },
		{ "console=http:///", "http://HOST:PORT" },
		{ "console=http://:8080", "http://HOST:PORT" },
		{ "console=http://user:hush@c", "http://HOST:PORT" },
		{ "console=http://c?a", "http://HOST:PORT" },
		{ "namespaces=:a", "A:B:C" },
		{ "namespaces=a:", "A:B:C" },
		{ "namespaces=a::b", "A:B:C" },
		{ "namespaces=a:..", "A:B:C" },
		{ "namespaces=a/b", "A:B:C" },
		{ "namespaces=a:b:a", "\"a\" twice" },
		{ "uid=no-such-user", "no user \"no-such-user\"" },
		{ "uid=-1", "no user" },
		{ "uid=4294967295", "no user" },
		{ "uid=4294967296", "no user" },
		{ "gid=no-such-group", "no group \"no-such-group\"" },
		{ "gid=4294967295", "no group" },
		{ "umask=8", "octal mask" },
		{ "umask=1000", "octal mask" },
		{ "umask=-1", "octal mask" },
		{ "umask=0x1", "octal mask" },
		{ "timeout=0", "1 to 3600" },
		{ "timeout=3601", "1 to 3600" },
		{ "timeout=18446744073709551617", "1 to 3600" },
		{ "timeout=1s", "1 to 3600" },
		{ "timeout= 1", "1 to 3600" },
		{ "timeout=-1", "1 to 3600" },
		{ "timeout=1.5", "1 to 3600" },
		{ "refresh=86401", "1 to 86400" },
		{ "log=err", "error|warning|info|debug" },
		{ "log=debugs", "error|warning|info|debug" },
		{ "log=INFO", "error|warning|info|debug" },
		{ "remount,ro", "can't be changed" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct command_line line = { .mountpoint = directory };

		assert_refused(parse_list(&line, cases[i].list), cases[i].hint);
		assert_null(strstr(call.reason, "hush"));
		assert_ptr_equal(line.mountpoint, directory); /* untouched */
	}
}

static void test_secrets_are_never_values(void **state)
{
	static const char *const lists[] = {
		"password=hush",    "passwd=hush",    "username=u,password=hush", "secret_key=hush",
		"secretKey=hush",   "accessKey=hush", "access_key=hush",	  "token=hush",
		"accessToken=hush", "password",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		struct command_line line;

		assert_refused(parse_list(&line, lists[i]), "password_file=FILE");
		assert_null(strstr(call.reason, "hush"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		struct command_line line;

		assert_refused(parse(&line, "nacosfs", SOURCE, "mnt", "-o", "ro,", lists[i], NULL),
			       "unexpected argument");
		assert_null(strstr(call.reason, "hush"));
	}
}

static void test_escapes(void **state)
{
	static const struct {
		const char *list;
		const char *username;
	} cases[] = {
		{ "username=a\\,b,password_file=/p", "a,b" },
		{ "password_file=/p,username=a\\,", "a," },
		{ "password_file=/p,username=a\\\\,ro", "a\\" },
		{ "password_file=/p,username=a\\\\\\,b", "a\\,b" },
		{ "password_file=/p,username=DOMAIN\\me", "DOMAIN\\me" },
		{ "password_file=/p,username=a\\", "a\\" },
		{ ",,password_file=/p,,username=a=b,,", "a=b" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_command_line struct command_line line = { 0 };

		if (parse_list(&line, cases[i].list))
			fail_msg("%s: %s", cases[i].list, call.reason);
		assert_string_equal(line.options.username, cases[i].username);
		assert_string_equal(line.options.password_file, "/p");
	}
}

static void test_the_last_one_counts(void **state)
{
	cleanup_command_line struct command_line line = { 0 };
	cleanup_command_line struct command_line writable = { 0 };

	(void)state;
	assert_int_equal(parse(&line, "nacosfs", "-o", "timeout=1,namespaces=a:b,rw", SOURCE,
			       "-otimeout=2", "mnt", "-o", "console=http://a,console=http://b",
			       "-o", "namespaces=c,ro", NULL),
			 0);
	assert_int_equal(line.options.timeout_seconds, 2);
	assert_int_equal(line.options.namespaces.count, 1);
	assert_string_equal(line.options.namespaces.items[0], "c");
	assert_string_equal(line.options.console_url, "http://b");
	assert_true(line.options.read_only);

	assert_int_equal(parse_list(&writable, "ro,rw"), 0);
	assert_false(writable.options.read_only);
}

static void test_options_of_mount(void **state)
{
	cleanup_command_line struct command_line line = { 0 };
	cleanup_command_line struct command_line nothing = { 0 };

	(void)state;
	assert_int_equal(parse_list(&line, "rw,nosuid,_netdev,nofail,noauto,auto,defaults,user=me,"
					   "x-systemd.automount,X-mount.mkdir=0755,nodev,users,owner,"
					   "group,comment=a b,relatime,noexec,noatime,sync"),
			 0);
	assert_string_equal(line.kernel_options, "nosuid,nodev,noexec,noatime,sync");
	assert_false(line.options.read_only);
	assert_null(line.options.username);

	assert_int_equal(parse_list(&nothing, ""), 0);
	assert_null(nothing.kernel_options);
}

static void test_config_file(void **state)
{
	cleanup_command_line struct command_line line = { 0 };

	(void)state;
	assert_int_equal(parse_config(&line,
				      "# the production cluster\n"
				      "\n"
				      "username = nacos \r\n"
				      "\tpassword_file=secrets/pw#1\n"
				      "  # indented = comment\n"
				      "ro\n"
				      "namespaces = a:b\n"
				      "console=http://c/a,b\n"
				      "log = error",
				      "log=debug"),
			 0);
	assert_below_directory(line.options.config_file, "etc/nacosfs.conf");
	assert_string_equal(line.options.username, "nacos");
	/* relative to the directory of the file */
	assert_below_directory(line.options.password_file, "etc/secrets/pw#1");
	assert_true(line.options.read_only);
	assert_int_equal(line.options.namespaces.count, 2);
	assert_string_equal(line.options.console_url, "http://c/a,b"); /* no commas to escape */
	assert_int_equal(line.options.log_level, LOG_LEVEL_DEBUG);
}

static void test_config_file_and_command_line(void **state)
{
	cleanup_command_line struct command_line line = { 0 };
	cleanup_command_line struct command_line before = { 0 };
	cleanup_command_line struct command_line empty = { 0 };

	(void)state;
	assert_int_equal(parse_config(&line, "ro\ntimeout = 5\nrefresh = 6\n", "rw,timeout=7"), 0);
	assert_true(line.options.read_only); /* "rw" is what mount(8) says unasked */
	assert_int_equal(line.options.timeout_seconds, 7);
	assert_int_equal(line.options.refresh_seconds, 6);

	/* wins wherever it stands */
	write_config("timeout = 5\n", strlen("timeout = 5\n"));
	assert_int_equal(parse_list(&before, "timeout=7,config=etc/nacosfs.conf"), 0);
	assert_int_equal(before.options.timeout_seconds, 7);

	assert_int_equal(parse_config(&empty, "", "ro,rw"), 0);
	assert_false(empty.options.read_only);
}

static void test_bad_config_files(void **state)
{
	static const struct {
		const char *text;
		const char *hint; /* must be in the reason */
	} cases[] = {
		{ "foo = 1\n", "etc/nacosfs.conf:1: unknown option \"foo\"" },
		{ "\n# x\nro\ntimeout = 0\n", "etc/nacosfs.conf:4: option \"timeout\"" },
		{ "ro\nro\n", "etc/nacosfs.conf:2: option \"ro\" stands here for the second time" },
		{ "timeout=1\ntimeout=1", "etc/nacosfs.conf:2: " },
		{ "ro = yes\n", "etc/nacosfs.conf:1: option \"ro\" takes no value" },
		{ "timeout\n", "etc/nacosfs.conf:1: option \"timeout\" needs a value" },
		{ "timeout =\n", "etc/nacosfs.conf:1: option \"timeout\" needs a value" },
		{ "= 1\n", "etc/nacosfs.conf:1: unknown option \"\"" },
		{ "config = other\n", "etc/nacosfs.conf:1: a config file can't" },
		{ "password = hush\n", "password_file=FILE" },
		{ "_netdev\n", "etc/nacosfs.conf:1: unknown option \"_netdev\"" },
		{ "ro,noxattr\n", "etc/nacosfs.conf:1: unknown option \"ro,noxattr\"" },
	};
	struct command_line line;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		/* An error counts even where the command line would win. */
		assert_refused(parse_config(&line, cases[i].text, "timeout=1"), cases[i].hint);
		assert_null(strstr(call.reason, "hush"));
	}
	write_config("ro\0\n", 4);
	assert_refused(parse_list(&line, "config=etc/nacosfs.conf"), "not a text");
	assert_int_equal(parse_list(&line, "config=etc/absent"), -ENOENT);
	assert_non_null(strstr(call.reason, "etc/absent"));
}

static void test_switches(void **state)
{
	cleanup_command_line struct command_line foreground = { 0 };
	cleanup_command_line struct command_line debug = { 0 };
	cleanup_command_line struct command_line behind = { 0 };
	struct command_line line = { 0 };

	(void)state;
	assert_int_equal(parse(&foreground, "nacosfs", "-f", SOURCE, "mnt", NULL), 0);
	assert_true(foreground.foreground);
	assert_false(foreground.debug || foreground.fake);
	assert_int_equal(parse(&debug, "/usr/bin/nacosfs", SOURCE, "-d", "mnt", NULL), 0);
	assert_true(debug.foreground && debug.debug);
	assert_int_equal(parse(&behind, "nacosfs", "-fo", "ro", "--", SOURCE, "mnt", NULL), 0);
	assert_true(behind.foreground && behind.options.read_only);

	assert_int_equal(parse(&line, "nacosfs", "--help", NULL), 0);
	assert_true(line.show_help);
	command_line_release(&line);
	assert_int_equal(parse(&line, "nacosfs", "x", "y", "-o", "foo", "--version", NULL), 0);
	assert_true(line.show_version);
	assert_null(line.mountpoint);
	command_line_release(&line);

	assert_refused(parse(&line, "nacosfs", "-x", SOURCE, "mnt", NULL), "unknown switch -x");
	assert_refused(parse(&line, "nacosfs", "--no", SOURCE, "mnt", NULL), "unknown switch --no");
	assert_refused(parse(&line, "nacosfs", SOURCE, "mnt", "-o", NULL), "-o needs a value");
	assert_refused(parse(&line, "nacosfs", NULL), "SOURCE is missing");
	assert_refused(parse(&line, "nacosfs", "", "mnt", NULL), "SOURCE is missing");
	assert_refused(parse(&line, "nacosfs", SOURCE, NULL), "MOUNTPOINT is missing");
	assert_refused(parse(&line, "nacosfs", SOURCE, "", NULL), "MOUNTPOINT is missing");
	assert_refused(parse(&line, "nacosfs", SOURCE, "mnt", "more", NULL), "\"more\"");
	assert_refused(parse(&line, "nacosfs", "mnt", SOURCE, NULL), "must begin with nacos://");
	assert_refused(parse(&line, NULL), "SOURCE is missing");
}

static void test_mount_helper(void **state)
{
	cleanup_command_line struct command_line line = { 0 };
	cleanup_command_line struct command_line fake = { 0 };
	struct command_line refused;

	(void)state;
	assert_int_equal(parse(&line, "/sbin/mount.nacosfs", SOURCE, "mnt", "-v", "-n", "-s", "-o",
			       "rw,_netdev,timeout=3", NULL),
			 0);
	assert_false(line.foreground || line.fake);
	assert_int_equal(line.options.timeout_seconds, 3);
	assert_int_equal(parse(&fake, "mount.fuse.nacosfs", SOURCE, "mnt", "-f", "-t",
			       "fuse.nacosfs", NULL),
			 0);
	assert_true(fake.fake);
	assert_false(fake.foreground);
	assert_refused(parse(&refused, "mount.nacosfs", SOURCE, "mnt", "-s", "-o", "foo", NULL),
		       "unknown option \"foo\"");
	assert_refused(parse(&refused, "mount.nacosfs", SOURCE, "mnt", "-d", NULL), "-d");
	assert_refused(parse(&refused, "nacosfs", SOURCE, "mnt", "-n", NULL), "-n");
}

static void test_mountpoint_is_absolute(void **state)
{
	static const struct {
		const char *given;
		const char *expected; /* below the directory */
	} cases[] = {
		{ "mnt", "mnt" },     { "mnt/", "mnt" },	{ "mnt//", "mnt" },
		{ "./mnt", "mnt" },   { "mnt/../etc/", "etc" }, { "link", "mnt" },
		{ "link/", "mnt" },   { "absent", "absent" },	{ "absent/x/", "absent/x" },
	};
	cleanup_command_line struct command_line root = { 0 };

	(void)state;
	assert_int_equal(symlink("mnt", "link"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_command_line struct command_line line = { 0 };

		assert_int_equal(parse(&line, "nacosfs", SOURCE, cases[i].given, NULL), 0);
		assert_below_directory(line.mountpoint, cases[i].expected);
	}
	assert_int_equal(parse(&root, "nacosfs", SOURCE, "//", NULL), 0);
	assert_string_equal(root.mountpoint, "/");
}

static void test_tls_for_the_console_alone(void **state)
{
	cleanup_command_line struct command_line line = { 0 };

	(void)state;
	assert_int_equal(parse_list(&line, "tls_ca=/ca.pem,tls"), 0);
	command_line_release(&line);
	assert_int_equal(parse_list(&line, "tls_ca=/ca.pem,console=https://c:8443"), 0);
	assert_string_equal(line.options.tls_ca_file, "/ca.pem");
}

static char *printed_by(void (*print)(FILE *stream))
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);

	assert_non_null(stream);
	print(stream);
	assert_int_equal(fclose(stream), 0);
	return text;
}

static void test_help_and_manual(void **state)
{
	cleanup_free char *help = printed_by(options_print_help);
	cleanup_free char *manual = printed_by(options_print_manual);

	(void)state;
	assert_non_null(strstr(help, "Usage: nacosfs SOURCE MOUNTPOINT"));
	assert_non_null(strstr(help, "\n  password_file=FILE "));
	assert_non_null(strstr(help, "\n  ro   "));
	assert_non_null(strstr(help, "default 0027"));
	for (const char *line = help; *line; line += strcspn(line, "\n") + 1)
		assert_in_range(strcspn(line, "\n"), 0, 80);
	assert_memory_equal(manual, ".TP\n.BI config= FILE\n", 21);
	assert_non_null(strstr(manual, "\n.TP\n.B ro\nRead\\-only.\n"));
	assert_non_null(strstr(manual, "\n.BI timeout= SECONDS\n"));
	assert_non_null(strstr(manual, "\n(1 to 3600, default 10).\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_kind),
		cmocka_unit_test(test_choices_and_names),
		cmocka_unit_test(test_bad_values),
		cmocka_unit_test(test_secrets_are_never_values),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_the_last_one_counts),
		cmocka_unit_test(test_options_of_mount),
		cmocka_unit_test(test_config_file),
		cmocka_unit_test(test_config_file_and_command_line),
		cmocka_unit_test(test_bad_config_files),
		cmocka_unit_test(test_switches),
		cmocka_unit_test(test_mount_helper),
		cmocka_unit_test(test_mountpoint_is_absolute),
		cmocka_unit_test(test_tls_for_the_console_alone),
		cmocka_unit_test(test_help_and_manual),
	};

	return cmocka_run_group_tests_name("main/options", tests, enter_directory, leave_directory);
}
