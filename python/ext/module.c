/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <pthread.h>

unsigned long module_forks;

static void note_fork(void)
{
	module_forks++;
}

static PyMethodDef functions[] = {
	{"attach", segment_attach, METH_VARARGS, NULL},
	{"check_options", segment_check_options, METH_VARARGS, NULL},
	{"clients", query_clients, METH_NOARGS, NULL},
	{"connect", connection_connect, METH_O, NULL},
	{"create", segment_create, METH_VARARGS, NULL},
	{"hand_over", segment_hand_over, METH_O, NULL},
	{"list", query_list, METH_O, NULL},
	{"show", query_show, METH_O, NULL},
	{"status", query_status, METH_NOARGS, NULL},
	{"subscribe", subscription_subscribe, METH_O, NULL},
	{"unlink", segment_unlink_name, METH_O, NULL},
	{"wait", segment_wait, METH_VARARGS, NULL},
	{NULL, NULL, 0, NULL},
};

/* Nobody but this module makes instances, or derives from it. */
static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec)
{
	PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);

	if (!type)
		return NULL;
	type->tp_new = NULL;
	if (PyModule_AddType(module, type) < 0)
		Py_CLEAR(type);
	return type;
}

static int module_exec(PyObject *module)
{
	static bool watches_forks;
	struct module_state *state = module_state(module);

	if (!watches_forks && pthread_atfork(NULL, NULL, note_fork) == 0)
		watches_forks = true;
	state->segments.prev = state->segments.next = &state->segments;
	Py_INCREF(Py_None);
	state->socket = Py_None;
	state->connection_type = add_type(module, &connection_spec);
	state->segment_type = add_type(module, &segment_spec);
	state->lock_type = add_type(module, &lock_spec);
	state->subscription_type = add_type(module, &subscription_spec);
	if (!state->connection_type || !state->segment_type || !state->lock_type ||
	    !state->subscription_type)
		return -1;
	return record_init_types(module, state);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
	struct module_state *state = module_state(module);

	Py_VISIT(state->connection_type);
	Py_VISIT(state->segment_type);
	Py_VISIT(state->lock_type);
	Py_VISIT(state->subscription_type);
	for (int i = 0; i < RECORDS; i++)
		Py_VISIT(state->records[i]);
	Py_VISIT(state->connection);
	Py_VISIT(state->socket);
	return 0;
}

static int module_clear(PyObject *module)
{
	struct module_state *state = module_state(module);

	Py_CLEAR(state->connection_type);
	Py_CLEAR(state->segment_type);
	Py_CLEAR(state->lock_type);
	Py_CLEAR(state->subscription_type);
	for (int i = 0; i < RECORDS; i++)
		Py_CLEAR(state->records[i]);
	Py_CLEAR(state->connection);
	Py_CLEAR(state->socket);
	return 0;
}

static void module_free(void *module)
{
	module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
	{Py_mod_exec, module_exec},
	{0, NULL},
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "shmd._shmd",
	.m_doc = "libshmd for Python. Use the module shmd.",
	.m_size = sizeof(struct module_state),
	.m_methods = functions,
	.m_slots = module_slots,
	.m_traverse = module_traverse,
	.m_clear = module_clear,
	.m_free = module_free,
};

PyMODINIT_FUNC PyInit__shmd(void);
PyMODINIT_FUNC PyInit__shmd(void)
{
	return PyModuleDef_Init(&definition);
}
