/* SPDX-License-Identifier: MIT */
#include "module.h"

static void connection_dealloc(PyObject *object)
{
	struct connection_object *self = (struct connection_object *)object;
	PyTypeObject *type = Py_TYPE(object);

	PyObject_GC_UnTrack(object);
	Py_BEGIN_ALLOW_THREADS shmd_disconnect(self->shmd);
	Py_END_ALLOW_THREADS type->tp_free(object);
	Py_DECREF(type);
}

/* It leads back to the module, which has it: without this, the module of an interpreter that ends is never
 * collected, nor the connection. */
static int connection_traverse(PyObject *object, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(object));
	return 0;
}

static PyType_Slot slots[] = {
	{Py_tp_dealloc, connection_dealloc},
	{Py_tp_traverse, connection_traverse},
	{0, NULL},
};

PyType_Spec connection_spec = {
	.name = "shmd._shmd.Connection",
	.basicsize = sizeof(struct connection_object),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
	.slots = slots,
};

static int open_socket(PyObject *socket, struct shmd **ret)
{
	PyObject *path = NULL;
	int result;

	if (socket != Py_None && !PyUnicode_FSConverter(socket, &path))
		return -1;
	Py_BEGIN_ALLOW_THREADS result = shmd_connect(ret, path ? PyBytes_AS_STRING(path) : NULL);
	Py_END_ALLOW_THREADS if (result < 0) error_raise(result);
	Py_XDECREF(path);
	return result < 0 ? -1 : 0;
}

static struct connection_object *make(struct module_state *state, PyObject *socket)
{
	struct connection_object *connection;

	connection = PyObject_GC_New(struct connection_object, state->connection_type);
	if (!connection)
		return NULL;
	connection->shmd = NULL;
	PyObject_GC_Track(connection);
	if (open_socket(socket, &connection->shmd) < 0)
		Py_CLEAR(connection);
	return connection;
}

/* Of two threads that make one at the same time, one throws its own away. */
struct connection_object *connection_get(struct module_state *state)
{
	if (!state->connection) {
		PyObject *socket = state->socket;
		Py_INCREF(socket);
		struct connection_object *mine = make(state, socket);
		Py_DECREF(socket);
		if (!mine)
			return NULL;
		if (!state->connection)
			state->connection = mine;
		else
			Py_DECREF(mine);
	}
	Py_INCREF(state->connection);
	return state->connection;
}

PyObject *connection_connect(PyObject *module, PyObject *socket)
{
	struct module_state *state = module_state(module);
	struct connection_object *mine = make(state, socket);

	if (!mine)
		return NULL;
	struct connection_object *old = state->connection;
	PyObject *old_socket = state->socket;
	Py_INCREF(socket);
	state->connection = mine;
	state->socket = socket;
	Py_XDECREF(old);
	Py_DECREF(old_socket);
	Py_RETURN_NONE;
}

int connection_open(struct module_state *state, struct shmd **ret)
{
	PyObject *socket = state->socket;
	int result;

	Py_INCREF(socket);
	result = open_socket(socket, ret);
	Py_DECREF(socket);
	return result;
}
