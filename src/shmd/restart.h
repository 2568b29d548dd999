/* SPDX-License-Identifier: MIT */
/*
 * What is left by a daemon and taken over by the next one: the segments by way of the service manager's
 * store (store.h) and the record (core/record.h), and their clients as absent ones, which have what they
 * had until they come back, or their process dies. A client whose process nobody watches has a time for
 * that; and what the absent were attached to, and nobody has open any more when that time is over, is let
 * go of.
 */
#ifndef SHMD_RESTART_H
#define SHMD_RESTART_H

#include "core/image.h"
#include "core/refusal.h"
#include "wire/protocol.h"

struct client;
struct handed;
struct restart;
struct server;

#define LEGACY_RECORDS_MAX (IMAGE_RECORD_NAMES * RECORD_TABLES)

/* What a daemon before us has left. */
struct legacy {
	struct image image;
	struct pouch *pouches;
	struct legacy_place *places; /* what lies in them */
	size_t n_places;
	int records[LEGACY_RECORDS_MAX]; /* the tables themselves, to be revoked */
	unsigned n_records;
};

/* Reads what was handed over. Returns 0 or -errno, and then the log says why: it is not to be touched by us.
 * Nothing has been taken out of the store. */
int legacy_read(struct legacy *ret, struct handed *handed);

/* Closes what was not taken over. */
void legacy_fini(struct legacy *legacy);

/*
 * Goes on with that, in a server that serves nobody yet and whose registry was made of the image; and begins
 * to keep a record for the next daemon, where there is a store. Returns 0 or -errno, and then the log says
 * why.
 */
int restart_begin(struct restart **ret, struct server *server, struct legacy *legacy,
		  const struct handed *handed);

/* Waits no more for the absent. Takes NULL; returns NULL. */
struct restart *restart_free(struct restart *restart);

/* The daemon ends, and what it has stays for the next one, if it can, and if there is anything: then ending
 * the registry and its sessions changes nothing any more. */
void restart_leave(struct server *server);

/* A client comes back: 0 or a refusal. */
int restart_resume(struct client *client, const struct wire_resume *resume,
		   struct wire_resumed *ret, struct refusal *why);

#endif
