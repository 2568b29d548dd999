# src/preload: POSIX's shared memory and named semaphores from the daemon, for programs that know nothing of it
## Nothing but a shared object can be loaded before a program's libraries.
if ENABLE_SHARED
lib_LTLIBRARIES += libshmd-preload.la
endif
libshmd_preload_la_SOURCES = \
	src/preload/broker.c src/preload/broker.h \
	src/preload/family.c src/preload/family.h \
	src/preload/mask.c src/preload/mask.h \
	src/preload/memory.c \
	src/preload/native.c src/preload/native.h \
	src/preload/options.c src/preload/options.h \
	src/preload/permit.c \
	src/preload/request.c src/preload/request.h \
	src/preload/semaphore.c \
	src/preload/table.c src/preload/table.h
libshmd_preload_la_LIBADD = libclient.la $(WIRE_LIBS)
libshmd_preload_la_LDFLAGS = -module -avoid-version -shared -no-undefined \
	-Wl,--version-script=$(top_srcdir)/src/preload/preload.map
EXTRA_libshmd_preload_la_DEPENDENCIES = src/preload/preload.map
EXTRA_DIST += src/preload/preload.map
