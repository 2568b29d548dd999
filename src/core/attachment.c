/* SPDX-License-Identifier: MIT */
#include "core/attachment.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "core/segment.h"
#include "core/session.h"

struct attachment *attachment_find(const struct session *session, uint64_t segment_id)
{
	struct attachment *attachment;

	HASH_FIND(hh, session->attachments, &segment_id, sizeof(segment_id), attachment);
	return attachment;
}

int attachment_new(struct quota *quota, struct session *session, struct segment *segment,
		   struct attachment **ret, struct refusal *why)
{
	struct attachment *attachment = calloc(1, sizeof(*attachment));

	if (!attachment)
		return -ENOMEM;
	int r = quota_charge(quota, &session->who, QUOTA_ATTACHMENTS, 1, &attachment->charge, why);
	if (r != 0) {
		free(attachment);
		return r;
	}
	attachment->segment = segment;
	attachment->session = session;
	attachment->segment_id = segment->id;
	HASH_ADD(hh, session->attachments, segment_id, sizeof(attachment->segment_id), attachment);
	if (!HASH_ADDED(hh, attachment)) {
		charge_release(&attachment->charge);
		free(attachment);
		return -ENOMEM;
	}
	DL_APPEND(segment->attachments, attachment);
	segment->n_attachments++;
	session->bytes += segment->size;
	*ret = attachment;
	return 0;
}

struct attachment *attachment_free(struct attachment *attachment)
{
	if (!attachment)
		return NULL;
	struct segment *segment = attachment->segment;
	struct session *session = attachment->session;

	HASH_DELETE(hh, session->attachments, attachment);
	DL_DELETE(segment->attachments, attachment);
	segment->n_attachments--;
	session->bytes -= segment->size;
	charge_release(&attachment->charge);
	free(attachment);
	return NULL;
}

bool attachment_is_read_only(const struct attachment *attachment)
{
	return attachment->counts[false] == 0;
}
