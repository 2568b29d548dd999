# SPDX-License-Identifier: MIT
"""install(): the standard library's programs, unchanged, in all the processes that they start."""

import concurrent.futures
import decimal
import multiprocessing
import os
import pickle
import subprocess
import sys
import unittest
from multiprocessing import managers, shared_memory

import shmd
import tap

METHODS = ("fork", "spawn", "forkserver")
their_memory = shared_memory.SharedMemory

# Programs that know nothing of shmd, but for their first line.
PROGRAM = """
import shmd; shmd.install()
import multiprocessing, sys
from multiprocessing import managers, shared_memory

def fill(memory):
    memory.buf[:5] = b"hello"

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    memory = shared_memory.SharedMemory(create=True, size=10)
    child = multiprocessing.Process(target=fill, args=(memory,))
    child.start()
    child.join()
    assert bytes(memory.buf[:5]) == b"hello"
    with managers.SharedMemoryManager() as manager:
        numbers = manager.ShareableList(range(5))
        assert type(numbers.shm) is shmd.SharedMemory
    del numbers
    memory.close()
    memory.unlink()
    print(shmd.list())
"""


def describe(argument):
    """In a worker: whose classes it has, and what it makes of a name, or of something pickled."""
    memory = shared_memory.SharedMemory(argument) if isinstance(argument, str) else argument
    memory.buf[0] += 1
    answer = (type(memory) is shmd.SharedMemory, memory.size, os.getpid())
    memory.close()
    return answer


def count(name, turns):
    memory = shared_memory.SharedMemory(name)
    for _ in range(turns):
        with memory.lock:
            memory.buf[0] = (memory.buf[0] + 1) % 251
    memory.close()


def start_another(name):
    """In a worker: a worker of its own."""
    child = multiprocessing.get_context("spawn").Process(target=describe, args=(name,))
    child.start()
    child.join()
    return child.exitcode


def shmd_defaults():
    return shmd._memory.defaults


