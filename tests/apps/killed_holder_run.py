# SPDX-License-Identifier: MIT
"""A worker is killed while it holds a lock. Do the others go on?

usage: killed_holder_run.py multiprocessing|module START_METHOD SECONDS

Three others wait for the lock already, and a fourth comes when the worker is dead; each gives up after
SECONDS. Prints for each how long it took from the kill, or null, and whether it was told, as JSON.
"""

import json
import os
import signal
import sys
import time
from multiprocessing import get_context


class ModuleLock:
    """seg.lock, as others attach it by name."""

    def __init__(self, name):
        import shmd
        self.segment = shmd.SharedMemory(name)

    def acquire(self, timeout):
        return self.segment.lock.acquire(timeout=timeout)

    def was_told(self):
        return self.segment.lock.owner_died

    def release(self):
        self.segment.lock.release()


class PlainLock:
    def __init__(self, lock):
        self.lock = lock
        self.acquire = lambda timeout: lock.acquire(True, timeout)
        self.release = lock.release

    @staticmethod
    def was_told():
        return False


def open_lock(handle):
    return ModuleLock(handle) if isinstance(handle, str) else PlainLock(handle)


def hold(handle, pipe):
    """In the way that programs do it: with the lock."""
    lock = open_lock(handle)
    with lock.segment.lock if isinstance(handle, str) else lock.lock:
        pipe.send("held")
        while True:
            signal.pause()


def want(handle, pipe, seconds):
    lock = open_lock(handle)
    pipe.send("ready")
    got = lock.acquire(seconds)
    pipe.send((time.monotonic(), got, lock.was_told()))
    if got:
        lock.release()


def start(context, target, handle, *arguments):
    mine, theirs = context.Pipe()
    process = context.Process(target=target, args=(handle, theirs, *arguments))
    process.start()
    theirs.close()
    return process, mine


def is_waiting(pid):
    """In the kernel, for a futex or for a reply: it is in acquire()."""
    with open(f"/proc/{pid}/wchan", encoding="ascii") as file:
        wchan = file.read()
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "S" and wchan not in ("pipe_read", "0")


def main():
    kind, method, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    context = get_context(method)
    if kind == "module":
        import shmd
        segment = shmd.SharedMemory(create=True, size=64)
        handle = segment.name
    else:
        handle = context.Lock()
    holder, pipe = start(context, hold, handle)
    pipe.recv()
    waiters = [start(context, want, handle, seconds) for _ in range(3)]
    for process, waiter_pipe in waiters:
        waiter_pipe.recv()
    for process, _ in waiters:
        # Not needed for what is shown, only for showing it of those who slept, too.
        deadline = time.monotonic() + 0.5
        while not is_waiting(process.pid) and time.monotonic() < deadline:
            pass
    killed = time.monotonic()
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    waiters.append(start(context, want, handle, seconds))
    waiters[-1][1].recv()
    result = []
    for process, waiter_pipe in waiters:
        when, got, told = waiter_pipe.recv()
        process.join()
        result.append({"ms": round(1000 * (when - killed), 2) if got else None, "told": told})
    print(json.dumps(result))


if __name__ == "__main__":
    main()
