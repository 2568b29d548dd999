# src/base: knows nothing of shmd
noinst_LTLIBRARIES += libbase.la
libbase_la_SOURCES = \
	src/base/cleanup.h \
	src/base/clock.c src/base/clock.h \
	src/base/hash.c src/base/hash.h \
	src/base/guard.c src/base/guard.h \
	src/base/heap.c src/base/heap.h \
	src/base/lockfile.c src/base/lockfile.h \
	src/base/log.c src/base/log.h \
	src/base/loglimit.c src/base/loglimit.h \
	src/base/parse.c src/base/parse.h \
	src/base/text.c src/base/text.h
