# SPDX-License-Identifier: MIT
"""Shared memory from the shmd broker.

SharedMemory is used as multiprocessing.shared_memory.SharedMemory is; what a process leaves behind
when it dies, in whatever way, is reaped by the daemon. install() makes existing programs use it.

    with shmd.SharedMemory("frames", create=True, size=1 << 20) as memory:
        with memory.lock:
            memory.buf[0] += 1

Connection  One to the daemon for each process, made when it is first needed: to $SHMD_SOCKET, else to
            the system's socket; see connect(). All threads share it, and a forked child makes its own.
Errors      Those of the standard library, as the operating system would raise them (FileNotFoundError,
            FileExistsError, PermissionError, TimeoutError, other OSErrors), with the daemon's sentence
            as their text. Where there is no daemon: FileNotFoundError or ConnectionRefusedError.
Blocking    What asks the daemon waits for its answer, some 10 microseconds. Only lock.acquire(), wait()
            and the iteration over events wait for others. All let other threads run meanwhile, and
            these three end at once at a signal whose handler raises, as Ctrl-C's does.
Threads     Everything may be used by several threads, but events by one reader at a time.
Fork        Shared memory that a forked child inherits works on in it. Locks that the parent holds are
            not the child's; events go to the parent.
"""

from ._events import Events, events
from ._install import install, uninstall
from ._memory import SharedMemory, connect, publish, wait
from ._shmd import (
    AttachmentInfo,
    ClientInfo,
    Details,
    Event,
    HolderInfo,
    Limit,
    Lock,
    SegmentInfo,
    Status,
)
from . import _shmd

__all__ = [
    "AttachmentInfo",
    "ClientInfo",
    "Details",
    "Event",
    "Events",
    "HolderInfo",
    "Limit",
    "Lock",
    "SegmentInfo",
    "ShareableList",
    "SharedMemory",
    "Status",
    "clients",
    "connect",
    "events",
    "install",
    "list",
    "publish",
    "show",
    "status",
    "uninstall",
    "unlink",
    "wait",
]


def list(glob=None):
    """The segments that the caller may see: a list of SegmentInfo, oldest first.

    glob: only those whose name matches, as fnmatch(3) does. The list is not a snapshot: what comes or
    goes meanwhile may or may not be in it.
    """
    return _shmd.list(glob)


def show(name):
    """Everything about the segment of that name: who has it, and who holds its lock (Details)."""
    return _shmd.show(name)


def clients():
    """The connections of the caller's user, or all for administrators: a list of ClientInfo."""
    return _shmd.clients()


def status():
    """The daemon itself: its version, what it has, its counters and limits (Status)."""
    return _shmd.status()


def unlink(name):
    """Drops a name, as its owner or as root. Who has the memory keeps it.

    Raises FileNotFoundError, and PermissionError if it is somebody else's.
    """
    _shmd.unlink(name)


def __getattr__(name):
    # Made when it is wanted: it needs much of the standard library, which the rest does without.
    if name == "ShareableList":
        from ._lists import ShareableList

        globals()[name] = ShareableList
        return ShareableList
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
