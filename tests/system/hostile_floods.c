/* SPDX-License-Identifier: MIT */
/*
 * Floods of what is allowed: connections, segments, names, generations. As much as the limits let
 * them have, and as fast as they are answered.
 */
#include "hostile.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hostile_raw.h"

/* Half a batch. */
#define PAIRS (WIRE_BATCH_MAX / 2)

/* --- connections ------------------------------------------------------------------------------ */

static void connect_and_keep(const struct hostile *self)
{
	(void)self;
	if (raw_client() >= 0)
		got(GOT_ACCEPTED);
}

static void connect_and_close(const struct hostile *self)
{
	int fd = raw_connect();

	(void)self;
	if (fd < 0)
		return;
	got(GOT_ACCEPTED);
	close(fd);
}

static void connect_and_say_nothing(const struct hostile *self)
{
	static unsigned n;

	(void)self;
	if (n++ % 2 == 0) {
		connect_and_keep(self);
		return;
	}
	/* What it is told when there are too many lies unread, and takes one of our descriptors. */
	if (raw_connect() < 0)
		hold();
	got(GOT_ACCEPTED);
}

/* --- segments --------------------------------------------------------------------------------- */

static void create_and_keep(const struct hostile *self)
{
	static unsigned n;
	char name[32];

	if (!raw_ready())
		return;
	raw_begin();
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++) {
		snprintf(name, sizeof(name), "flood-%u-%u", self->index, n++);
		struct wire_create create = raw_creation(name);
		raw_add(WIRE_CREATE, &create, sizeof(create));
	}
	raw_exchange();
}

static void create_huge(const struct hostile *self)
{
	static const uint64_t sizes[] = {
		UINT64_C(1) << 40,
		UINT64_C(1) << 44,
		UINT64_C(1) << 62,
		INT64_MAX - 4096,
		INT64_MAX,
		UINT64_MAX,
		0,
	};

	(void)self;
	if (!raw_ready())
		return;
	raw_begin();
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++) {
		struct wire_create create = raw_creation("");
		create.size = sizes[i % (sizeof(sizes) / sizeof(sizes[0]))];
		raw_add(WIRE_CREATE, &create, sizeof(create));
	}
	raw_exchange();
}

static void create_nameless(const struct hostile *self)
{
	(void)self;
	if (!raw_ready())
		return;
	raw_begin();
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++) {
		struct wire_create create = raw_creation("");
		create.permits = i % 3;
		create.flags = i % 3 == 0 ? WIRE_NO_SEMAPHORE : WIRE_WANT_SEMAPHORE;
		raw_add(WIRE_CREATE, &create, sizeof(create));
	}
	/* All of them end with the connection. */
	raw_exchange();
	raw_end();
}

static void create_with_huge_pages(const struct hostile *self)
{
	(void)self;
	if (!raw_ready())
		return;
	raw_begin();
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++) {
		struct wire_create create = raw_creation("");
		create.size = i % 2 ? UINT64_C(1) << 30 : 4097;
		create.flags = WIRE_HUGE_PAGES;
		raw_add(WIRE_CREATE, &create, sizeof(create));
	}
	raw_exchange();
}

/* The pages of what nobody has any more are freed by the daemon. */
static void fill_and_let_go(const struct hostile *self)
{
	struct wire_create create = raw_creation("");
	struct raw_reply reply;

	(void)self;
	create.size = UINT64_C(32) << 20;
	raw_ask_keeping(WIRE_CREATE, &create, sizeof(create), &reply);
	if (reply.n_fds > 0 && fallocate(reply.fds[0], 0, 0, (off_t)create.size) == 0)
		got(GOT_ACCEPTED);
	raw_close_descriptors(&reply);
	raw_end();
}

/* Segments that end with their creator, at once or a little later. */
static void create_and_leave(const struct hostile *self)
{
	char name[32];

	if (!raw_ready())
		return;
	raw_begin();
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++) {
		snprintf(name, sizeof(name), "leave-%u-%u", self->index, i);
		struct wire_create create = raw_creation(name);
		create.flags = WIRE_OPEN_EXISTING;
		create.lifetime = i % 2 ? WIRE_LIFETIME_OWNER : WIRE_LIFETIME_CLIENTS;
		create.linger_ms = i % 4;
		raw_add(WIRE_CREATE, &create, sizeof(create));
	}
	raw_exchange();
	raw_end();
}

