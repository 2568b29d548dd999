/* SPDX-License-Identifier: MIT */
/* Every rule of a packet of requests, broken once and alone; and packets that are good. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "unit.h"

#include "wire/packet.h"

static union {
	uint64_t align;
	char bytes[WIRE_PACKET_MAX];
} packet;
static struct packet_writer writer;
static struct packet_message messages[WIRE_BATCH_MAX];

static void set_up(void)
{
	packet_writer_init(&writer, packet.bytes, sizeof(packet.bytes));
}

/* Adds a whole request with a body of zeroes, which is returned; one that needs an id has one. */
static void *add(enum wire_op op, size_t size)
{
	packet_begin(&writer, op, 7);
	void *body = packet_append(&writer, size);
	packet_end(&writer, 0, 0);
	if (op == WIRE_BEQUEATH && size == sizeof(struct wire_bequeath))
		((struct wire_bequeath *)body)->pid = 1;
	if (op == WIRE_KEEP && size == sizeof(struct wire_keep))
		((struct wire_keep *)body)->id = 1;
	return body;
}

#define ADD(op, type) ((struct type *)add((op), sizeof(struct type)))

static struct wire_header *first_header(void)
{
	return (struct wire_header *)packet.bytes;
}

static void expect_good(int n)
{
	const char *why = "";
	int r = packet_check_requests(packet.bytes, writer.size, messages, &why);

	ck_assert_msg(r == n, "%d: %s", r, why);
}

static void expect_bad(const char *rule)
{
	const char *why = "";

	ck_assert_int_eq(packet_check_requests(packet.bytes, writer.size, messages, &why),
			 -EBADMSG);
	unit_assert_has(why, rule);
}

static const struct {
	enum wire_op op;
	const char *name;
	size_t size;
	bool batch;
} forms[] = {
	{WIRE_HELLO, "hello", sizeof(struct wire_hello), false},
	{WIRE_CREATE, "create", sizeof(struct wire_create), true},
	{WIRE_ATTACH, "attach", sizeof(struct wire_attach), true},
	{WIRE_DETACH, "detach", sizeof(struct wire_detach), true},
	{WIRE_UNLINK, "unlink", sizeof(struct wire_unlink), true},
	{WIRE_STATUS, "status", 0, false},
	{WIRE_LIST, "list", sizeof(struct wire_page), false},
	{WIRE_SHOW, "show", sizeof(struct wire_show), false},
	{WIRE_CLIENTS, "clients", sizeof(struct wire_page), false},
	{WIRE_HOLDERS, "holders", sizeof(struct wire_show), false},
	{WIRE_KEEP, "keep", sizeof(struct wire_keep), true},
	{WIRE_PUBLISH, "publish", sizeof(struct wire_publish), true},
	{WIRE_WAIT, "wait", sizeof(struct wire_wait), false},
	{WIRE_SUBSCRIBE, "subscribe", sizeof(struct wire_subscribe), false},
	{WIRE_CANCEL, "cancel", sizeof(struct wire_cancel), false},
	{WIRE_EXPLAIN, "explain", sizeof(struct wire_explain), false},
	{WIRE_RESUME, "resume", sizeof(struct wire_resume), false},
	{WIRE_CONFIRM, "confirm", sizeof(struct wire_confirm), true},
	{WIRE_SETTLE, "settle", 0, false},
	{WIRE_OPEN, "open", sizeof(struct wire_open), false},
	{WIRE_BEQUEATH, "bequeath", sizeof(struct wire_bequeath), false},
};
#define N_FORMS (sizeof(forms) / sizeof(forms[0]))

/* --- framing ---------------------------------------------------------------------------------- */

START_TEST(every_operation_is_good)
{
	ck_assert_uint_eq(N_FORMS, WIRE_OPS - WIRE_HELLO);
	for (size_t i = 0; i < N_FORMS; i++) {
		set_up();
		void *body = add(forms[i].op, forms[i].size);
		expect_good(1);
		ck_assert_uint_eq(messages[0].header.op, forms[i].op);
		ck_assert_uint_eq(messages[0].header.number, 7);
		ck_assert_ptr_eq(messages[0].body, body);
		ck_assert_uint_eq(messages[0].body_size, forms[i].size);
		ck_assert_str_eq(packet_op_name(forms[i].op), forms[i].name);
	}
}
END_TEST

