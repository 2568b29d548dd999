/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <string.h>

PyObject *error_raise_with(int error, const char *text)
{
	PyObject *arguments = Py_BuildValue("iN", -error,
					    PyUnicode_DecodeUTF8(text, strlen(text), "replace"));

	/* Made here, as only the instance is of the class that goes with the number. */
	PyObject *exception = arguments ? PyObject_CallObject(PyExc_OSError, arguments) : NULL;
	Py_XDECREF(arguments);
	if (exception) {
		PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
		Py_DECREF(exception);
	}
	return NULL;
}

PyObject *error_raise(int error)
{
	return error_raise_with(error, shmd_error_message());
}

const char *error_read_text(PyObject *object)
{
	Py_ssize_t size;
	const char *text;

	if (!PyUnicode_Check(object)) {
		PyErr_Format(PyExc_TypeError, "expected str, not %.100s", Py_TYPE(object)->tp_name);
		return NULL;
	}
	text = PyUnicode_AsUTF8AndSize(object, &size);
	if (text && strlen(text) != (size_t)size) {
		PyErr_SetString(PyExc_ValueError, "embedded null character");
		return NULL;
	}
	return text;
}