static void attach_and_detach(const struct hostile *self)
{
	struct wire_create create = raw_creation("");
	const struct wire_segment *segment;
	struct raw_reply reply;
	static uint64_t id;

	(void)self;
	if (raw_fd < 0 || id == 0) {
		raw_ask_keeping(WIRE_CREATE, &create, sizeof(create), &reply);
		raw_close_descriptors(&reply);
		segment = raw_body(reply.size, 0);
		id = segment ? segment->id : 0;
		return;
	}
	raw_begin();
	for (unsigned i = 0; i < PAIRS; i++) {
		struct wire_attach attach = {.id = id, .flags = WIRE_WANT_SEMAPHORE};
		struct wire_detach detach = {.id = id};
		raw_add(WIRE_ATTACH, &attach, sizeof(attach));
		raw_add(WIRE_DETACH, &detach, sizeof(detach));
	}
	raw_exchange();
}

/* --- batches ---------------------------------------------------------------------------------- */

#define MANY 200

static int many[MANY];

static bool connect_many(unsigned n)
{
	static bool is_connected;

	for (unsigned i = 0; !is_connected && i < n; i++)
		many[i] = raw_client();
	is_connected = true;
	return true;
}

/* The dearest requests: each makes a file, a semaphore and its list, and a ledger. */
static void add_expensive(const struct hostile *self, unsigned connection)
{
	char name[32];

	raw_begin();
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++) {
		snprintf(name, sizeof(name), "dear-%u-%u-%u", self->index, connection, i / 2);
		struct wire_create create = raw_creation(name);
		struct wire_unlink unlink = {0};
		create.flags = WIRE_WANT_SEMAPHORE;
		create.mode = 0666;
		create.permits = 3;
		strcpy(unlink.name, name);
		if (i % 2 == 0)
			raw_add(WIRE_CREATE, &create, sizeof(create));
		else
			raw_add(WIRE_UNLINK, &unlink, sizeof(unlink));
	}
}

/* All have sent one before the first is answered. */
static void pipeline_batches(const struct hostile *self)
{
	static unsigned rounds;
	unsigned n = scaled(MANY);

	connect_many(n);
	for (unsigned i = 0; i < n; i++) {
		add_expensive(self, i);
		raw_send_now(many[i]);
	}
	/* What was dropped stays attached until the connection ends. */
	for (unsigned i = 0; i < n; i++)
		if (raw_receive(many[i]) == 0 || i % 8 == rounds % 8) {
			close(many[i]);
			many[i] = raw_client();
		}
	rounds++;
}

/* --- names ------------------------------------------------------------------------------------ */

static void create_and_drop(const char *name)
{
	struct wire_create create = raw_creation(name);
	struct wire_unlink unlink = {0};

	strcpy(unlink.name, name);
	raw_add(WIRE_CREATE, &create, sizeof(create));
	raw_add(WIRE_UNLINK, &unlink, sizeof(unlink));
}

/* What was dropped stays attached. */
static void exchange_and_let_go(void)
{
	static unsigned n;

	raw_exchange();
	if (n++ % 8 == 7)
		raw_end();
}

static void change_names(const struct hostile *self)
{
	char name[32];

	if (!raw_ready())
		return;
	raw_begin();
	for (unsigned i = 0; i < PAIRS; i++) {
		snprintf(name, sizeof(name), "name-%u-%u", self->index, i);
		create_and_drop(name);
	}
	exchange_and_let_go();
}

static void use_long_names(const struct hostile *self)
{
	char name[WIRE_NAME_SIZE];

	if (!raw_ready())
		return;
	raw_begin();
	for (unsigned i = 0; i < PAIRS; i++) {
		/* The last byte alone tells them apart, and each fourth is too long. */
		int length = i % 4 ? WIRE_NAME_MAX : WIRE_NAME_MAX + 1;
		memset(name, 'x', sizeof(name));
		snprintf(name, sizeof(name), "%u", self->index);
		name[strlen(name)] = 'x';
		name[length - 1] = (char)('A' + i % 26);
		name[length] = '\0';
		create_and_drop(name);
	}
	exchange_and_let_go();
}

/* Names that look alike, turn the line around, or are not what they seem to be. */
static void use_strange_names(const struct hostile *self)
{
	static const char *const names[] = {
		"\xe2\x80\xae"
		"denrut",                           /* U+202E turns the direction */
		"\xf0\x9f\x92\xa3\xf0\x9f\x92\xa3", /* beyond 16 bits */
		"e\xcc\x81\xcc\x81\xcc\x81",        /* combining marks */
		"\xc3\xa9",                         /* the same, composed */
		"\xef\xbb\xbf"
		"bom",
		"\xc2\xad\xe2\x80\x8b", /* invisible */
		"%s%n%d",
		"'; rm -rf ~ #",
		" ",
		/* and what is refused */
		"\xff\xfe",
		"\xc0\xaf",
		"\xed\xa0\x80",
		"\xf4\x90\x80\x80",
		"\x1b[2J",
		"../../etc/passwd",
		"a/b",
		"\xc2\x9b"
		"31m",
	};

	(void)self;
	if (!raw_ready())
		return;
	raw_begin();
	for (unsigned i = 0; i < PAIRS; i++)
		create_and_drop(names[i % (sizeof(names) / sizeof(names[0]))]);
	exchange_and_let_go();
}

