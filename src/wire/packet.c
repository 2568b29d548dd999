/* SPDX-License-Identifier: MIT */
#include "wire/packet.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

/* Each returns what is wrong with the body, or NULL. */
typedef const char *check_fn(const void *body);

static const char *check_string(const char *field, size_t size)
{
	return text_is_padded(field, size) ? NULL
					   : "a string is not terminated and padded with zeroes";
}

static const char *check_flags(uint32_t flags, uint32_t known, uint32_t reserved)
{
	if (flags & ~known)
		return "an unknown flag is set";
	return reserved ? "a reserved field is not zero" : NULL;
}

static const char *check_id_or_name(uint64_t id, const char name[static WIRE_NAME_SIZE])
{
	if (id && name[0])
		return "both an id and a name are given";
	return check_string(name, WIRE_NAME_SIZE);
}

static const char *check_hello(const void *body)
{
	const struct wire_hello *hello = body;

	return check_flags(hello->features, 0, hello->reserved);
}

static const char *check_create(const void *body)
{
	const struct wire_create *create = body;
	const char *why = check_flags(create->flags, WIRE_CREATE_FLAGS, 0);

	if (why)
		return why;
	if (create->lifetime >= WIRE_LIFETIMES)
		return "an unknown lifetime is asked for";
	if (create->mode & ~0777u)
		return "a mode has more than permission bits";
	if (create->heir > INT32_MAX)
		return "a process has no such number";
	return check_string(create->name, WIRE_NAME_SIZE);
}

static const char *check_attach(const void *body)
{
	const struct wire_attach *attach = body;
	const char *why = check_flags(attach->flags, WIRE_ATTACH_FLAGS, attach->reserved);

	if (!why && attach->flags & WIRE_POSIX && !attach->id)
		return "no id is given";
	return why ? why : check_id_or_name(attach->id, attach->name);
}

static const char *check_open(const void *body)
{
	const struct wire_open *open = body;
	const char *why = check_flags(open->flags, WIRE_OPEN_FLAGS, open->reserved);

	if (why)
		return why;
	if ((open->flags & WIRE_OPEN_ACCESS) > WIRE_OPEN_BOTH)
		return "an unknown access is asked for";
	if (open->lifetime >= WIRE_LIFETIMES)
		return "an unknown lifetime is asked for";
	if (open->mode & ~07777u)
		return "a mode has more than permission bits";
	if (open->heir > INT32_MAX)
		return "a process has no such number";
	return check_string(open->name, WIRE_NAME_SIZE);
}

static const char *check_bequeath(const void *body)
{
	const struct wire_bequeath *bequeath = body;

	if (bequeath->pid == 0 || bequeath->pid > INT32_MAX)
		return "a process has no such number";
	return check_flags(0, 0, bequeath->reserved);
}

static const char *check_detach(const void *body)
{
	const struct wire_detach *detach = body;

	return check_flags(detach->flags, WIRE_READ_ONLY, detach->reserved);
}

static const char *check_unlink(const void *body)
{
	const struct wire_unlink *request = body;

	return check_id_or_name(request->id, request->name);
}

static const char *check_keep(const void *body)
{
	const struct wire_keep *keep = body;

	return keep->id ? NULL : "no id is given";
}

static const char *check_publish(const void *body)
{
	const struct wire_publish *publish = body;
	const char *why = check_flags(publish->flags, WIRE_WRITABLE, publish->reserved);

	return why ? why : check_string(publish->name, sizeof(publish->name));
}

static const char *check_wait(const void *body)
{
	const struct wire_wait *wait = body;
	const char *why = check_flags(wait->flags, WIRE_WAIT_FLAGS, wait->reserved);

	return why ? why : check_string(wait->name, sizeof(wait->name));
}

static const char *check_subscribe(const void *body)
{
	const struct wire_subscribe *subscribe = body;

	return check_string(subscribe->prefix, sizeof(subscribe->prefix));
}

static const char *check_cancel(const void *body)
{
	const struct wire_cancel *cancel = body;

	return check_flags(0, 0, cancel->reserved);
}

static const char *check_show(const void *body)
{
	const struct wire_show *show = body;

	return check_string(show->name, WIRE_NAME_SIZE);
}

static const char *check_explain(const void *body)
{
	const struct wire_explain *explain = body;
	const char *why = check_flags(0, 0, explain->reserved);

	return why ? why : check_string(explain->name, sizeof(explain->name));
}

static const struct operation {
	const char *name;
	size_t size; /* of the request's body */
	bool batch;
	check_fn *check; /* NULL: every body of that size is well formed */
} operations[WIRE_OPS] = {
	[WIRE_HELLO] = {"hello", sizeof(struct wire_hello), false, check_hello},
	[WIRE_CREATE] = {"create", sizeof(struct wire_create), true, check_create},
	[WIRE_ATTACH] = {"attach", sizeof(struct wire_attach), true, check_attach},
	[WIRE_DETACH] = {"detach", sizeof(struct wire_detach), true, check_detach},
	[WIRE_UNLINK] = {"unlink", sizeof(struct wire_unlink), true, check_unlink},
	[WIRE_STATUS] = {"status", 0, false, NULL},
	[WIRE_LIST] = {"list", sizeof(struct wire_page), false, NULL},
	[WIRE_SHOW] = {"show", sizeof(struct wire_show), false, check_show},
	[WIRE_CLIENTS] = {"clients", sizeof(struct wire_page), false, NULL},
	[WIRE_HOLDERS] = {"holders", sizeof(struct wire_show), false, check_show},
	[WIRE_KEEP] = {"keep", sizeof(struct wire_keep), true, check_keep},
	[WIRE_PUBLISH] = {"publish", sizeof(struct wire_publish), true, check_publish},
	[WIRE_WAIT] = {"wait", sizeof(struct wire_wait), false, check_wait},
	[WIRE_SUBSCRIBE] = {"subscribe", sizeof(struct wire_subscribe), false, check_subscribe},
	[WIRE_CANCEL] = {"cancel", sizeof(struct wire_cancel), false, check_cancel},
	[WIRE_EXPLAIN] = {"explain", sizeof(struct wire_explain), false, check_explain},
	[WIRE_RESUME] = {"resume", sizeof(struct wire_resume), false, NULL},
	[WIRE_CONFIRM] = {"confirm", sizeof(struct wire_confirm), true, NULL},
	[WIRE_SETTLE] = {"settle", 0, false, NULL},
	[WIRE_BEQUEATH] = {"bequeath", sizeof(struct wire_bequeath), false, check_bequeath},
	[WIRE_OPEN] = {"open", sizeof(struct wire_open), false, check_open},
};

