/* SPDX-License-Identifier: MIT */
#include "asking.h"

#include "answers.h"
#include "base/text.h"
#include "fuzz.h"
#include "wire/packet.h"
#include "world.h"

/* --- what requests name ------------------------------------------------------------------------ */

static void take_name(struct input *input, char to[static WIRE_NAME_SIZE])
{
	static const char *const names[] = {"a",      "b",        "c",       "d",    "/a", "ab",
					    "5001.a", "5002.a",   "/5001.x", "bc",   "",   "..",
					    "a/b",    "\xc3\xa9", "\xff",    "\x7f", "/",  "a.b"};
	unsigned which = take(input) % 32;

	if (which < sizeof(names) / sizeof(names[0]))
		text_copy(to, WIRE_NAME_SIZE, names[which]);
	else if (which < 22)
		memset(to, 'a', WIRE_NAME_MAX + which - 19);
	else
		take_bytes(input, to, which - 22);
}

uint64_t asking_id(struct input *input)
{
	unsigned which = take(input);

	/* From the beginning, or back from the newest one. */
	return which < 128 ? FIRST_ID + which : answers_newest() - which % 128;
}

static uint64_t take_size(struct input *input)
{
	static const uint64_t sizes[] = {1,         4096,       4097,   65536, 0, UINT64_C(1) << 40,
					 INT64_MAX, UINT64_MAX, 2 << 20};
	unsigned which = take(input) % 16;

	return which < 9 ? sizes[which] : 1 + 100 * which;
}

/* By name or by id. */
static void take_target(struct input *input, uint64_t *id, char name[static WIRE_NAME_SIZE])
{
	if (take(input) & 1)
		*id = asking_id(input);
	else
		take_name(input, name);
}

/* A page of the first entries, or of later ones. */
static uint64_t take_after(struct input *input, uint64_t ids)
{
	unsigned which = take(input);

	return which & 1 ? ids + which / 2 % 32 : 0;
}

/* --- one operation each ------------------------------------------------------------------------ */

/* With the bit of a flag that creation does not have, a number that is not allowed. */
static uint32_t take_permits(unsigned rule, unsigned flags)
{
	static const uint32_t allowed[] = {1, 2, 255, INT32_MAX};
	static const uint32_t not_allowed[] = {0, UINT32_MAX};

	if (flags & WIRE_READ_ONLY)
		return not_allowed[rule / 128];
	return flags & WIRE_NO_SEMAPHORE ? 0 : allowed[rule / 128 + flags / 64 % 2 * 2];
}

static void put_create(struct input *input, void *body)
{
	static const uint32_t modes[] = {0600, 0660, 0666, 0640, 0644, 0, 0777, 0604};
	static const uint32_t lingers[] = {0, 1, 1000, UINT32_MAX};
	struct wire_create *create = body;
	unsigned rule = take(input), flags = take(input);

	create->mode = modes[rule % 8];
	create->lifetime = rule / 8 % 4 % WIRE_LIFETIMES;
	create->linger_ms = lingers[rule / 32 % 4];
	create->flags = flags & WIRE_CREATE_FLAGS;
	create->permits = take_permits(rule, flags);
	create->size = take_size(input);
	take_name(input, create->name);
}

static void put_attach(struct input *input, void *body)
{
	struct wire_attach *attach = body;

	attach->flags = take(input) & WIRE_WAIT_FLAGS;
	take_target(input, &attach->id, attach->name);
}

static void put_detach(struct input *input, void *body)
{
	struct wire_detach *detach = body;

	detach->flags = take(input) & WIRE_READ_ONLY;
	detach->id = asking_id(input);
}

static void put_unlink(struct input *input, void *body)
{
	struct wire_unlink *request = body;

	take_target(input, &request->id, request->name);
}

static void put_keep(struct input *input, void *body)
{
	struct wire_keep *keep = body;

	keep->id = asking_id(input);
}

static void put_publish(struct input *input, void *body)
{
	struct wire_publish *publish = body;

	publish->id = asking_id(input);
	publish->flags = take(input) & WIRE_WRITABLE;
	take_name(input, publish->name);
}

