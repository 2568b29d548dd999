/* SPDX-License-Identifier: MIT */
#include "base/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>

static _Thread_local sigjmp_buf *volatile way_out;

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	struct sigaction fatal = {.sa_handler = SIG_DFL};

	(void)context;
	/* The kernel says where: what another process sent says who. */
	if (way_out && info->si_code > 0)
		siglongjmp(*way_out, 1);
	/* The access is made again, and this time it is fatal; a signal that was sent is sent again. */
	sigaction(signal, &fatal, NULL);
	if (info->si_code <= 0)
		raise(signal);
}

int guard_init(void)
{
	/* Not blocked while it is handled, so that jumping out need not restore the mask. */
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER};

	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

int guard_run(guard_fn *fn, void *context)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 0) != 0) {
		way_out = NULL;
		return -EFAULT;
	}
	way_out = &here;
	fn(context);
	way_out = NULL;
	return 0;
}
