# SPDX-License-Identifier: MIT
"""memory.lock: of threads, of processes, and of those that are killed."""

import os
import signal
import threading
import time

import shmd
import tap

COUNT = """
import sys, shmd
memory = shmd.SharedMemory(sys.argv[1])
count = memory.buf.cast("Q")
for _ in range(int(sys.argv[2])):
    with memory.lock:
        count[0] += 1
count.release()
"""

HOLD = """
import sys, shmd
memory = shmd.SharedMemory(sys.argv[1])
with memory.lock:
    memory.buf[0] = 1
    print("held", flush=True)
    sys.stdin.read()
"""


class Lock(tap.TestCase):
    def test_free_it_is_taken_once(self):
        lock = self.memory().lock
        self.assertIs(lock.acquire(), True)
        self.assertIs(lock.acquire(False), False)
        lock.release()
        self.assertIs(lock.acquire(blocking=False), True)
        lock.release()

    def test_time_out_answers_false(self):
        lock = self.memory().lock
        lock.acquire()
        start = time.monotonic()
        self.assertIs(lock.acquire(timeout=0.05), False)
        self.assertGreaterEqual(time.monotonic() - start, 0.05)
        self.assertIs(lock.acquire(timeout=0), False)
        lock.release()

    def test_arguments_are_those_of_threading(self):
        theirs, ours = threading.Lock(), self.memory().lock
        for arguments in ((False, 1), (True, -2), (False, 0)):
            for lock in (theirs, ours):
                self.assertRaises(ValueError, lock.acquire, *arguments)
        self.assertRaises(TypeError, ours.acquire, timeout="1")
        self.assertTrue(ours.acquire(timeout=1e12))
        ours.release()

    def test_release_without_is_an_error(self):
        lock = self.memory().lock
        self.assertRaises(RuntimeError, lock.release)
        with lock:
            pass
        self.assertRaises(RuntimeError, lock.release)

    def test_block_releases_also_with_an_exception(self):
        memory = self.memory("block")
        with self.assertRaises(KeyError):
            with memory.lock as lock:
                self.assertIs(lock, memory.lock)
                self.assertEqual(shmd.show("block").permits_available, 0)
                raise KeyError
        self.assertEqual(shmd.show("block").permits_available, 1)

    def test_permits_count(self):
        memory = self.memory("many", permits=3)
        for _ in range(3):
            self.assertTrue(memory.lock.acquire(False))
        self.assertFalse(memory.lock.acquire(False))
        self.assertEqual([holder.permits for holder in shmd.show("many").holders], [3])
        for _ in range(3):
            memory.lock.release()

    def test_without_a_semaphore_there_is_none(self):
        memory = self.memory(permits=0)
        self.assertIsNone(memory.semaphore)
        self.assertRaises(OSError, memory.lock.acquire)
        self.assertTrue(self.memory().semaphore)

    def test_threads_exclude_each_other_and_others_run_meanwhile(self):
        memory = self.memory(size=8)
        memory.lock.acquire()
        done = threading.Event()

        def work():
            with memory.lock:
                done.set()

        thread = threading.Thread(target=work)
        thread.start()
        self.assertFalse(done.wait(0.05))
        memory.lock.release()
        self.assertTrue(done.wait(20))
        thread.join()

    def test_close_is_refused_while_another_thread_waits(self):
        memory = self.memory("waited")
        other = self.attach("waited")
        other.lock.acquire()
        taken = []
        thread = threading.Thread(target=lambda: taken.append(memory.lock.acquire()))
        thread.start()
        self.eventually(lambda: memory._lock is not None)
        time.sleep(0.05)
        self.assertRaises(BufferError, memory.close)
        other.lock.release()
        thread.join()
        self.assertEqual(taken, [True])
        memory.lock.release()

    def test_processes_lose_no_count(self):
        memory = self.memory("count", 8)
        workers = [self.start(COUNT, "count", 5000) for _ in range(4)]
        self.assertEqual([worker.wait(60) for worker in workers], [0] * 4)
        with memory.buf.cast("Q") as count:
            self.assertEqual(count[0], 20000)

    def test_killed_inside_the_next_goes_on_and_learns_of_it(self):
        memory = self.memory("killed")
        for _ in range(3):
            holder = self.start(HOLD, "killed")
            self.assertEqual(holder.stdout.readline(), "held\n")
            self.assertFalse(memory.lock.acquire(False))
            holder.kill()
            with memory.lock:
                self.assertIs(memory.lock.owner_died, True)
            self.assertIs(memory.lock.owner_died, False)
            with memory.lock:
                self.assertIs(memory.lock.owner_died, False)

    def test_killed_while_others_wait_one_learns_of_it(self):
        memory = self.memory("crowd", 8)
        holder = self.start(HOLD, "crowd")
        self.assertEqual(holder.stdout.readline(), "held\n")
        told = []

        def work():
            with shmd.SharedMemory("crowd") as mine, mine.lock as lock:
                told.append(lock.owner_died)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        holder.kill()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(told), [False, False, False, True])
        memory.close()

    def test_child_does_not_hold_what_its_parent_does(self):
        memory = self.memory("forked")
        memory.lock.acquire()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                try:
                    memory.lock.release()
                except RuntimeError:
                    status = 0 if not memory.lock.acquire(timeout=0) else 2
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        memory.lock.release()

    def test_child_takes_it_in_its_turn(self):
        memory = self.memory("forked", 8)
        child = os.fork()
        if child == 0:
            try:
                for _ in range(2000):
                    with memory.lock:
                        memory.buf[:4] = (int.from_bytes(memory.buf[:4], "little") + 1).to_bytes(4, "little")
            finally:
                os._exit(0)
        for _ in range(2000):
            with memory.lock:
                memory.buf[:4] = (int.from_bytes(memory.buf[:4], "little") + 1).to_bytes(4, "little")
        os.waitpid(child, 0)
        self.assertEqual(int.from_bytes(memory.buf[:4], "little"), 4000)


