# tests: every test speaks TAP; the last line of `make check` counts them

LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
TEST_EXTENSIONS = .sh
SH_LOG_DRIVER = $(LOG_DRIVER)
AM_TESTS_ENVIRONMENT = \
	export SHMD='$(abs_top_builddir)/shmd' SHMDCTL='$(abs_top_builddir)/shmdctl' \
		top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)';

include tests/unit/local.mk
include tests/system/local.mk
include tests/python/local.mk
include tests/tools/local.mk
include tests/fuzz/local.mk
include tests/systemd/local.mk
include tests/apps/local.mk

# Runs all tests and ends with one line that counts them, and with the status of the tests.
tally:
	@status=0; $(MAKE) --no-print-directory check V=0 >check.log 2>&1 || status=$$?; \
	grep -E '^(PASS|FAIL|SKIP|XFAIL|XPASS|ERROR): ' check.log; \
	if test $$status -ne 0; then \
	  for trs in $$(grep -lE '^:test-result: (FAIL|ERROR)' $$(find tests -name '*.trs')); do \
	    log=$${trs%.trs}.log; echo "--- $$log"; grep -v '^ok ' "$$log"; \
	  done; \
	  grep -q '^# TOTAL' check.log || tail -n 40 check.log; \
	fi; \
	awk '/^# PASS:/ {p += $$3} /^# FAIL:/ {f += $$3} /^# ERROR:/ {f += $$3} /^# SKIP:/ {s += $$3} \
	  END { if (p + f == 0) f = 1; \
	        printf "%d passed, %d failed%s\n", p, f, s ? ", " s " skipped" : "" }' check.log; \
	exit $$status
.PHONY: tally
