# tests/apps: programs that know nothing of shmd; tests/apps/all.sh BUILD runs them, and .ci/run does
EXTRA_DIST += tests/apps/all.sh tests/apps/cpython.differences tests/apps/cpython.py \
	tests/apps/cpython.slow tests/apps/cpython_run.py tests/apps/examples.sh tests/apps/killed_holder.py \
	tests/apps/killed_holder_run.py tests/apps/leak.py tests/apps/leak_run.py \
	tests/apps/moving.py tests/apps/moving_run.py tests/apps/numpy_pools.py tests/apps/numpy_run.py tests/apps/postgresql.sh \
	tests/apps/postgresql_run.sh tests/apps/rig.py
