/* SPDX-License-Identifier: MIT */
/* What the daemon tells, as tuples with names: they print, compare and pickle by themselves, and fields
 * may be added without anybody's unpacking going wrong. */
#include "module.h"

#include <string.h>

static PyStructSequence_Field event_fields[] = {
	{"kind", "'created', 'attached', 'detached', 'unlinked', 'published', 'reaped', "
		 "'recovered', 'refused' or 'lost'"},
	{"time", "seconds since 1970, by the daemon's clock"},
	{"name", "the segment's; None: anonymous, or not about a segment"},
	{"id", "the segment's generation; 0: not about a segment"},
	{"size", "the segment's, in bytes"},
	{"pid", "who did it; None: hidden, or the daemon itself"},
	{"uid", "who did it, or whose it is; None: hidden"},
	{"read_only", "of an attachment"},
	{"count", "'recovered': permits; 'lost': events, 0 if not known how many"},
	{"text", "'refused': the sentence that the client was told; else None"},
	{"time_ns", "the time in nanoseconds"},
	{NULL, NULL},
};

static PyStructSequence_Field segment_fields[] = {
	{"name", "None: anonymous, or dropped and still in use"},
	{"size", "bytes, as asked for"},
	{"id", "its generation"},
	{"semaphore", "the semaphore's name; None: there is none"},
	{"allocated", "bytes of the pages that it really has"},
	{"age", "seconds since it was created"},
	{"uid", "whose it is"},
	{"gid", "its group"},
	{"mode", "permission bits, as of a file"},
	{"lifetime", "'clients', 'owner' or 'persistent'"},
	{"linger", "seconds that it stays after its end"},
	{"clients", "connections that have it attached"},
	{"permits", "the semaphore's first value; 0: no semaphore"},
	{"sealed", "whether nobody can write to it any more"},
	{"dropped", "whether its name is gone, its memory still in use"},
	{"lingering", "whether it has ended and waits for somebody to pick it up"},
	{NULL, NULL},
};

static PyStructSequence_Field attachment_fields[] = {
	{"client", "the connection's number in the daemon"},
	{"pid", "0: in a PID namespace that the daemon cannot see"},
	{"uid", NULL},
	{"command", "the process's name; '' if it cannot be read"},
	{"read_only", NULL},
	{NULL, NULL},
};

static PyStructSequence_Field holder_fields[] = {
	{"pid", "0: in a PID namespace that the daemon cannot see"},
	{"uid", NULL},
	{"command", "the process's name; '' if it cannot be read"},
	{"permits", "how many it holds"},
	{"until_exit", "whether its end will be a release"},
	{NULL, NULL},
};

static PyStructSequence_Field details_fields[] = {
	{"segment", "a SegmentInfo"},
	{"permits_available", "permits not taken now; -1: no semaphore"},
	{"old_generations", "of its name, that somebody still has"},
	{"old_bytes", "the sizes of those"},
	{"attachments", "who has it: a list of AttachmentInfo"},
	{"holders", "who holds permits: a list of HolderInfo"},
	{NULL, NULL},
};

static PyStructSequence_Field client_fields[] = {
	{"id", "the connection's number in the daemon"},
	{"pid", "0: in a PID namespace that the daemon cannot see"},
	{"uid", NULL},
	{"gid", NULL},
	{"command", "the process's name; '' if it cannot be read"},
	{"segments", "attached now"},
	{"bytes", "the sizes of those"},
	{"connected", "seconds since it connected"},
	{NULL, NULL},
};

static PyStructSequence_Field limit_fields[] = {
	{"value", "the limit"},
	{"use", "how much of it is used"},
	{NULL, NULL},
};

static PyStructSequence_Field status_fields[] = {
	{"version", "the daemon's"},
	{"pid", "the daemon's"},
	{"uptime", "seconds since it started"},
	{"clients", "connections"},
	{"segments", "whose memory is charged, so also dropped ones that are in use"},
	{"bytes", "the sizes of those"},
	{"heap_bytes", "of the daemon's own heap in use; 0: unknown"},
	{"descriptors", "that the daemon has open; 0: unknown"},
	{"degraded", "what this kernel refuses the daemon, and what follows; '' if nothing"},
	{"counters", "a dict: how often something happened since the start"},
	{"limits", "a dict of Limit by the option that sets it"},
	{NULL, NULL},
};

#define DESCRIBE(fields) (fields), (int)(sizeof(fields) / sizeof(*(fields))) - 1

static PyStructSequence_Desc descriptions[RECORDS] = {
	[RECORD_EVENT] = {"shmd.Event", "What has happened.", DESCRIBE(event_fields)},
	[RECORD_SEGMENT] = {"shmd.SegmentInfo", "One segment.", DESCRIBE(segment_fields)},
	[RECORD_ATTACHMENT] = {"shmd.AttachmentInfo", "One client that has a segment attached.",
			       DESCRIBE(attachment_fields)},
	[RECORD_HOLDER] = {"shmd.HolderInfo", "A process that holds permits of a segment.",
			   DESCRIBE(holder_fields)},
	[RECORD_DETAILS] = {"shmd.Details", "Everything about one segment.",
			    DESCRIBE(details_fields)},
	[RECORD_CLIENT] = {"shmd.ClientInfo", "One connection.", DESCRIBE(client_fields)},
	[RECORD_LIMIT] = {"shmd.Limit", "A limit and its use.", DESCRIBE(limit_fields)},
	[RECORD_STATUS] = {"shmd.Status", "The daemon itself.", DESCRIBE(status_fields)},
};

int record_init_types(PyObject *module, struct module_state *state)
{
	for (int i = 0; i < RECORDS; i++) {
		PyTypeObject *type = PyStructSequence_NewType(&descriptions[i]);
		if (!type)
			return -1;
		state->records[i] = type;
		if (PyModule_AddType(module, type) < 0)
			return -1;
	}
	return 0;
}

PyObject *record_new(struct module_state *state, enum record kind, PyObject *values)
{
	PyObject *record = values ? PyStructSequence_New(state->records[kind]) : NULL;

	for (Py_ssize_t i = 0; record && i < PyTuple_GET_SIZE(values); i++) {
		PyObject *value = PyTuple_GET_ITEM(values, i);
		Py_INCREF(value);
		PyStructSequence_SetItem(record, i, value);
	}
	Py_XDECREF(values);
	return record;
}

PyObject *record_text(const char *text)
{
	if (!text)
		Py_RETURN_NONE;
	return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
}
