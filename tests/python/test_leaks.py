# SPDX-License-Identifier: MIT
"""Cycles of everything: memory, references, descriptors and the daemon's books stay as they are.

SHMD_TEST_CYCLES: how many, 300 unless set.
"""

import gc
import os
import sys
import threading
import unittest

import shmd
import tap

try:
    import _xxsubinterpreters as interpreters
except ImportError:
    interpreters = None

# A sanitizer keeps what has been freed, for a while.
IS_SANITIZED = "san" in os.environ.get("LD_PRELOAD", "")
CYCLES = int(os.environ.get("SHMD_TEST_CYCLES", "300"))


def resident():
    """Kilobytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def references():
    """Of all objects, where the interpreter counts them; else blocks of its heap."""
    gc.collect()
    return getattr(sys, "gettotalrefcount", sys.getallocatedblocks)()


def descriptors():
    return len(os.listdir("/proc/self/fd"))


class Leaks(tap.TestCase):
    def cycles(self, function, n=CYCLES):
        """Some cycles to warm up, and then as many as asked for."""
        for _ in range(100):
            function()
        before = references(), resident(), descriptors()
        for _ in range(n):
            function()
        after = references(), resident(), descriptors()
        grown = [b - a for a, b in zip(before, after)]
        print(f"# {self.id()}: {n} cycles, {grown[0]:+} references, {grown[1]:+} KB resident, "
              f"{grown[2]:+} descriptors", flush=True)
        self.assertLess(grown[0], 60)
        if not IS_SANITIZED:
            self.assertLess(grown[1], 2048)
        self.assertEqual(grown[2], 0)

    def test_create_attach_lock_and_close(self):
        def cycle():
            memory = shmd.SharedMemory(create=True, size=4096)
            memory.buf[0] = 1
            with memory.lock:
                pass
            other = shmd.SharedMemory(memory.name, readonly=True)
            view = other.buf[3:7]
            view.release()
            other.close()
            memory.close()

        self.cycles(cycle)

    def test_dropped_without_a_close(self):
        def cycle():
            memory = shmd.SharedMemory(create=True, size=4096)
            memory.lock.acquire(False)
            memory.buf[:3]

        self.cycles(cycle)

    def test_refusals(self):
        memory = self.memory("refused")

        def cycle():
            for wrong in (
                lambda: shmd.SharedMemory("missing"),
                lambda: shmd.SharedMemory("refused", create=True, size=1),
                lambda: shmd.SharedMemory("x", create=True, size=1, lifetime="?"),
                lambda: shmd.wait("missing", timeout=0),
                lambda: shmd.connect("/nowhere"),
                lambda: shmd.list(1),
                memory.lock.release,
            ):
                try:
                    wrong()
                except (OSError, ValueError, TypeError, RuntimeError):
                    pass

        self.cycles(cycle)

    def test_publish_and_wait(self):
        def cycle():
            generation = shmd.publish("frame", b"x" * 1000)
            with shmd.wait("frame", generation - 1) as memory:
                bytes(memory.buf)

        self.cycles(cycle)
        shmd.unlink("frame")

    def test_queries_and_events(self):
        memory = self.memory("asked")

        def cycle():
            with shmd.events() as events, memory.lock:
                shmd.list(), shmd.clients(), shmd.status(), shmd.show("asked")
                shmd.SharedMemory("asked").close()
                next(events)

        self.cycles(cycle, max(CYCLES // 10, 30))

    def test_lists(self):
        def cycle():
            shmd.ShareableList([1, "two", 3.0]).shm.close()

        self.cycles(cycle)

    @unittest.skipUnless(interpreters, "no interpreters here")
    def test_interpreters(self):
        before = len(shmd.clients())
        for _ in range(5):
            other = interpreters.create()
            interpreters.run_string(other, "import shmd; shmd.status()")
            interpreters.destroy(other)
        self.eventually(lambda: len(shmd.clients()) == before, "their connections are left")

    def test_threads(self):
        memory = self.memory("threads")

        def work():
            for _ in range(10):
                with shmd.SharedMemory("threads") as mine, mine.lock:
                    pass

        def cycle():
            threads = [threading.Thread(target=work) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        self.cycles(cycle, max(CYCLES // 30, 30))
        memory.close()


if __name__ == "__main__":
    tap.main()
