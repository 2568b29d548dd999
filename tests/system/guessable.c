/* SPDX-License-Identifier: MIT */
/*
 * Linked into a daemon, this makes its random numbers those that a test can foretell: the names of
 * instances count from $SHMD_TEST_RANDOM (hexadecimal) on, those of semaphores from 1 on.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

ssize_t getrandom(void *buffer, size_t size, unsigned flags)
{
	static uint64_t semaphores;
	static uint32_t instances;
	const char *first = getenv("SHMD_TEST_RANDOM");
	uint32_t instance = (uint32_t)strtoul(first ? first : "0", NULL, 16) + instances;

	(void)flags;
	memset(buffer, 0, size);
	if (size == sizeof(instance)) {
		instances++;
		memcpy(buffer, &instance, sizeof(instance));
	} else if (size == sizeof(semaphores)) {
		semaphores++;
		memcpy(buffer, &semaphores, sizeof(semaphores));
	}
	return (ssize_t)size;
}