class Install(tap.TestCase):
    def setUp(self):
        super().setUp()
        shmd.install()
        self.addCleanup(shmd.uninstall)

    def test_the_standard_librarys_names_are_ours(self):
        self.assertIs(shared_memory.SharedMemory, shmd.SharedMemory)
        memory = shared_memory.ShareableList([1, 2]).shm
        self.assertIs(type(memory), shmd.SharedMemory)

    def test_twice_and_undone(self):
        shmd.install(linger=30)
        memory = shared_memory.SharedMemory(create=True, size=10)
        self.assertEqual(shmd.show(memory.name).segment.linger, 30)
        memory.close()
        self.assertEqual(len(shmd.list()), 1)
        memory.unlink()
        shmd.uninstall()
        self.assertIs(shared_memory.SharedMemory, their_memory)
        shmd.uninstall()
        with shmd.SharedMemory("undone", create=True, size=1):
            self.assertEqual(shmd.show("undone").segment.linger, 0)

    def test_wrong_options_are_refused_and_change_nothing(self):
        for options in ({"lifetime": "eternal"}, {"linger": -1}, {"linger": float("nan")}):
            with self.subTest(options), self.assertRaises(ValueError):
                shmd.install(**options)
        self.assertEqual(shmd._memory.defaults, {"lifetime": "clients", "linger": 0})

    def test_options_of_any_number_reach_the_children(self):
        shmd.install(linger=decimal.Decimal("0.25"))
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, context) as executor:
            self.assertEqual(executor.submit(shmd_defaults).result()["linger"], 0.25)

    def test_workers_of_pools(self):
        for method in METHODS:
            with self.subTest(method):
                memory = shared_memory.SharedMemory(create=True, size=100)
                with multiprocessing.get_context(method).Pool(2) as pool:
                    for argument in (memory.name, memory):
                        ours, size, pid = pool.apply(describe, (argument,))
                        self.assertEqual((ours, size), (True, 100))
                        self.assertNotEqual(pid, os.getpid())
                    pool.close()
                    pool.join()
                self.assertEqual(memory.buf[0], 2)
                memory.close()

    def test_workers_of_executors(self):
        for method in METHODS:
            with self.subTest(method):
                context = multiprocessing.get_context(method)
                with self.memory(size=8) as memory:
                    with concurrent.futures.ProcessPoolExecutor(3, mp_context=context) as executor:
                        for future in [executor.submit(count, memory.name, 500) for _ in range(4)]:
                            future.result()
                    self.assertEqual(memory.buf[0], 2000 % 251)

    def test_workers_of_workers(self):
        memory = self.memory(size=8)
        for method in METHODS:
            with concurrent.futures.ProcessPoolExecutor(
                1, mp_context=multiprocessing.get_context(method)
            ) as executor:
                self.assertEqual(executor.submit(start_another, memory.name).result(), 0)
        self.assertEqual(memory.buf[0], len(METHODS))

    def test_manager_keeps_what_nobody_has(self):
        for method in METHODS:
            with self.subTest(method):
                manager = managers.SharedMemoryManager(ctx=multiprocessing.get_context(method))
                manager.start()
                name = manager.SharedMemory(100).name
                numbers = manager.ShareableList([1, 2])
                self.assertEqual(shared_memory.SharedMemory(name).size, 100)
                self.assertEqual(len(shmd.list()), 2)
                manager.shutdown()
                self.assertRaises(FileNotFoundError, shared_memory.SharedMemory, name)
                self.assertEqual(list(numbers), [1, 2])

    def test_manager_that_is_killed_leaves_nothing(self):
        manager = managers.SharedMemoryManager()
        manager.start()
        manager.SharedMemory(100)
        manager._process.kill()
        self.eventually(lambda: shmd.list() == [])
        manager._process.join()

    def test_lists_are_pickled(self):
        numbers = shared_memory.ShareableList([1, 2])
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            self.assertEqual(pool.apply(list, (numbers,)), [1, 2])

    def test_programs_hear_nothing_of_the_resource_tracker(self):
        path = os.path.join(os.environ["SHMD_TEST_FOLDER"], "program.py")
        with open(path, "w") as file:
            file.write(PROGRAM)
        for method in METHODS:
            done = subprocess.run(
                [sys.executable, "-Walways", path, method], text=True, capture_output=True, timeout=60
            )
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "[]\n", ""))

    def test_children_find_shmd_where_their_parent_did(self):
        path = os.path.dirname(os.path.dirname(shmd.__file__))
        program = PROGRAM.replace("import shmd;", f"import sys; sys.path.append({path!r}); import shmd;", 1)
        # Not the program's own first line: in the child, all is to be there before it is run.
        program = program.replace("shmd.install()", "__name__ == '__main__' and shmd.install()")
        folder = os.environ["SHMD_TEST_FOLDER"]
        with open(os.path.join(folder, "moved.py"), "w") as file:
            file.write(program)
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            [sys.executable, os.path.join(folder, "moved.py"), "spawn"],
            text=True, capture_output=True, timeout=60, env=environment,
        )
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "[]\n", ""))

    def test_children_use_the_daemon_that_was_chosen(self):
        socket = os.environ.pop("SHMD_SOCKET")
        os.environ["SHMD_SOCKET"] = "/nowhere"
        try:
            shmd.connect(socket)
            memory = self.memory(size=8)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                self.assertTrue(pool.apply(describe, (memory.name,))[0])
        finally:
            os.environ["SHMD_SOCKET"] = socket
            shmd.connect()


def their_tests():
    """The standard library's own, where they are installed."""
    try:
        from test import _test_multiprocessing as theirs
    except ImportError:
        return None

    class Theirs(theirs.ProcessesMixin, theirs._TestSharedMemory, tap.TestCase):
        TYPE = "processes"
        # These are about the resource tracker, of other processes, too.
        test_shared_memory_cleaned_after_process_termination = None
        test_shared_memory_tracking = None
        test_shared_memory_untracking = None

        def setUp(self):
            super().setUp()
            shmd.install()
            self.addCleanup(shmd.uninstall)

    Theirs.__qualname__ = "Theirs"
    return Theirs


Theirs = their_tests()


class Pickled(tap.TestCase):
    """Without install(), SharedMemory can be passed to workers all the same."""

    def test_it_is_attached_in_workers(self):
        for method in METHODS:
            memory = self.memory(size=20)
            with multiprocessing.get_context(method).Pool(1) as pool:
                self.assertEqual(pool.apply(describe, (memory,))[:2], (True, 20))
            self.assertEqual(memory.buf[0], 1)
            self.assertIs(pickle.loads(pickle.dumps(shmd.SharedMemory)), shmd.SharedMemory)


if __name__ == "__main__":
    tap.main()
