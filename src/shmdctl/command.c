/* SPDX-License-Identifier: MIT */
#include "shmdctl/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>

#include "base/text.h"

enum { OPTION_USER = OPTION_LONG - 1 };

static const struct command *const commands[] = {
	&status_command, &list_command, &show_command,   &clients_command, &create_command,
	&attach_command, &put_command,  &get_command,    &publish_command, &wait_command,
	&watch_command,  &lock_command, &unlink_command, &explain_command, &run_command,
};

static const struct option_info global_options[] = {
	{"socket", 's', "SOCKET", "the daemon's socket"},
	{"user", OPTION_USER, NULL, "the daemon of the user's session"},
	{"json", 'J', NULL, "print facts as JSON"},
	{"help", 'h', NULL, "print this help"},
	{"version", 'V', NULL, "print the version"},
	{NULL, 0, NULL, NULL},
};

#define N_ELEMENTS(array) (sizeof(array) / sizeof(*(array)))

/* --- what is said --------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 0))) static void say(const struct context *context,
						      const char *format, va_list ap)
{
	_cleanup_free_ char *text = NULL;

	if (vasprintf(&text, format, ap) < 0) {
		text = NULL;
		return;
	}
	text_make_printable(text);
	if (context->command)
		fprintf(stderr, "shmdctl: %s: %s\n", context->command->name, text);
	else
		fprintf(stderr, "shmdctl: %s\n", text);
}

void context_say(const struct context *context, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say(context, format, ap);
	va_end(ap);
}

static bool runs_program(const struct context *context)
{
	return context->command && context->command->runs_program;
}

int context_fail(struct context *context, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say(context, format, ap);
	va_end(ap);
	context->status = runs_program(context) ? EXIT_OWN_FAILURE : EXIT_FAILED;
	return -1;
}

int context_refused(struct context *context)
{
	return context_fail(context, "%s", shmd_error_message());
}

int context_flush(struct context *context)
{
	if (fflush(stdout) == 0)
		return 0;
	context_fail(context, "cannot write to standard output: %s", strerror(errno));
	__fpurge(stdout); /* it is told, main() need not tell it again */
	clearerr(stdout);
	return -1;
}

static int hint(struct context *context)
{
	fprintf(stderr, "Try 'shmdctl%s%s --help'.\n", context->command ? " " : "",
		context->command ? context->command->name : "");
	context->status = EXIT_USAGE;
	return -1;
}

int context_usage(struct context *context, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say(context, format, ap);
	va_end(ap);
	return hint(context);
}

/* --- help ----------------------------------------------------------------------------------- */

static void print_options(const struct option_info *option)
{
	for (; option && option->name; option++) {
		char left[64];
		char letter[8] = "    ";

		if (option->letter < OPTION_USER)
			snprintf(letter, sizeof(letter), "-%c, ", option->letter);
		snprintf(left, sizeof(left), "%s--%s%s%s", letter, option->name,
			 option->argument ? "=" : "", option->argument ? option->argument : "");
		printf("  %-36s %s\n", left, option->help);
	}
}

static void print_commands(void)
{
	puts("Usage: shmdctl [OPTION...] COMMAND ...\n\n"
	     "Asks the shared-memory broker, and works on its segments.\n\n"
	     "Commands:");
	for (size_t i = 0; i < N_ELEMENTS(commands); i++) {
		char left[64];

		snprintf(left, sizeof(left), "%s %s", commands[i]->name, commands[i]->operands);
		printf("  %-36s %s\n", left, commands[i]->summary);
	}
}

static void print_command(const struct command *command)
{
	printf("Usage: shmdctl %s [OPTION...] %s\n\n%s\n\n", command->name, command->operands,
	       command->summary);
	if (command->options)
		puts("Options:");
	print_options(command->options);
	if (command->columns)
		puts("\nColumns for --output:");
	for (const struct column *column = command->columns; column && column->key; column++)
		printf("  %-36s %s\n", column->heading, column->help);
	if (command->options)
		putchar('\n');
}

static int print_help(const struct context *context)
{
	if (context->command)
		print_command(context->command);
	else
		print_commands();
	puts(context->command ? "Options of all commands:" : "\nOptions:");
	print_options(global_options);
	return -1;
}

