/* SPDX-License-Identifier: MIT */
/*
 * Prints the options of the daemon as documentation has them, so that docs.sh can tell whether
 * etc/shmd.conf and shmd.conf(5) still say what the program does, and write them anew.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shmd/config.h"

static const struct {
	const char *name;
	enum config_form form;
} forms[] = {
	{"template", CONFIG_TEMPLATE}, /* for etc/shmd.conf */
	{"manual", CONFIG_MANUAL},     /* for man/shmd.conf.5 */
};

static int print(enum config_form form)
{
	struct config defaults;

	config_init(&defaults);
	config_print(&defaults, form, stdout);
	return fclose(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof(forms) / sizeof(forms[0]); i++)
		if (strcmp(argv[1], forms[i].name) == 0)
			return print(forms[i].form);
	fputs("Usage: config-doc template|manual\n", stderr);
	return 2;
}
