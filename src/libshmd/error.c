/* SPDX-License-Identifier: MIT */
#include "libshmd/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "libshmd/shmd.h"
#include "wire/protocol.h"

static _Thread_local char message[512];

const char *shmd_error_message(void)
{
	return message;
}

int error_set(int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	return r;
}

int error_errno(int r, const char *what)
{
	char buffer[128];

	return error_set(r, "%s: %s", what, strerror_r(-r, buffer, sizeof(buffer)));
}

static const int errnos[WIRE_CODES] = {
	[WIRE_INVALID] = EINVAL,         [WIRE_TOO_LONG] = ENAMETOOLONG,
	[WIRE_EXISTS] = EEXIST,          [WIRE_NOT_FOUND] = ENOENT,
	[WIRE_DENIED] = EACCES,          [WIRE_LIMIT] = EDQUOT,
	[WIRE_NO_MEMORY] = ENOMEM,       [WIRE_NO_SPACE] = ENOSPC,
	[WIRE_NO_DESCRIPTORS] = ENFILE,  [WIRE_UNSUPPORTED] = ENOTSUP,
	[WIRE_VERSION_REFUSED] = EPROTO, [WIRE_INTERNAL] = EIO,
};

int error_of_code(unsigned code)
{
	return code < WIRE_CODES && errnos[code] ? -errnos[code] : -EPROTO;
}
