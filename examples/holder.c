/* SPDX-License-Identifier: MIT */
/*
 * usage: holder MINE SHARED
 *
 * Makes the segment MINE, which is to end with it, takes the permit of SHARED, which exists, says so,
 * and waits to be killed: a client with a segment and a lock in its hands.
 */
#include <shmd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int fail(void)
{
	fprintf(stderr, "%s\n", shmd_error_message());
	return 2;
}

int main(int argc, char *argv[])
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	struct shmd_segment *mine, *shared;
	struct shmd *connection;

	if (argc != 3)
		return 2;
	options.lifetime = SHMD_LIFETIME_OWNER;
	if (shmd_connect(&connection, NULL) < 0 ||
	    shmd_create(connection, argv[1], 16 << 20, &options, &mine) < 0 ||
	    shmd_attach(connection, argv[2], 0, &shared) < 0 || shmd_acquire(shared, -1) < 0)
		return fail();
	memset(shmd_segment_data(mine), 1, shmd_segment_size(mine));
	puts("holding");
	fflush(stdout);
	for (;;)
		pause();
}
