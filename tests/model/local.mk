# tests/model: the lock protocol, searched by spin(1); not a part of `make check`, for spin is rarely there

EXTRA_DIST += tests/model/check.sh tests/model/lock.pml

model:
	$(srcdir)/tests/model/check.sh
.PHONY: model