static void publish_nothing_as(const char *name)
{
	struct wire_publish publish = {.id = 1, .flags = WIRE_WRITABLE};

	strcpy(publish.name, name);
	raw_add(WIRE_PUBLISH, &publish, sizeof(publish));
}

/* By their numbers, the names are reserved for others. */
static void use_names_of_others(const struct hostile *self)
{
	static const char *const owners[] = {"64502", "64501", "0", "1000", "65534"};
	char name[32];

	(void)self;
	if (!raw_ready())
		return;
	raw_begin();
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++) {
		snprintf(name, sizeof(name), "%s.%u", owners[i % 5], i);
		struct wire_create create = raw_creation(name);
		if (i % 2)
			create.flags = WIRE_OPEN_EXISTING;
		create.lifetime = WIRE_LIFETIME_PERSISTENT;
		raw_add(WIRE_CREATE, &create, sizeof(create));
	}
	raw_exchange();
}

/* Whatever can be asked about the name that the honest client uses next. */
static void squat(const struct hostile *self)
{
	struct wire_create create = raw_creation(HONEST_NAME);
	struct wire_attach attach = {.name = HONEST_NAME, .flags = WIRE_READ_ONLY};
	struct wire_unlink unlink = {.name = HONEST_NAME};

	(void)self;
	create.flags = WIRE_OPEN_EXISTING;
	create.lifetime = WIRE_LIFETIME_PERSISTENT;
	if (!raw_ready())
		return;
	raw_begin();
	for (unsigned i = 0; i < WIRE_BATCH_MAX / 4; i++) {
		raw_add(WIRE_CREATE, &create, sizeof(create));
		raw_add(WIRE_ATTACH, &attach, sizeof(attach));
		raw_add(WIRE_UNLINK, &unlink, sizeof(unlink));
		publish_nothing_as(HONEST_NAME);
	}
	raw_exchange();
}

/* A segment of their own, published over names of others: also one that everybody may read. */
static void publish_over(const struct hostile *self)
{
	static const char *const names[] = {HONEST_NAME, KEPT_NAME, "0.other", "64501.other"};
	struct wire_create create = raw_creation("");
	struct raw_reply reply;
	static unsigned n;

	(void)self;
	if (raw_ask_keeping(WIRE_CREATE, &create, sizeof(create), &reply) != WIRE_OK)
		return;
	raw_close_descriptors(&reply);
	const struct wire_segment *segment = raw_body(reply.size, 0);
	struct wire_publish publish = {.flags = WIRE_WRITABLE};
	publish.id = segment ? segment->id : 1;
	strcpy(publish.name, names[n++ % 4]);
	if (raw_ask(WIRE_PUBLISH, &publish, sizeof(publish)) == WIRE_OK)
		breach("published over %s", publish.name);
	raw_end();
}

/* --- generations ------------------------------------------------------------------------------ */

static unsigned create_batch(uint64_t ids[static PAIRS])
{
	struct wire_create create = raw_creation("");
	const struct wire_segment *segment;
	struct raw_reply reply;
	unsigned n = 0;

	create.flags = WIRE_NO_SEMAPHORE;
	create.permits = 0;
	raw_begin();
	for (unsigned i = 0; i < PAIRS; i++)
		raw_add(WIRE_CREATE, &create, sizeof(create));
	raw_send(raw_fd);
	if (raw_receive_keeping(raw_fd, &reply) == 0)
		raw_end();
	raw_close_descriptors(&reply);
	while (n < PAIRS && reply.size > 0 && (segment = raw_body(reply.size, n)))
		ids[n++] = segment->id;
	return n;
}

/* One generation after the other of one name; who waits for none of them has none. */
static void publish_fast(const struct hostile *self)
{
	uint64_t ids[PAIRS];

	if (!raw_ready())
		return;
	unsigned n = create_batch(ids);
	if (n == 0)
		return;
	raw_begin();
	for (unsigned i = 0; i < n; i++) {
		struct wire_publish publish = {.id = ids[i], .flags = WIRE_WRITABLE};
		struct wire_detach detach = {.id = ids[i]};
		snprintf(publish.name, sizeof(publish.name), "news-%u", self->index);
		raw_add(WIRE_PUBLISH, &publish, sizeof(publish));
		raw_add(WIRE_DETACH, &detach, sizeof(detach));
	}
	raw_exchange();
}