START_TEST(every_operation_has_its_size)
{
	for (size_t i = 0; i < N_FORMS; i++) {
		set_up();
		add(forms[i].op, forms[i].size + 8);
		expect_bad("operation's size");
		if (forms[i].size == 0)
			continue;
		set_up();
		add(forms[i].op, forms[i].size - 8);
		expect_bad("operation's size");
	}
}
END_TEST

START_TEST(an_empty_packet_is_bad)
{
	expect_bad("shorter than its header");
}
END_TEST

START_TEST(every_shorter_packet_is_bad)
{
	ADD(WIRE_ATTACH, wire_attach);
	for (writer.size--; writer.size > 0; writer.size--)
		expect_bad(writer.size < sizeof(struct wire_header) ? "shorter than its header"
								    : "does not fit its packet");
}
END_TEST

START_TEST(a_tail_is_bad)
{
	ADD(WIRE_DETACH, wire_detach);
	writer.size += 8;
	expect_bad("shorter than its header");
	/* Zeroes as a header: a message of no size would never end. */
	writer.size += 8;
	expect_bad("does not fit its packet");
}
END_TEST

START_TEST(a_size_is_at_least_the_header)
{
	ADD(WIRE_STATUS, wire_header);
	first_header()->size = sizeof(struct wire_header) - 8;
	expect_bad("does not fit its packet");
}
END_TEST

START_TEST(a_size_is_at_most_the_packet)
{
	ADD(WIRE_DETACH, wire_detach);
	first_header()->size += 8;
	expect_bad("does not fit its packet");
	first_header()->size = UINT32_MAX - 7;
	expect_bad("does not fit its packet");
}
END_TEST

START_TEST(a_size_is_a_multiple_of_8)
{
	ADD(WIRE_DETACH, wire_detach);
	first_header()->size -= 4;
	expect_bad("multiple of 8");
}
END_TEST

START_TEST(an_unknown_operation_is_bad)
{
	static const uint16_t unknown[] = {0, WIRE_OPS, WIRE_OPS + 1, UINT16_MAX};

	ADD(WIRE_STATUS, wire_page);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		first_header()->op = unknown[i];
		expect_bad("unknown operation");
		ck_assert_str_eq(packet_op_name(unknown[i]), "unknown");
	}
}
END_TEST

START_TEST(a_request_has_no_code)
{
	ADD(WIRE_DETACH, wire_detach);
	first_header()->code = 1;
	expect_bad("reserved");
}
END_TEST

START_TEST(a_request_has_no_descriptors)
{
	ADD(WIRE_DETACH, wire_detach);
	first_header()->descriptors = 1;
	expect_bad("reserved");
}
END_TEST

/* --- batches ---------------------------------------------------------------------------------- */

START_TEST(a_batch_of_64_is_good)
{
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++)
		ADD(WIRE_CREATE, wire_create)->size = i;
	expect_good(WIRE_BATCH_MAX);
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++)
		ck_assert_uint_eq(((const struct wire_create *)messages[i].body)->size, i);
}
END_TEST

START_TEST(a_batch_of_65_is_bad)
{
	for (unsigned i = 0; i < WIRE_BATCH_MAX + 1; i++)
		ADD(WIRE_DETACH, wire_detach);
	expect_bad("more than 64");
}
END_TEST

START_TEST(some_operations_stand_alone)
{
	for (size_t i = 0; i < N_FORMS; i++)
		for (int first = 0; first < 2; first++) {
			set_up();
			if (first)
				add(forms[i].op, forms[i].size);
			ADD(WIRE_DETACH, wire_detach);
			if (!first)
				add(forms[i].op, forms[i].size);
			if (forms[i].batch)
				expect_good(2);
			else
				expect_bad("stands alone");
		}
}
END_TEST

