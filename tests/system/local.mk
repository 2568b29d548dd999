# tests/system: the real daemon, through the real library and command line

if HAVE_CHECK
SYSTEM_TESTS = \
	tests/system/check_access \
	tests/system/check_daemon \
	tests/system/check_events \
	tests/system/check_exposure \
	tests/system/check_file_locks \
	tests/system/check_gifts \
	tests/system/check_hostile \
	tests/system/check_kernels \
	tests/system/check_library \
	tests/system/check_lifetimes \
	tests/system/check_namespaces \
	tests/system/check_limits \
	tests/system/check_lock_recovery \
	tests/system/check_lock_storm \
	tests/system/check_lock \
	tests/system/check_lock_hostile \
	tests/system/check_lock_steps \
	tests/system/check_planting \
	tests/system/check_policy \
	tests/system/check_protocol \
	tests/system/check_publish \
	tests/system/check_restart \
	tests/system/check_resume \
	tests/system/check_restart_load \
	tests/system/check_service \
	tests/system/check_storm \
	tests/system/check_unread
check_PROGRAMS += $(SYSTEM_TESTS) tests/system/deny tests/system/guessable
TESTS += $(SYSTEM_TESTS)

## Under ./configure --disable-shared there is nothing to be loaded.
if ENABLE_SHARED
check_PROGRAMS += tests/system/check_preload tests/system/preload_client
TESTS += tests/system/check_preload
endif
endif

SYSTEM_CPPFLAGS = $(AM_CPPFLAGS) $(CLIENT_CPPFLAGS)
SYSTEM_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
SYSTEM_LIBS = libshmd.la $(CHECK_LIBS)
HARNESS = tests/system/harness.c tests/system/harness.h
MANAGER = tests/system/manager.c tests/system/manager.h $(HARNESS)

tests_system_check_access_SOURCES = tests/system/check_access.c $(HARNESS)
tests_system_check_access_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_access_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_access_LDADD = $(SYSTEM_LIBS)

tests_system_check_daemon_SOURCES = tests/system/check_daemon.c $(HARNESS)
tests_system_check_daemon_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_daemon_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_daemon_LDADD = $(SYSTEM_LIBS)

tests_system_check_events_SOURCES = tests/system/check_events.c $(HARNESS)
tests_system_check_events_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_events_CFLAGS = $(SYSTEM_CFLAGS) -pthread
tests_system_check_events_LDADD = $(SYSTEM_LIBS)

tests_system_check_exposure_SOURCES = tests/system/check_exposure.c $(HARNESS)
tests_system_check_exposure_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_exposure_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_exposure_LDADD = $(SYSTEM_LIBS)

tests_system_check_file_locks_SOURCES = tests/system/check_file_locks.c $(HARNESS)
tests_system_check_file_locks_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_file_locks_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_file_locks_LDADD = $(SYSTEM_LIBS)

tests_system_check_gifts_SOURCES = tests/system/check_gifts.c $(HARNESS)
tests_system_check_gifts_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_gifts_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_gifts_LDADD = $(SYSTEM_LIBS) $(WIRE_LIBS)

## The stage, and a file of rows for each kind of behaviour.
tests_system_check_hostile_SOURCES = tests/system/check_hostile.c tests/system/hostile.c \
	tests/system/hostile.h tests/system/hostile_raw.c tests/system/hostile_raw.h \
	tests/system/hostile_files.c tests/system/hostile_floods.c tests/system/hostile_memory.c \
	tests/system/hostile_processes.c tests/system/hostile_questions.c \
	tests/system/hostile_shortages.c tests/system/hostile_sockets.c $(HARNESS)
tests_system_check_hostile_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_hostile_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_hostile_LDADD = $(SYSTEM_LIBS) $(WIRE_LIBS)

tests_system_check_kernels_SOURCES = tests/system/check_kernels.c $(HARNESS)
tests_system_check_kernels_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_kernels_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_kernels_LDADD = $(SYSTEM_LIBS)
tests_system_deny_SOURCES = tests/system/deny.c

tests_system_check_library_SOURCES = tests/system/check_library.c $(HARNESS)
tests_system_check_library_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_library_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_library_LDADD = $(SYSTEM_LIBS)

tests_system_check_lifetimes_SOURCES = tests/system/check_lifetimes.c $(HARNESS)
tests_system_check_lifetimes_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_lifetimes_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_lifetimes_LDADD = $(SYSTEM_LIBS)

tests_system_check_limits_SOURCES = tests/system/check_limits.c $(HARNESS)
tests_system_check_limits_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_limits_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_limits_LDADD = $(SYSTEM_LIBS)

tests_system_check_namespaces_SOURCES = tests/system/check_namespaces.c $(HARNESS)
tests_system_check_namespaces_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_namespaces_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_namespaces_LDADD = $(SYSTEM_LIBS)

tests_system_check_lock_steps_SOURCES = tests/system/check_lock_steps.c $(HARNESS)
tests_system_check_lock_steps_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_lock_steps_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_lock_steps_LDADD = $(SYSTEM_LIBS)