static const struct operation *find_operation(unsigned op)
{
	return op < WIRE_OPS && operations[op].name ? &operations[op] : NULL;
}

const char *packet_op_name(unsigned op)
{
	const struct operation *operation = find_operation(op);

	return operation ? operation->name : "unknown";
}

/* Cuts one message off at *offset. Returns what is wrong, or NULL. */
static const char *cut(const void *packet, size_t size, size_t *offset, struct packet_message *ret)
{
	const char *p = (const char *)packet + *offset;
	size_t left = size - *offset;
	struct wire_header header;

	if (left < sizeof(header))
		return "a message is shorter than its header";
	memcpy(&header, p, sizeof(header));
	if (header.size < sizeof(header) || header.size > left)
		return "a message's size does not fit its packet";
	if (header.size % 8 != 0)
		return "a message's size is not a multiple of 8";
	*ret = (struct packet_message){header, p + sizeof(header), header.size - sizeof(header)};
	*offset += header.size;
	return NULL;
}

static const char *check_request(const struct packet_message *message)
{
	const struct operation *operation = find_operation(message->header.op);

	if (!operation)
		return "an unknown operation is asked for";
	if (message->body_size != operation->size)
		return "a request does not have its operation's size";
	if (message->header.code || message->header.descriptors)
		return "a reserved field is not zero";
	return operation->check ? operation->check(message->body) : NULL;
}

/* A create with a reader may be answered with four descriptors, and 64 such would be too many. */
static bool is_batchable(const struct packet_message *message)
{
	const struct wire_create *create = message->body;

	if (message->header.op == WIRE_CREATE && create->flags & WIRE_WANT_READER)
		return false;
	return operations[message->header.op].batch;
}

static int malformed(const char *why, const char **ret_why)
{
	*ret_why = why;
	return -EBADMSG;
}

int packet_check_requests(const void *packet, size_t size,
			  struct packet_message ret[static WIRE_BATCH_MAX], const char **ret_why)
{
	size_t offset = 0;
	unsigned n = 0;
	bool batch = true;

	while (offset < size || n == 0) {
		if (n == WIRE_BATCH_MAX)
			return malformed("a packet holds more than 64 requests", ret_why);
		const char *why = cut(packet, size, &offset, &ret[n]);
		if (!why)
			why = check_request(&ret[n]);
		if (why)
			return malformed(why, ret_why);
		batch = batch && is_batchable(&ret[n]);
		n++;
	}
	if (n > 1 && !batch)
		return malformed("an operation that stands alone is in a packet with others",
				 ret_why);
	return (int)n;
}

int packet_next_reply(const void *packet, size_t size, size_t *offset, struct packet_message *ret)
{
	if (*offset == size)
		return 0;
	return cut(packet, size, offset, ret) ? -EBADMSG : 1;
}

void packet_writer_init(struct packet_writer *writer, void *bytes, size_t room)
{
	*writer = (struct packet_writer){.bytes = bytes, .room = room};
}

void packet_begin(struct packet_writer *writer, unsigned op, uint32_t number)
{
	writer->message = writer->size;
	struct wire_header *header = packet_append(writer, sizeof(*header));
	header->op = (uint16_t)op;
	header->number = number;
}

unsigned packet_op(const struct packet_writer *writer)
{
	const struct wire_header *header = (const void *)(writer->bytes + writer->message);

	return header->op;
}

uint32_t packet_number(const struct packet_writer *writer)
{
	const struct wire_header *header = (const void *)(writer->bytes + writer->message);

	return header->number;
}

void packet_drop(struct packet_writer *writer)
{
	writer->size = writer->message;
}

void *packet_append(struct packet_writer *writer, size_t size)
{
	if (size > writer->room - writer->size)
		return NULL;
	void *p = writer->bytes + writer->size;
	memset(p, 0, size);
	writer->size += size;
	return p;
}

void packet_end(struct packet_writer *writer, unsigned code, unsigned descriptors)
{
	struct wire_header *header = (void *)(writer->bytes + writer->message);

	header->size = (uint32_t)(writer->size - writer->message);
	header->code = code;
	header->descriptors = (uint16_t)descriptors;
}

void packet_rewind(struct packet_writer *writer)
{
	writer->size = writer->message + sizeof(struct wire_header);
}

void packet_put_error(struct packet_writer *writer, unsigned op, uint32_t number, unsigned code,
		      const char *text)
{
	packet_begin(writer, op, number);
	struct wire_error *error = packet_append(writer, sizeof(*error));
	text_copy(error->text, sizeof(error->text), text);
	packet_end(writer, code, 0);
}
