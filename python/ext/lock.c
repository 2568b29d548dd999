/* SPDX-License-Identifier: MIT */
/*
 * A segment's semaphore with the manners of threading.Lock. A free permit is taken without giving up
 * the interpreter lock, as that costs more than the permit does.
 */
#include "module.h"

struct lock_object {
	PyObject_HEAD struct segment_object *segment;
};

PyObject *lock_new(struct module_state *state, struct segment_object *segment)
{
	struct lock_object *self = PyObject_New(struct lock_object, state->lock_type);

	if (self) {
		Py_INCREF(segment);
		self->segment = segment;
	}
	return (PyObject *)self;
}

static void lock_dealloc(PyObject *object)
{
	PyTypeObject *type = Py_TYPE(object);

	Py_DECREF(((struct lock_object *)object)->segment);
	type->tp_free(object);
	Py_DECREF(type);
}

/* Waits until the deadline; returns what shmd_acquire() does, or 2 with an exception. */
static int wait_for_permit(struct segment_object *segment, double deadline)
{
	int left, result;

	do {
		if (segment_check(segment) < 0) /* a signal handler may have closed it */
			return 2;
		left = clock_left(deadline);
		segment->users++;
		Py_BEGIN_ALLOW_THREADS result = shmd_acquire(segment->segment, left);
		Py_END_ALLOW_THREADS segment->users--;
		if (result != -EINTR && result != -ETIMEDOUT)
			return result;
		if (PyErr_CheckSignals() < 0)
			return 2;
	} while (left != 0);
	return -ETIMEDOUT;
}

/* The first permit in a forked child is the one that asks the daemon. */
static int take_permit(struct segment_object *segment, double timeout)
{
	int result = -EAGAIN;

	if (segment->forks == module_forks)
		result = shmd_acquire(segment->segment, 0);
	if (result == -EAGAIN && (timeout != 0 || segment->forks != module_forks)) {
		result = wait_for_permit(segment, clock_deadline(timeout));
		segment->forks = module_forks;
	}
	return result;
}

/* Returns 1: taken; 0: not in time; -1 with an exception. */
static int acquire(struct segment_object *segment, double timeout)
{
	if (segment_check(segment) < 0)
		return -1;
	int result = take_permit(segment, timeout);
	if (result == -EAGAIN || result == -ETIMEDOUT)
		return 0;
	if (result == 2)
		return -1;
	if (result < 0) {
		error_raise(result);
		return -1;
	}
	if (result == SHMD_OWNER_DIED)
		segment->owner_died = true;
	return 1;
}

static int release(struct segment_object *segment)
{
	if (segment_check(segment) < 0)
		return -1;
	int result = shmd_release(segment->segment);
	if (result == -EPERM)
		PyErr_SetString(PyExc_RuntimeError, shmd_error_message());
	else if (result < 0)
		error_raise(result);
	else
		segment->owner_died = false;
	return result < 0 ? -1 : 0;
}

PyDoc_STRVAR(
	acquire_doc,
	"acquire(blocking=True, timeout=-1)\n--\n\n"
	"Takes one permit of the segment's semaphore, and waits for it if none is free.\n\n"
	"timeout is in seconds, -1 waits for ever; blocking=False only tries. Returns True, and\n"
	"False if there was none in time. While it waits, other threads run, and Ctrl-C ends it.\n"
	"Look at owner_died before you trust the data.\n\n"
	"The permit is the process's, whichever thread took it. If the process dies, however it\n"
	"dies, the daemon gives it back. A segment has one permit unless made with permits=.\n\n"
	"Raises PermissionError where it may only be read, OSError (ENOTSUP) where there is no\n"
	"semaphore, ValueError once the shared memory is closed.");

static int read_arguments(PyObject *args, PyObject *kwargs, double *timeout)
{
	static char *keywords[] = {(char *)"blocking", (char *)"timeout", NULL};
	int blocking = 1;
	PyObject *object = NULL;

	*timeout = -1;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|pO:acquire", keywords, &blocking, &object))
		return -1;
	if (object && object != Py_None) {
		*timeout = PyFloat_AsDouble(object);
		if (*timeout == -1 && PyErr_Occurred())
			return -1;
	}
	if (!blocking && *timeout != -1) {
		PyErr_SetString(PyExc_ValueError,
				"can't specify a timeout for a non-blocking call");
		return -1;
	}
	if (*timeout != -1 && !(*timeout >= 0)) {
		PyErr_SetString(PyExc_ValueError, "timeout value must be a non-negative number");
		return -1;
	}
	if (!blocking)
		*timeout = 0;
	return 0;
}

static PyObject *lock_acquire(PyObject *object, PyObject *args, PyObject *kwargs)
{
	double timeout;

	if (read_arguments(args, kwargs, &timeout) < 0)
		return NULL;
	int taken = acquire(((struct lock_object *)object)->segment, timeout);
	return taken < 0 ? NULL : PyBool_FromLong(taken);
}

PyDoc_STRVAR(
	release_doc,
	"release()\n--\n\n"
	"Gives back a permit that this process holds, in whichever thread it was taken. Does not\n"
	"block. owner_died is false from then on.\n\n"
	"Raises RuntimeError if the process holds none, as a forked child whose parent does.");

static PyObject *lock_release(PyObject *object, PyObject *unused)
{
	(void)unused;
	if (release(((struct lock_object *)object)->segment) < 0)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *lock_enter(PyObject *object, PyObject *unused)
{
	(void)unused;
	if (acquire(((struct lock_object *)object)->segment, -1) < 0)
		return NULL;
	Py_INCREF(object);
	return object;
}

static PyObject *lock_exit(PyObject *object, PyObject *const *args, Py_ssize_t n)
{
	(void)args;
	(void)n;
	return lock_release(object, NULL);
}

static PyObject *get_owner_died(PyObject *object, void *unused)
{
	(void)unused;
	return PyBool_FromLong(((struct lock_object *)object)->segment->owner_died);
}

static PyMethodDef methods[] = {
	{"acquire", (PyCFunction)(void (*)(void))lock_acquire, METH_VARARGS | METH_KEYWORDS,
	 acquire_doc},
	{"release", lock_release, METH_NOARGS, release_doc},
	{"__enter__", lock_enter, METH_NOARGS,
	 "Waits for a permit, and takes it. The lock itself."},
	{"__exit__", (PyCFunction)(void (*)(void))lock_exit, METH_FASTCALL, "Gives it back."},
	{NULL, NULL, 0, NULL},
};

static PyGetSetDef getters[] = {
	{"owner_died", get_owner_died, NULL,
	 "Whether a holder of the permit died with it, perhaps in the middle of a change. Told to "
	 "one\n"
	 "process, the next that takes the permit, until it gives the permit back.",
	 NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
	{Py_tp_dealloc, lock_dealloc},
	{Py_tp_methods, methods},
	{Py_tp_getset, getters},
	{Py_tp_doc, (void *)"The semaphore of a segment, as a lock: with memory.lock: ..."},
	{0, NULL},
};

PyType_Spec lock_spec = {
	.name = "shmd.Lock",
	.basicsize = sizeof(struct lock_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = slots,
};
