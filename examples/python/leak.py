# SPDX-License-Identifier: MIT
"""usage: leak.py

Makes a segment of 1 MiB and a lock in the way of the standard library, prints what they are called in
/dev/shm, and waits to be killed. With all processes of its group, its resource tracker is killed, too, and nobody clears up:
so it is when a container is killed, or a service. leak.sh shows what is left.
"""

import signal
from multiprocessing import get_context, shared_memory

segment = shared_memory.SharedMemory(create=True, size=1 << 20)
segment.buf[:] = bytes(1 << 20)
# Of programs that start others by spawn, as is usual where there are threads: fork's have no name for long.
lock = get_context("spawn").Lock()
print(segment.name, "sem." + lock._semlock.name.lstrip("/"), flush=True)
signal.pause()
