# examples: what programs look like that use the library; not installed

EXAMPLES = examples/flock examples/semaphore examples/unguarded examples/leak
noinst_PROGRAMS = $(EXAMPLES)
TURNS = examples/turns.c examples/turns.h
examples_flock_SOURCES = examples/flock.c $(TURNS)
examples_flock_CPPFLAGS = $(CLIENT_CPPFLAGS)
examples_flock_LDADD = libshmd.la
examples_semaphore_SOURCES = examples/semaphore.c $(TURNS)
examples_semaphore_CPPFLAGS = $(CLIENT_CPPFLAGS)
examples_semaphore_LDADD = libshmd.la
examples_unguarded_SOURCES = examples/unguarded.c $(TURNS)
examples_unguarded_CPPFLAGS = $(CLIENT_CPPFLAGS)
examples_unguarded_LDADD = libshmd.la
examples_leak_SOURCES = examples/leak.c
examples_leak_CPPFLAGS = $(CLIENT_CPPFLAGS)
examples_leak_LDADD = libshmd.la
dist_noinst_SCRIPTS = examples/demo.sh
