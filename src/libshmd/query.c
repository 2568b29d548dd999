/* SPDX-License-Identifier: MIT */
/* What an administrator asks: pages of entries from the daemon, as the public structures. */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "libshmd/connection.h"
#include "libshmd/error.h"

/* One packet's worth for replies with entries. */
static int ask(struct shmd *connection, struct call *call, size_t least)
{
	int r = connection_enter(connection);

	call->room = WIRE_PACKET_MAX;
	call->reply = malloc(call->room);
	if (r == 0 && !call->reply)
		r = error_errno(-ENOMEM, "cannot receive a reply");
	if (r == 0)
		r = call_perform(connection, call);
	if (r == 0 && call->size < least)
		r = error_set(-EPROTO, "the daemon's reply has another form");
	call_close(call);
	return r;
}

/* Checks that `n` entries of `size` lie behind the first `offset` bytes. */
static int check_entries(const struct call *call, size_t offset, size_t n, size_t size)
{
	if (call->size < offset || (call->size - offset) / size < n)
		return error_set(-EPROTO, "the daemon's reply has another form");
	return 0;
}

/* --- segments --------------------------------------------------------------------------------- */

static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

/* The strings stay in the entry, which is terminated first. */
static void read_entry(struct wire_entry *entry, struct shmd_segment_info *ret)
{
	struct wire_segment *segment = &entry->segment;

	segment->name[sizeof(segment->name) - 1] = '\0';
	segment->semaphore[sizeof(segment->semaphore) - 1] = '\0';
	*ret = (struct shmd_segment_info){
		.id = segment->generation,
		.name = or_null(segment->name),
		.semaphore = or_null(segment->semaphore),
		.size = segment->size,
		.allocated = entry->allocated,
		.age_ms = entry->age_ms,
		.uid = segment->uid,
		.gid = segment->gid,
		.mode = segment->mode,
		.lifetime = (enum shmd_lifetime)segment->lifetime,
		.linger_ms = segment->linger_ms,
		.clients = entry->clients,
		.permits = segment->permits,
		.sealed = (segment->flags & WIRE_SEGMENT_SEALED) != 0,
		.unsealed = (segment->flags & WIRE_SEGMENT_UNSEALED) != 0,
		.dropped = (segment->flags & WIRE_SEGMENT_DROPPED) != 0,
		.lingering = (segment->flags & WIRE_SEGMENT_LINGERS) != 0,
	};
}

/* The daemon matches no patterns: one made to be slow would cost everybody. */
static bool matches(const char *glob, const struct shmd_segment_info *info)
{
	return !glob || (info->name && fnmatch(glob, info->name, 0) == 0);
}

/* Serves one page; *ret_next is 0 behind the last one. */
static int list_page(struct shmd *connection, uint64_t after, const char *glob, shmd_segment_fn *fn,
		     void *context, uint64_t *ret_next)
{
	struct wire_page request = {after};
	struct call call = {.op = WIRE_LIST, .body = &request, .body_size = sizeof(request)};
	int r = ask(connection, &call, sizeof(struct wire_entries));
	_cleanup_free_ struct wire_entries *page = call.reply;
	struct shmd_segment_info info;

	if (r == 0)
		r = check_entries(&call, sizeof(*page), page->entries, sizeof(struct wire_entry));
	if (r < 0)
		return r;
	struct wire_entry *entries = (void *)(page + 1);
	for (uint32_t i = 0; i < page->entries && r == 0; i++) {
		read_entry(&entries[i], &info);
		if (matches(glob, &info))
			r = fn(&info, context);
	}
	*ret_next = page->next;
	return r;
}

int shmd_list(struct shmd *connection, const char *glob, shmd_segment_fn *fn, void *context)
{
	uint64_t next = 0;
	int r;

	do
		r = list_page(connection, next, glob, fn, context, &next);
	while (r == 0 && next);
	return r;
}

/* --- one segment ------------------------------------------------------------------------------ */

/* The details with what their pointers point to. */
struct shown {
	struct shmd_details details; /* first: what the program has */
	struct shmd_segment_info info;
	struct wire_entry entry;
};

struct shown_attachment {
	struct shmd_attachment_info info; /* first, as above */
	char command[WIRE_COMMAND_SIZE];
};

struct shown_holder {
	struct shmd_holder_info info; /* first, as above */
	char command[WIRE_COMMAND_SIZE];
};

