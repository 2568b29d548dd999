# completion: of shmdctl's command line, for shells
## bash finds it by the command's name.
CLEANFILES += completion/shmdctl
completion/shmdctl: completion/shmdctl.bash
	$(AM_V_GEN)$(MKDIR_P) completion && cp $(srcdir)/completion/shmdctl.bash $@
if INSTALL_BASH_COMPLETION
nodist_bashcompletion_DATA = completion/shmdctl
endif
if INSTALL_ZSH_COMPLETION
zshcompletion_DATA = completion/_shmdctl
endif
EXTRA_DIST += completion/shmdctl.bash completion/_shmdctl
