# tests/system: the real daemon, through the real library and command line

if HAVE_CHECK
SYSTEM_TESTS = \
	tests/system/check_access \
	tests/system/check_daemon \
	tests/system/check_kernels \
	tests/system/check_library \
	tests/system/check_lifetimes \
	tests/system/check_namespaces \
	tests/system/check_protocol \
	tests/system/check_storm
check_PROGRAMS += $(SYSTEM_TESTS) tests/system/deny
TESTS += $(SYSTEM_TESTS)
endif

SYSTEM_CPPFLAGS = $(AM_CPPFLAGS) $(CLIENT_CPPFLAGS)
SYSTEM_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
SYSTEM_LIBS = libshmd.la $(CHECK_LIBS)
HARNESS = tests/system/harness.c tests/system/harness.h

tests_system_check_access_SOURCES = tests/system/check_access.c $(HARNESS)
tests_system_check_access_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_access_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_access_LDADD = $(SYSTEM_LIBS)

tests_system_check_daemon_SOURCES = tests/system/check_daemon.c $(HARNESS)
tests_system_check_daemon_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_daemon_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_daemon_LDADD = $(SYSTEM_LIBS)

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

tests_system_check_namespaces_SOURCES = tests/system/check_namespaces.c $(HARNESS)
tests_system_check_namespaces_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_namespaces_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_namespaces_LDADD = $(SYSTEM_LIBS)

tests_system_check_protocol_SOURCES = tests/system/check_protocol.c $(HARNESS)
tests_system_check_protocol_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_protocol_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_protocol_LDADD = $(SYSTEM_LIBS) $(WIRE_LIBS)

tests_system_check_storm_SOURCES = tests/system/check_storm.c $(HARNESS)
tests_system_check_storm_CPPFLAGS = $(SYSTEM_CPPFLAGS)
tests_system_check_storm_CFLAGS = $(SYSTEM_CFLAGS)
tests_system_check_storm_LDADD = $(SYSTEM_LIBS)

SYSTEM_SHELL_TESTS = tests/system/examples.sh tests/system/protocol.sh tests/system/shmdctl.sh
TESTS += $(SYSTEM_SHELL_TESTS)
dist_check_SCRIPTS += $(SYSTEM_SHELL_TESTS)
EXTRA_DIST += tests/system/tap.sh tests/system/protocol-client.py