struct shmd_details *shmd_details_free(struct shmd_details *details)
{
	if (!details)
		return NULL;
	for (size_t i = 0; i < details->n_holders; i++)
		free(details->holders[i]);
	free(details->holders);
	for (size_t i = 0; i < details->n_attachments; i++)
		free(details->attachments[i]);
	free(details->attachments);
	free(details);
	return NULL;
}

static int add_attachment(struct shmd_details *details, const struct wire_attachment *attachment)
{
	struct shown_attachment *shown = calloc(1, sizeof(*shown));

	if (!shown)
		return -ENOMEM;
	text_copy(shown->command, sizeof(shown->command), attachment->command);
	shown->info = (struct shmd_attachment_info){
		.client = attachment->client,
		.pid = (pid_t)attachment->pid,
		.uid = attachment->uid,
		.command = shown->command,
		.read_only = (attachment->flags & WIRE_READ_ONLY) != 0,
	};
	details->attachments[details->n_attachments++] = &shown->info;
	return 0;
}

static int add_attachments(struct shmd_details *details, const struct wire_attachment *attachments,
			   size_t n)
{
	int r = 0;

	if (n == 0)
		return 0;
	struct shmd_attachment_info **larger = reallocarray(details->attachments,
							    details->n_attachments + n,
							    sizeof(struct shmd_attachment_info *));
	if (!larger)
		return error_errno(-ENOMEM, "cannot keep the attachments");
	details->attachments = larger;
	for (size_t i = 0; i < n && r == 0; i++)
		r = add_attachment(details, &attachments[i]);
	return r < 0 ? error_errno(r, "cannot keep the attachments") : 0;
}

static int show_page(struct shmd *connection, const struct wire_show *request, struct shown *shown,
		     uint64_t *ret_next)
{
	struct call call = {.op = WIRE_SHOW, .body = request, .body_size = sizeof(*request)};
	int r = ask(connection, &call, sizeof(struct wire_shown));
	_cleanup_free_ struct wire_shown *reply = call.reply;

	if (r == 0)
		r = check_entries(&call, sizeof(*reply), reply->page.entries,
				  sizeof(struct wire_attachment));
	if (r < 0)
		return r;
	shown->entry = reply->entry;
	shown->details.permits_available = reply->permits_available;
	shown->details.old_generations = reply->old_generations;
	shown->details.old_bytes = reply->old_bytes;
	*ret_next = reply->page.next;
	return add_attachments(&shown->details, (void *)(reply + 1), reply->page.entries);
}

static int add_holder(struct shmd_details *details, const struct wire_holder *holder)
{
	struct shown_holder *shown = calloc(1, sizeof(*shown));

	if (!shown)
		return -ENOMEM;
	text_copy(shown->command, sizeof(shown->command), holder->command);
	shown->info = (struct shmd_holder_info){
		.pid = (pid_t)holder->pid,
		.uid = holder->uid,
		.command = shown->command,
		.permits = holder->permits,
		.until_exit = (holder->flags & WIRE_HOLDER_KEEPS) != 0,
	};
	details->holders[details->n_holders++] = &shown->info;
	return 0;
}

static int add_holders(struct shmd_details *details, const struct wire_holder *holders, size_t n)
{
	int r = 0;

	if (n == 0)
		return 0;
	struct shmd_holder_info **larger = reallocarray(details->holders, details->n_holders + n,
							sizeof(struct shmd_holder_info *));
	if (!larger)
		return error_errno(-ENOMEM, "cannot keep the holders");
	details->holders = larger;
	for (size_t i = 0; i < n && r == 0; i++)
		r = add_holder(details, &holders[i]);
	return r < 0 ? error_errno(r, "cannot keep the holders") : 0;
}

static int holders_page(struct shmd *connection, const struct wire_show *request,
			struct shown *shown, uint64_t *ret_next)
{
	struct call call = {.op = WIRE_HOLDERS, .body = request, .body_size = sizeof(*request)};
	int r = ask(connection, &call, sizeof(struct wire_entries));
	_cleanup_free_ struct wire_entries *page = call.reply;

	if (r == 0)
		r = check_entries(&call, sizeof(*page), page->entries, sizeof(struct wire_holder));
	if (r < 0)
		return r;
	*ret_next = page->next;
	return add_holders(&shown->details, (void *)(page + 1), page->entries);
}

/* Asked for after the attachments: the segment may have gone in between, and then nobody holds it. */
static int show_holders(struct shmd *connection, struct wire_show *request, struct shown *shown)
{
	int r;

	request->after = 0;
	do
		r = holders_page(connection, request, shown, &request->after);
	while (r == 0 && request->after);
	return r == -ENOENT ? 0 : r;
}

