# tests/fuzz: libFuzzer drivers; ./configure CC=clang --enable-fuzzers
#
# make fuzz FUZZ_SECONDS=60 runs each over its corpus and then for so long; what it finds is added to
# the folder fuzz-corpus/ of the build, and a failure leaves its input there as fuzz-NAME-crash-*.
# make coverage-fuzz builds them once more, and says how many lines of src/wire and src/core they reach.
#
# In corpus/ is what reaches each line for the first time: those with names were written, for dispatch and
# image by seeds.py, those with numbers were found, and chosen by fuzz_NAME -use_counters=0 -set_cover_merge=1.
# What a fuzzer found a bug with stays there, by a name that says which.
FUZZERS = config dispatch image ledger packet parse
FUZZ_SECONDS = 60
FUZZ_DRIVERS =

if ENABLE_FUZZERS
FUZZ_DRIVERS += \
	tests/fuzz/fuzz_config \
	tests/fuzz/fuzz_dispatch \
	tests/fuzz/fuzz_image \
	tests/fuzz/fuzz_ledger \
	tests/fuzz/fuzz_packet \
	tests/fuzz/fuzz_parse
noinst_PROGRAMS += $(FUZZ_DRIVERS)
endif

tests_fuzz_fuzz_config_SOURCES = tests/fuzz/fuzz_config.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_config_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_config_LDADD = $(DAEMON_LIBS)
## It has a clock of its own, so libbase.la's is not taken out of the archive.
tests_fuzz_fuzz_dispatch_SOURCES = tests/fuzz/fuzz_dispatch.c tests/fuzz/fuzz.h \
	tests/fuzz/acl.c tests/fuzz/acl.h \
	tests/fuzz/answers.c tests/fuzz/answers.h \
	tests/fuzz/asking.c tests/fuzz/asking.h \
	tests/fuzz/books.c tests/fuzz/books.h \
	tests/fuzz/law.c tests/fuzz/law.h \
	tests/fuzz/limits.c tests/fuzz/limits.h \
	tests/fuzz/people.c tests/fuzz/people.h \
	tests/fuzz/shortage.c tests/fuzz/shortage.h \
	tests/fuzz/waiting.c tests/fuzz/waiting.h \
	tests/fuzz/world.c tests/fuzz/world.h
## Memory runs out where shortage.c says so, and the kernel loses events where world.c does.
tests_fuzz_fuzz_dispatch_LDFLAGS = $(FUZZ_LDFLAGS) \
	-Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=reallocarray -Wl,--wrap=mmap \
	-Wl,--wrap=inotify_add_watch -Wl,--wrap=pwrite -Wl,--wrap=acl_set_fd -Wl,--wrap=read
tests_fuzz_fuzz_dispatch_LDADD = $(DAEMON_LIBS)
tests_fuzz_fuzz_image_SOURCES = tests/fuzz/fuzz_image.c tests/fuzz/fuzz.h \
	tests/fuzz/shortage.c tests/fuzz/shortage.h
tests_fuzz_fuzz_image_LDFLAGS = $(FUZZ_LDFLAGS) \
	-Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=reallocarray -Wl,--wrap=mmap \
	-Wl,--wrap=inotify_add_watch -Wl,--wrap=pwrite -Wl,--wrap=acl_set_fd -Wl,--wrap=log_line
tests_fuzz_fuzz_image_LDADD = $(CORE_LIBS)
tests_fuzz_fuzz_ledger_SOURCES = tests/fuzz/fuzz_ledger.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_ledger_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_ledger_LDADD = $(CORE_LIBS)
tests_fuzz_fuzz_packet_SOURCES = tests/fuzz/fuzz_packet.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_packet_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_packet_LDADD = $(WIRE_LIBS)
tests_fuzz_fuzz_parse_SOURCES = tests/fuzz/fuzz_parse.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_parse_LDFLAGS = $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_parse_LDADD = $(CORE_LIBS)

fuzz: $(FUZZ_DRIVERS)
	@test -n '$(FUZZ_DRIVERS)' || { echo 'configure with CC=clang --enable-fuzzers'; exit 1; }
	@for name in $(FUZZERS); do \
	  $(MKDIR_P) fuzz-corpus/$$name || exit 1; \
	  tests/fuzz/fuzz_$$name -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -timeout=10 \
	    -artifact_prefix=fuzz-corpus/fuzz-$$name- fuzz-corpus/$$name \
	    $(srcdir)/tests/fuzz/corpus/$$name || exit 1; \
	done
## What the corpus, and what was found since, reaches of src/wire and src/core.
coverage-fuzz:
	$(srcdir)/tests/fuzz/coverage.sh fuzz-coverage fuzz-corpus
.PHONY: fuzz coverage-fuzz

EXTRA_DIST += tests/fuzz/corpus tests/fuzz/coverage.sh tests/fuzz/seeds.py
