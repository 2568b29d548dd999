# tests/unit: a program for each module, linked with its own layer and those below it
if HAVE_CHECK
BASE_UNITS = \
	tests/unit/check_guard \
	tests/unit/check_hash \
	tests/unit/check_heap \
	tests/unit/check_lockfile \
	tests/unit/check_log \
	tests/unit/check_loglimit \
	tests/unit/check_parse \
	tests/unit/check_text
WIRE_UNITS = \
	tests/unit/check_channel \
	tests/unit/check_packet \
	tests/unit/check_word
CORE_UNITS = \
	tests/unit/check_access \
	tests/unit/check_image \
	tests/unit/check_instance \
	tests/unit/check_journal \
	tests/unit/check_lease \
	tests/unit/check_ledger \
	tests/unit/check_locker \
	tests/unit/check_memory \
	tests/unit/check_name \
	tests/unit/check_publish \
	tests/unit/check_quota \
	tests/unit/check_record \
	tests/unit/check_record_steps \
	tests/unit/check_recovery \
	tests/unit/check_registry \
	tests/unit/check_restore \
	tests/unit/check_segment \
	tests/unit/check_semaphore \
	tests/unit/check_session \
	tests/unit/check_table \
	tests/unit/check_watch
DAEMON_UNITS = \
	tests/unit/check_config \
	tests/unit/check_explain \
	tests/unit/check_handed \
	tests/unit/check_helper \
	tests/unit/check_notify \
	tests/unit/check_posix \
	tests/unit/check_pouch \
	tests/unit/check_turn \
	tests/unit/check_unread \
	tests/unit/check_policy \
	tests/unit/check_process
CLIENT_UNITS = \
	tests/unit/check_gate \
	tests/unit/check_holdings \
	tests/unit/check_notice \
	tests/unit/check_reconnect

UNITS = $(BASE_UNITS) $(WIRE_UNITS) $(CORE_UNITS) $(DAEMON_UNITS) $(CLIENT_UNITS)
check_PROGRAMS += $(UNITS)
TESTS += $(UNITS)

UNIT = tests/unit/unit.c tests/unit/unit.h
KEPT = tests/unit/kept.c tests/unit/kept.h
UNIT_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
UNIT_BASE = libbase.la $(CHECK_LIBS)
UNIT_WIRE = $(WIRE_LIBS) $(CHECK_LIBS)
UNIT_CORE = $(CORE_LIBS) $(CHECK_LIBS)
UNIT_DAEMON = $(DAEMON_LIBS) $(CHECK_LIBS)
UNIT_CLIENT = libclient.la $(WIRE_LIBS) $(CHECK_LIBS)

