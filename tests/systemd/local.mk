# tests/systemd: the daemon under a real systemd, in a container (run.sh). Not of `make check`: that needs
# root and systemd-nspawn. `make check-systemd` runs it; so does CI.
EXTRA_PROGRAMS += tests/systemd/client
CLEANFILES += tests/systemd/client
tests_systemd_client_SOURCES = tests/systemd/client.c $(LOAD)
tests_systemd_client_CPPFLAGS = $(SYSTEM_CPPFLAGS) -I$(top_srcdir)
tests_systemd_client_LDFLAGS = -static-libtool-libs
tests_systemd_client_LDADD = libshmd.la

EXTRA_DIST += tests/systemd/container.sh tests/systemd/drive.service tests/systemd/inside.sh \
	tests/systemd/run.sh tests/systemd/tap.sh

check-systemd:
	$(MAKE) all && $(MAKE) tests/systemd/client
	$(srcdir)/tests/systemd/run.sh $(abs_top_builddir)
.PHONY: check-systemd
