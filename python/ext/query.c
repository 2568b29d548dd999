/* SPDX-License-Identifier: MIT */
/* What an administrator asks. */
#include "module.h"

typedef unsigned long long ull;

/* What a listing's entries go to. It runs without the interpreter lock, and takes it for each. */
struct listing {
	struct module_state *state;
	PyObject *list;
	PyThreadState *thread;
};

static PyObject *make_segment(struct module_state *state, const struct shmd_segment_info *info)
{
	return record_new(
		state, RECORD_SEGMENT,
		Py_BuildValue("NKKNKdIIIsdIINNN", record_text(info->name), (ull)info->size,
			      (ull)info->id, record_text(info->semaphore), (ull)info->allocated,
			      (double)info->age_ms / 1e3, info->uid, info->gid, info->mode,
			      segment_lifetime_name(info->lifetime), (double)info->linger_ms / 1e3,
			      info->clients, info->permits, PyBool_FromLong(info->sealed),
			      PyBool_FromLong(info->dropped), PyBool_FromLong(info->lingering)));
}

static PyObject *make_client(struct module_state *state, const struct shmd_client_info *info)
{
	return record_new(state, RECORD_CLIENT,
			  Py_BuildValue("KiIINIKd", (ull)info->id, (int)info->pid, info->uid,
					info->gid, record_text(info->command), info->segments,
					(ull)info->bytes, (double)info->connected_ms / 1e3));
}

static PyObject *make_attachment(struct module_state *state,
				 const struct shmd_attachment_info *info)
{
	return record_new(state, RECORD_ATTACHMENT,
			  Py_BuildValue("KiINN", (ull)info->client, (int)info->pid, info->uid,
					record_text(info->command),
					PyBool_FromLong(info->read_only)));
}

static PyObject *make_holder(struct module_state *state, const struct shmd_holder_info *info)
{
	return record_new(state, RECORD_HOLDER,
			  Py_BuildValue("iININ", (int)info->pid, info->uid,
					record_text(info->command), info->permits,
					PyBool_FromLong(info->until_exit)));
}

/* Takes the reference over. Returns 0, or -1 with an exception. */
static int append(PyObject *list, PyObject *item)
{
	int result = item ? PyList_Append(list, item) : -1;

	Py_XDECREF(item);
	return result;
}

/* Returns 0, or 1 to end the listing, with an exception. */
static int list_segment(const struct shmd_segment_info *info, void *context)
{
	struct listing *listing = context;

	PyEval_RestoreThread(listing->thread);
	int result = append(listing->list, make_segment(listing->state, info));
	listing->thread = PyEval_SaveThread();
	return result < 0;
}

static int list_client(const struct shmd_client_info *info, void *context)
{
	struct listing *listing = context;

	PyEval_RestoreThread(listing->thread);
	int result = append(listing->list, make_client(listing->state, info));
	listing->thread = PyEval_SaveThread();
	return result < 0;
}

/* Of clients, or of the segments that match. */
static PyObject *make_list(PyObject *module, bool of_clients, const char *glob)
{
	struct listing listing = {.state = module_state(module)};
	struct connection_object *connection = connection_get(listing.state);
	int result;

	if (!connection)
		return NULL;
	listing.list = PyList_New(0);
	if (!listing.list) {
		Py_DECREF(connection);
		return NULL;
	}
	listing.thread = PyEval_SaveThread();
	if (of_clients)
		result = shmd_clients(connection->shmd, list_client, &listing);
	else
		result = shmd_list(connection->shmd, glob, list_segment, &listing);
	PyEval_RestoreThread(listing.thread);
	if (result < 0)
		error_raise(result);
	if (result != 0)
		Py_CLEAR(listing.list);
	Py_DECREF(connection);
	return listing.list;
}

PyObject *query_list(PyObject *module, PyObject *glob_object)
{
	const char *glob = NULL;

	if (glob_object != Py_None) {
		glob = error_read_text(glob_object);
		if (!glob)
			return NULL;
	}
	return make_list(module, false, glob);
}

