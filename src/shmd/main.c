/* SPDX-License-Identifier: MIT */
/* The command line of the daemon: options, configuration, and where it listens. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/text.h"
#include "shmd/config.h"
#include "shmd/handed.h"
#include "shmd/listener.h"
#include "shmd/privilege.h"
#include "shmd/restart.h"
#include "shmd/server.h"

/* Seconds; log lines about it come no faster. */
#define FAILED_START_PAUSE 2

#define EXIT_USAGE  2
#define EXIT_CONFIG 78 /* EX_CONFIG of sysexits.h */

struct arguments {
	const char *config_file;
	const char *socket;
	enum log_level level; /* LOG_LEVELS: not given */
	int ready_fd;         /* -1: not given */
	bool user;
	bool check_config;
	bool dump_config;
};

enum { OPTION_USER = 256, OPTION_CHECK, OPTION_DUMP, OPTION_READY, OPTION_VERSION, OPTION_HELP };

static const struct option options[] = {
	{"config", required_argument, NULL, 'c'},
	{"socket", required_argument, NULL, 's'},
	{"log-level", required_argument, NULL, 'l'},
	{"user", no_argument, NULL, OPTION_USER},
	{"check-config", no_argument, NULL, OPTION_CHECK},
	{"dump-config", no_argument, NULL, OPTION_DUMP},
	{"ready-fd", required_argument, NULL, OPTION_READY},
	{"version", no_argument, NULL, OPTION_VERSION},
	{"help", no_argument, NULL, OPTION_HELP},
	{0},
};

static const char help[] =
	"Usage: shmd [OPTION]...\n"
	"Broker shared memory between the processes of this machine.\n\n"
	"  -c, --config=FILE      read this configuration alone\n"
	"  -s, --socket=SOCKET    listen here\n"
	"  -l, --log-level=LEVEL  error, warning, notice, info or debug\n"
	"      --user             serve one user: listen in $XDG_RUNTIME_DIR\n"
	"      --check-config     only read the configuration, and say what is wrong with it\n"
	"      --dump-config      print the configuration in force, and end\n"
	"      --ready-fd=FD      write a newline to this descriptor when clients can connect\n"
	"      --version          print the version, and end\n"
	"      --help             print this, and end\n\n"
	"See shmd(8) and shmd.conf(5).\n";

