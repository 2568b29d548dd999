/* SPDX-License-Identifier: MIT */
/*
 * An attached segment: a mapping that exports its bytes as a buffer, and cannot be closed as long as
 * somebody has one. Without a cycle, so that it goes when the last of these does.
 */
#include "module.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void detach(struct segment_object *self)
{
	struct shmd_segment *segment = self->segment;

	self->segment = NULL;
	Py_BEGIN_ALLOW_THREADS shmd_detach(segment);
	Py_END_ALLOW_THREADS
}

static void segment_dealloc(PyObject *object)
{
	struct segment_object *self = (struct segment_object *)object;
	PyTypeObject *type = Py_TYPE(object);

	self->prev->next = self->next;
	self->next->prev = self->prev;
	if (self->segment)
		detach(self);
	Py_DECREF(self->connection);
	type->tp_free(object);
	Py_DECREF(type);
}

PyObject *segment_wrap(struct module_state *state, struct connection_object *connection,
		       struct shmd_segment *segment)
{
	struct segment_object *self = PyObject_New(struct segment_object, state->segment_type);

	if (!self) {
		shmd_detach(segment);
		return NULL;
	}
	memset((char *)self + sizeof(PyObject), 0, sizeof(*self) - sizeof(PyObject));
	Py_INCREF(connection);
	self->connection = connection;
	self->segment = segment;
	self->generation = shmd_segment_generation(segment);
	self->size = shmd_segment_size(segment);
	/* What the first permit takes is asked for then. */
	self->forks = module_forks - 1;
	self->users_forks = module_forks;
	self->next = &state->segments;
	self->prev = state->segments.prev;
	self->prev->next = self->next->prev = self;
	return (PyObject *)self;
}

void segment_forget_parent(struct segment_object *self)
{
	if (self->users_forks == module_forks)
		return;
	self->users_forks = module_forks;
	self->users = 0;
	self->is_publishing = false;
}

int segment_check(struct segment_object *self)
{
	segment_forget_parent(self);
	if (!self->segment)
		PyErr_SetString(PyExc_ValueError, "the shared memory is closed");
	else if (self->is_publishing)
		PyErr_SetString(PyExc_BufferError, "the shared memory is being published");
	else
		return 0;
	return -1;
}

/* --- the buffer --------------------------------------------------------------------------------- */

static int segment_getbuffer(PyObject *object, Py_buffer *view, int flags)
{
	struct segment_object *self = (struct segment_object *)object;

	if (segment_check(self) < 0) {
		view->obj = NULL;
		return -1;
	}
	if (PyBuffer_FillInfo(view, object, shmd_segment_data(self->segment),
			      (Py_ssize_t)self->size, self->is_readonly, flags) < 0)
		return -1;
	self->exports++;
	return 0;
}

static void segment_releasebuffer(PyObject *object, Py_buffer *view)
{
	(void)view;
	((struct segment_object *)object)->exports--;
}

/* Also in the words of mmap, which is what the standard library's is made of. */
static int check_unused(struct segment_object *self)
{
	segment_forget_parent(self);
	if (self->exports > 0)
		PyErr_SetString(PyExc_BufferError, "cannot close exported pointers exist");
	else if (self->users > 0)
		PyErr_SetString(PyExc_BufferError, "another thread is using the shared memory");
	else
		return 0;
	return -1;
}

static PyObject *segment_close(PyObject *object, PyObject *unused)
{
	struct segment_object *self = (struct segment_object *)object;

	(void)unused;
	if (self->segment) {
		if (check_unused(self) < 0)
			return NULL;
		detach(self);
	}
	Py_RETURN_NONE;
}

/* --- publishing, and the end of names ----------------------------------------------------------- */

static bool is_sealed(const struct shmd_segment *segment)
{
	int seals = fcntl(shmd_segment_fd(segment), F_GET_SEALS);

	return seals >= 0 && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE));
}

