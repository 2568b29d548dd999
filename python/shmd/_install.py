# SPDX-License-Identifier: MIT
"""Makes the standard library use shmd: in this process, and in those that multiprocessing starts."""

import os

from . import _memory, _shmd

# What the standard library had in the place of ours, while ours is installed.
_replaced = []

# What a started process runs, before anything of the program's: it may not find us by itself.
_CHILD = """
import sys
sys.path.insert(0, {path!r})
try:
    import shmd
finally:
    sys.path.remove({path!r})
shmd.install(lifetime={lifetime!r}, linger={linger!r})
if {socket!r}:
    shmd.connect({socket!r})
"""


class _Installation:
    """Pickled into what a started process is told first, it installs shmd there."""

    def __reduce__(self):
        path = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        program = _CHILD.format(path=path, socket=_memory.socket, **_memory.defaults)
        return exec, (program, {})


def _replace(module, name, value):
    _replaced.append((module, name, getattr(module, name)))
    setattr(module, name, value)


def _make_get_preparation_data(original):
    def get_preparation_data(name):
        data = original(name)
        data["shmd"] = _Installation()
        return data

    return get_preparation_data


def _make_tracker(base):
    class _SharedMemoryTracker(base):
        """In the manager's process: has the segments open until they are destroyed, so that they
        do not end with those who asked for them."""

        def register_segment(self, segment_name):
            self._held()[segment_name] = _memory.SharedMemory(segment_name)
            super().register_segment(segment_name)

        def destroy_segment(self, segment_name):
            super().destroy_segment(segment_name)
            memory = self._held().pop(segment_name, None)
            if memory is not None:
                memory.close()

        def _held(self):
            return self.__dict__.setdefault("_memories", {})

    return _SharedMemoryTracker


def install(*, lifetime="clients", linger=0):
    """Makes multiprocessing.shared_memory use shmd, in this process and those it starts.

    From now on multiprocessing.shared_memory.SharedMemory is shmd.SharedMemory; ShareableList there and
    SharedMemoryManager go by that, and so do processes that multiprocessing or concurrent.futures start
    by fork, spawn or forkserver, before anything of theirs is imported. Programs need no other change.
    Call it early: who has done "from multiprocessing.shared_memory import SharedMemory" before has the
    standard library's. Processes that are started in other ways call it themselves.

    lifetime, linger: what SharedMemory does in this process, and those, where its caller does not say. A
    few seconds of linger suit a program that closes memory before others attach it.

    Asks the daemon nothing. May be called again, with other options, too. Raises ValueError for
    options that SharedMemory would not take, and changes nothing.
    """
    from multiprocessing import managers, shared_memory, spawn

    # Also in a form that other processes can be told of.
    linger = float(linger)
    _shmd.check_options(lifetime, linger)
    _memory.defaults.update(lifetime=lifetime, linger=linger)
    if _replaced:
        return
    _replace(shared_memory, "SharedMemory", _memory.SharedMemory)
    _replace(spawn, "get_preparation_data", _make_get_preparation_data(spawn.get_preparation_data))
    _replace(managers, "_SharedMemoryTracker", _make_tracker(managers._SharedMemoryTracker))


def uninstall():
    """Undoes install() in this process. What was made meanwhile goes on to work."""
    while _replaced:
        module, name, value = _replaced.pop()
        setattr(module, name, value)
    _memory.defaults.update(lifetime="clients", linger=0)