START_TEST(a_create_with_a_reader_stands_alone)
{
	struct wire_create *create = ADD(WIRE_CREATE, wire_create);

	create->flags = WIRE_WANT_READER;
	expect_good(1);
	ADD(WIRE_DETACH, wire_detach);
	expect_bad("stands alone");
	create->flags = 0;
	expect_good(2);
}
END_TEST

START_TEST(one_bad_request_spoils_the_packet)
{
	ADD(WIRE_DETACH, wire_detach);
	ADD(WIRE_DETACH, wire_detach)->reserved = 1;
	expect_bad("reserved");
}
END_TEST

/* --- bodies ----------------------------------------------------------------------------------- */

/* What a name must not be, each in turn; the field begins as zeroes. */
static void expect_bad_names(char *name)
{
	memset(name, 'a', WIRE_NAME_SIZE);
	expect_bad("not terminated");
	name[WIRE_NAME_SIZE - 1] = '\0';
	expect_good(1);
	name[3] = '\0';
	expect_bad("padded");
	memset(name, 0, WIRE_NAME_SIZE);
	name[WIRE_NAME_SIZE - 1] = 1;
	expect_bad("padded");
	memset(name, 0, WIRE_NAME_SIZE);
	expect_good(1);
}

START_TEST(names_are_terminated_and_padded)
{
	expect_bad_names(ADD(WIRE_CREATE, wire_create)->name);
	set_up();
	expect_bad_names(ADD(WIRE_ATTACH, wire_attach)->name);
	set_up();
	expect_bad_names(ADD(WIRE_UNLINK, wire_unlink)->name);
	set_up();
	expect_bad_names(ADD(WIRE_SHOW, wire_show)->name);
	set_up();
	expect_bad_names(ADD(WIRE_HOLDERS, wire_show)->name);
	set_up();
	expect_bad_names(ADD(WIRE_EXPLAIN, wire_explain)->name);
}
END_TEST

static void expect_zero(uint32_t *field)
{
	*field = 1u << 31;
	expect_bad("reserved");
	*field = 0;
	expect_good(1);
}

START_TEST(reserved_fields_are_zero)
{
	expect_zero(&ADD(WIRE_HELLO, wire_hello)->reserved);
	set_up();
	expect_zero(&ADD(WIRE_OPEN, wire_open)->reserved);
	set_up();
	expect_zero(&ADD(WIRE_ATTACH, wire_attach)->reserved);
	set_up();
	expect_zero(&ADD(WIRE_DETACH, wire_detach)->reserved);
	set_up();
	expect_zero(&ADD(WIRE_EXPLAIN, wire_explain)->reserved);
}
END_TEST

static void expect_flags(uint32_t *field, uint32_t known)
{
	for (unsigned bit = 0; bit < 32; bit++) {
		*field = 1u << bit;
		if (*field & known)
			expect_good(1);
		else
			expect_bad("unknown flag");
	}
}

START_TEST(unknown_flags_are_bad)
{
	expect_flags(&ADD(WIRE_HELLO, wire_hello)->features, 0);
	set_up();
	expect_flags(&ADD(WIRE_CREATE, wire_create)->flags,
		     WIRE_OPEN_EXISTING | WIRE_HUGE_PAGES | WIRE_NO_SEMAPHORE | WIRE_READERS_LOCK |
			     WIRE_WANT_SEMAPHORE | WIRE_WANT_READER | WIRE_LATE_SEMAPHORE);
	set_up();
	struct wire_attach *attach = ADD(WIRE_ATTACH, wire_attach);
	attach->id = 1;
	expect_flags(&attach->flags, WIRE_READ_ONLY | WIRE_WANT_SEMAPHORE | WIRE_POSIX);
	set_up();
	expect_flags(&ADD(WIRE_OPEN, wire_open)->flags,
		     WIRE_OPEN_WRITE | WIRE_OPEN_BOTH | WIRE_OPEN_CREATE | WIRE_OPEN_EXCLUSIVE |
			     WIRE_OPEN_TRUNCATE | WIRE_OPEN_SEMAPHORE);
	set_up();
	expect_flags(&ADD(WIRE_DETACH, wire_detach)->flags, WIRE_READ_ONLY);
	set_up();
	expect_flags(&ADD(WIRE_PUBLISH, wire_publish)->flags, WIRE_WRITABLE);
	set_up();
	expect_flags(&ADD(WIRE_WAIT, wire_wait)->flags, WIRE_READ_ONLY | WIRE_WANT_SEMAPHORE);
}
END_TEST