/* By the library, sealed, while the others of the row read every generation, and keep it. */
static void publish_and_hoard(const struct hostile *self)
{
	static struct shmd *connection;
	struct shmd_segment *segment;
	char name[32];

	snprintf(name, sizeof(name), "hoard-%u", self->index / 2);
	if (!connection && !got_result(shmd_connect(&connection, NULL)))
		return;
	if (self->index % 2) {
		got_result(shmd_attach(connection, name, SHMD_READ_ONLY, &segment));
		return;
	}
	if (!got_result(shmd_create(connection, NULL, 4096, NULL, &segment)))
		return;
	got_result(shmd_publish(segment, name, 0));
	shmd_detach(segment);
}

static const struct behaviour rows[] = {
	{.name = "connections, kept",
	 .act = connect_and_keep,
	 .processes = 2,
	 .config = "[limits]\nclients_per_user = 500\n",
	 .must = ACCEPTED | REFUSED,
	 .says = "clients_per_user=500"},
	{.name = "connections, closed at once",
	 .act = connect_and_close,
	 .processes = 4,
	 .users = 2,
	 .must = ACCEPTED},
	{.name = "connections, half of them silent",
	 .act = connect_and_say_nothing,
	 .processes = 2,
	 .config = "[limits]\nclients_per_user = 500\n",
	 .must = ACCEPTED | REFUSED,
	 .says = "clients_per_user=500"},
	{.name = "creates, kept",
	 .act = create_and_keep,
	 .processes = 2,
	 .users = 2,
	 .config = "[limits]\nsegments_per_user = 1000\n",
	 .must = ACCEPTED | REFUSED,
	 .says = "segments_per_user=1000"},
	{.name = "creates, of sizes up to 2^64",
	 .act = create_huge,
	 .processes = 2,
	 .config = "[limits]\nbytes_per_user = 1T\n[rule all]\nsize_max = 1023G\n",
	 .must = REFUSED,
	 .never = ACCEPTED,
	 .says = "size"},
	{.name = "creates, without names",
	 .act = create_nameless,
	 .processes = 2,
	 .users = 2,
	 .must = ACCEPTED},
	{.name = "creates, with huge pages",
	 .act = create_with_huge_pages,
	 .processes = 2,
	 .must = REFUSED,
	 .says = "huge"},
	{.name = "creates, filled and let go",
	 .act = fill_and_let_go,
	 .processes = 2,
	 .users = 2,
	 .must = ACCEPTED},
	{.name = "creates, owners leave, and linger",
	 .act = create_and_leave,
	 .processes = 4,
	 .users = 4,
	 .must = ACCEPTED},
	{.name = "attaches and detaches, batched",
	 .act = attach_and_detach,
	 .processes = 4,
	 .users = 4,
	 .must = ACCEPTED},
	{.name = "batches of 64 by 400 connections",
	 .act = pipeline_batches,
	 .processes = 2,
	 .users = 2,
	 .must = ACCEPTED},
	{.name = "names, made and dropped", .act = change_names, .processes = 2, .must = ACCEPTED},
	{.name = "names of 200 bytes",
	 .act = use_long_names,
	 .processes = 2,
	 .users = 2,
	 .must = ACCEPTED | REFUSED,
	 .says = "201 bytes"},
	{.name = "names in strange UTF-8",
	 .act = use_strange_names,
	 .processes = 2,
	 .users = 2,
	 .must = ACCEPTED | REFUSED,
	 .says = "not UTF-8"},
	{.name = "names of other users",
	 .act = use_names_of_others,
	 .processes = 2,
	 .users = 2,
	 .must = REFUSED,
	 .never = ACCEPTED,
	 .says = "its number reserves it for uid 64502"},
	{.name = "squatting the honest client's name",
	 .act = squat,
	 .processes = 4,
	 .users = 2,
	 .must = REFUSED,
	 .never = ACCEPTED,
	 .says = HONEST_NAME},
	{.name = "publishing over others' names",
	 .act = publish_over,
	 .processes = 2,
	 .users = 2,
	 .must = REFUSED},
	{.name = "publishing fast",
	 .act = publish_fast,
	 .processes = 2,
	 .users = 2,
	 .must = ACCEPTED},
	{.name = "publishing, generations hoarded",
	 .act = publish_and_hoard,
	 .processes = 4,
	 .users = 1,
	 .config = "[limits]\nsegments_per_user = 300\n",
	 .must = ACCEPTED},
};

const struct behaviours hostile_floods = BEHAVIOURS(rows);
