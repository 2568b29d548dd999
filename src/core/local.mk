# src/core: segments, semaphores, lifetimes, limits; no sockets, no loop, no clock
noinst_LTLIBRARIES += libcore.la
libcore_la_SOURCES = \
	src/core/access.c src/core/access.h \
	src/core/attachment.c src/core/attachment.h \
	src/core/ending.c src/core/ending.h \
	src/core/entering.c src/core/entering.h \
	src/core/explain.c src/core/explain.h \
	src/core/heir.c src/core/heir.h \
	src/core/image.c src/core/image.h \
	src/core/journal.c src/core/journal.h \
	src/core/instance.c src/core/instance.h \
	src/core/lease.c src/core/lease.h \
	src/core/leaving.c src/core/leaving.h \
	src/core/ledger.c src/core/ledger.h \
	src/core/lineage.c src/core/lineage.h \
	src/core/locker.c src/core/locker.h \
	src/core/memory.c src/core/memory.h \
	src/core/name.c src/core/name.h \
	src/core/policy.c src/core/policy.h \
	src/core/posix.c \
	src/core/publish.c \
	src/core/quota.c src/core/quota.h \
	src/core/reaped.c src/core/reaped.h \
	src/core/record.c src/core/record.h \
	src/core/recovery.c src/core/recovery.h \
	src/core/refusal.c src/core/refusal.h \
	src/core/registry.c src/core/registry.h \
	src/core/restore.c src/core/restore.h \
	src/core/segment.c src/core/segment.h \
	src/core/semaphore.c src/core/semaphore.h \
	src/core/session.c src/core/session.h \
	src/core/statistics.c src/core/statistics.h \
	src/core/table.c src/core/table.h \
	src/core/tally.c src/core/tally.h \
	src/core/users.c src/core/users.h \
	src/core/wait.c src/core/wait.h \
	src/core/watch.c src/core/watch.h
libcore_la_CFLAGS = $(AM_CFLAGS) $(ACL_CFLAGS)
libcore_la_LIBADD = $(ACL_LIBS)
