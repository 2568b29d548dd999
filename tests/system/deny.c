/* SPDX-License-Identifier: MIT */
/*
 * deny WHAT... -- COMMAND...: runs the command on a kernel that seems not to have some feature: the
 * system call that asks for it fails as on such a kernel (seccomp(2)).
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SO_PEERPIDFD  77
#define SO_PASSRIGHTS 83
#define F_SETLEASE    1024

#define ANY (-1)

static const struct denial {
	const char *name;
	unsigned call;
	int argument; /* which argument decides, or ANY */
	unsigned value;
	int error;
} denials[] = {
	{"peerpidfd", SYS_getsockopt, 2, SO_PEERPIDFD, ENOPROTOOPT},   /* before Linux 6.5 */
	{"passrights", SYS_setsockopt, 2, SO_PASSRIGHTS, ENOPROTOOPT}, /* before Linux 6.16 */
	{"pidfd", SYS_pidfd_open, ANY, 0, ENOSYS},                     /* before Linux 5.3 */
	{"lease", SYS_fcntl, 1, F_SETLEASE, EINVAL},
	{"inotify", SYS_inotify_init1, ANY, 0, EMFILE},
	{"watches", SYS_inotify_add_watch, ANY, 0, ENOSPC},
	{"acl", SYS_fsetxattr, ANY, 0, EOPNOTSUPP},
	{"futex_waitv", SYS_futex_waitv, ANY, 0, ENOSYS}, /* before Linux 5.16 */
	{"futex_waitv-by-filter", SYS_futex_waitv, ANY, 0, EPERM},
};

/* The low half of an argument: all that these calls look at, on little-endian machines. */
#define ARGUMENT(n) (offsetof(struct seccomp_data, args) + 8 * (unsigned)(n))

static int install(const struct denial *denial)
{
	bool by_argument = denial->argument != ANY;
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, denial->call, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(by_argument ? denial->argument : 0)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, denial->value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)denial->error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

	/* Without such an argument, the call alone leads to the error. */
	if (!by_argument)
		filter[1].jt = 2;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static const struct denial *find(const char *name)
{
	for (size_t i = 0; i < sizeof(denials) / sizeof(denials[0]); i++)
		if (strcmp(denials[i].name, name) == 0)
			return &denials[i];
	return NULL;
}

int main(int argc, char **argv)
{
	int i = 1;

	for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
		const struct denial *denial = find(argv[i]);
		if (!denial || install(denial) < 0) {
			fprintf(stderr, "deny: %s: %s\n", argv[i],
				denial ? strerror(errno) : "unknown");
			return 125;
		}
	}
	if (i + 1 >= argc)
		return 2;
	execvp(argv[i + 1], argv + i + 1);
	perror(argv[i + 1]);
	return 127;
}
