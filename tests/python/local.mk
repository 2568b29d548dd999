# tests/python: the module, under the daemon; each method of each class is a test
TEST_EXTENSIONS += .py
PY_LOG_DRIVER = $(LOG_DRIVER)
PY_LOG_COMPILER = $(SHELL) $(top_srcdir)/tests/python/run.sh
if WITH_PYTHON
AM_PY_LOG_FLAGS = $(PYTHON)
else
AM_PY_LOG_FLAGS = no
endif
PYTHON_TESTS = \
	tests/python/test_events.py \
	tests/python/test_family.py \
	tests/python/test_install.py \
	tests/python/test_leaks.py \
	tests/python/test_lock.py \
	tests/python/test_memory.py \
	tests/python/test_process.py \
	tests/python/test_publish.py
TESTS += $(PYTHON_TESTS)
dist_check_SCRIPTS += tests/python/run.sh
EXTRA_DIST += $(PYTHON_TESTS) tests/python/tap.py