/* publish(name, writable). It may be sealed although the daemon refused the name. */
static PyObject *segment_publish(PyObject *object, PyObject *args)
{
	struct segment_object *self = (struct segment_object *)object;
	const char *name;
	int writable, result;

	if (!PyArg_ParseTuple(args, "sp:publish", &name, &writable) || segment_check(self) < 0)
		return NULL;
	if (self->users > 0 || (!writable && self->exports > 0)) {
		PyErr_SetString(PyExc_BufferError, "cannot publish: exported pointers exist");
		return NULL;
	}
	self->is_publishing = true;
	self->users++;
	Py_BEGIN_ALLOW_THREADS result = shmd_publish(self->segment, name,
						     writable ? SHMD_WRITABLE : 0);
	Py_END_ALLOW_THREADS self->users--;
	self->is_publishing = false;
	self->is_readonly = self->is_readonly || is_sealed(self->segment);
	self->generation = shmd_segment_generation(self->segment);
	if (result < 0)
		return error_raise(result);
	Py_RETURN_NONE;
}

static void note_unlinked(struct module_state *state, uint64_t generation)
{
	struct segment_object *segment;

	for (segment = state->segments.next; segment != &state->segments; segment = segment->next)
		if (segment->generation == generation)
			segment->is_unlinked = true;
}

static int unlink_name(struct module_state *state, const char *name)
{
	struct connection_object *connection = connection_get(state);
	int result;

	if (!connection)
		return 1;
	Py_BEGIN_ALLOW_THREADS result = shmd_unlink(connection->shmd, name);
	Py_END_ALLOW_THREADS Py_DECREF(connection);
	return result;
}

/* unlink(name). The last to close has ended the name already; who closes and then unlinks, as the
 * standard library's users do, need not know. */
static PyObject *segment_unlink(PyObject *object, PyObject *argument)
{
	struct segment_object *self = (struct segment_object *)object;
	struct module_state *state = PyType_GetModuleState(Py_TYPE(object));
	const char *name = error_read_text(argument);

	if (!name)
		return NULL;
	int result = unlink_name(state, name);
	if (result > 0)
		return NULL;
	if (result == -ENOENT && !self->segment && !self->is_unlinked)
		result = 0;
	if (result < 0)
		return error_raise(result);
	note_unlinked(state, self->generation);
	Py_RETURN_NONE;
}

PyObject *segment_unlink_name(PyObject *module, PyObject *argument)
{
	const char *name = error_read_text(argument);

	if (!name)
		return NULL;
	int result = unlink_name(module_state(module), name);
	if (result > 0)
		return NULL;
	if (result < 0)
		return error_raise(result);
	Py_RETURN_NONE;
}

/* --- what it tells ------------------------------------------------------------------------------ */

static PyObject *segment_fileno(PyObject *object, PyObject *unused)
{
	struct segment_object *self = (struct segment_object *)object;

	(void)unused;
	if (segment_check(self) < 0)
		return NULL;
	return PyLong_FromLong(shmd_segment_fd(self->segment));
}

static PyObject *get_size(PyObject *object, void *unused)
{
	(void)unused;
	return PyLong_FromSize_t(((struct segment_object *)object)->size);
}

static PyObject *get_generation(PyObject *object, void *unused)
{
	(void)unused;
	return PyLong_FromUnsignedLongLong(((struct segment_object *)object)->generation);
}

static PyObject *get_semaphore(PyObject *object, void *unused)
{
	struct segment_object *self = (struct segment_object *)object;

	const char *name = NULL;

	(void)unused;
	segment_forget_parent(self);
	if (self->segment) {
		self->users++;
		Py_BEGIN_ALLOW_THREADS name = shmd_segment_semaphore(self->segment);
		Py_END_ALLOW_THREADS self->users--;
	}
	return record_text(name);
}

static PyObject *get_readonly(PyObject *object, void *unused)
{
	(void)unused;
	return PyBool_FromLong(((struct segment_object *)object)->is_readonly);
}

static PyObject *get_closed(PyObject *object, void *unused)
{
	(void)unused;
	return PyBool_FromLong(!((struct segment_object *)object)->segment);
}

static PyObject *get_lock(PyObject *object, void *unused)
{
	(void)unused;
	return lock_new(PyType_GetModuleState(Py_TYPE(object)), (struct segment_object *)object);
}

static PyMethodDef methods[] = {
	{"close", segment_close, METH_NOARGS, NULL},
	{"fileno", segment_fileno, METH_NOARGS, NULL},
	{"publish", segment_publish, METH_VARARGS, NULL},
	{"unlink", segment_unlink, METH_O, NULL},
	{NULL, NULL, 0, NULL},
};