static int show(struct shmd *connection, const char *name, struct shown *shown)
{
	struct wire_show request = {0};
	int r;

	if (!name)
		return error_set(-EINVAL, "the name is NULL");
	if (strlen(name) >= sizeof(request.name))
		return error_set(-ENAMETOOLONG, "the name has %zu bytes; at most %d are allowed",
				 strlen(name), SHMD_NAME_MAX);
	text_copy(request.name, sizeof(request.name), name);
	do
		r = show_page(connection, &request, shown, &request.after);
	while (r == 0 && request.after);
	return r < 0 ? r : show_holders(connection, &request, shown);
}

int shmd_show(struct shmd *connection, const char *name, struct shmd_details **ret)
{
	struct shown *shown = calloc(1, sizeof(*shown));

	if (!shown)
		return error_errno(-ENOMEM, "cannot keep the details");
	int r = show(connection, name, shown);
	if (r < 0) {
		shmd_details_free(&shown->details);
		return r;
	}
	read_entry(&shown->entry, &shown->info);
	shown->details.segment = &shown->info;
	*ret = &shown->details;
	return 0;
}

/* --- the policy ------------------------------------------------------------------------------- */

/* An explanation with what its pointers point to. */
struct explained {
	struct shmd_explanation explanation; /* first: what the program has */
	struct wire_explained *reply;        /* owned */
};

static void read_explanation(struct wire_explained *reply, struct shmd_explanation *ret)
{
	reply->rule[sizeof(reply->rule) - 1] = '\0';
	reply->file[sizeof(reply->file) - 1] = '\0';
	reply->create[sizeof(reply->create) - 1] = '\0';
	reply->read[sizeof(reply->read) - 1] = '\0';
	reply->write[sizeof(reply->write) - 1] = '\0';
	*ret = (struct shmd_explanation){
		.uid = reply->uid,
		.rule = or_null(reply->rule),
		.file = or_null(reply->file),
		.line = reply->line,
		.may_create = (reply->flags & WIRE_MAY_CREATE) != 0,
		.create_reason = reply->create,
		.owner = reply->owner,
		.group = reply->group,
		.mode = reply->mode,
		.mode_max = reply->mode_max,
		.lifetimes = reply->lifetimes,
		.linger_max_ms = reply->linger_max_ms,
		.size_max = reply->size_max,
		.segments_max = reply->segments_max,
		.segments_used = reply->segments_used,
		.bytes_max = reply->bytes_max,
		.bytes_used = reply->bytes_used,
		.exists = (reply->flags & WIRE_EXISTS_NOW) != 0,
		.may_read = (reply->flags & WIRE_MAY_READ) != 0,
		.read_reason = reply->read,
		.may_write = (reply->flags & WIRE_MAY_WRITE) != 0,
		.write_reason = reply->write,
	};
}

struct shmd_explanation *shmd_explanation_free(struct shmd_explanation *explanation)
{
	struct explained *explained = (struct explained *)explanation;

	if (!explained)
		return NULL;
	free(explained->reply);
	free(explained);
	return NULL;
}

int shmd_explain(struct shmd *connection, const char *name, uid_t uid,
		 struct shmd_explanation **ret)
{
	struct wire_explain request = {.uid = uid};
	struct call call = {.op = WIRE_EXPLAIN, .body = &request, .body_size = sizeof(request)};
	int r = call_put_name(request.name, name);

	if (r < 0)
		return r;
	r = ask(connection, &call, sizeof(struct wire_explained));
	_cleanup_free_ struct wire_explained *reply = call.reply;
	if (r < 0)
		return r;
	struct explained *explained = calloc(1, sizeof(*explained));
	if (!explained)
		return error_errno(-ENOMEM, "cannot keep the explanation");
	explained->reply = steal_ptr(reply);
	read_explanation(explained->reply, &explained->explanation);
	*ret = &explained->explanation;
	return 0;
}

/* --- clients ---------------------------------------------------------------------------------- */

static int clients_page(struct shmd *connection, uint64_t after, shmd_client_fn *fn, void *context,
			uint64_t *ret_next)
{
	struct wire_page request = {after};
	struct call call = {.op = WIRE_CLIENTS, .body = &request, .body_size = sizeof(request)};
	int r = ask(connection, &call, sizeof(struct wire_entries));
	_cleanup_free_ struct wire_entries *page = call.reply;

	if (r == 0)
		r = check_entries(&call, sizeof(*page), page->entries, sizeof(struct wire_client));
	if (r < 0)
		return r;
	struct wire_client *clients = (void *)(page + 1);
	for (uint32_t i = 0; i < page->entries && r == 0; i++) {
		struct wire_client *client = &clients[i];
		client->command[sizeof(client->command) - 1] = '\0';
		struct shmd_client_info info = {
			.id = client->id,
			.pid = (pid_t)client->pid,
			.uid = client->uid,
			.gid = client->gid,
			.command = client->command,
			.segments = client->segments,
			.bytes = client->bytes,
			.connected_ms = client->connected_ms,
		};
		r = fn(&info, context);
	}
	*ret_next = page->next;
	return r;
}