tests_unit_check_guard_SOURCES = tests/unit/check_guard.c $(UNIT)
tests_unit_check_guard_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_guard_LDADD = $(UNIT_BASE)
tests_unit_check_hash_SOURCES = tests/unit/check_hash.c $(UNIT)
tests_unit_check_hash_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_hash_LDADD = $(UNIT_BASE)
tests_unit_check_heap_SOURCES = tests/unit/check_heap.c $(UNIT)
tests_unit_check_heap_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_heap_LDADD = $(UNIT_BASE)
tests_unit_check_lockfile_SOURCES = tests/unit/check_lockfile.c $(UNIT)
tests_unit_check_lockfile_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_lockfile_LDADD = $(UNIT_BASE)
tests_unit_check_log_SOURCES = tests/unit/check_log.c $(UNIT)
tests_unit_check_log_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_log_LDADD = $(UNIT_BASE)
tests_unit_check_loglimit_SOURCES = tests/unit/check_loglimit.c $(UNIT)
tests_unit_check_loglimit_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_loglimit_LDADD = $(UNIT_BASE)
tests_unit_check_parse_SOURCES = tests/unit/check_parse.c $(UNIT)
tests_unit_check_parse_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_parse_LDADD = $(UNIT_BASE)
tests_unit_check_text_SOURCES = tests/unit/check_text.c $(UNIT)
tests_unit_check_text_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_text_LDADD = $(UNIT_BASE)
tests_unit_check_channel_SOURCES = tests/unit/check_channel.c $(UNIT)
tests_unit_check_channel_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_channel_LDADD = $(UNIT_WIRE)
tests_unit_check_packet_SOURCES = tests/unit/check_packet.c $(UNIT)
tests_unit_check_packet_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_packet_LDADD = $(UNIT_WIRE)
tests_unit_check_word_SOURCES = tests/unit/check_word.c $(UNIT)
tests_unit_check_word_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_word_LDADD = $(UNIT_WIRE)
tests_unit_check_access_SOURCES = tests/unit/check_access.c $(UNIT)
tests_unit_check_access_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_access_LDADD = $(UNIT_CORE)
tests_unit_check_instance_SOURCES = tests/unit/check_instance.c $(UNIT)
tests_unit_check_instance_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_instance_LDADD = $(UNIT_CORE)
tests_unit_check_journal_SOURCES = tests/unit/check_journal.c $(UNIT)
tests_unit_check_journal_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_journal_LDADD = $(UNIT_CORE)
tests_unit_check_lease_SOURCES = tests/unit/check_lease.c $(UNIT)
tests_unit_check_lease_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_lease_LDADD = $(UNIT_CORE)
tests_unit_check_ledger_SOURCES = tests/unit/check_ledger.c $(UNIT)
tests_unit_check_ledger_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_ledger_LDADD = $(UNIT_CORE)
tests_unit_check_locker_SOURCES = tests/unit/check_locker.c $(UNIT)
tests_unit_check_locker_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_locker_LDADD = $(UNIT_CORE)
tests_unit_check_memory_SOURCES = tests/unit/check_memory.c $(UNIT)
tests_unit_check_memory_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_memory_LDADD = $(UNIT_CORE)
tests_unit_check_name_SOURCES = tests/unit/check_name.c $(UNIT)
tests_unit_check_name_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_name_LDADD = $(UNIT_CORE)
tests_unit_check_publish_SOURCES = tests/unit/check_publish.c $(UNIT)
tests_unit_check_publish_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_publish_LDADD = $(UNIT_CORE)
tests_unit_check_quota_SOURCES = tests/unit/check_quota.c $(UNIT)
tests_unit_check_quota_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_quota_LDADD = $(UNIT_CORE)
tests_unit_check_recovery_SOURCES = tests/unit/check_recovery.c $(UNIT)
tests_unit_check_recovery_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_recovery_LDADD = $(UNIT_CORE)
tests_unit_check_registry_SOURCES = tests/unit/check_registry.c $(UNIT)
tests_unit_check_registry_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_registry_LDADD = $(UNIT_CORE)
tests_unit_check_segment_SOURCES = tests/unit/check_segment.c $(UNIT)
tests_unit_check_segment_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_segment_LDADD = $(UNIT_CORE)
tests_unit_check_semaphore_SOURCES = tests/unit/check_semaphore.c $(UNIT)
tests_unit_check_semaphore_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_semaphore_LDADD = $(UNIT_CORE)
tests_unit_check_session_SOURCES = tests/unit/check_session.c $(UNIT)
tests_unit_check_session_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_session_LDADD = $(UNIT_CORE)
## Memory runs out where it says so.
tests_unit_check_table_SOURCES = tests/unit/check_table.c $(UNIT)
tests_unit_check_table_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_table_LDFLAGS = -Wl,--wrap=realloc
tests_unit_check_table_LDADD = $(UNIT_CORE)
tests_unit_check_image_SOURCES = tests/unit/check_image.c $(UNIT)
tests_unit_check_image_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_image_LDADD = $(UNIT_CORE)
tests_unit_check_record_SOURCES = tests/unit/check_record.c $(UNIT)
tests_unit_check_record_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_record_LDADD = $(UNIT_CORE)
tests_unit_check_record_steps_SOURCES = tests/unit/check_record_steps.c $(UNIT) $(KEPT)
tests_unit_check_record_steps_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_record_steps_LDFLAGS = -Wl,--wrap=row_write -Wl,--wrap=row_clear
tests_unit_check_record_steps_LDADD = $(UNIT_CORE)
tests_unit_check_posix_SOURCES = tests/unit/check_posix.c $(UNIT) $(KEPT)
tests_unit_check_posix_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_posix_LDADD = $(UNIT_CORE)
tests_unit_check_restore_SOURCES = tests/unit/check_restore.c $(UNIT) $(KEPT)
tests_unit_check_restore_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_restore_LDFLAGS = -Wl,--wrap=malloc -Wl,--wrap=calloc
tests_unit_check_restore_LDADD = $(UNIT_CORE)
tests_unit_check_watch_SOURCES = tests/unit/check_watch.c $(UNIT)
tests_unit_check_watch_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_watch_LDADD = $(UNIT_CORE)
tests_unit_check_helper_SOURCES = tests/unit/check_helper.c $(UNIT)
tests_unit_check_helper_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_helper_LDADD = $(UNIT_DAEMON)
tests_unit_check_handed_SOURCES = tests/unit/check_handed.c $(UNIT)
tests_unit_check_handed_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_handed_LDADD = $(UNIT_DAEMON)
tests_unit_check_notify_SOURCES = tests/unit/check_notify.c $(UNIT)
tests_unit_check_notify_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_notify_LDADD = $(UNIT_DAEMON)
tests_unit_check_explain_SOURCES = tests/unit/check_explain.c $(UNIT)
tests_unit_check_explain_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_explain_LDADD = $(UNIT_DAEMON)
tests_unit_check_policy_SOURCES = tests/unit/check_policy.c $(UNIT)
tests_unit_check_policy_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_policy_LDADD = $(UNIT_DAEMON)
## It has a clock of its own, so libbase.la's is not taken out of the archive.
tests_unit_check_pouch_SOURCES = tests/unit/check_pouch.c $(UNIT)
tests_unit_check_pouch_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_pouch_LDADD = $(UNIT_DAEMON)