static int usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int usage(const char *format, ...)
{
	va_list ap;

	fputs("shmd: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputs("\nTry 'shmd --help'.\n", stderr);
	return EXIT_USAGE;
}

static int parse_fd(const char *text, int *ret)
{
	uint64_t value;

	/* The standard ones are for other things, the log among them. */
	if (parse_u64(text, &value) < 0 || value > INT32_MAX || value <= STDERR_FILENO)
		return -EINVAL;
	if (fcntl((int)value, F_GETFD) < 0)
		return -EBADF;
	*ret = (int)value;
	return 0;
}

/* Returns -1 to go on, or the exit status. */
static int take_option(int option, struct arguments *arguments)
{
	switch (option) {
	case 'c':
		arguments->config_file = optarg;
		return -1;
	case 's':
		arguments->socket = optarg;
		return -1;
	case 'l':
		if (log_level_parse(optarg, &arguments->level) < 0)
			return usage("there is no log level '%s'", optarg);
		return -1;
	case OPTION_USER:
		arguments->user = true;
		return -1;
	case OPTION_CHECK:
		arguments->check_config = true;
		return -1;
	case OPTION_DUMP:
		arguments->dump_config = true;
		return -1;
	case OPTION_READY:
		if (parse_fd(optarg, &arguments->ready_fd) < 0)
			return usage("'%s' is not an open descriptor from 3 on", optarg);
		return -1;
	case OPTION_VERSION:
		puts("shmd " PACKAGE_VERSION);
		return EXIT_SUCCESS;
	case OPTION_HELP:
		fputs(help, stdout);
		return EXIT_SUCCESS;
	default:
		fputs("Try 'shmd --help'.\n", stderr);
		return EXIT_USAGE;
	}
}

static int parse_arguments(int argc, char **argv, struct arguments *ret)
{
	int option;

	*ret = (struct arguments){.level = LOG_LEVELS, .ready_fd = -1};
	while ((option = getopt_long(argc, argv, "c:s:l:", options, NULL)) != -1) {
		int status = take_option(option, ret);
		if (status >= 0)
			return status;
	}
	if (optind < argc)
		return usage("'%s' is too much: there are no arguments", argv[optind]);
	return -1;
}

/* A user's own daemon listens where that user's things are. */
static int user_socket(char *ret, size_t room)
{
	const char *folder = getenv("XDG_RUNTIME_DIR");
	char path[CONFIG_PATH_MAX];

	if (!folder || folder[0] != '/') {
		log_error("--user: XDG_RUNTIME_DIR is not set to an absolute path");
		return -EINVAL;
	}
	int n = snprintf(path, sizeof(path), "%s/shmd", folder);
	if (n < 0 || (size_t)n + sizeof("/shmd.sock") > sizeof(path)) {
		log_error("the path of XDG_RUNTIME_DIR is too long for a socket");
		return -ENAMETOOLONG;
	}
	snprintf(ret, room, "%.*s/shmd.sock", n, path);
	return 0;
}

/* -s goes before --user, and both before the configuration. */
static int choose_socket(const struct arguments *arguments, struct config *config)
{
	if (arguments->socket) {
		if (!arguments->socket[0]) {
			log_error("the path of the socket is empty");
			return -EINVAL;
		}
		if (strlen(arguments->socket) >= sizeof(config->socket)) {
			log_error("the path of the socket has %zu bytes; at most %zu are allowed",
				  strlen(arguments->socket), sizeof(config->socket) - 1);
			return -ENAMETOOLONG;
		}
		text_copy(config->socket, sizeof(config->socket), arguments->socket);
		return 0;
	}
	return arguments->user ? user_socket(config->socket, sizeof(config->socket)) : 0;
}

/* Makes the folder of a user's own socket, or finds it made by us: somebody else's would let them put
 * another socket in its place. */
static int make_folder(const char *socket)
{
	char folder[CONFIG_PATH_MAX];
	struct stat st;

	text_copy(folder, sizeof(folder), socket);
	*strrchr(folder, '/') = '\0';
	int r = mkdir(folder, 0700) < 0 ? -errno : 0;
	if (r == -EEXIST && lstat(folder, &st) == 0)
		r = S_ISDIR(st.st_mode) && st.st_uid == geteuid() ? 0 : -EPERM;
	if (r == -EPERM)
		log_error("%s is no folder, or another user's", folder);
	else if (r < 0)
		log_error("cannot make %s: %s", folder, strerror(-r));
	return r;
}

static int listen_on_path(const char *path, struct listener **ret)
{
	int r = listener_open(ret, path);

	if (r == -EADDRINUSE)
		log_error("a daemon is already serving %s", path);
	else if (r == -EEXIST)
		log_error("%s exists, and is no socket", path);
	else if (r < 0)
		log_error("cannot listen on %s: %s", path, strerror(-r));
	return r;
}

/* What systemd hands over goes before every path. */
static int listen_somewhere(const struct arguments *arguments, struct config *config,
			    struct handed *handed, struct listener **ret)
{
	if (handed->socket < 0) {
		int r = arguments->user && !arguments->socket ? make_folder(config->socket) : 0;
		return r < 0 ? r : listen_on_path(config->socket, ret);
	}
	text_copy(config->socket, sizeof(config->socket), "the socket that systemd handed over");
	return listener_adopt(ret, steal_fd(&handed->socket));
}

static int take_handed(struct handed *ret)
{
	int r = handed_take(ret);

	if (r == -EINVAL)
		log_error("systemd handed over something else than one listening "
			  "SOCK_SEQPACKET socket");
	else if (r < 0 && r != -ENOENT)
		log_error("cannot take what systemd handed over: %s", strerror(-r));
	return r == -ENOENT ? 0 : r;
}

static void tell_ready(int fd)
{
	if (fd < 0)
		return;
	if (write(fd, "\n", 1) != 1)
		log_warning("cannot tell descriptor %d that clients can connect: %s", fd,
			    strerror(errno));
	close_fd(fd);
}

/* The service manager tries again, at once and for ever: so that a failed start is no end, which would
 * empty its store. */
static int give_up(const struct handed *handed)
{
	if (handed->n > 0) {
		log_error("what the daemon before this one has left stays in the service manager's "
			  "store: nothing is lost until the service is stopped");
		sleep(FAILED_START_PAUSE);
	}
	return EXIT_FAILURE;
}

static int serve(const struct arguments *arguments, struct config *config)
{
	CLEANUP(handed_fini) struct handed handed = {.socket = -1};
	struct listener *listener;
	struct server *server;

	if (take_handed(&handed) < 0)
		return EXIT_FAILURE;
	struct legacy legacy;
	int r = legacy_read(&legacy, &handed);
	if (r == 0)
		r = listen_somewhere(arguments, config, &handed, &listener);
	if (r < 0) {
		legacy_fini(&legacy);
		return give_up(&handed);
	}
	r = server_new(&server, config, listener, &legacy, &handed);
	legacy_fini(&legacy);
	if (r < 0)
		return give_up(&handed);
	server->config_file = arguments->config_file;
	server->log_level_override = arguments->level;
	log_notice("version " PACKAGE_VERSION ", instance %s, serving %s",
		   server->registry->instance.name, config->socket);
	tell_ready(arguments->ready_fd);
	r = server_run(server);
	server_free(server);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* A descriptor that we open must not become the standard error of the log. */
static void fill_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	close_fd(fd);
}

/* Before anything is read or made, so that what works at the start works later, too: to read the
 * configuration again, and to remove the socket. */
static int drop_privileges(void)
{
	int r = privilege_drop();

	if (r < 0)
		log_error("cannot drop privileges: %s", strerror(-r));
	return r;
}

static void prepare_process(void)
{
	/* Files get the modes that we say: a socket is for everybody. */
	umask(0);
	/* Other processes of our user shall not reach our descriptors through /proc. */
	prctl(PR_SET_DUMPABLE, 0);
	server_block_signals();
}

int main(int argc, char **argv)
{
	struct arguments arguments;
	CLEANUP(config_fini) struct config config = {0};
	char error[CONFIG_ERROR_MAX];

	fill_standard_descriptors();
	/* getopt_long(3) names the program by it. */
	static char name[] = "shmd";
	if (argc > 0)
		argv[0] = name;
	int status = parse_arguments(argc, argv, &arguments);
	if (status >= 0)
		return status;
	log_open("shmd");
	if (drop_privileges() < 0)
		return EXIT_FAILURE;
	if (config_load(&config, arguments.config_file, error) < 0) {
		log_error("%s", error);
		return EXIT_CONFIG;
	}
	if (arguments.check_config)
		return EXIT_SUCCESS;
	if (arguments.level < LOG_LEVELS)
		config.log_level = arguments.level;
	log_set_level((enum log_level)config.log_level);
	if (choose_socket(&arguments, &config) < 0)
		return EXIT_FAILURE;
	if (arguments.dump_config) {
		config_print(&config, CONFIG_VALUES, stdout);
		if (fflush(stdout) == 0)
			return EXIT_SUCCESS;
		log_error("cannot write to standard output: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	prepare_process();
	return serve(&arguments, &config);
}
