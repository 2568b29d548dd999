/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <string.h>

PyObject *error_raise_with(int error, const char *text)
{
	PyObject *arguments = Py_BuildValue("iN", -error,
					    PyUnicode_DecodeUTF8(text, strlen(text), "replace"));

	if (arguments) {
		PyErr_SetObject(PyExc_OSError, arguments);
		Py_DECREF(arguments);
	}
	return NULL;
}

PyObject *error_raise(int error)
{
	return error_raise_with(error, shmd_error_message());
}
