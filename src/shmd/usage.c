/* SPDX-License-Identifier: MIT */
#include "shmd/usage.h"

#ifdef HAVE_MALLINFO2
#include <malloc.h>
#endif
#include <sys/stat.h>

uint64_t usage_heap(void)
{
#ifdef HAVE_MALLINFO2
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
#else
	return 0;
#endif
}

/* Not by counting the entries: there are thousands, and everybody may ask. */
uint64_t usage_descriptors(void)
{
	struct stat st;

	return stat("/proc/self/fd", &st) == 0 ? (uint64_t)st.st_size : 0;
}
