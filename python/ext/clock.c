/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <limits.h>
#include <math.h>
#include <time.h>

double clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

double clock_deadline(double timeout)
{
	return timeout < 0 ? CLOCK_NEVER : clock_now() + timeout;
}

int clock_left(double deadline)
{
	if (deadline < 0)
		return -1;
	double left = ceil((deadline - clock_now()) * 1e3);
	if (left <= 0)
		return 0;
	return left < INT_MAX ? (int)left : INT_MAX;
}

int clock_read_timeout(PyObject *object, double *ret)
{
	double timeout = CLOCK_NEVER;

	if (object != Py_None) {
		timeout = PyFloat_AsDouble(object);
		if (timeout == -1 && PyErr_Occurred())
			return -1;
		if (!(timeout >= 0)) {
			PyErr_SetString(PyExc_ValueError, "timeout must be a non-negative number");
			return -1;
		}
	}
	*ret = timeout;
	return 0;
}
