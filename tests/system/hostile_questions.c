/* SPDX-License-Identifier: MIT */
/*
 * Floods of what the daemon has to look up, remember or tell: queries, waits, events, and what it
 * refuses.
 */
#include "hostile.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hostile_raw.h"

/* --- queries ---------------------------------------------------------------------------------- */

#define LISTED 64

/* What makes a list long. */
static void make_segments(const struct hostile *self)
{
	char name[32];

	if (!raw_ready())
		return;
	raw_begin();
	for (unsigned i = 0; i < LISTED; i++) {
		snprintf(name, sizeof(name), "listed-%u-%u", self->index, i);
		struct wire_create create = raw_creation(name);
		create.flags = WIRE_OPEN_EXISTING;
		create.mode = 0644;
		raw_add(WIRE_CREATE, &create, sizeof(create));
	}
	raw_exchange();
}

static void ask_everything(const struct hostile *self)
{
	struct wire_page page = {0};
	struct wire_show show = {.name = KEPT_NAME};
	struct wire_explain explain = {.uid = WIRE_NO_ID, .name = "a"};
	static bool has_segments;

	if (!has_segments)
		make_segments(self);
	has_segments = true;
	raw_ask(WIRE_LIST, &page, sizeof(page));
	raw_ask(WIRE_STATUS, &page, 0);
	raw_ask(WIRE_CLIENTS, &page, sizeof(page));
	raw_ask(WIRE_SHOW, &show, sizeof(show));
	raw_ask(WIRE_HOLDERS, &show, sizeof(show));
	raw_ask(WIRE_EXPLAIN, &explain, sizeof(explain));
	explain.uid = HONEST_UID;
	raw_ask(WIRE_EXPLAIN, &explain, sizeof(explain));
}

/* Many lists are asked for before the first has been read. */
static void pipeline_lists(const struct hostile *self)
{
	struct wire_page page = {0};
	static bool has_segments;
	unsigned n = 0;

	if (!has_segments)
		make_segments(self);
	has_segments = true;
	if (!raw_ready())
		return;
	raw_begin();
	raw_add(WIRE_LIST, &page, sizeof(page));
	char request[sizeof(struct wire_header) + sizeof(page)];
	memcpy(request, raw_packet, sizeof(request));
	while (n < 100 && write(raw_fd, request, sizeof(request)) == sizeof(request))
		n++;
	while (n > 0 && raw_receive(raw_fd) > 0)
		n--;
	if (n > 0)
		raw_end();
}

/* --- refusals --------------------------------------------------------------------------------- */

static void be_refused(const struct hostile *self)
{
	struct wire_detach detach = {.id = 1};

	(void)self;
	if (!raw_ready())
		return;
	raw_begin();
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++)
		raw_add(WIRE_DETACH, &detach, sizeof(detach));
	raw_exchange();
}

/* --- waits ------------------------------------------------------------------------------------ */

static void add_wait(const char *name)
{
	struct wire_wait wait = {.flags = WIRE_READ_ONLY};

	strcpy(wait.name, name);
	raw_add(WIRE_WAIT, &wait, sizeof(wait));
}

/* It stands alone in its packet, and is answered when it is over. */
static void send_wait(const char *name)
{
	raw_begin();
	add_wait(name);
	raw_send(raw_fd);
}

/* As many as there may be; the question behind them is answered when they were served. */
static void wait_for(const struct hostile *self, bool one_name)
{
	static unsigned n;
	char name[32] = "never";

	if (!raw_ready())
		return;
	for (unsigned i = 0; i < 64; i++) {
		if (!one_name)
			snprintf(name, sizeof(name), "never-%u-%u", self->index, n++);
		send_wait(name);
	}
	struct wire_cancel cancel = {.number = raw_number()};
	raw_begin();
	raw_add(WIRE_CANCEL, &cancel, sizeof(cancel));
	uint32_t last = raw_number();
	raw_send(raw_fd);
	while (raw_receive(raw_fd) > 0)
		if (((const struct wire_header *)raw_packet)->number == last)
			return;
	raw_end();
}

static void wait_for_one_name(const struct hostile *self)
{
	wait_for(self, true);
}

static void wait_for_many_names(const struct hostile *self)
{
	wait_for(self, false);
}

static void wait_and_cancel(const struct hostile *self)
{
	(void)self;
	if (!raw_ready())
		return;
	send_wait("never");
	struct wire_cancel cancel = {.number = raw_number()};
	raw_ask(WIRE_CANCEL, &cancel, sizeof(cancel));
	/* And once more, what is over. */
	raw_ask(WIRE_CANCEL, &cancel, sizeof(cancel));
}

/* A name that all others wait for comes and goes: each time they all have to be answered. */
static void be_woken(const struct hostile *self)
{
	struct wire_create create = raw_creation("herd");
	struct wire_unlink unlink = {.name = "herd"};

	create.mode = 0644;
	if (!raw_ready())
		return;
	if (self->index == 0) {
		raw_ask(WIRE_CREATE, &create, sizeof(create));
		raw_ask(WIRE_UNLINK, &unlink, sizeof(unlink));
		return;
	}
	for (unsigned i = 0; i < 100; i++)
		send_wait("herd");
	for (unsigned i = 0; i < 100; i++)
		if (raw_receive(raw_fd) == 0) {
			raw_end();
			return;
		}
	/* What they have attached goes with the connection. */
	raw_end();
}