tests_unit_check_turn_SOURCES = tests/unit/check_turn.c $(UNIT)
tests_unit_check_turn_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_turn_LDADD = $(UNIT_DAEMON)
tests_unit_check_unread_SOURCES = tests/unit/check_unread.c $(UNIT)
tests_unit_check_unread_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_unread_LDADD = $(UNIT_DAEMON)
tests_unit_check_process_SOURCES = tests/unit/check_process.c $(UNIT)
tests_unit_check_process_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_process_LDADD = $(UNIT_DAEMON)
tests_unit_check_gate_SOURCES = tests/unit/check_gate.c $(UNIT)
tests_unit_check_gate_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_gate_LDADD = $(UNIT_CLIENT)
tests_unit_check_notice_SOURCES = tests/unit/check_notice.c $(UNIT)
tests_unit_check_notice_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_notice_LDADD = $(UNIT_CLIENT)
tests_unit_check_holdings_SOURCES = tests/unit/check_holdings.c $(UNIT)
tests_unit_check_holdings_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_holdings_LDADD = $(UNIT_CLIENT)
tests_unit_check_reconnect_SOURCES = tests/unit/check_reconnect.c $(UNIT) \
	tests/unit/mortal.c tests/unit/mortal.h
tests_unit_check_reconnect_CFLAGS = $(UNIT_CFLAGS)
tests_unit_check_reconnect_LDADD = $(UNIT_CLIENT)
## Built with a system folder of its own, relative to where the test stands.
tests_unit_check_config_SOURCES = tests/unit/check_config.c src/shmd/config.c $(UNIT)
tests_unit_check_config_CPPFLAGS = $(AM_CPPFLAGS) -USYSCONFDIR -DSYSCONFDIR='"."'
tests_unit_check_config_CFLAGS = $(UNIT_CFLAGS) $(INIH_CFLAGS)
tests_unit_check_config_LDADD = $(UNIT_DAEMON)
endif
