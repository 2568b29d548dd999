# SPDX-License-Identifier: MIT
"""usage: leak_shmd.py

leak.py with shmd.
"""

import signal

import shmd

segment = shmd.SharedMemory(create=True, size=1 << 20)
segment.buf[:] = bytes(1 << 20)
segment.lock.acquire()
print(segment.name, flush=True)
signal.pause()
