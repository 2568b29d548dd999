/* SPDX-License-Identifier: MIT */
/*
 * Events, on a connection of their own, so that whoever reads them slowly holds up nothing else. They are
 * queued as they come, without the interpreter lock, and become objects when they are taken.
 *
 * One thread at a time may read. Another one may close: that wakes the reader, who then cleans up.
 */
#include "module.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct queued {
	struct queued *next;
	struct shmd_event event;
	char texts[]; /* the name and the text */
};

struct subscription_object {
	PyObject_HEAD struct shmd *shmd; /* NULL: closed */
	int fd;
	int wake; /* written to by who closes it while another thread reads */
	struct queued *first, **last;
	bool is_out_of_memory;
	bool is_reading;
	unsigned long reading_forks; /* of the process whose thread that is */
	bool is_closing;
};

/* --- the queue, without the interpreter lock ---------------------------------------------------- */

static size_t text_size(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

static struct queued *copy_event(const struct shmd_event *event)
{
	size_t name_size = text_size(event->name), rest_size = text_size(event->text);
	struct queued *queued = malloc(sizeof(*queued) + name_size + rest_size);

	if (!queued)
		return NULL;
	queued->next = NULL;
	queued->event = *event;
	if (event->name)
		queued->event.name = memcpy(queued->texts, event->name, name_size);
	if (event->text)
		queued->event.text = memcpy(queued->texts + name_size, event->text, rest_size);
	return queued;
}

static void take_event(const struct shmd_event *event, void *context)
{
	struct subscription_object *self = context;
	struct queued *queued = copy_event(event);

	if (!queued) {
		self->is_out_of_memory = true;
		return;
	}
	*self->last = queued;
	self->last = &queued->next;
}

static struct queued *pop(struct subscription_object *self)
{
	struct queued *queued = self->first;

	if (queued) {
		self->first = queued->next;
		if (!self->first)
			self->last = &self->first;
	}
	return queued;
}

/* --- its life ----------------------------------------------------------------------------------- */

static void clean_up(struct subscription_object *self)
{
	struct shmd *shmd = self->shmd;
	int wake = self->wake;
	struct queued *queued;

	self->shmd = NULL;
	self->wake = -1;
	while ((queued = pop(self)))
		free(queued);
	Py_BEGIN_ALLOW_THREADS shmd_disconnect(shmd);
	if (wake >= 0)
		close(wake);
	Py_END_ALLOW_THREADS
}

static void subscription_dealloc(PyObject *object)
{
	PyTypeObject *type = Py_TYPE(object);

	clean_up((struct subscription_object *)object);
	type->tp_free(object);
	Py_DECREF(type);
}

/* Returns 0, or -1 with an exception. */
static int begin(struct subscription_object *self, const char *glob)
{
	int result;

	Py_BEGIN_ALLOW_THREADS result = shmd_subscribe(self->shmd, glob, take_event, self);
	if (result > 0)
		result = self->fd = shmd_get_fd(self->shmd);
	Py_END_ALLOW_THREADS if (result < 0)
	{
		error_raise(result);
		return -1;
	}
	self->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (self->wake < 0) {
		PyErr_SetFromErrno(PyExc_OSError);
		return -1;
	}
	return 0;
}

/* Text, or None for NULL. Returns 0, or -1 with an exception. */
static int read_glob(PyObject *object, const char **ret)
{
	*ret = NULL;
	if (object != Py_None)
		*ret = error_read_text(object);
	return object == Py_None || *ret ? 0 : -1;
}

PyObject *subscription_subscribe(PyObject *module, PyObject *glob_object)
{
	struct module_state *state = module_state(module);
	struct subscription_object *self;
	const char *glob;

	if (read_glob(glob_object, &glob) < 0)
		return NULL;
	self = PyObject_New(struct subscription_object, state->subscription_type);
	if (!self)
		return NULL;
	memset((char *)self + sizeof(PyObject), 0, sizeof(*self) - sizeof(PyObject));
	self->last = &self->first;
	self->fd = self->wake = -1;
	if (connection_open(state, &self->shmd) < 0 || begin(self, glob) < 0)
		Py_CLEAR(self);
	return (PyObject *)self;
}

/* --- reading ------------------------------------------------------------------------------------ */

/* A forked child has not the thread that reads, and must not wake its parent's. */
static bool is_being_read(const struct subscription_object *self)
{
	return self->is_reading && self->reading_forks == module_forks;
}

static int start_reading(struct subscription_object *self)
{
	if (!self->shmd || self->is_closing)
		PyErr_SetString(PyExc_ValueError, "the events are closed");
	else if (is_being_read(self))
		PyErr_SetString(PyExc_RuntimeError, "another thread is reading these events");
	else {
		self->is_reading = true;
		self->reading_forks = module_forks;
		return 0;
	}
	return -1;
}

static void stop_reading(struct subscription_object *self)
{
	self->is_reading = false;
	if (self->is_closing)
		clean_up(self);
}

/* Takes in what has come. Returns 0, or -1 with an exception. */
static int dispatch(struct subscription_object *self)
{
	int result;

	Py_BEGIN_ALLOW_THREADS result = shmd_dispatch(self->shmd);
	Py_END_ALLOW_THREADS if (result < 0) error_raise(result);
	else if (self->is_out_of_memory) PyErr_NoMemory();
	self->is_out_of_memory = false;
	return PyErr_Occurred() ? -1 : 0;
}

/* Waits until there is something in the queue, or somebody closes it, or time is up. */
static int fill(struct subscription_object *self, double deadline)
{
	int left, ready;

	do {
		struct pollfd fds[] = {{.fd = self->fd, .events = POLLIN},
				       {.fd = self->wake, .events = POLLIN}};
		left = clock_left(deadline);
		Py_BEGIN_ALLOW_THREADS ready = poll(fds, 2, left);
		Py_END_ALLOW_THREADS if (PyErr_CheckSignals() < 0) return -1;
		if (ready > 0 && fds[0].revents && dispatch(self) < 0)
			return -1;
	} while (!self->first && !self->is_closing && left != 0);
	return 0;
}

static PyObject *id_or_none(long long id, long long none)
{
	if (id == none)
		Py_RETURN_NONE;
	return PyLong_FromLongLong(id);
}

static PyObject *make_event(struct module_state *state, const struct shmd_event *event)
{
	uid_t uid = event->uid;

	return record_new(state, RECORD_EVENT,
			  Py_BuildValue("NdNKKNNNKNK", record_text(shmd_event_name(event->kind)),
					(double)event->time_ns / 1e9, record_text(event->name),
					(unsigned long long)event->id,
					(unsigned long long)event->size, id_or_none(event->pid, 0),
					id_or_none(uid == (uid_t)-1 ? -1 : (long long)uid, -1),
					PyBool_FromLong(event->read_only),
					(unsigned long long)event->count, record_text(event->text),
					(unsigned long long)event->time_ns));
}

static PyObject *take_first(struct subscription_object *self)
{
	struct queued *queued = pop(self);

	if (!queued)
		Py_RETURN_NONE;
	PyObject *event = make_event(PyType_GetModuleState(Py_TYPE(self)), &queued->event);
	free(queued);
	return event;
}

/* next(timeout or None): an event; None: none came in time, or it was closed meanwhile. */
static PyObject *subscription_next(PyObject *object, PyObject *timeout_object)
{
	struct subscription_object *self = (struct subscription_object *)object;
	PyObject *event = NULL;
	double timeout;

	if (clock_read_timeout(timeout_object, &timeout) < 0 || start_reading(self) < 0)
		return NULL;
	if (self->first || fill(self, clock_deadline(timeout)) == 0)
		event = take_first(self);
	stop_reading(self);
	return event;
}

static PyObject *subscription_fileno(PyObject *object, PyObject *unused)
{
	struct subscription_object *self = (struct subscription_object *)object;

	(void)unused;
	if (!self->shmd) {
		PyErr_SetString(PyExc_ValueError, "the events are closed");
		return NULL;
	}
	return PyLong_FromLong(self->fd);
}

static PyObject *subscription_close(PyObject *object, PyObject *unused)
{
	struct subscription_object *self = (struct subscription_object *)object;

	(void)unused;
	if (self->shmd && is_being_read(self)) {
		self->is_closing = true;
		eventfd_write(self->wake, 1);
	} else if (self->shmd) {
		clean_up(self);
	}
	Py_RETURN_NONE;
}

static PyObject *get_closed(PyObject *object, void *unused)
{
	struct subscription_object *self = (struct subscription_object *)object;

	(void)unused;
	return PyBool_FromLong(!self->shmd || self->is_closing);
}

static PyMethodDef methods[] = {
	{"close", subscription_close, METH_NOARGS, NULL},
	{"fileno", subscription_fileno, METH_NOARGS, NULL},
	{"next", subscription_next, METH_O, NULL},
	{NULL, NULL, 0, NULL},
};

static PyGetSetDef getters[] = {
	{"closed", get_closed, NULL, NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
	{Py_tp_dealloc, subscription_dealloc},
	{Py_tp_methods, methods},
	{Py_tp_getset, getters},
	{Py_tp_doc, (void *)"Events as they come. What shmd.Events is made of."},
	{0, NULL},
};

PyType_Spec subscription_spec = {
	.name = "shmd._shmd.Subscription",
	.basicsize = sizeof(struct subscription_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = slots,
};
