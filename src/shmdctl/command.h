/* SPDX-License-Identifier: MIT */
/*
 * Commands and their options: the table of commands, what all of them have in common, and the ways
 * in which they end. Knows nothing of what a command does.
 */
#ifndef SHMDCTL_COMMAND_H
#define SHMDCTL_COMMAND_H

#include <getopt.h>
#include <shmd.h>
#include <stdbool.h>

#include "base/cleanup.h"
#include "shmdctl/column.h"

enum exit_status {
	EXIT_OK = 0,
	EXIT_FAILED = 1,    /* refused or failed; one line on standard error says why */
	EXIT_USAGE = 2,     /* not understood */
	EXIT_NO_DAEMON = 3, /* nobody there */
	/* of commands that end with the status of a command of the user's, as timeout(1) does */
	EXIT_OWN_FAILURE = 125,
	EXIT_CANNOT_EXECUTE = 126,
	EXIT_NOT_FOUND = 127,
	EXIT_SIGNAL = 128, /* and the signal's number */
};

/* An option without a short name has a number from here on. */
#define OPTION_LONG 256

/* An option that several commands have, and means the same in each. */
#define OPTION_BYTES                                               \
	{                                                          \
		"bytes", 'b', NULL, "print sizes in bytes exactly" \
	}

struct option_info {
	const char *name; /* ends the table where NULL */
	int letter;
	const char *argument; /* NULL: takes none */
	const char *help;
};

struct context;

struct command {
	const char *name;
	const char *operands; /* as the usage shows them */
	const char *summary;
	const struct option_info *options; /* NULL: none of its own */
	const struct column *columns;      /* that --output knows, or NULL */
	int min_operands;
	int max_operands;  /* -1: any number */
	bool runs_program; /* options end at the first operand; failures of its own are 125 */
	/* Returns 0, or a negative value when one of the functions below has said what is wrong. */
	int (*run)(struct context *context);
};

extern const struct command attach_command, clients_command, create_command, explain_command,
	get_command, list_command, lock_command, publish_command, put_command, run_command,
	show_command, status_command, unlink_command, wait_command, watch_command;

#define OPTIONS_MAX 24

/* One call of shmdctl: what was asked, and the exit status that it has come to. */
struct context {
	const struct command *command; /* NULL until its name was read */
	const char *socket;            /* NULL: where the library looks */
	bool user;
	bool json;
	char **operands; /* of the command, NULL at the end, once all options were read */
	int n_operands;
	int status;
	int argc;
	char **argv;
	struct option long_options[OPTIONS_MAX + 1];
	char short_options[2 * OPTIONS_MAX + 2];
};

/* What main() says to --version. */
extern const char *const program_version;

/* Runs the command that the arguments name and returns the exit status. */
int command_main(int argc, char **argv);

/*
 * Reads the command's next option: its letter, with getopt's `optarg`; 0 when all were read and the
 * number of operands is right; negative when the command is to end, with the status in the context.
 */
int context_option(struct context *context);

/* Connects to the daemon that the options name. Returns 0, or -1 when it has said why not. */
int context_connect(struct context *context, struct shmd **ret);

/* Tell what is wrong in one line, set the exit status, and return -1. */
__attribute__((format(printf, 2, 3))) int context_fail(struct context *context, const char *format,
						       ...);
__attribute__((format(printf, 2, 3))) int context_usage(struct context *context, const char *format,
							...);
/* The same for what the library's last call returned: its sentence. */
int context_refused(struct context *context);

/* Has standard output written. Returns 0; or -1 when it could not be, and has said so. */
int context_flush(struct context *context);

/* Writes one line to standard error, in which nothing can move the terminal's cursor. */
__attribute__((format(printf, 2, 3))) void context_say(const struct context *context,
						       const char *format, ...);

DEFINE_CLEANUP(struct shmd *, shmd_disconnect, cleanup_shmd);
DEFINE_CLEANUP(struct shmd_segment *, shmd_detach, cleanup_segment);

#endif
