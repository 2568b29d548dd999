# src/wire: the protocol
noinst_LTLIBRARIES += libwire.la
libwire_la_SOURCES = \
	src/wire/protocol.h \
	src/wire/channel.c src/wire/channel.h \
	src/wire/name.c src/wire/name.h \
	src/wire/packet.c src/wire/packet.h \
	src/wire/word.c src/wire/word.h