tests_system_check_lock_SOURCES = tests/system/check_lock.c $(HARNESS)
tests_system_check_lock_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_lock_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_lock_LDADD = $(SYSTEM_LIBS)

tests_system_check_lock_hostile_SOURCES = tests/system/check_lock_hostile.c $(HARNESS)
tests_system_check_lock_hostile_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_lock_hostile_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_lock_hostile_LDADD = $(SYSTEM_LIBS) $(WIRE_LIBS)

## Parts of the daemon and of the library, in one program.
tests_system_check_lock_recovery_SOURCES = tests/system/check_lock_recovery.c \
	tests/system/crowd.c tests/system/crowd.h $(HARNESS)
tests_system_check_lock_recovery_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_lock_recovery_CFLAGS = $(SYSTEM_CFLAGS) -pthread
tests_system_check_lock_recovery_LDADD = libclient.la $(CORE_LIBS) $(CHECK_LIBS)

tests_system_check_lock_storm_SOURCES = tests/system/check_lock_storm.c tests/system/crowd.c \
	tests/system/crowd.h $(HARNESS)
tests_system_check_lock_storm_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_lock_storm_CFLAGS = $(SYSTEM_CFLAGS) -pthread
tests_system_check_lock_storm_LDADD = $(SYSTEM_LIBS)

tests_system_check_planting_SOURCES = tests/system/check_planting.c $(HARNESS)
tests_system_check_planting_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_planting_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_planting_LDADD = $(SYSTEM_LIBS)
tests_system_guessable_SOURCES = src/shmd/main.c tests/system/guessable.c
tests_system_guessable_CFLAGS = $(AM_CFLAGS) $(LIBEVENT_CFLAGS)
tests_system_guessable_LDADD = $(DAEMON_LIBS)

tests_system_check_policy_SOURCES = tests/system/check_policy.c $(HARNESS)
tests_system_check_policy_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_policy_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_policy_LDADD = $(SYSTEM_LIBS)

tests_system_check_preload_SOURCES = tests/system/check_preload.c $(HARNESS)
tests_system_check_preload_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_preload_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_preload_LDADD = $(SYSTEM_LIBS)
EXTRA_tests_system_check_preload_DEPENDENCIES = libshmd-preload.la
tests_system_preload_client_SOURCES = tests/system/preload_client.c tests/system/preload_client.h \
	tests/system/preload_family.c tests/system/preload_memory.c \
	tests/system/preload_semaphores.c tests/system/preload_table.c
tests_system_preload_client_CFLAGS = $(AM_CFLAGS) -pthread

tests_system_check_protocol_SOURCES = tests/system/check_protocol.c $(HARNESS)
tests_system_check_protocol_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_protocol_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_protocol_LDADD = $(SYSTEM_LIBS) $(WIRE_LIBS)

tests_system_check_publish_SOURCES = tests/system/check_publish.c $(HARNESS)
tests_system_check_publish_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_publish_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_publish_LDADD = $(SYSTEM_LIBS)

tests_system_check_restart_SOURCES = tests/system/check_restart.c $(MANAGER)
tests_system_check_restart_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_restart_CFLAGS = $(SYSTEM_CFLAGS) -pthread
tests_system_check_restart_LDADD = $(SYSTEM_LIBS) $(WIRE_LIBS)
tests_system_check_resume_SOURCES = tests/system/check_resume.c $(MANAGER)
tests_system_check_resume_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_resume_CFLAGS = $(SYSTEM_CFLAGS) -pthread
tests_system_check_resume_LDADD = $(SYSTEM_LIBS)

LOAD = tests/system/load.c tests/system/load.h tests/system/load_client.c tests/system/load_client.h
tests_system_check_restart_load_SOURCES = tests/system/check_restart_load.c $(LOAD) $(MANAGER)
tests_system_check_restart_load_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_restart_load_CFLAGS = $(SYSTEM_CFLAGS) -pthread
tests_system_check_restart_load_LDADD = $(SYSTEM_LIBS)

tests_system_check_service_SOURCES = tests/system/check_service.c $(MANAGER)
tests_system_check_service_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_service_CFLAGS = $(SYSTEM_CFLAGS) -pthread
tests_system_check_service_LDADD = $(SYSTEM_LIBS)

tests_system_check_storm_SOURCES = tests/system/check_storm.c $(HARNESS)
tests_system_check_storm_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_storm_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_storm_LDADD = $(SYSTEM_LIBS)

tests_system_check_unread_SOURCES = tests/system/check_unread.c $(HARNESS)
tests_system_check_unread_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_unread_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_unread_LDADD = $(SYSTEM_LIBS) $(WIRE_LIBS)

SYSTEM_SHELL_TESTS = tests/system/completion.sh tests/system/containers.sh \
	tests/system/examples.sh tests/system/protocol.sh tests/system/shmdctl.sh
TESTS += $(SYSTEM_SHELL_TESTS)
dist_check_SCRIPTS += $(SYSTEM_SHELL_TESTS)
EXTRA_DIST += tests/system/tap.sh tests/system/protocol-client.py
