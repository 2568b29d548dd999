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

/* Its charge is in it already, and given back where it fails. */
static int enter(struct attachment *attachment, struct session *session, struct segment *segment)
{
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
	return 0;
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
	r = enter(attachment, session, segment);
	if (r == 0)
		*ret = attachment;
	return r;
}

int attachment_restore(struct quota *quota, struct session *session, struct segment *segment,
		       struct attachment **ret)
{
	if (attachment_find(session, segment->id))
		return -EINVAL;
	struct attachment *attachment = calloc(1, sizeof(*attachment));
	if (!attachment)
		return -ENOMEM;
	int r = quota_restore(quota, session->who.uid, QUOTA_ATTACHMENTS, 1, &attachment->charge);
	if (r < 0) {
		free(attachment);
		return r;
	}
	r = enter(attachment, session, segment);
	if (r == 0)
		*ret = attachment;
	return r;
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
	row_clear(&attachment->row);
	free(attachment);
	return NULL;
}

bool attachment_is_read_only(const struct attachment *attachment)
{
	return attachment->counts[false] == 0;
}