/* --- options -------------------------------------------------------------------------------- */

static void add_options(struct context *context, const struct option_info *info, size_t *n)
{
	size_t end = strlen(context->short_options);

	for (; info && info->name && *n < OPTIONS_MAX; info++) {
		context->long_options[(*n)++] = (struct option){
			.name = info->name,
			.has_arg = info->argument ? required_argument : no_argument,
			.val = info->letter,
		};
		if (info->letter < OPTION_USER)
			context->short_options[end++] = (char)info->letter;
		if (info->letter < OPTION_USER && info->argument)
			context->short_options[end++] = ':';
	}
	context->short_options[end] = '\0';
}

/* Makes getopt ready for these arguments. Before the command is known, options end at its name. */
static void begin(struct context *context, int argc, char **argv)
{
	static char program[] = "shmdctl";
	size_t n = 0;

	context->argc = argc;
	context->argv = argv;
	if (argc > 0)
		argv[0] = program;
	memset(context->long_options, 0, sizeof(context->long_options));
	strcpy(context->short_options, !context->command || runs_program(context) ? "+" : "");
	if (context->command)
		add_options(context, context->command->options, &n);
	add_options(context, global_options, &n);
	optind = 0;
}

/* Returns 1 if the option is not one of those that all commands have, -1 if it ends the command. */
static int global_option(struct context *context, int option)
{
	switch (option) {
	case 's':
		context->socket = optarg;
		return 0;
	case OPTION_USER:
		context->user = true;
		return 0;
	case 'J':
		context->json = true;
		return 0;
	case 'h':
		return print_help(context);
	case 'V':
		printf("shmdctl %s\n", program_version);
		return -1;
	case '?':
		return hint(context);
	default:
		return 1;
	}
}

static int take_operands(struct context *context)
{
	const struct command *command = context->command;

	context->operands = context->argv + optind;
	context->n_operands = context->argc - optind;
	if (!command)
		return 0;
	if (context->n_operands < command->min_operands)
		return context_usage(context, "too few arguments; it takes %s", command->operands);
	if (command->max_operands >= 0 && context->n_operands > command->max_operands)
		return context_usage(context, "too many arguments, from '%s' on",
				     context->operands[command->max_operands]);
	return 0;
}

int context_option(struct context *context)
{
	for (;;) {
		int option = getopt_long(context->argc, context->argv, context->short_options,
					 context->long_options, NULL);
		if (option < 0)
			return take_operands(context);
		int r = global_option(context, option);
		if (r != 0)
			return r < 0 ? r : option;
	}
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < N_ELEMENTS(commands); i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

int command_main(int argc, char **argv)
{
	struct context context = {0};

	begin(&context, argc, argv);
	if (context_option(&context) < 0)
		return context.status;
	if (context.n_operands == 0) {
		context_usage(&context, "which command?");
		return context.status;
	}
	const struct command *command = find_command(context.operands[0]);
	if (!command) {
		context_say(&context, "there is no command '%s'; --help lists them",
			    context.operands[0]);
		return EXIT_USAGE;
	}
	context.command = command;
	begin(&context, context.n_operands, context.operands);
	command->run(&context);
	return context.status;
}

/* --- the daemon ----------------------------------------------------------------------------- */

static int connect_to(struct context *context, struct shmd **ret, const char *socket)
{
	int r = shmd_connect(ret, socket);

	if (r >= 0)
		return 0;
	context_refused(context);
	if ((r == -ENOENT || r == -ECONNREFUSED) && !runs_program(context))
		context->status = EXIT_NO_DAEMON;
	return -1;
}

int context_connect(struct context *context, struct shmd **ret)
{
	_cleanup_free_ char *path = NULL;
	const char *directory = getenv("XDG_RUNTIME_DIR");

	/* As with shmd(8), --socket goes before --user. */
	if (context->socket || !context->user)
		return connect_to(context, ret, context->socket);
	if (!directory || directory[0] != '/')
		return context_fail(context,
				    "--user: XDG_RUNTIME_DIR is not set to an absolute path");
	if (asprintf(&path, "%s/shmd/shmd.sock", directory) < 0) {
		path = NULL;
		return context_fail(context, "%s", strerror(ENOMEM));
	}
	return connect_to(context, ret, path);
}
