# examples: what programs look like that use the library; not installed

EXAMPLES = examples/flock examples/semaphore examples/unguarded examples/posix \
	examples/killed-flock examples/killed-semaphore examples/leak examples/holder \
	examples/publish examples/killed-publish examples/camera examples/handover
noinst_PROGRAMS = $(EXAMPLES)
TURNS = examples/turns.c examples/turns.h
# Alike loops stand alike in the cache's lines, so that ratio.sh compares the locks.
TURNS_CFLAGS = $(AM_CFLAGS) -falign-functions=64
KILLED = examples/killed.c examples/turns.h
examples_flock_SOURCES = examples/flock.c $(TURNS)
examples_flock_CPPFLAGS = $(CLIENT_CPPFLAGS)
examples_flock_LDADD = libshmd.la
examples_semaphore_SOURCES = examples/semaphore.c $(TURNS)
examples_semaphore_CPPFLAGS = $(CLIENT_CPPFLAGS)
examples_semaphore_CFLAGS = $(TURNS_CFLAGS)
examples_semaphore_LDADD = libshmd.la
examples_unguarded_SOURCES = examples/unguarded.c $(TURNS)
examples_unguarded_CPPFLAGS = $(CLIENT_CPPFLAGS)
examples_unguarded_LDADD = libshmd.la
examples_posix_SOURCES = examples/posix.c
examples_posix_CFLAGS = $(TURNS_CFLAGS)
examples_posix_LDADD = -lrt
examples_killed_flock_SOURCES = examples/flock.c $(KILLED)
examples_killed_flock_CPPFLAGS = $(CLIENT_CPPFLAGS)
examples_killed_flock_LDADD = libshmd.la
examples_killed_semaphore_SOURCES = examples/semaphore.c $(KILLED)
examples_killed_semaphore_CPPFLAGS = $(CLIENT_CPPFLAGS)
examples_killed_semaphore_LDADD = libshmd.la
examples_leak_SOURCES = examples/leak.c
examples_leak_CPPFLAGS = $(CLIENT_CPPFLAGS)
examples_leak_LDADD = libshmd.la
examples_holder_SOURCES = examples/holder.c
examples_holder_CPPFLAGS = $(CLIENT_CPPFLAGS)
examples_holder_LDADD = libshmd.la
examples_publish_SOURCES = examples/publish.c
examples_publish_CPPFLAGS = $(CLIENT_CPPFLAGS)
examples_publish_LDADD = libshmd.la
examples_killed_publish_SOURCES = examples/killed-publish.c
examples_killed_publish_CPPFLAGS = $(CLIENT_CPPFLAGS)
examples_killed_publish_LDADD = libshmd.la
examples_camera_SOURCES = examples/camera.c
examples_camera_CPPFLAGS = $(CLIENT_CPPFLAGS)
examples_camera_LDADD = libshmd.la
examples_handover_SOURCES = examples/handover.c
examples_handover_CPPFLAGS = $(CLIENT_CPPFLAGS)
examples_handover_LDADD = libshmd.la
dist_noinst_SCRIPTS = examples/demo.sh examples/ratio.sh examples/camera.sh \
	examples/handover.sh