class Interrupted(tap.TestCase):
    """Ctrl-C ends whatever waits; a handler that returns does not."""

    def interrupt(self, action, number=signal.SIGINT, after=0.1):
        timer = threading.Timer(after, os.kill, (os.getpid(), number))
        timer.start()
        start = time.monotonic()
        try:
            return action()
        finally:
            self.seconds = time.monotonic() - start
            timer.join()

    def check_interrupted(self, action):
        with self.assertRaises(KeyboardInterrupt):
            self.interrupt(action)
        self.assertLess(self.seconds, 5)

    def test_acquire(self):
        lock = self.memory().lock
        lock.acquire()
        self.check_interrupted(lock.acquire)
        self.check_interrupted(lambda: lock.acquire(timeout=60))
        self.check_interrupted(lock.__enter__)
        lock.release()
        self.assertRaises(RuntimeError, lock.release)

    def test_wait(self):
        self.check_interrupted(lambda: shmd.wait("never"))
        self.check_interrupted(lambda: shmd.wait("never", timeout=60))

    def test_wait_while_another_thread_waits(self):
        got = []
        thread = threading.Thread(target=lambda: got.append(shmd.wait("later", readonly=False)))
        thread.start()
        time.sleep(0.1)
        self.check_interrupted(lambda: shmd.wait("never"))
        self.memory("later")
        thread.join()
        got.pop().close()

    def test_events(self):
        with shmd.events() as events:
            self.check_interrupted(lambda: next(events))
            self.check_interrupted(lambda: events.next(60))

    def test_handlers_that_return_use_up_no_time(self):
        lock = self.memory().lock
        lock.acquire()
        calls = []
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, lambda *_: calls.append(1))
        self.assertIs(self.interrupt(lambda: lock.acquire(timeout=0.5), signal.SIGUSR1), False)
        self.assertGreaterEqual(self.seconds, 0.5)
        with self.assertRaises(TimeoutError):
            self.interrupt(lambda: shmd.wait("never", timeout=0.5), signal.SIGUSR1)
        self.assertGreaterEqual(self.seconds, 0.5)
        with shmd.events() as events:
            self.assertIsNone(self.interrupt(lambda: events.next(0.5), signal.SIGUSR1))
            self.assertGreaterEqual(self.seconds, 0.5)
        self.assertEqual(len(calls), 3)
        lock.release()


if __name__ == "__main__":
    tap.main()
