# bench: what the daemon costs beside bare system calls
#
# make bench BENCH_ARGS='--rounds=50 --filter="attach*"' prints a table, and writes bench.json. It is
# built with the tests, so that it goes on to compile, and run by nobody but you.
BENCH_ARGS =
check_PROGRAMS += bench/bench
bench_bench_SOURCES = \
	bench/bench.c \
	bench/contend.c bench/contend.h \
	bench/crowd.c bench/crowd.h \
	bench/frames.c bench/frames.h \
	bench/handoff.c bench/handoff.h \
	bench/latency.c bench/latency.h \
	bench/measure.c bench/measure.h \
	bench/options.c bench/options.h \
	bench/reference.c bench/reference.h \
	bench/report.c bench/report.h \
	bench/scene.c bench/scene.h \
	bench/stage.c bench/stage.h
bench_bench_CPPFLAGS = $(AM_CPPFLAGS) $(CLIENT_CPPFLAGS)
bench_bench_CFLAGS = $(AM_CFLAGS) $(SMARTCOLS_CFLAGS) $(JSONC_CFLAGS)
bench_bench_LDADD = libshmd.la libbase.la $(SMARTCOLS_LIBS) $(JSONC_LIBS)

bench: bench/bench$(EXEEXT) shmd$(EXEEXT)
	@SHMD='$(abs_top_builddir)/shmd' bench/bench$(EXEEXT) --output=bench.json $(BENCH_ARGS)
.PHONY: bench bench-preload
CLEANFILES += bench.json

# make bench-preload: what programs pay for libshmd-preload.so
if ENABLE_SHARED
check_PROGRAMS += bench/preload
bench_preload_SOURCES = bench/preload.c bench/measure.c bench/measure.h
bench_preload_LDADD = libbase.la -lm

bench-preload: bench/preload$(EXEEXT) shmd$(EXEEXT) libshmd-preload.la
	@bench/preload$(EXEEXT) ./shmd$(EXEEXT) .libs/libshmd-preload.so
endif