static PyGetSetDef getters[] = {
	{"closed", get_closed, NULL, NULL, NULL},
	{"generation", get_generation, NULL, NULL, NULL},
	{"lock", get_lock, NULL, NULL, NULL},
	{"readonly", get_readonly, NULL, NULL, NULL},
	{"semaphore", get_semaphore, NULL, NULL, NULL},
	{"size", get_size, NULL, NULL, NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
	{Py_tp_dealloc, segment_dealloc},
	{Py_tp_methods, methods},
	{Py_tp_getset, getters},
	{Py_bf_getbuffer, segment_getbuffer},
	{Py_bf_releasebuffer, segment_releasebuffer},
	{Py_tp_doc, (void *)"An attached segment, as a buffer. What shmd.SharedMemory is made of."},
	{0, NULL},
};

PyType_Spec segment_spec = {
	.name = "shmd._shmd.Segment",
	.basicsize = sizeof(struct segment_object),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = slots,
};

/* --- where they come from ----------------------------------------------------------------------- */

static const char *const lifetimes[] = {
	[SHMD_LIFETIME_CLIENTS] = "clients",
	[SHMD_LIFETIME_OWNER] = "owner",
	[SHMD_LIFETIME_PERSISTENT] = "persistent",
};
#define N_LIFETIMES (sizeof(lifetimes) / sizeof(*lifetimes))

const char *segment_lifetime_name(enum shmd_lifetime lifetime)
{
	return (size_t)lifetime < N_LIFETIMES ? lifetimes[lifetime] : NULL;
}

static int read_lifetime(const char *name, enum shmd_lifetime *ret)
{
	for (size_t i = 0; i < N_LIFETIMES; i++) {
		if (strcmp(name, lifetimes[i]) == 0) {
			*ret = (enum shmd_lifetime)i;
			return 0;
		}
	}
	PyErr_SetString(PyExc_ValueError, "lifetime must be 'clients', 'owner' or 'persistent'");
	return -1;
}

static int read_options(const char *lifetime, double linger, long mode, long permits,
			struct shmd_options *options)
{
	double linger_ms = ceil(linger * 1e3);

	if (read_lifetime(lifetime, &options->lifetime) < 0)
		return -1;
	if (!(linger >= 0 && linger_ms <= UINT_MAX)) {
		PyErr_SetString(PyExc_ValueError, "linger must be 0 to 4294967 seconds");
		return -1;
	}
	if (mode < 0 || mode > 07777) {
		PyErr_SetString(PyExc_ValueError, "mode must be permission bits");
		return -1;
	}
	if (permits < 0 || permits > INT_MAX) {
		PyErr_SetString(PyExc_ValueError, "permits must be 0 to 2147483647");
		return -1;
	}
	options->linger_ms = (unsigned)linger_ms;
	options->mode = (unsigned)mode;
	if (permits > 0)
		options->permits = (unsigned)permits, options->flags |= SHMD_LATE_LOCK;
	else
		options->flags |= SHMD_NO_SEMAPHORE;
	return 0;
}

/* create(name or None, size, mode, lifetime, linger, permits, may_exist, heir) */
PyObject *segment_create(PyObject *module, PyObject *args)
{
	struct module_state *state = module_state(module);
	struct shmd_options options = SHMD_OPTIONS_INIT;
	const char *name, *lifetime;
	struct connection_object *connection;
	struct shmd_segment *segment;
	Py_ssize_t size;
	double linger;
	long mode, permits;
	PyObject *ret;
	int result, may_exist;

	if (!PyArg_ParseTuple(args, "znlsdlpi:create", &name, &size, &mode, &lifetime, &linger,
			      &permits, &may_exist, &options.heir) ||
	    read_options(lifetime, linger, mode, permits, &options) < 0)
		return NULL;
	if (may_exist)
		options.flags |= SHMD_OPEN_EXISTING;
	connection = connection_get(state);
	if (!connection)
		return NULL;
	Py_BEGIN_ALLOW_THREADS result = shmd_create(connection->shmd, name,
						    size > 0 ? (size_t)size : 0, &options,
						    &segment);
	Py_END_ALLOW_THREADS ret = result < 0 ? error_raise(result)
					      : segment_wrap(state, connection, segment);
	Py_DECREF(connection);
	return ret;
}

/* check_options(lifetime, linger): whether create() would take them */
PyObject *segment_check_options(PyObject *module, PyObject *args)
{
	struct shmd_options options = SHMD_OPTIONS_INIT;
	const char *lifetime;
	double linger;

	(void)module;
	if (!PyArg_ParseTuple(args, "sd:check_options", &lifetime, &linger) ||
	    read_options(lifetime, linger, 0, 0, &options) < 0)
		return NULL;
	Py_RETURN_NONE;
}

/* hand_over(pid) */
PyObject *segment_hand_over(PyObject *module, PyObject *pid)
{
	struct connection_object *connection;
	long heir = PyLong_AsLong(pid);
	int result;

	if (heir == -1 && PyErr_Occurred())
		return NULL;
	connection = connection_get(module_state(module));
	if (!connection)
		return NULL;
	Py_BEGIN_ALLOW_THREADS result = shmd_hand_over(connection->shmd, (pid_t)heir);
	Py_END_ALLOW_THREADS Py_DECREF(connection);
	if (result < 0)
		return error_raise(result);
	Py_RETURN_NONE;
}

static PyObject *wrap_attached(struct module_state *state, struct connection_object *connection,
			       struct shmd_segment *segment, bool is_readonly)
{
	PyObject *ret = segment_wrap(state, connection, segment);

	if (ret)
		((struct segment_object *)ret)->is_readonly = is_readonly;
	return ret;
}

/* attach(name, readonly) */
PyObject *segment_attach(PyObject *module, PyObject *args)
{
	struct module_state *state = module_state(module);
	struct connection_object *connection;
	struct shmd_segment *segment;
	const char *name;
	PyObject *ret;
	int readonly, result;

	if (!PyArg_ParseTuple(args, "sp:attach", &name, &readonly))
		return NULL;
	connection = connection_get(state);
	if (!connection)
		return NULL;
	Py_BEGIN_ALLOW_THREADS result = shmd_attach(
		connection->shmd, name, SHMD_LATE_LOCK | (readonly ? SHMD_READ_ONLY : 0), &segment);
	Py_END_ALLOW_THREADS ret = result < 0 ? error_raise(result)
					      : wrap_attached(state, connection, segment, readonly);
	Py_DECREF(connection);
	return ret;
}

/* A thread that does not itself read from the daemon, because another one does for both, is not told of
 * signals: if it is the one that handles them, it looks from time to time. */
static int limit_patience(const struct module_state *state, int left)
{
	const int glance = 200;

	if (state->waits < 2 || syscall(SYS_gettid) != getpid())
		return left;
	return left < 0 || left > glance ? glance : left;
}

/* Returns what shmd_wait() does, or 1 with an exception. */
static int wait_for(struct module_state *state, struct shmd *shmd, const char *name,
		    uint64_t newer_than, double deadline, int flags, struct shmd_segment **ret)
{
	int left, patience, result;

	do {
		state->waits++;
		left = clock_left(deadline);
		patience = limit_patience(state, left);
		Py_BEGIN_ALLOW_THREADS result = shmd_wait(shmd, name, newer_than, patience, flags,
							  ret);
		Py_END_ALLOW_THREADS state->waits--;
		if (result != -EINTR && result != -ETIMEDOUT)
			return result;
		if (PyErr_CheckSignals() < 0)
			return 1;
	} while (left != 0);
	return -ETIMEDOUT;
}

/* wait(name, newer_than, timeout or None, readonly) */
PyObject *segment_wait(PyObject *module, PyObject *args)
{
	struct module_state *state = module_state(module);
	struct connection_object *connection;
	struct shmd_segment *segment;
	unsigned long long newer_than;
	PyObject *timeout_object, *newer_object, *ret = NULL;
	const char *name;
	double timeout;
	int readonly, result;

	if (!PyArg_ParseTuple(args, "sO!Op:wait", &name, &PyLong_Type, &newer_object,
			      &timeout_object, &readonly) ||
	    clock_read_timeout(timeout_object, &timeout) < 0)
		return NULL;
	newer_than = PyLong_AsUnsignedLongLong(newer_object);
	if (newer_than == (unsigned long long)-1 && PyErr_Occurred())
		return NULL;
	connection = connection_get(state);
	if (!connection)
		return NULL;
	result = wait_for(state, connection->shmd, name, newer_than, clock_deadline(timeout),
			  readonly ? SHMD_READ_ONLY : 0, &segment);
	if (result == 0)
		ret = wrap_attached(state, connection, segment, readonly);
	else if (result == -ETIMEDOUT)
		error_raise_with(result, "nothing came in time");
	else if (result < 0)
		error_raise(result);
	Py_DECREF(connection);
	return ret;
}
