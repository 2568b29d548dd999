# SPDX-License-Identifier: MIT
"""What the table in doc/moving says, found out: prints it as JSON.

usage: moving_run.py plain|install
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from multiprocessing import shared_memory
from multiprocessing.managers import SharedMemoryManager

OTHER = "import sys\nif sys.argv[2] == 'install':\n    import shmd; shmd.install()\n" \
        "from multiprocessing import shared_memory\n" \
        "segment = shared_memory.SharedMemory(sys.argv[1])\n" \
        "print(bytes(segment.buf[:3]).decode())\n"


def is_there(name):
    try:
        shared_memory.SharedMemory(name).close()
    except FileNotFoundError:
        return False
    return True


def drop(name):
    try:
        shared_memory.SharedMemory(name).unlink()
    except FileNotFoundError:
        pass


def await_daemon(name):
    """What the daemon has to find out takes it a moment; to look by opening it would keep it."""
    end = time.monotonic() + 10
    while "SHMD_SOCKET" in os.environ and time.monotonic() < end:
        out = subprocess.run([os.environ["SHMDCTL"], "--json", "list", name], stdout=subprocess.PIPE,
                             check=True).stdout
        segments = json.loads(out)["segments"]
        if not segments or segments[0]["lingering"]:
            break


def closed_and_opened():
    """Made and closed, by this very process, and opened again."""
    segment = shared_memory.SharedMemory(create=True, size=10)
    segment.close()
    await_daemon(segment.name)
    there = is_there(segment.name)
    drop(segment.name)
    return there


def closed_and_unlinked():
    segment = shared_memory.SharedMemory(create=True, size=10)
    segment.close()
    await_daemon(segment.name)
    try:
        segment.unlink()
    except FileNotFoundError:
        return False
    return True


def size_is_exact():
    segment = shared_memory.SharedMemory(create=True, size=12345)
    other = shared_memory.SharedMemory(segment.name)
    exact = segment.size == other.size == len(other.buf) == 12345
    other.close()
    segment.close()
    segment.unlink()
    return exact


def size_can_change():
    """Somebody else makes it shorter: whoever touches what is gone would die of SIGBUS."""
    segment = shared_memory.SharedMemory(create=True, size=8192)
    descriptor = getattr(segment, "_fd", -1)
    if descriptor < 0:
        descriptor = segment.fileno()
    try:
        os.ftruncate(descriptor, 0)
        changed = True
    except OSError:
        changed = False
    segment.close()
    segment.unlink()
    return changed


def shows_in_dev_shm():
    segment = shared_memory.SharedMemory(create=True, size=10)
    shows = os.path.exists("/dev/shm/" + segment.name)
    segment.close()
    segment.unlink()
    return shows


def other_program(install):
    """Another program attaches it and ends: did it read, and is the name still there?"""
    segment = shared_memory.SharedMemory(create=True, size=10)
    segment.buf[:3] = b"abc"
    done = subprocess.run([sys.executable, "-c", OTHER, segment.name, install], capture_output=True,
                          text=True)
    there = is_there(segment.name)
    segment.close()
    if there:
        segment.unlink()
    return [done.stdout == "abc\n", there]


def exit_without_close(install):
    """A program that exits in good order, and neither closes nor unlinks: is it gone, and what was said?"""
    program = "import sys\nif sys.argv[1] == 'install':\n    import shmd; shmd.install()\n" \
              "from multiprocessing import shared_memory\n" \
              "segment = shared_memory.SharedMemory(create=True, size=10)\nprint(segment.name, flush=True)\n"
    done = subprocess.run([sys.executable, "-c", program, install], capture_output=True, text=True)
    return [not is_there(done.stdout.strip()), "leaked" in done.stderr]


def more_than_dev_shm():
    """4 MiB, where /dev/shm has room for 1: a child fills them, for it may die of that."""
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            segment = shared_memory.SharedMemory(create=True, size=4 << 20)
            segment.unlink()
            segment.buf[:] = bytes(4 << 20)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    return "SIGBUS" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS else status == 0


def shareable_list():
    numbers = shared_memory.ShareableList([1, "two", 3.0, None, b"five"])
    other = shared_memory.ShareableList(name=numbers.shm.name)
    other[1] = "zwo"
    good = list(numbers) == [1, "zwo", 3.0, None, b"five"]
    other.shm.close()
    numbers.shm.close()
    numbers.shm.unlink()
    return good


def manager():
    with SharedMemoryManager() as smm:
        memory = smm.SharedMemory(10)
        lives = is_there(memory.name)
    gone = not is_there(memory.name)
    memory.close()
    return lives and gone


def main():
    install = sys.argv[1]
    if install == "install":
        import shmd
        shmd.install()
    print(json.dumps({
        "closed and opened": closed_and_opened(), "closed and unlinked": closed_and_unlinked(),
        "size exact": size_is_exact(), "size can change": size_can_change(),
        "in /dev/shm": shows_in_dev_shm(), "other program": other_program(install),
        "exit": exit_without_close(install), "more than /dev/shm": more_than_dev_shm(),
        "ShareableList": shareable_list(), "manager": manager(),
    }))


if __name__ == "__main__":
    main()