/* Whenever the honest client makes its segment, all of these have to be told that it is not theirs. */
static void wait_for_the_honest(const struct hostile *self)
{
	(void)self;
	if (!raw_ready())
		return;
	for (unsigned i = 0; i < 100; i++)
		send_wait(HONEST_NAME);
	for (unsigned i = 0; i < 100; i++)
		if (raw_receive(raw_fd) == 0) {
			raw_end();
			return;
		}
}

/* The same, and what they are told is not read. */
static void wait_for_the_honest_and_not_read(const struct hostile *self)
{
	(void)self;
	if (!raw_ready())
		return;
	raw_begin();
	add_wait(HONEST_NAME);
	if (!raw_send_now(raw_fd))
		usleep(1000);
	else
		got(GOT_ACCEPTED);
}

/* --- events ----------------------------------------------------------------------------------- */

static bool subscribe(const char *prefix)
{
	struct wire_subscribe body = {0};

	strcpy(body.prefix, prefix);
	return raw_ask(WIRE_SUBSCRIBE, &body, sizeof(body)) == WIRE_OK;
}

/* What was dropped stays attached until the connection ends. */
static void make_noise(const struct hostile *self)
{
	static unsigned n;
	char name[32];

	if (!raw_ready())
		return;
	raw_begin();
	for (unsigned i = 0; i < WIRE_BATCH_MAX; i++) {
		snprintf(name, sizeof(name), "noise-%u-%u", self->index, i / 2);
		struct wire_create create = raw_creation(name);
		struct wire_unlink unlink = {0};
		strcpy(unlink.name, name);
		if (i % 2 == 0)
			raw_add(WIRE_CREATE, &create, sizeof(create));
		else
			raw_add(WIRE_UNLINK, &unlink, sizeof(unlink));
	}
	raw_exchange();
	if (n++ % 8 == 7)
		raw_end();
}

/* As many subscriptions as there may be, to everything, on connections that nobody reads. */
static void be_deaf(const struct hostile *self)
{
	static unsigned n;

	if (self->index % 2) {
		make_noise(self);
		return;
	}
	for (; n < 65; n++) {
		raw_fd = -1;
		subscribe(n % 2 ? "" : "noise-");
	}
	hold();
}

/* Those that are read take the daemon's time. */
static void listen_and_make_noise(const struct hostile *self)
{
	static bool is_subscribed;

	if (self->index % 2) {
		make_noise(self);
		return;
	}
	/* From then on, what comes as an answer may be events. */
	for (unsigned i = 0; !is_subscribed && i < 16; i++)
		subscribe("");
	is_subscribed = true;
	if (raw_ready() && raw_receive(raw_fd) > 0)
		got(GOT_ACCEPTED);
	else
		raw_end();
}

/* 64 subscriptions on one connection that nobody reads. */
static void subscribe_and_not_read(const struct hostile *self)
{
	if (self->index % 2) {
		make_noise(self);
		return;
	}
	for (unsigned i = 0; i < 65; i++) {
		struct wire_subscribe body = {0};
		raw_ready();
		raw_begin();
		raw_add(WIRE_SUBSCRIBE, &body, sizeof(body));
		if (raw_send_now(raw_fd))
			got(GOT_ACCEPTED);
	}
	hold();
}

static const struct behaviour rows[] = {
	{.name = "queries of every kind",
	 .act = ask_everything,
	 .processes = 4,
	 .users = 4,
	 .must = ACCEPTED | REFUSED,
	 .says = "uid"},
	{.name = "lists, pipelined",
	 .act = pipeline_lists,
	 .processes = 4,
	 .users = 2,
	 .must = ACCEPTED},
	{.name = "refusals, 64 a packet",
	 .act = be_refused,
	 .processes = 4,
	 .users = 4,
	 .must = REFUSED,
	 .never = ACCEPTED,
	 .says = "not attached"},
	{.name = "waits for one name",
	 .act = wait_for_one_name,
	 .processes = 2,
	 .users = 2,
	 .config = "[limits]\nwaits_per_user = 1000\n",
	 .must = REFUSED,
	 .says = "waits_per_user=1000"},
	{.name = "waits for many names",
	 .act = wait_for_many_names,
	 .processes = 2,
	 .users = 2,
	 .config = "[limits]\nwaits_per_user = 1000\n",
	 .must = REFUSED,
	 .says = "waits_per_user=1000"},
	{.name = "waits, cancelled",
	 .act = wait_and_cancel,
	 .processes = 2,
	 .users = 2,
	 .must = ACCEPTED | REFUSED,
	 .says = "is under way"},
	{.name = "waits, all answered at once",
	 .act = be_woken,
	 .processes = 5,
	 .users = 1,
	 .must = ACCEPTED},
	{.name = "waits for the honest client's name",
	 .act = wait_for_the_honest,
	 .processes = 4,
	 .users = 4,
	 .must = REFUSED,
	 .never = ACCEPTED},
	{.name = "waits for the honest client's name, unread",
	 .act = wait_for_the_honest_and_not_read,
	 .processes = 4,
	 .users = 4,
	 .must = ACCEPTED},
	{.name = "events, to 64 deaf connections",
	 .act = be_deaf,
	 .processes = 4,
	 .users = 4,
	 .must = ACCEPTED},
	{.name = "events, heard by 64 subscriptions",
	 .act = listen_and_make_noise,
	 .processes = 8,
	 .users = 4,
	 .must = ACCEPTED},
	{.name = "events, 64 subscriptions never read",
	 .act = subscribe_and_not_read,
	 .processes = 4,
	 .users = 4,
	 .must = ACCEPTED},
};

const struct behaviours hostile_questions = BEHAVIOURS(rows);
