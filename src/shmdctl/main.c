/* SPDX-License-Identifier: MIT */
/*
 * The process around a command: three standard descriptors that are really there, and an output
 * that is known to have arrived. What the commands are, it leaves to command.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shmdctl/command.h"

const char *const program_version = PACKAGE_VERSION;

/*
 * A standard descriptor that the caller closed would become a socket or a segment. Stand-ins that
 * fail with EBADF at the first use keep its place.
 */
static int keep_standard_descriptors(void)
{
	static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};

	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd] | O_CLOEXEC) != fd)
			return -1;
	return 0;
}

/* Only closing tells of every failure, such as a full disk behind NFS. */
static int finish(int status)
{
	int failed = ferror(stdout);

	errno = 0;
	if (!fclose(stdout) && !failed)
		return status;
	fprintf(stderr, "shmdctl: cannot write to standard output%s%s\n", errno ? ": " : "",
		errno ? strerror(errno) : "");
	return status == EXIT_OK ? EXIT_FAILED : status;
}

int main(int argc, char **argv)
{
	if (keep_standard_descriptors() < 0)
		return EXIT_FAILED;
	setlocale(LC_ALL, "");
	return finish(command_main(argc, argv));
}
