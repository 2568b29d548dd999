# systemd: the units of the system and of users. There is nothing for tmpfiles.d: the socket unit makes the
# folder of its socket, and the daemon keeps nothing on disk.
UNIT_TEMPLATES = systemd/shmd.service.in systemd/user/shmd.service.in
UNITS_MADE = systemd/shmd.service systemd/user/shmd.service
EXTRA_DIST += $(UNIT_TEMPLATES) systemd/shmd.socket systemd/user/shmd.socket
CLEANFILES += $(UNITS_MADE)

$(UNITS_MADE): %: %.in Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(SED) -e 's|@sbindir[@]|$(sbindir)|' $< >$@

if INSTALL_UNITS
systemdsystemunit_DATA = systemd/shmd.service systemd/shmd.socket
sysusersdir = $(prefix)/lib/sysusers.d
dist_sysusers_DATA = systemd/shmd.conf
endif
if INSTALL_USER_UNITS
systemduserunit_DATA = systemd/user/shmd.service systemd/user/shmd.socket
endif
