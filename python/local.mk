# python: the module shmd, of an extension and what reads better in Python
#
# It works where it is built: PYTHONPATH=build/python python3 -c 'import shmd'. On its own it is built by
# pip install --no-build-isolation ./python, against a libshmd that is installed.
PYTHON_MODULES = \
	python/shmd/__init__.py python/shmd/__init__.pyi \
	python/shmd/__main__.py \
	python/shmd/_events.py \
	python/shmd/_family.py \
	python/shmd/_install.py \
	python/shmd/_lists.py \
	python/shmd/_memory.py \
	python/shmd/_shmd.pyi \
	python/shmd/py.typed
PYTHON_EXTENSION = \
	python/ext/clock.c \
	python/ext/connection.c \
	python/ext/error.c \
	python/ext/lock.c \
	python/ext/module.c python/ext/module.h \
	python/ext/query.c \
	python/ext/record.c \
	python/ext/segment.c \
	python/ext/subscription.c
EXTRA_DIST += $(PYTHON_MODULES) $(PYTHON_EXTENSION) \
	python/MANIFEST.in python/README python/pyproject.toml python/setup.py

if WITH_PYTHON
shmdpydir = $(pyexecdir)/shmd
dist_shmdpy_DATA = $(PYTHON_MODULES)
shmdpyexecdir = $(shmdpydir)
shmdpyexec_LTLIBRARIES = python/_shmd.la
## libtool links it anew, with the library that is installed. By way of a variable, as automake would take
## a rule of that name for one that replaces its own.
PYTHON_INSTALL = install-shmdpyexecLTLIBRARIES
$(PYTHON_INSTALL): install-libLTLIBRARIES
python__shmd_la_SOURCES = $(PYTHON_EXTENSION)
## Nothing of build.h: Python's own configuration is what its headers go by.
python__shmd_la_CPPFLAGS = $(CLIENT_CPPFLAGS) $(PYTHON_CPPFLAGS)
python__shmd_la_LDFLAGS = -module -avoid-version -shared -export-symbols-regex '^PyInit_'
python__shmd_la_LIBADD = libshmd.la -lm

## libtool's own file in the build tree finds libshmd.so there.
PYTHON_BUILT = python/shmd/_shmd$(PYTHON_EXT)
$(PYTHON_BUILT): python/_shmd.la
	$(AM_V_GEN)$(MKDIR_P) python/shmd && cp python/.libs/_shmd.so $@
## Of the sources, and not of the copies, which make would find first.
python/shmd/.stamp: $(PYTHON_MODULES:%=$(srcdir)/%)
	$(AM_V_GEN)$(MKDIR_P) python/shmd && \
	for file in $(PYTHON_MODULES); do \
	  test "$(srcdir)" -ef . || cp -f "$(srcdir)/$$file" python/shmd/ || exit; \
	done && touch $@
all-local: python/shmd/.stamp $(PYTHON_BUILT)
clean-python:
	rm -rf python/shmd/__pycache__ python/shmd/.stamp $(PYTHON_BUILT)
	test "$(srcdir)" -ef . || rm -rf python/shmd
clean-local: clean-python

## By the name that only the Python it was built for looks for.
install-exec-hook:
	cd '$(DESTDIR)$(shmdpyexecdir)' && mv -f _shmd.so '_shmd$(PYTHON_EXT)' && rm -f _shmd.la _shmd.a
uninstall-hook:
	rm -f '$(DESTDIR)$(shmdpydir)/_shmd$(PYTHON_EXT)'
	rm -rf '$(DESTDIR)$(shmdpydir)/__pycache__'
	rmdir '$(DESTDIR)$(shmdpydir)' 2>/dev/null || :
endif
.PHONY: clean-python
