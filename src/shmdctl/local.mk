# src/shmdctl: the command line, through the library
bin_PROGRAMS = shmdctl
shmdctl_SOURCES = \
	src/shmdctl/main.c \
	src/shmdctl/command.c src/shmdctl/command.h \
	src/shmdctl/explain.c \
	src/shmdctl/column.c src/shmdctl/column.h \
	src/shmdctl/listing.c src/shmdctl/listing.h \
	src/shmdctl/output.c src/shmdctl/output.h \
	src/shmdctl/signals.c src/shmdctl/signals.h \
	src/shmdctl/child.c src/shmdctl/child.h \
	src/shmdctl/input.c src/shmdctl/input.h \
	src/shmdctl/hold.c src/shmdctl/hold.h \
	src/shmdctl/attach.c \
	src/shmdctl/clients.c \
	src/shmdctl/create.c \
	src/shmdctl/get.c \
	src/shmdctl/list.c src/shmdctl/list.h \
	src/shmdctl/lock.c \
	src/shmdctl/publish.c \
	src/shmdctl/put.c \
	src/shmdctl/report.c src/shmdctl/report.h \
	src/shmdctl/run.c \
	src/shmdctl/show.c \
	src/shmdctl/status.c \
	src/shmdctl/unlink.c \
	src/shmdctl/wait.c \
	src/shmdctl/watch.c
shmdctl_CPPFLAGS = $(AM_CPPFLAGS) $(CLIENT_CPPFLAGS)
shmdctl_CFLAGS = $(AM_CFLAGS) $(SMARTCOLS_CFLAGS) $(JSONC_CFLAGS)
shmdctl_LDADD = libshmd.la libbase.la $(SMARTCOLS_LIBS) $(JSONC_LIBS)
