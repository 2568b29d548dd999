/* SPDX-License-Identifier: MIT */
/*
 * Creates a segment and exits without unlinking or detaching it. With shm_open(3) it would stay until
 * the next reboot; here it is gone with its process. Prints its name.
 */
#include <shmd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct shmd *connection;
static struct shmd_segment *segment;

int main(void)
{
	char name[32];

	snprintf(name, sizeof(name), "leak-%d", (int)getpid());
	if (shmd_connect(&connection, NULL) < 0 ||
	    shmd_create(connection, name, 1 << 20, NULL, &segment) < 0) {
		fprintf(stderr, "%s\n", shmd_error_message());
		return 2;
	}
	memset(shmd_segment_data(segment), 1, shmd_segment_size(segment));
	puts(name);
	return 0;
}