int shmd_clients(struct shmd *connection, shmd_client_fn *fn, void *context)
{
	uint64_t next = 0;
	int r;

	do
		r = clients_page(connection, next, fn, context, &next);
	while (r == 0 && next);
	return r;
}

/* --- the daemon ------------------------------------------------------------------------------- */

/* The status with what its pointers point to, in one piece of memory. */
struct told {
	struct shmd_status status; /* first: what the program has */
	struct wire_status *reply; /* owned */
	void *rows;                /* owned: pointers, counters, limits */
};

static int read_rows(struct told *told, const struct call *call)
{
	const struct wire_status *reply = told->reply;
	size_t counters_size = reply->counters * sizeof(struct wire_counter);
	int r = check_entries(call, sizeof(*reply), reply->counters, sizeof(struct wire_counter));

	if (r == 0)
		r = check_entries(call, sizeof(*reply) + counters_size, reply->limits,
				  sizeof(struct wire_limit));
	if (r < 0)
		return r;
	size_t n_counters = reply->counters, n_limits = reply->limits;
	told->rows = calloc(1, (n_counters + n_limits) * sizeof(void *) +
				       n_counters * sizeof(struct shmd_counter) +
				       n_limits * sizeof(struct shmd_limit));
	if (!told->rows)
		return error_errno(-ENOMEM, "cannot keep the status");

	struct wire_counter *wire_counters = (void *)(told->reply + 1);
	struct wire_limit *wire_limits = (void *)(wire_counters + n_counters);
	struct shmd_counter **counters = told->rows;
	struct shmd_limit **limits = (void *)(counters + n_counters);
	struct shmd_counter *counter = (void *)(limits + n_limits);
	struct shmd_limit *limit = (void *)(counter + n_counters);
	for (size_t i = 0; i < n_counters; i++) {
		wire_counters[i].name[WIRE_LABEL_SIZE - 1] = '\0';
		counter[i] = (struct shmd_counter){wire_counters[i].name, wire_counters[i].value};
		counters[i] = &counter[i];
	}
	for (size_t i = 0; i < n_limits; i++) {
		wire_limits[i].name[WIRE_LABEL_SIZE - 1] = '\0';
		limit[i] = (struct shmd_limit){wire_limits[i].name, wire_limits[i].value,
					       wire_limits[i].use};
		limits[i] = &limit[i];
	}
	told->status.counters = counters;
	told->status.n_counters = n_counters;
	told->status.limits = limits;
	told->status.n_limits = n_limits;
	return 0;
}

static int tell(struct shmd *connection, struct told *told)
{
	struct call call = {.op = WIRE_STATUS};
	int r = ask(connection, &call, sizeof(struct wire_status));
	struct wire_status *reply = told->reply = call.reply;

	if (r < 0)
		return r;
	reply->version[sizeof(reply->version) - 1] = '\0';
	reply->degraded[sizeof(reply->degraded) - 1] = '\0';
	told->status = (struct shmd_status){
		.version = reply->version,
		.pid = (pid_t)reply->pid,
		.uptime_ms = reply->uptime_ms,
		.clients = reply->clients,
		.segments = reply->segments,
		.bytes = reply->bytes,
		.heap_bytes = reply->heap_bytes,
		.descriptors = reply->descriptors,
		.degraded = reply->degraded,
	};
	return read_rows(told, &call);
}

struct shmd_status *shmd_status_free(struct shmd_status *status)
{
	struct told *told = (struct told *)status;

	if (!told)
		return NULL;
	free(told->reply);
	free(told->rows);
	free(told);
	return NULL;
}

int shmd_status(struct shmd *connection, struct shmd_status **ret)
{
	struct told *told = calloc(1, sizeof(*told));

	if (!told)
		return error_errno(-ENOMEM, "cannot keep the status");
	int r = tell(connection, told);
	if (r < 0) {
		shmd_status_free(&told->status);
		return r;
	}
	*ret = &told->status;
	return 0;
}
