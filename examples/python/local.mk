# examples/python: what programs look like that use the module, and what they looked like before
EXTRA_DIST += examples/python/cost.py examples/python/frames.py examples/python/leak.py \
	examples/python/leak_shmd.py examples/python/pool.py examples/python/turns.py \
	examples/python/turns_publish.py examples/python/turns_shmd.py examples/python/watch.py
dist_noinst_SCRIPTS += examples/python/leak.sh examples/python/ratio.sh