START_TEST(create_has_its_rules)
{
	struct wire_create *create = ADD(WIRE_CREATE, wire_create);

	create->lifetime = WIRE_LIFETIMES;
	expect_bad("lifetime");
	create->lifetime = WIRE_LIFETIME_PERSISTENT;
	create->mode = 0777;
	expect_good(1);
	create->mode = 01000;
	expect_bad("permission bits");
}
END_TEST

START_TEST(an_id_and_a_name_are_one_too_many)
{
	struct wire_attach *attach = ADD(WIRE_ATTACH, wire_attach);

	attach->id = 1;
	expect_good(1);
	attach->name[0] = 'a';
	expect_bad("both");
	attach->id = 0;
	expect_good(1);
	set_up();
	struct wire_unlink *request = ADD(WIRE_UNLINK, wire_unlink);
	request->id = 1;
	request->name[0] = 'a';
	expect_bad("both");
	/* Garbage behind an empty name too. */
	request->name[0] = '\0';
	request->name[1] = 'a';
	expect_bad("padded");
}
END_TEST

START_TEST(bequeathing_needs_a_process)
{
	struct wire_bequeath *bequeath = ADD(WIRE_BEQUEATH, wire_bequeath);

	expect_good(1);
	bequeath->pid = 0;
	expect_bad("no such number");
	bequeath->pid = (uint32_t)INT32_MAX + 1;
	expect_bad("no such number");
	bequeath->pid = 1;
	bequeath->reserved = 1;
	expect_bad("reserved");
	set_up();
	ADD(WIRE_CREATE, wire_create)->heir = (uint32_t)INT32_MAX + 1;
	expect_bad("no such number");
	set_up();
	ADD(WIRE_OPEN, wire_open)->heir = (uint32_t)INT32_MAX + 1;
	expect_bad("no such number");
}
END_TEST

START_TEST(keeping_needs_an_id)
{
	struct wire_keep *keep = ADD(WIRE_KEEP, wire_keep);

	keep->id = UINT64_MAX;
	expect_good(1);
	keep->id = 0;
	expect_bad("no id");
}
END_TEST

/* --- replies and the writer ------------------------------------------------------------------- */

START_TEST(replies_are_read_in_order)
{
	struct packet_message reply;
	size_t offset = 0;

	packet_begin(&writer, WIRE_CREATE, 1);
	((struct wire_segment *)packet_append(&writer, sizeof(struct wire_segment)))->id = 42;
	packet_end(&writer, WIRE_OK, 2);
	packet_put_error(&writer, WIRE_ATTACH, 2, WIRE_DENIED, "no");

	ck_assert_int_eq(packet_next_reply(packet.bytes, writer.size, &offset, &reply), 1);
	ck_assert_uint_eq(reply.header.op, WIRE_CREATE);
	ck_assert_uint_eq(reply.header.number, 1);
	ck_assert_uint_eq(reply.header.code, WIRE_OK);
	ck_assert_uint_eq(reply.header.descriptors, 2);
	ck_assert_uint_eq(((const struct wire_segment *)reply.body)->id, 42);
	ck_assert_int_eq(packet_next_reply(packet.bytes, writer.size, &offset, &reply), 1);
	ck_assert_uint_eq(reply.header.code, WIRE_DENIED);
	ck_assert_uint_eq(reply.body_size, sizeof(struct wire_error));
	ck_assert_str_eq(((const struct wire_error *)reply.body)->text, "no");
	ck_assert_int_eq(packet_next_reply(packet.bytes, writer.size, &offset, &reply), 0);
}
END_TEST