static void put_wait(struct input *input, void *body)
{
	struct wire_wait *wait = body;

	wait->newer_than = take_after(input, answers_newest() - 4);
	wait->flags = take(input) & WIRE_WAIT_FLAGS;
	take_name(input, wait->name);
}

static void put_subscribe(struct input *input, void *body)
{
	struct wire_subscribe *subscribe = body;

	take_name(input, subscribe->prefix);
}

static void put_cancel(struct input *input, void *body)
{
	struct wire_cancel *cancel = body;

	cancel->number = take(input) % 4;
}

static void put_explain(struct input *input, void *body)
{
	struct wire_explain *explain = body;
	unsigned whom = take(input);

	explain->uid = whom & 1 ? people[whom / 2 % PEOPLE].uid : WIRE_NO_ID;
	take_name(input, explain->name);
}

static void put_show(struct input *input, void *body)
{
	struct wire_show *show = body;

	show->after = take_after(input, 0);
	take_name(input, show->name);
}

static void put_list(struct input *input, void *body)
{
	struct wire_page *page = body;

	page->after = take_after(input, FIRST_ID);
}

static void put_clients(struct input *input, void *body)
{
	struct wire_page *page = body;

	page->after = take_after(input, 0);
}

static const struct {
	size_t size;
	void (*put)(struct input *input, void *body);
} operations[WIRE_OPS] = {
	[WIRE_CREATE] = {sizeof(struct wire_create), put_create},
	[WIRE_ATTACH] = {sizeof(struct wire_attach), put_attach},
	[WIRE_DETACH] = {sizeof(struct wire_detach), put_detach},
	[WIRE_UNLINK] = {sizeof(struct wire_unlink), put_unlink},
	[WIRE_STATUS] = {0, NULL},
	[WIRE_LIST] = {sizeof(struct wire_page), put_list},
	[WIRE_SHOW] = {sizeof(struct wire_show), put_show},
	[WIRE_CLIENTS] = {sizeof(struct wire_page), put_clients},
	[WIRE_HOLDERS] = {sizeof(struct wire_show), put_show},
	[WIRE_KEEP] = {sizeof(struct wire_keep), put_keep},
	[WIRE_PUBLISH] = {sizeof(struct wire_publish), put_publish},
	[WIRE_WAIT] = {sizeof(struct wire_wait), put_wait},
	[WIRE_SUBSCRIBE] = {sizeof(struct wire_subscribe), put_subscribe},
	[WIRE_CANCEL] = {sizeof(struct wire_cancel), put_cancel},
	[WIRE_EXPLAIN] = {sizeof(struct wire_explain), put_explain},
};

/* --- packets ----------------------------------------------------------------------------------- */

static void put(struct input *input, struct packet_writer *writer, unsigned op, uint32_t number)
{
	packet_begin(writer, op, number);
	void *body = packet_append(writer, operations[op].size);
	if (operations[op].put)
		operations[op].put(input, body);
	packet_end(writer, 0, 0);
}

size_t asking_one(struct input *input, unsigned op)
{
	struct packet_writer writer;

	packet_writer_init(&writer, server.in, sizeof(server.in));
	/* Waits and subscriptions are cancelled by their number. */
	put(input, &writer, op, (uint32_t)(now % 4));
	return writer.size;
}

static unsigned batch_op(unsigned which)
{
	static const uint16_t ops[] = {WIRE_CREATE, WIRE_ATTACH,  WIRE_DETACH, WIRE_UNLINK,
				       WIRE_KEEP,   WIRE_PUBLISH, WIRE_CREATE, WIRE_ATTACH};

	return ops[which % 8];
}

/* Few, as many as there may be, or so many times the same. */
size_t asking_batch(struct input *input)
{
	unsigned form = take(input), n = form & 64 ? WIRE_BATCH_MAX : 2 + form % 8;
	struct packet_writer writer;
	unsigned op = 0;
	struct input again = {0};

	packet_writer_init(&writer, server.in, sizeof(server.in));
	for (unsigned i = 0; i < n; i++) {
		if (i > 0 && form & 128) {
			struct input same = again;
			put(&same, &writer, op, i + 1);
			continue;
		}
		op = batch_op(take(input));
		again = *input;
		put(input, &writer, op, i + 1);
	}
	return writer.size;
}
