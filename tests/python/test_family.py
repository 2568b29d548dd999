# SPDX-License-Identifier: MIT
"""What workers hand over to who started them, by name alone."""

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing import shared_memory

import shmd
import tap


MAKE_IN_WORKERS = """
import multiprocessing, shmd

def make(told):
    memory = shmd.SharedMemory(create=True, size=1)
    memory.close()
    kept = shmd.SharedMemory(create=True, size=1)
    make.kept = kept

process = multiprocessing.get_context("fork").Process(target=make, args=(None,))
process.start()
process.join()
"""


def make_and_close(_=None):
    memory = shmd.SharedMemory(create=True, size=100)
    memory.buf[0] = 7
    memory.close()
    return memory.name


def make_and_keep(told):
    make_and_keep.memory = shmd.SharedMemory(create=True, size=100)
    make_and_keep.memory.buf[0] = 7
    told.send(make_and_keep.memory.name)


def make_and_die(told):
    memory = shmd.SharedMemory(create=True, size=100)
    told.send(memory.name)
    os.kill(os.getpid(), signal.SIGKILL)


def make_as_the_standard_library_does(_):
    memory = shared_memory.SharedMemory(create=True, size=100)
    memory.buf[0] = 7
    memory.close()
    return memory.name


def make_and_fail(told):
    sys.stderr = open(os.devnull, "w")
    make_and_keep(told)
    raise ValueError


def make_and_exit(told):
    make_and_keep(told)
    sys.exit(3)


def make_as_owner():
    with shmd.SharedMemory(create=True, size=100, lifetime="owner") as memory:
        return memory.name


def is_there(name):
    try:
        shmd.show(name)
    except FileNotFoundError:
        return False
    return True


class Family(tap.TestCase):
    def run_one(self, method, target):
        context = multiprocessing.get_context(method)
        there, here = context.Pipe()
        child = context.Process(target=target, args=(here,))
        child.start()
        made = there.recv()
        child.join()
        return made

    def take(self, name):
        memory = shmd.SharedMemory(name)
        self.assertEqual(memory.buf[0], 7)
        memory.close()
        memory.unlink()

    def test_pool_that_is_terminated(self):
        for method in multiprocessing.get_all_start_methods():
            with self.subTest(method):
                with multiprocessing.get_context(method).Pool(2) as pool:
                    names = pool.map(make_and_close, range(6))
                for made in names:
                    self.take(made)
                self.assertEqual([n for n in names if is_there(n)], [])

    def test_what_a_worker_still_has_at_its_end(self):
        for method in multiprocessing.get_all_start_methods():
            with self.subTest(method):
                self.take(self.run_one(method, make_and_keep))

    def test_executors_and_the_standard_librarys_spelling(self):
        shmd.install()
        self.addCleanup(shmd.uninstall)
        for method in multiprocessing.get_all_start_methods():
            with self.subTest(method):
                context = multiprocessing.get_context(method)
                with concurrent.futures.ProcessPoolExecutor(2, context) as executor:
                    names = list(executor.map(make_as_the_standard_library_does, range(4)))
                for made in names:
                    self.take(made)

    def test_workers_that_fail_or_exit(self):
        for target in (make_and_fail, make_and_exit):
            with self.subTest(target):
                self.take(self.run_one("fork", target))

    def test_what_is_its_owners_ends_with_it(self):
        with multiprocessing.get_context("fork").Pool(1) as pool:
            made = pool.apply(make_as_owner)
        self.assertFalse(is_there(made))

    def test_a_killed_worker_hands_over_nothing(self):
        for method in multiprocessing.get_all_start_methods():
            with self.subTest(method):
                made = self.run_one(method, make_and_die)
                self.eventually(lambda: not is_there(made))

    def test_numbers_of_another_namespace_are_nobodys(self):
        """The parent is 1 there, and 1 is somebody else, who does not end, for the daemon."""
        unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
        if subprocess.run([*unshare, "true"], stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("namespaces are not permitted")
        program = [sys.executable, "-c", MAKE_IN_WORKERS]
        done = subprocess.run([*unshare, *program], text=True, capture_output=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.eventually(lambda: shmd.list() == [])

    def test_only_workers_do(self):
        memory = shmd.SharedMemory(create=True, size=1)
        memory.close()
        self.assertFalse(is_there(memory.name))

    def test_grandchildren(self):
        made = self.run_one("fork", have_grandchild_make)
        self.take(made)


def have_grandchild_make(told):
    context = multiprocessing.get_context("fork")
    there, here = context.Pipe()
    child = context.Process(target=make_and_keep, args=(here,))
    child.start()
    made = there.recv()
    child.join()
    # Asks the daemon, and so has an end of its own to tell of.
    with shmd.SharedMemory(create=True, size=1) as memory:
        told.send(made)
        memory.unlink()


if __name__ == "__main__":
    tap.main()
