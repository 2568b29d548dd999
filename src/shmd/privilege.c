/* SPDX-License-Identifier: MIT */
#include "shmd/privilege.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* That is CAP_SETPCAP's to do. Who has not got it gains nothing either, with no_new_privs. */
static void empty_bounding_set(void)
{
	for (unsigned long i = 0; prctl(PR_CAPBSET_DROP, i, 0, 0, 0) == 0; i++)
		;
}

/* The C library has no function for it, and libcap would be a library for one call. */
static int set_capabilities(struct __user_cap_data_struct *data)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static bool has_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
	uint32_t any = 0;

	if (syscall(SYS_capget, &header, data) < 0)
		return true;
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		any |= data[i].permitted | data[i].inheritable;
	return any != 0;
}

int privilege_drop(void)
{
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	empty_bounding_set();
	/* A service manager that has dropped them may also forbid the call. The ambient ones go with
	 * the others. */
	return has_capabilities() ? set_capabilities(none) : 0;
}
