/* SPDX-License-Identifier: MIT */
/*
 * The extension shmd._shmd: libshmd for Python, one type or group of calls a file. What reads better in
 * Python (names, defaults, the standard library's manners) is there, in python/shmd/.
 *
 * All state is the module's, and the interpreter lock guards it. It is given up for every call that asks
 * the daemon or waits; what such a call uses is kept alive, and in place, by its caller's references.
 */
#ifndef SHMD_PYTHON_MODULE_H
#define SHMD_PYTHON_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <shmd.h>
#include <stdbool.h>
#include <stdint.h>

/* Counted, so that who still has a segment of it keeps it when shmd.connect() takes another. */
struct connection_object {
	PyObject_HEAD struct shmd *shmd;
};

/* In a ring, so that an unlinked name can be told to all segments of this process that bore it. */
struct segment_object {
	PyObject_HEAD struct segment_object *prev, *next;
	struct connection_object *connection;
	struct shmd_segment *segment; /* NULL: closed */
	uint64_t generation;
	size_t size;
	unsigned long forks;       /* of the process that last took a permit, see module_forks */
	Py_ssize_t exports;        /* buffers that others have of it */
	unsigned users;            /* threads of this process that are inside the library with it */
	unsigned long users_forks; /* of the process that counted them */
	bool is_readonly;
	bool is_publishing;
	bool is_unlinked; /* by this process, so that another time is an error */
	bool owner_died;
};

enum record {
	RECORD_EVENT,
	RECORD_SEGMENT,
	RECORD_ATTACHMENT,
	RECORD_HOLDER,
	RECORD_DETAILS,
	RECORD_CLIENT,
	RECORD_LIMIT,
	RECORD_STATUS,
	RECORDS
};

struct module_state {
	PyTypeObject *connection_type;
	PyTypeObject *segment_type;
	PyTypeObject *lock_type;
	PyTypeObject *subscription_type;
	PyTypeObject *records[RECORDS];
	struct connection_object *connection; /* NULL: none has been needed yet */
	PyObject *socket;                     /* as given to connect(), or None */
	struct segment_object segments;       /* the ring's head, no object */
	unsigned waits;                       /* threads in shmd_wait() */
};

/* How often this process, with those it was forked from, has been forked off. */
extern unsigned long module_forks;

static inline struct module_state *module_state(PyObject *module)
{
	return PyModule_GetState(module);
}

/* --- error.c --- */

/* Raises the standard library's exception for a negative errno, with the library's sentence. Returns
 * NULL. In the thread that failed, before any other call of the library. */
PyObject *error_raise(int error);

/* The same with a sentence of ours. */
PyObject *error_raise_with(int error, const char *text);

/* Text without a null character, for the library; NULL with an exception. It is the object's. */
const char *error_read_text(PyObject *object);

/* --- clock.c --- */

/* Seconds of the monotonic clock, and for a time-out its deadline; a negative time-out has none. */
double clock_now(void);
#define CLOCK_NEVER (-1.0)
double clock_deadline(double timeout);

/* Milliseconds until the deadline, rounded up, and as many as the library takes; -1 for CLOCK_NEVER, and
 * 0 when it has passed. */
int clock_left(double deadline);

/* From None or seconds, not negative. Returns 0, or -1 with an exception. */
int clock_read_timeout(PyObject *object, double *ret);

/* --- connection.c --- */

extern PyType_Spec connection_spec;

/* The process's connection, made if there is none: a new reference, or NULL with an exception. */
struct connection_object *connection_get(struct module_state *state);

/* connect(socket): makes another one the process's. */
PyObject *connection_connect(PyObject *module, PyObject *socket);

/* One to the same daemon that is nobody else's. Returns 0, or -1 with an exception. */
int connection_open(struct module_state *state, struct shmd **ret);

/* --- segment.c --- */

extern PyType_Spec segment_spec;

/* Takes the segment over, also on failure. */
PyObject *segment_wrap(struct module_state *state, struct connection_object *connection,
		       struct shmd_segment *segment);

/* Sets ValueError if it is closed, BufferError if it is just being published. Returns 0 or -1. */
int segment_check(struct segment_object *self);

/* A forked child has inherited counts of threads that it has not. */
void segment_forget_parent(struct segment_object *self);

/* The calls that make one: create(...), attach(...), wait(...), and unlink(name). */
PyObject *segment_create(PyObject *module, PyObject *args);
PyObject *segment_check_options(PyObject *module, PyObject *args);
PyObject *segment_hand_over(PyObject *module, PyObject *pid);
PyObject *segment_attach(PyObject *module, PyObject *args);
PyObject *segment_wait(PyObject *module, PyObject *args);
PyObject *segment_unlink_name(PyObject *module, PyObject *name);

/* The names of enum shmd_lifetime. */
const char *segment_lifetime_name(enum shmd_lifetime lifetime);

/* --- lock.c --- */

extern PyType_Spec lock_spec;
PyObject *lock_new(struct module_state *state, struct segment_object *segment);

/* --- subscription.c --- */

extern PyType_Spec subscription_spec;
PyObject *subscription_subscribe(PyObject *module, PyObject *glob);

/* --- record.c: what the daemon tells, as named tuples --- */

/* Returns 0, or -1 with an exception. */
int record_init_types(PyObject *module, struct module_state *state);

/* Takes the reference over, also on failure; NULL passes an exception on. */
PyObject *record_new(struct module_state *state, enum record kind, PyObject *values);

/* Text of the daemon's, or None. */
PyObject *record_text(const char *text);

/* --- query.c: list(glob), clients(), show(name), status() --- */

PyObject *query_list(PyObject *module, PyObject *glob);
PyObject *query_clients(PyObject *module, PyObject *unused);
PyObject *query_show(PyObject *module, PyObject *name);
PyObject *query_status(PyObject *module, PyObject *unused);

#endif
