/* SPDX-License-Identifier: MIT */
#include "core/refusal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

int refuse(struct refusal *refusal, enum refusal_code code, const char *format, ...)
{
	va_list ap;

	refusal->code = code;
	va_start(ap, format);
	vsnprintf(refusal->text, sizeof(refusal->text), format, ap);
	va_end(ap);
	return (int)code;
}

static enum refusal_code code_of(int error)
{
	switch (error) {
	case ENOMEM:
		return REFUSAL_NO_MEMORY;
	case ENOSPC:
	case EDQUOT:
		return REFUSAL_NO_SPACE;
	case EMFILE:
	case ENFILE:
		return REFUSAL_NO_DESCRIPTORS;
	default:
		return REFUSAL_INTERNAL;
	}
}

static int refuse_descriptors(struct refusal *refusal, int r, const char *what)
{
	struct rlimit limit;

	if (r == -ENFILE || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return refuse(refusal, REFUSAL_NO_DESCRIPTORS,
			      "the daemon could not %s: the machine has no descriptor left "
			      "(fs.file-max)",
			      what);
	return refuse(refusal, REFUSAL_NO_DESCRIPTORS,
		      "the daemon could not %s: it has no descriptor left (RLIMIT_NOFILE=%ju)",
		      what, (uintmax_t)limit.rlim_cur);
}

int refuse_errno(struct refusal *refusal, int r, const char *what)
{
	if (code_of(-r) == REFUSAL_NO_DESCRIPTORS)
		return refuse_descriptors(refusal, r, what);
	return refuse(refusal, code_of(-r), "the daemon could not %s: %s", what, strerror(-r));
}
