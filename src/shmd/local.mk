# src/shmd: the daemon's edge; everything but main() is a library for the tests
noinst_LTLIBRARIES += libdaemon.la
libdaemon_la_SOURCES = \
	src/shmd/account.c src/shmd/account.h \
	src/shmd/batch.c src/shmd/batch.h \
	src/shmd/client.c src/shmd/client.h \
	src/shmd/closer.c src/shmd/closer.h \
	src/shmd/config.c src/shmd/config.h \
	src/shmd/dispatch.c src/shmd/dispatch.h \
	src/shmd/handed.c src/shmd/handed.h \
	src/shmd/helper.c src/shmd/helper.h \
	src/shmd/listener.c src/shmd/listener.h \
	src/shmd/loop.h \
	src/shmd/notifier.c src/shmd/notifier.h \
	src/shmd/notify.c src/shmd/notify.h \
	src/shmd/peer.c src/shmd/peer.h \
	src/shmd/pouch.c src/shmd/pouch.h \
	src/shmd/privilege.c src/shmd/privilege.h \
	src/shmd/process.c src/shmd/process.h \
	src/shmd/query.c src/shmd/query.h \
	src/shmd/reaper.c src/shmd/reaper.h \
	src/shmd/reply.c src/shmd/reply.h \
	src/shmd/restart.c src/shmd/restart.h \
	src/shmd/server.c src/shmd/server.h \
	src/shmd/service.c src/shmd/service.h \
	src/shmd/store.c src/shmd/store.h \
	src/shmd/turn.c src/shmd/turn.h \
	src/shmd/unread.c src/shmd/unread.h \
	src/shmd/usage.c src/shmd/usage.h \
	src/shmd/user.c src/shmd/user.h \
	src/shmd/value.c src/shmd/value.h \
	src/shmd/waker.c src/shmd/waker.h
libdaemon_la_CFLAGS = $(AM_CFLAGS) $(LIBEVENT_CFLAGS) $(INIH_CFLAGS) $(SYSTEMD_CFLAGS)
libdaemon_la_LIBADD = $(LIBEVENT_LIBS) $(INIH_LIBS) $(SYSTEMD_LIBS)

sbin_PROGRAMS = shmd
shmd_SOURCES = src/shmd/main.c
shmd_CFLAGS = $(AM_CFLAGS) $(LIBEVENT_CFLAGS)
shmd_LDADD = $(DAEMON_LIBS)