PyObject *query_clients(PyObject *module, PyObject *unused)
{
	(void)unused;
	return make_list(module, true, NULL);
}

/* --- one segment -------------------------------------------------------------------------------- */

static PyObject *make_attachments(struct module_state *state, const struct shmd_details *details)
{
	PyObject *list = PyList_New(0);

	for (size_t i = 0; list && i < details->n_attachments; i++)
		if (append(list, make_attachment(state, details->attachments[i])) < 0)
			Py_CLEAR(list);
	return list;
}

static PyObject *make_holders(struct module_state *state, const struct shmd_details *details)
{
	PyObject *list = PyList_New(0);

	for (size_t i = 0; list && i < details->n_holders; i++)
		if (append(list, make_holder(state, details->holders[i])) < 0)
			Py_CLEAR(list);
	return list;
}

PyObject *query_show(PyObject *module, PyObject *name_object)
{
	struct module_state *state = module_state(module);
	const char *name = error_read_text(name_object);
	struct connection_object *connection = name ? connection_get(state) : NULL;
	struct shmd_details *details = NULL;
	PyObject *ret = NULL;
	int result;

	if (!connection)
		return NULL;
	Py_BEGIN_ALLOW_THREADS result = shmd_show(connection->shmd, name, &details);
	Py_END_ALLOW_THREADS if (result < 0) error_raise(result);
	else ret = record_new(state, RECORD_DETAILS,
			      Py_BuildValue("NLKKNN", make_segment(state, details->segment),
					    (long long)details->permits_available,
					    (ull)details->old_generations, (ull)details->old_bytes,
					    make_attachments(state, details),
					    make_holders(state, details)));
	shmd_details_free(details);
	Py_DECREF(connection);
	return ret;
}

/* --- the daemon --------------------------------------------------------------------------------- */

/* Takes the reference over. Returns 0, or -1 with an exception. */
static int put(PyObject *dict, const char *key, PyObject *value)
{
	int result = value ? PyDict_SetItemString(dict, key, value) : -1;

	Py_XDECREF(value);
	return result;
}

static PyObject *make_counters(const struct shmd_status *status)
{
	PyObject *dict = PyDict_New();

	for (size_t i = 0; dict && i < status->n_counters; i++)
		if (put(dict, status->counters[i]->name,
			PyLong_FromUnsignedLongLong(status->counters[i]->value)) < 0)
			Py_CLEAR(dict);
	return dict;
}

static PyObject *make_limits(struct module_state *state, const struct shmd_status *status)
{
	PyObject *dict = PyDict_New();

	for (size_t i = 0; dict && i < status->n_limits; i++) {
		const struct shmd_limit *limit = status->limits[i];
		if (put(dict, limit->name,
			record_new(state, RECORD_LIMIT,
				   Py_BuildValue("KK", (ull)limit->value, (ull)limit->use))) < 0)
			Py_CLEAR(dict);
	}
	return dict;
}

PyObject *query_status(PyObject *module, PyObject *unused)
{
	struct module_state *state = module_state(module);
	struct connection_object *connection = connection_get(state);
	struct shmd_status *status = NULL;
	PyObject *ret = NULL;
	int result;

	(void)unused;
	if (!connection)
		return NULL;
	Py_BEGIN_ALLOW_THREADS result = shmd_status(connection->shmd, &status);
	Py_END_ALLOW_THREADS if (result < 0) error_raise(result);
	else ret = record_new(state, RECORD_STATUS,
			      Py_BuildValue("NidKKKKKNNN", record_text(status->version),
					    (int)status->pid, (double)status->uptime_ms / 1e3,
					    (ull)status->clients, (ull)status->segments,
					    (ull)status->bytes, (ull)status->heap_bytes,
					    (ull)status->descriptors, record_text(status->degraded),
					    make_counters(status), make_limits(state, status)));
	shmd_status_free(status);
	Py_DECREF(connection);
	return ret;
}
