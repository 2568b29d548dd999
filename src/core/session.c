/* SPDX-License-Identifier: MIT */
#include "core/session.h"

#include "core/attachment.h"

void session_init(struct session *session, uint64_t id, pid_t pid, const struct credentials *who)
{
	*session = (struct session){.id = id, .pid = pid, .who = *who};
}

void session_fini(struct session *session)
{
	row_clear(&session->row);
	credentials_fini(&session->who);
}

unsigned session_segments(const struct session *session)
{
	return HASH_COUNT(session->attachments);
}
