# SPDX-License-Identifier: MIT
"""Processes that make shared memory and a lock, and are killed: what is left of them?

usage: leak_run.py COUNT bare|shim|module

Each is killed in one of two ways: alone, so that multiprocessing's resource tracker lives on and clears up
after it; and with all processes of its group, as when a container is killed, or a service. Prints what is
left as JSON, and clears that away.
"""

import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing import get_context, shared_memory

SIZE = 4096


def make_both():
    """Returns what they are called in /dev/shm. The lock is as programs have it that start others by spawn:
    those that only fork unlink it at once."""
    segment = shared_memory.SharedMemory(create=True, size=SIZE)
    segment.buf[:] = bytes(range(256)) * (SIZE // 256)
    lock = get_context("spawn").Lock()
    make_both.kept = segment, lock
    return [segment.name.lstrip("/"), "sem." + lock._semlock.name.lstrip("/")]


def make_with_module():
    import shmd
    segment = shmd.SharedMemory(create=True, size=SIZE)
    segment.buf[:SIZE] = bytes(range(256)) * (SIZE // 256)
    segment.lock.acquire()
    make_with_module.kept = segment
    return [segment.name.lstrip("/")]


def victim(ready, stderr, make):
    os.setsid()
    os.dup2(stderr, 2)
    os.write(ready, json.dumps(make()).encode())
    while True:
        signal.pause()


def kill_one(make, way):
    """Returns the names, and what the tracker said. It has standard error open for as long as it lives."""
    ready, ready_end = os.pipe()
    stderr, stderr_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(ready)
            os.close(stderr)
            victim(ready_end, stderr_end, make)
        finally:
            os._exit(1)
    os.close(ready_end)
    os.close(stderr_end)
    names = json.loads(os.read(ready, 4096) or "[]")
    (os.killpg if way == "group" else os.kill)(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(ready)
    with open(stderr, encoding="utf-8", errors="replace") as file:
        return names, file.read()


def daemon_segments():
    if "SHMD_SOCKET" not in os.environ:
        return []
    out = subprocess.run([os.environ["SHMDCTL"], "--json", "list"], stdout=subprocess.PIPE,
                         check=True).stdout
    return json.loads(out)["segments"]


def await_empty(seconds):
    """The daemon reaps soon after the death, not at it. Returns what it still has when time is over."""
    deadline = time.monotonic() + seconds
    while (segments := daemon_segments()) and time.monotonic() < deadline:
        pass
    return segments


def run(count, make, way):
    names, warned, failed = [], 0, 0
    start = time.monotonic()
    for _ in range(count):
        made, said = kill_one(make, way)
        failed += not made
        if failed == 1 and not made:
            print(said, file=sys.stderr)
        names += made
        warned += "resource_tracker" in said
    seconds = time.monotonic() - start
    in_daemon = len(await_empty(10))
    left = [name for name in names if os.path.exists("/dev/shm/" + name)]
    result = {
        "way": way, "killed": count, "failed": failed, "tracker_warned": warned,
        "segments": sum(not name.startswith("sem.") for name in left),
        "semaphores": sum(name.startswith("sem.") for name in left),
        "bytes": sum(os.stat("/dev/shm/" + name).st_blocks * 512 for name in left),
        "in_daemon": in_daemon, "seconds": round(seconds, 2),
    }
    for name in left:
        os.unlink("/dev/shm/" + name)
    return result


def main():
    count, mode = int(sys.argv[1]), sys.argv[2]
    if mode == "module":
        import shmd  # noqa: F401 as its users do, before anything else
    make = make_with_module if mode == "module" else make_both
    print(json.dumps([run(count, make, way) for way in ("alone", "group")]))


if __name__ == "__main__":
    main()