START_TEST(a_reply_that_does_not_fit_is_bad)
{
	struct packet_message reply;
	size_t offset = 0;

	ADD(WIRE_DETACH, wire_detach);
	ck_assert_int_eq(packet_next_reply(packet.bytes, writer.size - 8, &offset, &reply),
			 -EBADMSG);
	ck_assert_int_eq(packet_next_reply(packet.bytes, 8, &offset, &reply), -EBADMSG);
	first_header()->size = 0;
	ck_assert_int_eq(packet_next_reply(packet.bytes, writer.size, &offset, &reply), -EBADMSG);
}
END_TEST

START_TEST(the_writer_stops_at_its_room)
{
	packet_writer_init(&writer, packet.bytes, 40);
	memset(packet.bytes, 'x', sizeof(packet.bytes));
	packet_begin(&writer, WIRE_LIST, 1);
	ck_assert_ptr_null(packet_append(&writer, 32));
	uint64_t *body = packet_append(&writer, 24);
	ck_assert_ptr_nonnull(body);
	ck_assert_uint_eq(body[0] | body[1] | body[2], 0);
	ck_assert_ptr_null(packet_append(&writer, 8));
	packet_end(&writer, WIRE_OK, 0);
	ck_assert_uint_eq(first_header()->size, 40);
	ck_assert_int_eq(packet.bytes[40], 'x');
}
END_TEST

START_TEST(a_body_can_be_thrown_away)
{
	ADD(WIRE_DETACH, wire_detach);
	packet_begin(&writer, WIRE_LIST, 1);
	packet_append(&writer, 64);
	packet_rewind(&writer);
	packet_append(&writer, 8);
	packet_end(&writer, WIRE_INTERNAL, 0);
	ck_assert_uint_eq(writer.size, 32 + 24);
}
END_TEST

START_TEST(a_long_error_is_cut)
{
	char text[2 * WIRE_TEXT_SIZE];
	struct packet_message reply;
	size_t offset = 0;

	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	packet_put_error(&writer, WIRE_LIST, 1, WIRE_INTERNAL, text);
	ck_assert_int_eq(packet_next_reply(packet.bytes, writer.size, &offset, &reply), 1);
	ck_assert_uint_eq(strlen(((const struct wire_error *)reply.body)->text),
			  WIRE_TEXT_SIZE - 1);
}
END_TEST

void unit_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, set_up, NULL);
	tcase_add_test(tests, every_operation_is_good);
	tcase_add_test(tests, every_operation_has_its_size);
	tcase_add_test(tests, an_empty_packet_is_bad);
	tcase_add_test(tests, every_shorter_packet_is_bad);
	tcase_add_test(tests, a_tail_is_bad);
	tcase_add_test(tests, a_size_is_at_least_the_header);
	tcase_add_test(tests, a_size_is_at_most_the_packet);
	tcase_add_test(tests, a_size_is_a_multiple_of_8);
	tcase_add_test(tests, an_unknown_operation_is_bad);
	tcase_add_test(tests, a_request_has_no_code);
	tcase_add_test(tests, a_request_has_no_descriptors);
	tcase_add_test(tests, a_batch_of_64_is_good);
	tcase_add_test(tests, a_batch_of_65_is_bad);
	tcase_add_test(tests, some_operations_stand_alone);
	tcase_add_test(tests, a_create_with_a_reader_stands_alone);
	tcase_add_test(tests, one_bad_request_spoils_the_packet);
	tcase_add_test(tests, names_are_terminated_and_padded);
	tcase_add_test(tests, reserved_fields_are_zero);
	tcase_add_test(tests, unknown_flags_are_bad);
	tcase_add_test(tests, create_has_its_rules);
	tcase_add_test(tests, an_id_and_a_name_are_one_too_many);
	tcase_add_test(tests, keeping_needs_an_id);
	tcase_add_test(tests, bequeathing_needs_a_process);
	tcase_add_test(tests, replies_are_read_in_order);
	tcase_add_test(tests, a_reply_that_does_not_fit_is_bad);
	tcase_add_test(tests, the_writer_stops_at_its_room);
	tcase_add_test(tests, a_body_can_be_thrown_away);
	tcase_add_test(tests, a_long_error_is_cut);
}
