# src/libshmd: what programs link
## All of it as a convenience library, for tests of its parts; the real one shows only what the map says.
lib_LTLIBRARIES = libshmd.la
noinst_LTLIBRARIES += libclient.la
include_HEADERS = src/libshmd/shmd.h
libclient_la_SOURCES = \
	src/libshmd/call.c src/libshmd/call.h \
	src/libshmd/connection.c src/libshmd/connection.h \
	src/libshmd/dispatch.c \
	src/libshmd/error.c src/libshmd/error.h \
	src/libshmd/fork.c src/libshmd/fork.h \
	src/libshmd/gate.c src/libshmd/gate.h \
	src/libshmd/holdings.c src/libshmd/holdings.h \
	src/libshmd/line.c src/libshmd/line.h \
	src/libshmd/lock.c src/libshmd/lock.h \
	src/libshmd/loop.c src/libshmd/loop.h \
	src/libshmd/notice.c src/libshmd/notice.h \
	src/libshmd/posix.c src/libshmd/posix.h \
	src/libshmd/publish.c \
	src/libshmd/query.c \
	src/libshmd/resume.c src/libshmd/resume.h \
	src/libshmd/segment.c src/libshmd/segment.h
libshmd_la_SOURCES =
libshmd_la_LIBADD = libclient.la $(WIRE_LIBS)
libshmd_la_LDFLAGS = -version-info $(LIBSHMD_VERSION_INFO) -no-undefined \
	-Wl,--version-script=$(top_srcdir)/src/libshmd/libshmd.map
EXTRA_libshmd_la_DEPENDENCIES = src/libshmd/libshmd.map
EXTRA_DIST += src/libshmd/libshmd.map
pkgconfig_DATA = src/libshmd/libshmd.pc
