# tests/tools: that the documentation says what the programs do
check_PROGRAMS += tests/tools/config-doc
tests_tools_config_doc_SOURCES = tests/tools/config-doc.c
tests_tools_config_doc_LDADD = $(DAEMON_LIBS)

TESTS += tests/tools/docs.sh
dist_check_SCRIPTS += tests/tools/docs.sh

## Writes the options' part of etc/shmd.conf and man/shmd.conf.5 anew, into the sources.
.PHONY: update-docs
update-docs: tests/tools/config-doc$(EXEEXT)
	$(AM_V_GEN)top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)' \
		$(SHELL) $(srcdir)/tests/tools/docs.sh update
