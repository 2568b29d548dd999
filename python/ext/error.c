/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <string.h>

PyObject *error_raise(int error)
{
	const char *text = shmd_error_message();
	PyObject *arguments = Py_BuildValue("iN", -error,
					    PyUnicode_DecodeUTF8(text, strlen(text), "replace"));

	if (arguments) {
		PyErr_SetObject(PyExc_OSError, arguments);
		Py_DECREF(arguments);
	}
	return NULL;
}
